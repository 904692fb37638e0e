"""A file is the old one or the new one, whatever happens."""

import multiprocessing
import resource
import signal
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from trustplane.files import write_private


def test_replaces_in_one_step_for_its_owner_only(tmp_path):
    path = tmp_path / "a.json"
    assert write_private(path, b"one") and write_private(path, b"two")
    assert path.read_bytes() == b"two" and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_of_many_that_write_a_new_file_one_wins(tmp_path):
    path = tmp_path / "key"
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda i: write_private(path, b"%d" % i, new=True), range(40)))
    assert won.count(True) == 1 and path.read_bytes() == b"%d" % won.index(True)
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def _write_past_a_limit(path):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    with pytest.raises(OSError):
        write_private(path, b"x" * 5000)


def test_a_disk_that_takes_a_part_only_leaves_the_old_file(tmp_path):
    path = tmp_path / "seen.json"
    write_private(path, b"old")
    child = multiprocessing.get_context("spawn").Process(target=_write_past_a_limit, args=(path,))
    child.start()
    child.join()
    assert child.exitcode == 0 and path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["seen.json"]
