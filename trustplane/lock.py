"""A lock between processes: a file that one holder has at a time, given back by the system when it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trustplane.errors import StoreError

__all__ = ["held"]

_open: set[int] = set()
"""Descriptors of locks held now. A forked child shares them: unless it closes its copies, a lock whose holder
was killed would stay taken for as long as the child lives."""


def _close_inherited() -> None:
    while _open:
        os.close(_open.pop())


os.register_at_fork(after_in_child=_close_inherited)


@contextmanager
def held(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file ``path``; yields False where another has it and ``wait`` is false.

    Not for two threads of one process: put a thread lock around it.

    Raises:
        StoreError: the file cannot be made.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"a lock file cannot be used: {error.strerror}") from None
    _open.add(handle)
    taken = False
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            taken = True
        except BlockingIOError:
            pass
        yield taken
    finally:
        if handle in _open:  # not in a child that was forked meanwhile
            _open.discard(handle)
            if taken:
                fcntl.flock(handle, fcntl.LOCK_UN)
            os.close(handle)
