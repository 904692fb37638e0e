"""Cost, throughput and durability of the audit log, beside an OpenTelemetry span and a plain SQLite insert."""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sqlite3
import tempfile
import time
from pathlib import Path

from harness import finish, row

from trustplane.audit.log.log import AuditLog
from trustplane.audit.log.verify import verify_log
from trustplane.step import Ref, Step

AGENTS = (Ref("sha256:" + "ab" * 32, "policy", "default", "1"),)


def percentile(samples, q):
    return sorted(samples)[min(len(samples) - 1, int(len(samples) * q))]


def a_step(i):
    return Step(
        "guard.text.detect", "masked", agents=AGENTS, facts={"n_email_address": i & 7, "latency_us": i, "ok": True}
    )


def caller_cost(n):
    """One step every 20 µs or so, as an application would; the writer works in between."""
    with tempfile.TemporaryDirectory() as d, AuditLog.open(d) as log, log.request(input="x") as request:
        samples = []
        clock = time.perf_counter_ns
        empty = percentile([-(clock() - clock()) for _ in range(2000)], 0.5)
        for i in range(n):
            began = clock()
            request.record(a_step(i))
            samples.append(clock() - began - empty)
            if not i % 50:
                time.sleep(0.001)
        log.flush()
    return samples


def otel_cost(n):
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Null(SpanExporter):
        def export(self, spans):
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Null(), max_queue_size=65536))
    tracer = provider.get_tracer("bench")
    samples = []
    clock = time.perf_counter_ns
    for i in range(n):
        began = clock()
        with tracer.start_as_current_span("guard.text.detect") as span:
            span.set_attribute("result", "masked")
            span.set_attribute("n_email_address", i & 7)
            span.set_attribute("latency_us", i)
            span.set_attribute("ok", True)
            span.set_attribute("policy", AGENTS[0].digest)
        samples.append(clock() - began)
        if not i % 50:
            time.sleep(0.001)
    provider.shutdown()
    return samples


def sqlite_rate(n):
    with tempfile.TemporaryDirectory() as d:
        db = sqlite3.connect(Path(d) / "plain.db", isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE steps(id INTEGER PRIMARY KEY, body TEXT)")
        body = "x" * 500
        began = time.perf_counter()
        for _ in range(n):
            db.execute("INSERT INTO steps(body) VALUES (?)", (body,))
        return n / (time.perf_counter() - began)


def one_process_rate(n):
    with tempfile.TemporaryDirectory() as d:
        log = AuditLog.open(d)
        began = time.perf_counter()
        with log.request(input="x") as request:
            record = request.record
            for i in range(n):
                record(a_step(i))
        log.flush()
        rate = n / (time.perf_counter() - began)
        log.close()
    return rate


def worker(folder, n, barrier, done):
    log = AuditLog.open(folder)
    barrier.wait()
    with log.request(input="x") as request:
        for i in range(n):
            request.record(a_step(i))
    log.flush()
    done.wait()
    log.close()


def many_processes_rate(processes, n):
    with tempfile.TemporaryDirectory() as d:
        AuditLog.open(d).close()
        context = multiprocessing.get_context("spawn")
        barrier, done = context.Barrier(processes + 1), context.Barrier(processes + 1)
        workers = [context.Process(target=worker, args=(d, n, barrier, done)) for _ in range(processes)]
        for w in workers:
            w.start()
        barrier.wait()
        began = time.perf_counter()
        done.wait()
        seconds = time.perf_counter() - began
        for w in workers:
            w.join()
        with AuditLog.open(d) as log:
            verified = verify_log(log.store, log.origin, log.keys.verifiers)
            assert verified.requests == processes, verified.requests
            assert verified.size >= processes * (n + 2)
    return processes * n / seconds


def ack_latency(rate, seconds):
    """Steps at a fixed rate; each flush measured from a second thread is one acknowledgement."""
    import threading

    samples = []
    with tempfile.TemporaryDirectory() as d, AuditLog.open(d) as log, log.request(input="x") as request:
        stop = threading.Event()

        def load():
            start, sent = time.perf_counter(), 0
            while not stop.is_set():
                due = int((time.perf_counter() - start) * rate)
                while sent < due:
                    request.record(a_step(sent))
                    sent += 1
                time.sleep(0.0005)

        thread = threading.Thread(target=load)
        thread.start()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            began = time.perf_counter()
            request.record(a_step(0))
            log.flush()
            samples.append((time.perf_counter() - began) * 1000)
            time.sleep(0.002)
        stop.set()
        thread.join()
    return samples


def verify_and_memory(n):
    with tempfile.TemporaryDirectory() as d:
        log = AuditLog.open(d)
        grown = []
        with log.request(input="x") as request:
            for i in range(n):
                request.record(a_step(i))
                if not i % (n // 10):
                    log.flush()
                    grown.append(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20)
        log.checkpoint()
        began = time.perf_counter()
        verified = verify_log(log.store, log.origin, log.keys.verifiers)
        seconds = time.perf_counter() - began
        assert verified.size >= n
        disk = sum(p.stat().st_size for p in Path(d).rglob("*") if p.is_file())
        log.close()
    return seconds, grown, disk / n


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    n = 20_000 if quick else 100_000
    rounds = 1 if quick else 3
    ours, otel = [], []
    for _ in range(rounds):  # in turns, so that both meet the same noise
        ours += caller_cost(n)
        otel += otel_cost(n // 4)
    single = [one_process_rate(60_000 if quick else 300_000) for _ in range(rounds)]
    plain = [sqlite_rate(1_000 if quick else 5_000) for _ in range(rounds)]
    many = [many_processes_rate(8, 3_000 if quick else 20_000) for _ in range(rounds)]
    acks = ack_latency(5_000, 2 if quick else 10)
    total = 50_000 if quick else 1_000_000
    seconds, memory, disk = verify_and_memory(total)
    best = max
    rows = [
        row("caller's thread, p50", percentile(ours, 0.5) / 1000, unit="µs", better="lower",
            peer=percentile(otel, 0.5) / 1000, peer_name="OTel span, batch processor", must=0.25),
        row("caller's thread, p50 alone", percentile(ours, 0.5) / 1000, unit="µs", better="lower", goal=1.0),
        row("caller's thread, p99", percentile(ours, 0.99) / 1000, unit="µs", better="lower",
            peer=percentile(otel, 0.99) / 1000, peer_name="OTel span, batch processor"),
        row("durable steps/s, one process", best(single), unit="steps/s", better="higher", must=40_000, goal=80_000),
        row("durable steps/s beside one insert per step", best(single), unit="steps/s", better="higher",
            peer=best(plain), peer_name="SQLite, WAL, FULL"),
        row("durable steps/s, 8 processes together", best(many), unit="steps/s", better="higher", must=50_000),
        row("acknowledgement p99 at 5,000 steps/s", percentile(acks, 0.99), unit="ms", better="lower", must=10),
        row("acknowledgement p50 at 5,000 steps/s", percentile(acks, 0.5), unit="ms", better="lower"),
        row("full verification, per 10^6 entries", seconds * 1e6 / total, unit="s", better="lower", must=60),
        row("memory grown since the first fifth", memory[-1] - memory[2], unit="MiB", better="lower", must=16),
        row("disk per step", disk, unit="bytes", better="lower"),
    ]  # fmt: skip
    samples = {
        "caller_ns": ours[:: max(1, len(ours) // 2000)], "otel_ns": otel[:: max(1, len(otel) // 2000)],
        "single": single, "plain": plain, "many": many, "ack_ms": acks, "memory_mib": memory, "verified": total,
    }  # fmt: skip
    finish("audit_log", rows, samples, quick=quick)


if __name__ == "__main__":
    main()
