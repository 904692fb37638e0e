"""One contract for every store: what Store promises, held against the memory store and the SQLite store."""

import multiprocessing
import os
import threading

import pytest

from trustplane.audit.log.sqlite import SqliteStore
from trustplane.audit.log.store import Batch, ContentRow, Head, KeyRow, Store
from trustplane.errors import StoreError


def batch(size, *requests, keys=(), contents=()):
    parts = b"\n".join(b"%d" % i for i in range(size))
    return Batch(size, parts, os.urandom(16 * size), b"", os.urandom(32 * size), requests or ("r",), keys, contents)


def key(number, owner=None, expires=None):
    return KeyRow(number.to_bytes(16, "big"), os.urandom(32), owner, f"r{number}", expires)


def test_entries_come_back_in_order_and_are_found_by_request(store: Store):
    assert store.size() == 0 and list(store.rows(0, 10)) == [] and store.find("r") == []
    batches = [batch(3, "a"), batch(1, "a", "b"), batch(200, "b")]
    assert [store.append(b) for b in batches] == [0, 3, 4]
    assert store.size() == 204
    rows = list(store.rows(0, 204))
    assert [(r.first, r.size) for r in rows] == [(0, 3), (3, 1), (4, 200)]
    assert [(r.publics, r.salts, r.leaves) for r in rows] == [(b.publics, b.salts, b.leaves) for b in batches]
    assert store.find("a") == [0, 3] and store.find("b") == [3, 4] and store.find("c") == []
    # a row comes whole when the range touches it, and only then
    for start, stop, firsts in [(0, 1, [0]), (2, 4, [0, 3]), (3, 4, [3]), (100, 101, [4]), (204, 999, []), (0, 0, [])]:
        assert [r.first for r in store.rows(start, stop) if r.first + r.size > start] == firsts, (start, stop)


def test_many_rows_are_read_in_order(store: Store):
    for _ in range(150):
        store.append(batch(2))
    assert [r.first for r in store.rows(0, 10**9)] == list(range(0, 300, 2))


def test_the_tree_head_tiles_and_checkpoints(store: Store):
    assert store.head() is None and store.tile(0, 0) == b"" and store.checkpoints() == []
    store.append(batch(5))
    store.save_head(Head(2, b"r" * 32), {(0, 0): b"a" * 64}, None)
    assert store.head() == Head(2, b"r" * 32) and store.checkpoints() == []
    store.save_head(Head(5, b"s" * 32), {(0, 0): b"b" * 160, (1, 3): b"c" * 32}, ("note one", 1_000_000))
    assert (store.tile(0, 0), store.tile(1, 3)) == (b"b" * 160, b"c" * 32)
    assert store.checkpoints() == [(5, "note one", 1_000_000)]
    store.save_head(Head(5, b"s" * 32), {}, ("note again", 2_000_000))
    assert store.checkpoints() == [(5, "note again", 2_000_000)]
    store.append(batch(1))
    store.save_head(Head(6, b"t" * 32), {}, ("note two", 100_000_000))
    assert [c[0] for c in store.checkpoints()] == [5, 6]


def test_meta_values_keep_their_first_default(store: Store):
    assert store.meta("m") is None
    assert store.meta("m", "one") == "one" == store.meta("m", "two") == store.meta("m")
    store.set_meta("m", "three")
    assert store.meta("m", "four") == "three"


def test_secrets_are_found_bound_and_destroyed_with_their_content(store: Store):
    one, two, three = key(1, b"o" * 32), key(2), key(3, b"o" * 32)
    rows = [ContentRow(k.id, 0, "input", "plain", b"kept") for k in (one, two, three)]
    store.append(batch(1, keys=[one, two, three], contents=rows))
    assert store.key(one.id) == one and store.key(two.id) == two and store.key(b"x" * 16) is None
    assert sorted(store.keys_of(b"o" * 32)) == [one, three] and store.keys_of(b"p" * 32) == []
    store.bind(two.id, b"p" * 32)
    assert store.keys_of(b"p" * 32) == [two._replace(owner=b"p" * 32)]
    with pytest.raises(StoreError):
        store.bind(b"x" * 16, b"p" * 32)
    assert store.content(one.id, 0, "input") == rows[0] and store.content(one.id, 1, "input") is None
    assert store.destroy([one.id, three.id]) == 2
    assert store.key(one.id) is None and store.content(one.id, 0, "input") is None and not store.keys_of(b"o" * 32)
    assert store.content(two.id, 0, "input") == rows[1]
    assert store.destroy([one.id]) == 0
    with pytest.raises(StoreError):
        store.bind(one.id, b"p" * 32)


def test_nothing_destroyed_comes_back(store: Store):
    gone = key(1, b"o" * 32)
    row = ContentRow(gone.id, 0, "input", "plain", b"kept")
    store.append(batch(1, keys=[gone], contents=[row]))
    store.destroy([gone.id])
    store.append(batch(1, keys=[gone], contents=[row]))  # a writer that tries its batch again
    assert store.key(gone.id) is None and store.content(gone.id, 0, "input") is None
    assert store.keys_of(b"o" * 32) == [] and store.expired(2**60) == []


def test_expired_secrets(store: Store):
    keys = [key(1, expires=100), key(2, expires=200), key(3)]
    store.append(batch(1, keys=keys))
    assert store.expired(99) == [] and store.expired(100) == [keys[0].id]
    assert sorted(store.expired(10**9)) == [keys[0].id, keys[1].id]
    store.destroy([keys[0].id])
    assert store.expired(150) == []


def test_the_index_key_is_one_and_random(store: Store):
    assert len(store.index_key()) == 32 and store.index_key() == store.index_key() != bytes(32)


def test_only_one_thread_builds_the_tree(store: Store):
    seen = []

    def other():
        with store.integration(wait=False) as held:
            seen.append(held)

    with store.integration(wait=True) as held:
        assert held
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    other()
    assert seen == [False, True]


def test_threads_append_without_gaps(store: Store):
    firsts, lock = [], threading.Lock()

    def work():
        for _ in range(25):
            first = store.append(batch(2))
            with lock:
                firsts.append(first)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(firsts) == list(range(0, 200, 2))


def _hold(folder, taken, leave):
    store = SqliteStore(folder)
    with store.integration(wait=True):
        taken.set()
        leave.wait(10)
    store.close()


def test_only_one_process_builds_the_tree(tmp_path):
    context = multiprocessing.get_context("spawn")
    taken, leave = context.Event(), context.Event()
    store = SqliteStore(tmp_path)
    child = context.Process(target=_hold, args=(tmp_path, taken, leave))
    child.start()
    assert taken.wait(20)
    with store.integration(wait=False) as held:
        assert not held
    leave.set()
    child.join(10)
    with store.integration(wait=False) as held:
        assert held
    store.close()


def test_files_are_for_their_owner_only(tmp_path):
    store = SqliteStore(tmp_path)
    store.append(batch(1, keys=[key(1)]))
    for name in ("log.db", "keys.db", "content.db", "commit.lock"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0, name
    store.close()


def test_a_damaged_file_is_a_store_error(tmp_path):
    (tmp_path / "log.db").write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(StoreError) as caught:
        SqliteStore(tmp_path)
    assert "damaged" in caught.value.message and caught.value.exit_code == 4
