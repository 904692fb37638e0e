"""A file written whole or not at all, readable by its owner only."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

__all__ = ["write_private"]


def write_private(path: Path, data: bytes, *, new: bool = False) -> bool:
    """Write ``data`` to ``path`` in one step, mode 0600, on the disk when this returns.

    A reader, or whoever comes after a crash, sees the old file or the new one. ``new``: leave a file that
    is already there as it is, so that of several processes the first one wins; returns whether ours is there.

    Raises:
        OSError: it cannot be written (a full disk included); ``path`` is then as it was.
    """
    temporary = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    written = True
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if new:
            try:
                os.link(temporary, path)
            except FileExistsError:
                written = False
            temporary.unlink()
        else:
            temporary.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return written
