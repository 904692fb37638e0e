"""Where results go: standard output or a file, written so that a failed run harms nothing and a killed one goes on."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from trustplane.cli.texts import Source
from trustplane.errors import InputError, StoreError, TrustplaneError

__all__ = ["Sink", "check_out", "disk_trouble", "writing"]

SAVE_RECORDS = 500
SAVE_SECONDS = 2.0
"""After so many records or seconds what is done is forced to disk."""
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def disk_trouble(error: OSError) -> bool:
    """Whether a disk is full or broken, rather than a name wrong."""
    return error.errno in _DISK


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn what goes wrong while ``what`` is written into an error of ours; a closed pipe stays what it is.

    Raises:
        StoreError: the disk is full or broken.
        InputError: the name cannot be written to.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        kind = StoreError if disk_trouble(error) else InputError
        raise kind(f"{what} cannot be written: {error.strerror}") from None


def check_out(file: str, out: str, *kept: str) -> None:
    """Refuse an output that is the input, or a file that the run keeps such as its vault; nothing is touched.

    ``kept``: names that the run will write besides, ``""`` for none.

    Raises:
        InputError: two of them are one file.
    """
    given = _stat(file) if file != "-" else _stat_of(sys.stdin)
    target = _stat(out) if out else _stat_of(sys.stdout)
    if given is not None and target is not None and os.path.samestat(given, target) and stat.S_ISREG(given.st_mode):
        raise InputError("the output is the input", hint="name another file with -o; then rename it")
    names = [name for name in (file if file != "-" else "", out, out and out + ".resume", *kept) if name]
    if len({_place(name) for name in names}) != len(names):
        raise InputError("the input, the output, the vault and the key are not different files")


def _place(name: str) -> object:
    found = _stat(name)
    if found is None or not stat.S_ISREG(found.st_mode):
        return os.path.realpath(name) if found is None else object()
    return found.st_dev, found.st_ino


def _stat(name: str) -> os.stat_result | None:
    try:
        return Path(name).stat()
    except (OSError, ValueError):
        return None


def _stat_of(stream: Any) -> os.stat_result | None:
    try:
        return os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return None


class Sink:
    """Where results go: standard output, or a file whose finished part survives a kill.

    ``whole``: the result is one text, which appears in the file when it is complete and not before. Else the file
    is opened at the first record, and beside it ``OUT.resume`` says how far input and output are done: offsets, a
    digest of the input's done part and of the settings, nothing else. It is gone when the run is complete.
    ``before_save``: makes safe what undoes pseudonyms; it runs before any of them leaves.

    A context: leaving it with an error gives out the records that are done, and drops an unfinished whole.
    """

    def __init__(
        self,
        out: str,
        settings: str,
        *,
        resume: bool,
        source: Source,
        before_save: Callable[[], None] | None = None,
        whole: bool = False,
    ) -> None:
        self._out = Path(out) if out else None
        self._settings, self._source, self._before_save = settings, source, before_save
        self._whole = whole
        self._state_path = Path(out + ".resume")
        self.done, self.state = 0, dict[str, Any]()
        self._saved = (0, time.monotonic())
        self._file: BinaryIO | None = None
        self._temporary: Path | None = None
        self._waiting: list[bytes] = []
        if self._out is None:
            sys.stdout.flush()
            self._file = sys.stdout.buffer
        elif resume and not whole and self._state_path.exists():
            with writing("the output"):
                self._file = self._out.open("r+b")
            try:
                self._go_on(self._file)
            except BaseException:
                self._file.close()
                raise

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None:
            self.close()
        elif isinstance(error, TrustplaneError) and not isinstance(error, StoreError) and self._waiting:
            self._give()
        if self._out is not None and self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)

    def _go_on(self, file: BinaryIO) -> None:
        try:
            found = json.loads(self._state_path.read_bytes())
            offset, digest, end, self.done = (found[k] for k in ("in_bytes", "in_sha256", "out_bytes", "records"))
            settings, self.state = found["settings"], found["state"]
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError("the .resume file is damaged", hint="start again without --resume") from None
        if settings != self._settings:
            raise InputError("the run began with other settings", hint="start again without --resume")
        if file.seek(0, os.SEEK_END) < end:
            raise InputError("the output was shortened since", hint="start again without --resume")
        self._source.skip(offset, digest)
        file.truncate(end)
        file.seek(end)

    def _opened(self) -> BinaryIO:
        """Return the output, opened now if it is not yet."""
        if self._file is None:
            assert self._out is not None
            self._state_path.unlink(missing_ok=True)
            self._file = self._beside(self._out) if self._whole else self._out.open("wb")
        return self._file

    def _beside(self, out: Path) -> BinaryIO:
        """Open a file that will take the place of ``out``; what is no regular file is written to itself."""
        target = Path(os.path.realpath(out))
        if target.exists() and not target.is_file():
            return target.open("wb")
        made = target.with_name(f".{target.name}-{os.getpid()}-{secrets.token_hex(4)}")
        handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        self._temporary = made
        if target.exists():
            with contextlib.suppress(OSError):
                os.fchmod(handle, stat.S_IMODE(target.stat().st_mode))
        return os.fdopen(handle, "wb")

    def write(self, text: str) -> None:
        """Write the result of one record.

        Raises:
            InputError: it holds what UTF-8 cannot carry.
            StoreError: the disk is full or broken.
        """
        try:
            data = text.encode()
        except UnicodeEncodeError:
            raise InputError("the result holds a lone surrogate, which UTF-8 cannot carry") from None
        if self._out is None and self._before_save is not None:
            self._waiting.append(data)
            return
        with writing("the output"):
            self._opened().write(data)

    def next(self) -> None:
        """Count a record as done, and save now and then."""
        self.done += 1
        records, at = self._saved
        if self.done - records >= SAVE_RECORDS or time.monotonic() - at > SAVE_SECONDS:
            self._give() if self._out is None else self._save()

    def _give(self) -> None:
        """Write to standard output what is done, once that which undoes it is safe."""
        if self._before_save is not None:
            self._before_save()
        assert self._file is not None
        with writing("the output"):
            self._file.write(b"".join(self._waiting))
            self._waiting.clear()
            self._file.flush()
        self._saved = (self.done, time.monotonic())

    def _save(self) -> None:
        if self._before_save is not None:
            self._before_save()  # what undoes pseudonyms is safe before the pseudonyms are
        with writing("the output"):
            file = self._opened()
            file.flush()
            _sync(file)
            self._saved = (self.done, time.monotonic())
            if self._whole or not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return
            state = {
                "in_bytes": self._source.offset,
                "in_sha256": self._source.digest.hexdigest(),
                "out_bytes": file.tell(),
                "records": self.done,
                "settings": self._settings,
                "state": self.state,
            }
            made = self._state_path.with_name(self._state_path.name + ".new")
            with made.open("wb") as beside:
                beside.write(json.dumps(state).encode())
                beside.flush()
                os.fsync(beside.fileno())
            made.replace(self._state_path)

    def close(self) -> None:
        """Force everything to disk; the run is complete.

        Raises:
            StoreError: the disk is full or broken.
        """
        if self._out is None:
            self._give()
            return
        if self._before_save is not None:
            self._before_save()
        with writing("the output"):
            file = self._opened()
            file.flush()
            _sync(file)
            file.close()
            if self._temporary is not None:
                self._temporary.replace(os.path.realpath(self._out))
                self._temporary = None
            self._state_path.unlink(missing_ok=True)


def _sync(file: BinaryIO) -> None:
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno != errno.EINVAL:  # a pipe or a terminal has nothing to force
            raise
