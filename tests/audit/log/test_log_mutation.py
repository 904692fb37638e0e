"""Every cell of a stored log is changed at random: verification names the entry and the cause.

What cannot be noticed in the files alone, and why:

- ``places``: an index over the entries, derived; a verifier never reads it
- ``meta``: the mode that was logged last, only a memory that decides whether opening logs a change
- ``checkpoints.wall_us``, and rows of ``checkpoints`` that are gone: the operator thins them out himself;
  only what someone else keeps (a receipt, a witness) can show it: ``verify_against``
- of two signatures on one checkpoint, one that is made unreadable: one trusted signature is enough
- ``keys.owner`` and ``keys.request``: the subject index; and secrets that guard nothing but a commitment:
  without one a field is as after an erasure
- ``content`` rows that no entry names
- entries added after the newest checkpoint that are whole requests: they are reported as not signed
"""

import random
import shutil
import sqlite3

import pytest
from conftest import EVERY_MODE, ORIGIN

from trustplane.audit.log.keys import Keys
from trustplane.audit.log.log import AuditLog
from trustplane.audit.log.note import Verifier
from trustplane.audit.log.sqlite import SqliteStore
from trustplane.audit.log.verify import verify_log
from trustplane.errors import TrustplaneError, VerificationError
from trustplane.step import Step

CAUSES = {
    "publics": {"leaf-mismatch", "batch-form", "public-form"},
    "salts": {"leaf-mismatch", "batch-form"},
    "commitments": {"leaf-mismatch", "batch-form"},
    "leaves": {"leaf-mismatch", "batch-form"},
    "first": {"sequence", "truncated"},
    "count": {"batch-form", "sequence", "truncated"},
    "hashes": {"tile"},
    "size": {"head", "truncated", "root-mismatch", "tile"},
    "root": {"head"},
    "note": {"note-form", "signature", "unsigned", "checkpoint-form", "root-mismatch", "origin", "truncated"},
    "secret": {"field-mismatch", "sealed-content"},
    "value": {"field-mismatch", "sealed-content"},
    "mode": {"content-mode"},
}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original") / "plane"
    log = AuditLog.open(folder, origin=ORIGIN, allow=EVERY_MODE, redact=str.upper)
    for i in range(120):
        with log.request(f"r{i}", input=f"in {i}", subject=f"p{i % 9}", mode=("digest", *EVERY_MODE)[i % 4]) as r:
            r.step("work", {"i": i}, part=i)
            r.record(Step("note", facts={"i": i}))
            r.decide(f"out {i}")
        if i % 5 == 0:
            log.flush()
        if i % 40 == 39:
            log.checkpoint()
    log.erase("p3")
    log.rotate()
    log.record(Step("last"))
    log.checkpoint()
    log.close()
    return folder


def check(folder):
    store = SqliteStore(folder)
    try:
        keys = Keys.open(folder / "signing", ORIGIN)
        return verify_log(store, ORIGIN, [Verifier.parse(vkey) for vkey in keys.history])
    finally:
        store.close()


class Copy:
    """A copy of the log that gets damaged."""

    def __init__(self, original, folder):
        self.folder = folder
        shutil.copytree(original, folder)

    def run(self, database, sql, values=()):
        connection = sqlite3.connect(self.folder / f"{database}.db", isolation_level=None)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def refused(self, causes, low=None, high=None):
        with pytest.raises(VerificationError) as caught:
            check(self.folder)
        assert caught.value.cause in causes, caught.value.cause
        assert caught.value.exit_code == 5
        if low is not None:
            assert low <= caught.value.index < high, (caught.value.index, low, high)
        shutil.rmtree(self.folder)
        return caught.value


@pytest.fixture
def damage(original, tmp_path):
    numbers = iter(range(10**6))
    return lambda: Copy(original, tmp_path / f"copy-{next(numbers)}")


def flipped(value, rng):
    """Change one value a little."""
    if isinstance(value, int):
        return value + rng.choice([-1, 1])
    data = bytearray(value.encode() if isinstance(value, str) else value)
    kind = rng.randrange(4)
    at = rng.randrange(len(data))
    if kind == 0:
        data[at] ^= 1 << rng.randrange(7)
    elif kind == 1:
        del data[at]
    elif kind == 2:
        data.insert(at, rng.randrange(32, 127))
    else:
        data = data[:at]
    if bytes(data) == (value.encode() if isinstance(value, str) else value):
        data[at] ^= 1
    return data.decode("utf-8", "replace") if isinstance(value, str) else bytes(data)


def test_no_alarm_on_an_untouched_log(original, tmp_path):
    for i in range(5):
        shutil.copytree(original, tmp_path / str(i))
        result = check(tmp_path / str(i))
        assert result.size == result.signed > 512 and result.requests == 120 and result.checkpoints >= 2
        assert result.contents > 100 and result.open_requests == 0


@pytest.mark.parametrize("column", ["publics", "salts", "commitments", "leaves", "first", "count"])
def test_cells_of_batches(damage, column):
    rng = random.Random(column)
    for _ in range(12):
        copy = damage()
        first, count, value = rng.choice(
            copy.run("log", f"SELECT first, count, {column} FROM batches WHERE length({column}) > 0")
        )
        copy.run("log", f"UPDATE OR REPLACE batches SET {column} = ? WHERE first = ?", (flipped(value, rng), first))
        if column in ("first", "count"):
            copy.refused(CAUSES[column])
        else:
            copy.refused(CAUSES[column], first, first + count)


def test_one_flipped_bit_is_found_at_its_entry(damage):
    """Where the form stays intact, the index is exact."""
    rng = random.Random(1)
    for _ in range(15):
        copy = damage()
        first, count, salts = rng.choice(copy.run("log", "SELECT first, count, salts FROM batches"))
        entry = rng.randrange(count)
        data = bytearray(salts)
        data[entry * 16 + rng.randrange(16)] ^= 1 << rng.randrange(8)
        copy.run("log", "UPDATE batches SET salts = ? WHERE first = ?", (bytes(data), first))
        copy.refused({"leaf-mismatch"}, first + entry, first + entry + 1)


def test_cells_of_the_tree(damage):
    rng = random.Random(2)
    for place in [(0, 0), (0, 1), (0, 2), (1, 0)] * 3:
        copy = damage()
        ((value,),) = copy.run("log", "SELECT hashes FROM tiles WHERE level = ? AND idx = ?", place)
        copy.run("log", "UPDATE tiles SET hashes = ? WHERE level = ? AND idx = ?", (flipped(value, rng), *place))
        copy.refused({"tile"}, place[1] * 256, place[1] * 256 + 1)
    for column in ("size", "root"):
        for _ in range(6):
            copy = damage()
            ((value,),) = copy.run("log", f"SELECT {column} FROM head")
            copy.run("log", f"UPDATE head SET {column} = ?", (flipped(value, rng),))
            copy.refused(CAUSES[column])


def test_cells_of_checkpoints(damage):
    rng = random.Random(3)
    for _ in range(20):
        copy = damage()
        size, note = rng.choice(copy.run("log", "SELECT size, note FROM checkpoints"))
        body, _, signatures = note.partition("\n\n")
        if rng.random() < 0.5:
            changed = flipped(body, rng) + "\n\n" + signatures
        else:  # every signature, past its key id
            lines = [
                line[:-9] + ("AAAA" if line[-9:-5] != "AAAA" else "BBBB") + line[-5:]
                for line in signatures.split("\n")
                if line
            ]
            changed = body + "\n\n" + "\n".join(lines) + "\n"
        copy.run("log", "UPDATE checkpoints SET note = ? WHERE size = ?", (changed, size))
        copy.refused(CAUSES["note"])
    copy = damage()
    copy.run("log", "UPDATE checkpoints SET size = size - 1 WHERE size = (SELECT max(size) FROM checkpoints)")
    copy.refused({"root-mismatch", "head"})


@pytest.mark.parametrize("column", ["value", "mode"])
def test_cells_of_content(damage, column):
    rng = random.Random(column)
    for _ in range(10):
        copy = damage()
        key, step, name, value = rng.choice(copy.run("content", f"SELECT key, step, name, {column} FROM content"))
        copy.run(
            "content",
            f"UPDATE content SET {column} = ? WHERE key = ? AND step = ? AND name = ?",
            (flipped(value, rng), key, step, name),
        )
        copy.refused(CAUSES[column])


def test_secrets_of_kept_content(damage):
    rng = random.Random(4)
    kept = [k for (k,) in damage().run("content", "SELECT DISTINCT key FROM content")]
    for ident in rng.sample(kept, 8):
        copy = damage()
        ((value,),) = copy.run("keys", "SELECT secret FROM keys WHERE id = ?", (ident,))
        copy.run("keys", "UPDATE keys SET secret = ? WHERE id = ?", (flipped(value, rng), ident))
        copy.refused(CAUSES["secret"])


def test_rows_are_dropped_swapped_and_doubled(damage):
    rng = random.Random(6)
    for _ in range(6):
        copy = damage()
        first, _count = rng.choice(copy.run("log", "SELECT first, count FROM batches"))
        copy.run("log", "DELETE FROM batches WHERE first = ?", (first,))
        error = copy.refused({"sequence", "truncated"})
        assert error.index == first
    for column in ("publics", "salts", "leaves"):
        copy = damage()
        rows = copy.run("log", f"SELECT first, {column} FROM batches WHERE count > 1")
        (one, left), (two, right) = rng.sample(rows, 2)
        copy.run("log", f"UPDATE batches SET {column} = ? WHERE first = ?", (right, one))
        copy.run("log", f"UPDATE batches SET {column} = ? WHERE first = ?", (left, two))
        copy.refused({"leaf-mismatch", "batch-form"})
    copy = damage()  # two batches of the same size change places entirely
    rows = copy.run("log", "SELECT first, count, publics, salts, commitments, leaves FROM batches")
    pairs = [(a, b) for a in rows for b in rows if a[0] < b[0] and a[1] == b[1]]
    one, two = rng.choice(pairs)
    for at, row in ((one[0], two), (two[0], one)):
        copy.run(
            "log",
            "UPDATE batches SET publics = ?, salts = ?, commitments = ?, leaves = ? WHERE first = ?",
            (*row[2:], at),
        )
    copy.refused({"step-gap", "tile", "root-mismatch"})
    copy = damage()  # a batch again at the end: every hash fits, its steps do not
    end = rows[-1][0] + rows[-1][1]
    copy.run("log", "INSERT INTO batches VALUES (?,?,?,?,?,?)", (end, *rng.choice(rows)[1:]))
    try:
        result = check(copy.folder)
        assert result.signed == end < result.size  # whole requests again, as if their ids were used again
    except VerificationError as error:
        assert error.cause in {"step-gap", "succession"} and error.index >= end
    for sql in (
        "DELETE FROM tiles WHERE level = 0 AND idx = 1",
        "DELETE FROM tiles WHERE level = 1",
        "DELETE FROM head",
    ):
        copy = damage()
        copy.run("log", sql)
        copy.refused({"tile", "head"})
    for _ in range(4):
        copy = damage()
        key, step, name = rng.choice(copy.run("content", "SELECT key, step, name FROM content"))
        copy.run("content", "DELETE FROM content WHERE key = ? AND step = ? AND name = ?", (key, step, name))
        copy.refused({"content-missing"})
    copy = damage()
    (one, _), (_, right) = rng.sample(copy.run("content", "SELECT key, value FROM content WHERE step = 0"), 2)
    copy.run("content", "UPDATE content SET value = ? WHERE key = ? AND step = 0", (right, one))
    copy.refused({"sealed-content"})


def test_entries_within_a_batch_change_places(damage):
    rng = random.Random(8)
    copy = damage()
    rows = copy.run("log", "SELECT first, publics, salts, leaves FROM batches WHERE count > 3 AND commitments = x''")
    rows = rows or copy.run("log", "SELECT first, publics, salts, leaves FROM batches WHERE count > 3")
    first, publics, salts, leaves = rng.choice(rows)
    lines = publics.split(b"\n")
    lines[0], lines[1] = lines[1], lines[0]
    salts = salts[16:32] + salts[:16] + salts[32:]
    leaves = leaves[32:64] + leaves[:32] + leaves[64:]
    copy.run(
        "log",
        "UPDATE batches SET publics = ?, salts = ?, leaves = ? WHERE first = ?",
        (b"\n".join(lines), salts, leaves, first),
    )
    copy.refused({"leaf-mismatch", "step-gap", "tile", "batch-form", "root-mismatch"})


def test_a_log_rewritten_without_the_key_is_not_signed(damage, tmp_path):
    """Whoever rewrites entries and recomputes every hash fails at the signatures; without them nothing is signed."""
    copy = damage()
    ((first, publics, salts),) = copy.run(
        "log", "SELECT first, publics, salts FROM batches WHERE commitments = x'' AND count = 1 LIMIT 1"
    )
    from trustplane.audit.log.entry import entry_hash

    changed = publics.replace(b'"wall_us":1', b'"wall_us":2')
    assert changed != publics
    copy.run(
        "log",
        "UPDATE batches SET publics = ?, leaves = ? WHERE first = ?",
        (changed, entry_hash(changed, salts, []), first),
    )
    for sql in ("DELETE FROM head", "DELETE FROM tiles"):
        copy.run("log", sql)
    with pytest.raises(VerificationError):
        check(copy.folder)
    copy.run("log", "DELETE FROM checkpoints")
    result = check(copy.folder)
    assert result.signed == 0 < result.size


def test_damage_to_the_file_itself_is_an_error_too(damage):
    rng = random.Random(9)
    for _ in range(10):
        copy = damage()
        path = copy.folder / "log.db"
        data = bytearray(path.read_bytes())
        start = rng.randrange(4096, len(data) - 512)
        data[start : start + 512] = rng.randbytes(512)
        path.write_bytes(data)
        try:
            check(copy.folder)
        except TrustplaneError as error:
            assert error.exit_code in (4, 5)  # damaged, or wrong
        shutil.rmtree(copy.folder)
