"""The request API: what one inference leaves, from its input over its steps to its decision."""

from __future__ import annotations

import contextlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any

from trustplane import canon
from trustplane.audit.log import seal
from trustplane.audit.log.entry import Content
from trustplane.audit.log.store import KeyRow
from trustplane.audit.log.writer import Ack
from trustplane.errors import InputError
from trustplane.step import MAX_TEXT, Step

if TYPE_CHECKING:
    from trustplane.audit.log.log import AuditLog

__all__ = ["Request", "current"]

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}\Z")
_current: ContextVar[Request | None] = ContextVar("trustplane_request", default=None)
_time_ns, _mono_ns = time.time_ns, time.monotonic_ns


RESERVED = ("boot/", "ledger/", "succession/")
"""Beginnings of ids that the log itself uses."""
PROMISE = "trustplane/promise/1"
"""First line of a promise: no checkpoint begins with it, since the origin of no log is called so."""
MAX_TTL_SECONDS = 100 * 365 * 86_400
MAX_CONTENT = 64 * 1024 * 1024
"""Largest content field, in bytes of canonical JSON."""


def _encodable(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


def current() -> Request | None:
    """Return the request that this thread or task is in."""
    return _current.get()


def new_id() -> str:
    """Return a request id that sorts by time."""
    return seal.new_key_id().hex()


class Request:
    """One inference: ``with log.request(input=..., purpose=..., subject=...) as r``.

    Each thread and each asyncio task has its own current request; one opened inside another carries its
    id as ``parent``. Leaving the block without a decision records that there was none.
    """

    __slots__ = (
        "__weakref__", "_ack", "_decided", "_decision", "_keys", "_log", "_redact", "_token", "boot", "expires_us",
        "id", "mode", "parent", "purpose", "steps", "subject",
    )  # fmt: skip

    def __init__(
        self, log: AuditLog, ident: str, *, mode: str, purpose: str, subject: str | None, parent: str,
        ttl_seconds: int, redact: Callable[[str], str] | None,
    ) -> None:  # fmt: skip
        if not isinstance(ident, str) or not _ID.match(ident) or ident.startswith(RESERVED):
            raise InputError(
                "a request_id is 1 to 128 letters, digits and ._:/-",
                hint="not beginning with boot/, ledger/ or succession/; it is not secret: put no names into it",
            )
        if not isinstance(purpose, str) or len(purpose) > MAX_TEXT or not _encodable(purpose):
            raise InputError(f"a purpose is a text of at most {MAX_TEXT} characters")
        if subject is not None and not (isinstance(subject, str) and subject.strip() and _encodable(subject)):
            raise InputError("a subject is a name, as text")
        if type(ttl_seconds) is not int or not 0 <= ttl_seconds <= MAX_TTL_SECONDS:
            raise InputError(f"a time to live is a whole number of seconds, 0 to {MAX_TTL_SECONDS}")
        self._log, self.id, self.mode, self.purpose, self.parent = log, ident, mode, purpose, parent
        self.subject, self._redact = subject, redact
        self.expires_us = _time_ns() // 1000 + ttl_seconds * 1_000_000 if mode == "sealed" else 0
        self.boot, self.steps = log.boot, 0
        self._keys: dict[str | None, tuple[bytes, bytes]] = {}
        self._token: Token[Request | None] | None = None
        self._ack: Ack | None = None
        self._decided = False
        self._decision = ("", "")

    def __repr__(self) -> str:
        return f"Request({self.id}, mode={self.mode})"

    def __enter__(self) -> Request:
        self._token = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        try:
            if not self._decided:
                self._finish("failed" if kind else "undecided", None, {"error": kind.__name__} if kind else {})
        finally:
            token, self._token = self._token, None
            if token is not None:
                with contextlib.suppress(ValueError):  # left in another thread or task than it was entered in
                    _current.reset(token)

    # ── content ─────────────────────────────────────────────────────────────────────────────────────

    def _content(self, values: dict[str, Any], subject: str | None) -> tuple[list[Any], list[KeyRow]]:
        """Check and prepare content fields; a subject met for the first time gets a secret of its own."""
        made: list[KeyRow] = []
        prepared = [(name, *self._kept(name, value)) for name, value in values.items() if value is not None]
        if subject is None:
            subject = self.subject
        found = self._keys.get(subject)
        if found is None:
            owner = self._log.owner_of(subject) if subject is not None else None
            found = self._keys[subject] = (seal.new_key_id(), secrets.token_bytes(32))
            made.append(KeyRow(*found, owner, self.id, self.expires_us or None))
        ident, secret = found
        contents = []
        for name, mode, committed, kept in prepared:
            ends = self.expires_us if mode == "sealed" else 0
            contents.append((Content(ident.hex(), mode, name, ends), (committed, kept), secret))
        return contents, made

    def _kept(self, name: str, value: Any) -> tuple[str, bytes, bytes | None]:
        """Return the mode of a field, the bytes it commits to, and what is kept of it."""
        try:
            committed = canon.dumps(value)
        except InputError as error:
            raise InputError(f"the {name} {error.message}", hint=error.hint) from None
        if len(committed) > MAX_CONTENT:
            raise InputError(f"the {name} is larger than {MAX_CONTENT} bytes", hint="log a digest of it")
        if name == "subject" or self.mode == "digest":
            return "digest", committed, None
        if self.mode == "redacted":
            assert self._redact is not None
            return "redacted", committed, canon.dumps(_each_text(value, self._redact))
        return self.mode, committed, committed

    # ── steps ───────────────────────────────────────────────────────────────────────────────────────

    def record(self, step: Step) -> None:
        """Add a step that holds no content; this is the port :data:`trustplane.ports.Record`."""
        if self._decided or type(step) is not Step:
            raise InputError("this request is decided already" if self._decided else "a step is a trustplane.Step")
        self._log.put(("step", step, self, _time_ns(), _mono_ns(), None, None, None))

    def step(
        self,
        action: str,
        result: Any = None,
        *,
        outcome: str = "done",
        subject: str | None = None,
        **facts: Any,
    ) -> None:
        """Add a step. ``result`` is content: it is committed to, and kept as the content mode says.

        ``outcome`` is a public word, ``facts`` are public integers, booleans and short words.
        ``subject``: whom the result is about, where that is not the request's own subject.

        Raises:
            InputError: a float, NaN or lone surrogate in ``result``, a bad fact; nothing was recorded.
        """
        if self._decided:
            raise InputError("this request is decided already", hint="its steps come before its decision")
        step = Step(action, outcome, facts=facts)
        if result is None:
            self.record(step)
            return
        contents, made = self._content({"result": result}, subject)
        self._log.put(("step", step, self, _time_ns(), _mono_ns(), contents, made, None))

    def decide(self, output: Any = None, *, outcome: str = "decided", **facts: Any) -> None:
        """Record the decision; ``output`` is content. A request is decided once."""
        if self._decided:
            raise InputError("this request is decided already")
        self._finish(outcome, output, facts)

    def _finish(self, outcome: str, output: Any, facts: dict[str, Any]) -> None:
        contents, made = self._content({"output": output}, None) if output is not None else (None, None)
        self._ack = Ack()
        self._decision = outcome, _keyed_digest(contents[0]) if contents else "none"
        step = Step("decision", outcome, facts=facts)
        self._log.put(("decision", step, self, _time_ns(), _mono_ns(), contents, made, self._ack))
        self._decided = True
        self._log.closed(self)

    def bind(self, subject: str) -> None:
        """Say whom a request is about that was opened without a subject."""
        if self.subject is not None:
            raise InputError("this request has a subject already")
        self._log.flush()
        if None in self._keys:
            self._log.store.bind(self._keys[None][0], self._log.owner_of(subject))
            self._keys[subject] = self._keys[None]
        self.subject = subject
        self.record(Step("subject.bind", "bound"))

    def opened(self, value: Any) -> None:
        """Write the first entry: the input and, where known, the subject."""
        values = {"input": value}
        if self.subject is not None:
            values["subject"] = self.subject
        contents, made = self._content(values, None)
        self._log.put(("open", Step("request", "opened"), self, _time_ns(), _mono_ns(), contents, made, None))

    def receipt(self, *, post_quantum: bool = False) -> str:
        """Wait until the decision is under a signed checkpoint; return the ``.tlog-proof`` that shows it.

        Who holds it can prove that the request was logged, also against the operator.
        """
        if self._ack is None:
            raise InputError("a receipt needs a decision", hint="call decide() first")
        self._ack.wait(60)
        return self._log.proof(self._ack.index, post_quantum=post_quantum).text

    def when_proved(self, call: Callable[[str, Exception | None], None]) -> None:
        """Call back, from another thread, with the receipt or with what failed; does not wait.

        All decisions that became durable meanwhile are proved under one checkpoint. ``call`` must neither wait nor
        raise.
        """
        if self._ack is None:
            raise InputError("a receipt needs a decision", hint="call decide() first")
        self._log.prover.prove(self._ack, call)

    def promise(self) -> str:
        """Return a signed note: the log promises that this decision is, or will be, in it; does not wait.

        Its lines: ``trustplane/promise/1``, origin, request id, outcome, and ``hmac-sha256:<hex>`` of the output
        under the request's secret (``none`` without output). Whoever holds it can hold it against the operator, who
        has to show the entry, and the secret for the output.
        """
        if self._ack is None:
            raise InputError("a promise needs a decision", hint="call decide() first")
        outcome, digest = self._decision
        body = f"{PROMISE}\n{self._log.origin}\n{self.id}\n{outcome}\n{digest}\n"
        return body + "\n" + self._log.keys.sign(body, post_quantum=False)

    @property
    def index(self) -> int:
        """The log index of the decision, once durable."""
        if self._ack is None:
            raise InputError("a request without a decision has no index yet")
        self._ack.wait(60)
        return self._ack.index


def _keyed_digest(content: Any) -> str:
    """Return the digest of a content field under the secret of its request: without it nothing can be guessed."""
    _content, (committed, _kept), secret = content
    return "hmac-sha256:" + hmac.digest(secret, PROMISE.encode() + b"\n" + committed, "sha256").hex()


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key): _each_text(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_each_text(item, change) for item in value]
    return value


def check_mode(mode: str, allowed: tuple[str, ...], redact: Any) -> str:
    """Return the content mode if the settings allow it.

    Raises:
        InputError: unknown, not allowed, or ``redacted`` without a redactor.
    """
    if mode not in seal.MODES:
        raise InputError(f"unknown content mode {mode!r}", hint="digest, redacted, sealed or plain")
    if mode != "digest" and mode not in allowed:
        raise InputError(
            f"content mode {mode} is not allowed here",
            hint=f'keeping content is a choice: content.allow = ["{mode}"]',
        )
    if mode == "redacted" and redact is None:
        raise InputError("content mode redacted needs a redactor", hint="trustplane.open() brings one with [guard]")
    return mode
