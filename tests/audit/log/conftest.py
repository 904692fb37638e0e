"""What the tests of the log share: stores of both kinds, logs that get closed, an independent residue search."""

import base64
import json
import urllib.parse
from pathlib import Path

import pytest

from trustplane.audit.log.keys import Keys
from trustplane.audit.log.log import AuditLog
from trustplane.audit.log.note import Verifier
from trustplane.audit.log.sqlite import SqliteStore
from trustplane.audit.log.store import MemoryStore
from trustplane.audit.log.verify import verify_log

ORIGIN = "log.example/test"
EVERY_MODE = ("redacted", "sealed", "plain")


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    made = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "plane")
    yield made
    made.close()


@pytest.fixture
def open_log(tmp_path):
    """Open logs in the test's folder; closed at the end."""
    opened = []

    def make(folder=None, **options):
        log = AuditLog.open(folder or tmp_path / "plane", origin=ORIGIN, **options)
        opened.append(log)
        return log

    yield make
    for log in opened:
        log.close()


@pytest.fixture(params=["memory", "sqlite"])
def log(request, tmp_path):
    """A log in which every content mode is allowed."""
    options = {"allow": EVERY_MODE, "redact": lambda text: text.replace("Alice", "<PERSON>")}
    if request.param == "memory":
        made = AuditLog(MemoryStore(), Keys.generate(ORIGIN), **options)
    else:
        made = AuditLog.open(tmp_path / "plane", origin=ORIGIN, **options)
    yield made
    made.close()


def trusted_keys(log):
    return [Verifier.parse(vkey) for vkey in log.keys.history]


def verify(log, **options):
    log.flush()
    return verify_log(log.store, log.origin, trusted_keys(log), **options)


def codings(text):
    """Return the byte strings under which ``text`` may stand in a file: eight encodings."""
    raw = text.encode()
    found = {
        "utf-8": [raw],
        "utf-16-le": [text.encode("utf-16-le")],
        "utf-16-be": [text.encode("utf-16-be")],
        "hex": [raw.hex().encode(), raw.hex().upper().encode()],
        "percent": [urllib.parse.quote(text, safe="").encode()],
        "json": [json.dumps(text)[1:-1].encode()],
        "reversed": [raw[::-1], text[::-1].encode()],
        "base64": [],
    }
    for offset in range(3):  # only those characters that no neighbour has a part in
        coded = base64.b64encode(b"\0" * offset + raw + b"\0" * (-(offset + len(raw)) % 3))
        stop = len(coded) - (4 if (offset + len(raw)) % 3 else 0)
        found["base64"].append(coded[4 if offset else 0 : stop])
    return found


def residue(folder, texts):
    """Return (file, coding) for every canary that is found in a file under ``folder``."""
    hits = []
    files = {p: p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}
    for text in texts:
        for name, patterns in codings(text).items():
            for path, data in files.items():
                hits += [(path.name, name) for pattern in patterns if pattern in data]
    return hits


def raw_bytes(folder):
    """Return all that the files of a plane hold, free pages and write-ahead logs included."""
    return b"".join(p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file())
