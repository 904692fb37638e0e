"""A process that writes steps and says which are acknowledged; tests kill it. Usage: FOLDER NAME COUNT BATCH."""

import sys

from trustplane.audit.log.log import AuditLog
from trustplane.step import Step


def main() -> None:
    folder, name, count, batch = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    log = AuditLog.open(folder, origin="log.example/test", checkpoint_seconds=0.05, mode="plain", allow=["plain"])
    sys.stdout.write("ready\n")
    done = 0
    while done < count:
        for i in range(done, min(done + batch, count)):
            if i % 10 == 9:
                with log.request(f"{name}-{i}", input={"i": i}, subject=f"person {i % 7}") as request:
                    request.decide(f"decided {i}")
            else:
                log.record(Step("work", facts={"i": i, "by": name}))
        done = min(done + batch, count)
        log.flush()
        sys.stdout.write(f"{done}\n")  # acknowledged: everything below
        sys.stdout.flush()
    log.close()


if __name__ == "__main__":
    main()
