"""The plane: settings become a log, keys, a ledger, a guard; the one place where parts are put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from trustplane.audit.log.log import AuditLog
from trustplane.audit.log.request import Request
from trustplane.errors import InputError
from trustplane.settings import Settings, load
from trustplane.step import Step

if TYPE_CHECKING:
    from trustplane.guard.text import TextGuard
    from trustplane.lineage.embedded import EmbeddedLedger
    from trustplane.privacy.accounting import RenyiAccountant

__all__ = ["Plane", "open"]

SETTINGS_FILE = "plane.toml"
DEFAULT_FOLDER = "trustplane-plane"


class Plane:
    """One folder, one log, one ledger. Each part is a plain object that also works alone.

    ``log``: the audit log. ``ledger``: datasets, uses, budgets. ``guard``: the text guard. The last two are
    made when first asked for. Use it as a context manager, or call :meth:`close`.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        content = settings.content
        wants_redactor = content.mode == "redacted" or "redacted" in content.allow
        self.log = AuditLog.open(
            folder,
            origin=settings.log.origin,
            post_quantum=settings.log.post_quantum,
            mode=content.mode,
            allow=content.allow,
            ttl_seconds=content.ttl_seconds,
            redact=self._redact if wants_redactor else None,
            checkpoint_seconds=settings.log.checkpoint_seconds,
            queue_steps=settings.log.queue_steps,
        )

    def __repr__(self) -> str:
        return f"Plane({self.log.origin})"

    def __enter__(self) -> Plane:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is queued, sign a last checkpoint, release the files."""
        if "ledger" in self.__dict__:
            self.ledger.close()
        self.log.close()

    # ── parts ───────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def accountant(self) -> RenyiAccountant:
        """What mechanisms cost, and what limits allow."""
        from trustplane.privacy.accounting import RenyiAccountant

        return RenyiAccountant()

    @cached_property
    def ledger(self) -> EmbeddedLedger:
        """The embedded ledger; LedgerError where its file is not what the log says."""
        from trustplane.lineage.embedded import EmbeddedLedger

        return EmbeddedLedger(self.folder / "ledger.db", journal=self.log, accountant=self.accountant)

    def rebuild_ledger(self) -> EmbeddedLedger:
        """Make the ledger's file anew from the log; the rebuilding is a step itself."""
        from trustplane.lineage.embedded import EmbeddedLedger

        if "ledger" in self.__dict__:
            self.ledger.close()
        made = EmbeddedLedger.rebuild(self.folder / "ledger.db", journal=self.log, accountant=self.accountant)
        self.__dict__["ledger"] = made
        self.log.append(Step("ledger.rebuild", "rebuilt"))
        return made

    @cached_property
    def guard(self) -> TextGuard:
        """The text guard with this plane's settings; its steps go into the log."""
        from trustplane.guard.text import TextGuard

        guard = self.settings.guard
        return TextGuard(languages=guard.languages, threshold=guard.threshold_milli / 1000, record=self.record)

    def _redact(self, text: str) -> str:
        return self.guard.mask(text)

    # ── words ───────────────────────────────────────────────────────────────────────────────────────

    @property
    def record(self) -> Callable[[Step], None]:
        """The port that every producer of steps takes."""
        return self.log.record

    def request(self, request_id: str | None = None, **options: Any) -> Request:
        """Open a request; see :meth:`trustplane.audit.log.log.AuditLog.request`."""
        return self.log.request(request_id, **options)

    def open_request(self, request_id: str, *, purpose: str, input: Any) -> Request:  # noqa: A002
        """Open a request as the proxy asks for it."""
        return self.log.request(request_id, purpose=purpose, input=input)

    def proxy_app(self, upstreams: Mapping[str, str], **options: Any) -> Any:
        """Return the filtering proxy as an ASGI application."""
        from trustplane.guard.proxy import build_app

        self.guard.warm_up()  # the first request must not wait for tables, within its time limit
        return build_app(
            upstreams=upstreams,
            guard=self.guard,
            open_request=self.open_request,
            settings=self.settings.proxy,
            **options,
        )


def open(  # noqa: A001 - trustplane.open is the name
    path: str | Path | None = None, *, environ: Mapping[str, str] | None = None, **arguments: Mapping[str, Any]
) -> Plane:
    """Open or create the plane in folder ``path``.

    ``arguments``: sections of settings, such as ``content={"mode": "sealed", "allow": ["sealed"]}``; they win
    over ``TRUSTPLANE_*`` variables, which win over ``plane.toml`` in the folder.

    Raises:
        InputError: a bad setting. StoreError: the folder cannot be used.
    """
    folder = Path(DEFAULT_FOLDER if path is None else path)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder.name} is not a folder", hint="a plane is a folder of its own")
    settings = load(folder / SETTINGS_FILE, environ=environ, arguments=arguments)
    return Plane(folder, settings)
