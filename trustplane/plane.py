"""The plane: settings become a log, keys, a ledger, a guard; the one place where parts are put together."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from trustplane.audit.log.log import AuditLog
from trustplane.audit.log.request import Request
from trustplane.errors import InputError, StoreError
from trustplane.files import write_private
from trustplane.settings import GuardSettings, Settings, load
from trustplane.step import Step

if TYPE_CHECKING:
    from trustplane.audit.review import SqliteReviews
    from trustplane.guard.proxy.faces.access import Access
    from trustplane.guard.proxy.faces.app import ProxyApp
    from trustplane.guard.proxy.gate import Gate
    from trustplane.guard.text import TextGuard
    from trustplane.guard.text.policy import Direction, Policy
    from trustplane.lineage.embedded import EmbeddedLedger
    from trustplane.privacy.accounting import RenyiAccountant

__all__ = ["Plane", "open"]

SETTINGS_FILE = "plane.toml"
KEY_FILE = "proxy.key"
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

    @cached_property
    def reviews(self) -> SqliteReviews:
        """Requests that wait for a person, and the decisions on them."""
        from trustplane.audit.review import SqliteReviews

        seconds = self.settings.proxy.ticket_seconds
        return SqliteReviews(self.folder / "review.db", journal=self.log, ticket_seconds=seconds)

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

    @property
    def open_request(self) -> LogRequests:
        """Opens requests as the proxy asks for it."""
        return LogRequests(self.log)

    def receipt(self, request_id: str) -> str | None:
        """Return the proof of a request's decision, None where there is no decided request of that id."""
        from trustplane.audit.log.read import of_request

        for run in reversed(of_request(self.log.store, request_id)):
            for entry, public in run:
                if public.kind == "decision":
                    return self.log.proof(entry.index, post_quantum=False).text
        return None

    # ── the proxy ───────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def proxy_key(self) -> bytes:
        """The 32 bytes from which pseudonyms and names of tenants are made: one file, the same for all processes."""
        path = self.folder / KEY_FILE
        try:
            if not path.exists():
                write_private(path, secrets.token_bytes(32), new=True)  # of several processes the first one wins
            key = path.read_bytes()
        except OSError as error:
            raise StoreError(f"the proxy's key cannot be used: {error.strerror}") from None
        if len(key) != 32:
            raise StoreError("the proxy's key is damaged", hint=f"restore {KEY_FILE} from its backup")
        return key

    def policy(self, given: str = "") -> Policy:
        """Return the proxy's policy: a file or preset, by default the setting's, else the preset ``proxy``."""
        from trustplane.guard.text.policy import PRESETS, Policy

        settings = self.settings.guard
        name = given or settings.policy or "proxy"
        if name not in PRESETS:
            return Policy.load(name if given else self.folder / name)
        changes: dict[str, Any] = {}
        if settings.languages != GuardSettings().languages:
            changes["languages"] = settings.languages
        if settings.threshold_milli != GuardSettings().threshold_milli:
            changes["threshold"] = settings.threshold_milli / 1000
        found = Policy.preset(name)
        return found.with_(**changes) if changes else found

    def gate(self, upstreams: Mapping[str, str], *, policy: str = "", access: Access | None = None) -> Gate:
        """Return what the proxy's exchanges share; seconds, since it loads what the guard needs.

        ``upstreams``: name → origin, beside those of ``access``. ``policy``: see :meth:`policy`.
        """
        from trustplane.guard.proxy.faces.app import warm_up
        from trustplane.guard.proxy.faces.upstream import open_upstreams
        from trustplane.guard.proxy.gate import Gate
        from trustplane.guard.text.guarded import Guarded

        opened = open_upstreams(upstreams, access.upstreams if access is not None else None)
        guarded = Guarded(self.policy(policy), key=self.proxy_key)
        proxy = self.settings.proxy
        gate = Gate(guarded, opened, proxy, self.proxy_key, proxy.pass_through)
        warm_up(gate)
        return gate

    def access(self, path: str = "", *, workers: int = 1) -> Access:
        """Return who may use the proxy: an access file, by default the setting's, else everyone."""
        from trustplane.guard.proxy.faces.access import Access

        setting = self.settings.proxy.access
        file = path or (self.folder / setting if setting else "")
        if file:
            return Access.load(file, key=self.proxy_key, workers=workers)
        return Access(key=self.proxy_key)

    def proxy_app(
        self, upstreams: Mapping[str, str], *, policy: str = "", access: Access | None = None, gate: Gate | None = None
    ) -> ProxyApp:
        """Return the filtering proxy as an ASGI application; ``gate``: one that was made before."""
        from trustplane.guard.proxy import build_app
        from trustplane.guard.proxy.faces.metrics import Metrics
        from trustplane.guard.proxy.faces.pages import Pages, read_token
        from trustplane.guard.proxy.faces.spans import Spans

        access = access if access is not None else self.access()
        gate = gate if gate is not None else self.gate(upstreams, policy=policy, access=access)
        settings = self.settings.proxy
        token = read_token(self.folder / settings.admin_token_file) if settings.admin_token_file else ""
        return build_app(
            gate,
            open_request=self.open_request,
            access=access,
            metrics=Metrics(tenants=settings.metrics_tenants),
            spans=Spans() if settings.spans else None,
            reviews=self.reviews if _asks_people(gate.guarded.policy) else None,
            pages=Pages(gate, token=token, receipt=self.receipt),
        )


class LogRequests:
    """Opens requests in a log; ``prompt``: nothing here waits for the disk, so async code needs no thread."""

    prompt = True

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def __repr__(self) -> str:
        return f"LogRequests({self._log.origin})"

    def __call__(self, request_id: str, *, purpose: str, input: Any, mode: str = "") -> Request:  # noqa: A002
        """Open a request; ``mode``: a content mode of its own."""
        return self._log.request(request_id, purpose=purpose, input=input, mode=mode or None)

    def depth(self) -> int:
        """Return how many steps wait for the disk."""
        return len(self._log.writer.queue)


def _asks_people(policy: Policy) -> bool:
    """Return whether a finding can lead to the verdict ``review`` for anyone."""
    directions: tuple[Direction, ...] = ("in", "out")
    return any(
        any("review" in one.actions(direction) for direction in directions)
        or any("review" in (table.hit, table.unknown) for table in one.judges.values())
        for one in policy.variants
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
