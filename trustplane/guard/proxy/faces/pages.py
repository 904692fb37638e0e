"""Pages for operators: health, what is on, metrics, receipts; all but health need the operators' token."""

from __future__ import annotations

import asyncio
import base64
import binascii
import gettext
import hmac
import html
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from trustplane.errors import InputError, TrustplaneError
from trustplane.guard.proxy.faces.asgi import Scope, SendMessage
from trustplane.guard.proxy.gate import Gate

if TYPE_CHECKING:
    from trustplane.guard.proxy.faces.metrics import Metrics

__all__ = ["Pages", "read_token"]

_REQUEST = re.compile(r"req-[0-9a-f]{24}\Z")
_TEXT = "text/plain; charset=utf-8"
MIN_TOKEN = 16


def read_token(path: str | Path) -> str:
    """Return the operators' token: the one line of a file, at least 16 characters.

    Raises:
        InputError: it cannot be read, or is too short.
    """
    try:
        token = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError):
        raise InputError("the file of the operators' token cannot be read", hint="proxy.admin_token_file") from None
    if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable():
        raise InputError(f"the operators' token is not one line of at least {MIN_TOKEN} ASCII characters")
    return token


class Pages:
    """``/healthz`` and, with a ``token``, ``/trustplane/``, ``/trustplane/metrics``, ``/trustplane/receipts/ID``.

    ``receipt``: returns the proof of a decided request, None where there is none; it may wait for the disk.
    """

    def __init__(self, gate: Gate, *, token: str = "", receipt: Callable[[str], str | None] | None = None) -> None:
        self._gate, self._token, self._receipt = gate, token.encode(), receipt
        self.metrics: Metrics | None = None

    def __repr__(self) -> str:
        return f"Pages({'with' if self._token else 'without'} token)"

    async def __call__(self, scope: Scope, send: SendMessage) -> None:
        """Answer one request."""
        status, kind, data = await self._answer(scope)
        headers = [
            (b"content-type", kind.encode()),
            (b"content-length", str(len(data)).encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
        ]
        if status == 401:
            headers.append((b"www-authenticate", b'Basic realm="trustplane", charset="UTF-8"'))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else data
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _answer(self, scope: Scope) -> tuple[int, str, bytes]:
        path = scope["path"]
        if path == "/healthz":
            return 200, "application/json", b'{"status":"ok"}'
        if not self._token:
            return 404, _TEXT, b"not found\n"
        if not self._known(scope):
            return 401, _TEXT, b"the operators' token is needed\n"
        if scope["method"] not in ("GET", "HEAD"):
            return 405, _TEXT, b"GET only\n"
        if path in ("/trustplane", "/trustplane/"):
            return 200, "text/html; charset=utf-8", self._page().encode()
        if path == "/trustplane/metrics" and self.metrics is not None:
            data, kind = await asyncio.to_thread(self.metrics.render)
            return 200, kind, data
        name = path.removeprefix("/trustplane/receipts/")
        if self._receipt is not None and _REQUEST.match(name):
            try:
                found = await asyncio.to_thread(self._receipt, name)
            except TrustplaneError:
                return 503, _TEXT, b"the audit log cannot be read now\n"
            if found is not None:
                return 200, _TEXT, found.encode()
        return 404, _TEXT, b"not found\n"

    def _known(self, scope: Scope) -> bool:
        """Return whether a request carries the token: as bearer, or as a browser's password of any user."""
        for name, value in scope["headers"]:
            if name.lower() == b"authorization":
                scheme, _, rest = value.partition(b" ")
                given = rest.strip()
                if scheme.lower() == b"basic":
                    try:
                        given = base64.b64decode(given, validate=True).partition(b":")[2]
                    except (binascii.Error, ValueError):
                        return False
                return hmac.compare_digest(given, self._token)
        return False

    # ── the page ────────────────────────────────────────────────────────────────────────────────────

    def _page(self) -> str:
        """Return what is on, in English and Chinese."""
        parts = "".join(f'<section lang="{tag}">{self._section(name)}</section>' for name, tag in _LANGUAGES)
        head = f"<head><title>trustplane</title><style>{_STYLE}</style></head>"
        return f"<!doctype html><html>{head}<body>{parts}</body></html>"

    def _section(self, language: str) -> str:
        _ = _translation(language).gettext
        gate, policy = self._gate, self._gate.guarded.policy
        settings = gate.settings
        rows = [
            (_("Policy"), policy.name),
            (_("Digest of the policy"), policy.digest),
            (_("Languages"), ", ".join(policy.file.languages)),
            (_("Passed unguarded"), ", ".join(gate.passed) or _("none")),
            (_("Images, audio, files"), settings.media),
            (_("Requests that ask the provider to store"), settings.store),
            (_("Receipts"), settings.receipt),
        ]
        hosts = [(u.name, f"{u.api} · {urlsplit(u.origin).netloc}") for u in gate.upstreams.values()]
        found = _headed("h1", _("The filtering proxy is on"), _table(rows))
        found += _headed("h2", _("Upstreams"), _table(hosts))
        if self.metrics is not None:
            counts = [(f"{endpoint} {outcome}", str(n)) for (endpoint, outcome), n in self.metrics.counts().items()]
            found += _headed("h2", _("Requests so far"), _table(counts) if counts else _("none"))
        return found


_LANGUAGES = (("en", "en"), ("zh", "zh-Hans"))
_STYLE = "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto}td{padding:.2rem 1rem;overflow-wrap:anywhere}"


def _headed(level: str, heading: str, rest: str) -> str:
    return f"<{level}>{html.escape(heading)}</{level}>{rest}"


def _translation(language: str) -> gettext.NullTranslations:
    folder = str(resources.files("trustplane") / "locale")
    return gettext.translation("trustplane", folder, languages=[language], fallback=True)


def _table(rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"
