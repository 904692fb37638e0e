"""Access: who may use the proxy, as which tenant, at what rate, and with whose key at the provider."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from trustplane.errors import InputError
from trustplane.guard.proxy.events import Headers
from trustplane.guard.proxy.faces.limits import Bucket
from trustplane.guard.proxy.faces.upstream import CREDENTIALS, check_origin
from trustplane.guard.proxy.gate import Caller, Upstream
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.wire.endpoint import Api

__all__ = ["SESSION", "Access", "Admitted", "key_digest"]

SESSION = "x-trustplane-session"
"""Request header that names the conversation."""
PURPOSE = "chat"
_SESSION = re.compile(r"[A-Za-z0-9._:@-]{1,128}\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


class Tenant(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[tenants.NAME]: digests of its keys, and what holds for it.

    ``provider_keys``: upstream → ``env:NAME`` or ``file:PATH``, sent in place of the tenant's own key. ``per_minute``:
    requests a minute, 0 for no limit. ``session``: whether its requests may name conversations.
    """

    keys: tuple[str, ...]
    purpose: str = PURPOSE
    content: Literal["", "digest", "redacted", "sealed", "plain"] = ""
    upstreams: tuple[str, ...] = ()
    provider_keys: dict[str, str] = {}
    session: bool = True
    per_minute: int = 0


class UpstreamTable(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[upstreams.NAME]: an LLM API, and the models that it serves as shell patterns."""

    origin: str
    api: Api = "openai"
    models: tuple[str, ...] = ()


class AccessFile(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The access file. ``unknown``: what happens to a key that no tenant has."""

    tenants: dict[str, Tenant] = {}
    upstreams: dict[str, UpstreamTable] = {}
    unknown: Literal["refuse", "pass"] = "refuse"


class Admitted(NamedTuple):
    """A caller that was let in, and per upstream the provider's key that takes the place of its own."""

    caller: Caller
    provider_keys: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Admitted({self.caller.tenant!r})"


class _Known(NamedTuple):
    name: str
    tenant: Tenant
    provider_keys: Mapping[str, str]
    bucket: Bucket | None

    def __repr__(self) -> str:
        return f"_Known({self.name!r})"


def key_digest(key: str) -> str:
    """Return what stands for a caller's key in the access file: ``sha256:<hex>``. Keys have to be long and random."""
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


class Access:
    """Lets callers in by the digest of their key. ``key``: 32 bytes, for names of tenants that no file names.

    Without a file everyone is let in, and the caller's own key goes on to the provider.
    """

    def __init__(
        self, file: AccessFile | None = None, *, key: bytes, workers: int = 1, folder: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._key = key
        self._open = file is None or file.unknown == "pass"
        self._given: Mapping[str, str] = {}
        file = file or AccessFile()
        env = os.environ if environ is None else environ
        self.upstreams = {
            name: Upstream(_named(name), table.api, check_origin(name, table.origin), table.models)
            for name, table in file.upstreams.items()
        }
        self._known: dict[str, _Known] = {}
        for name, tenant in file.tenants.items():
            keys = {u: _secret(s, folder or Path(), env) for u, s in tenant.provider_keys.items()}
            bucket = Bucket(tenant.per_minute / workers) if tenant.per_minute > 0 else None
            known = _Known(_named(name), tenant, keys, bucket)
            for digest in tenant.keys:
                if not _DIGEST.match(digest):
                    raise InputError(f"access: a key of tenant {name} is not sha256:<64 hex digits>", hint=_DIGEST_HINT)
                if digest in self._known:
                    raise InputError(f"access: a key of tenant {name} is named twice")
                self._known[digest] = known

    def __repr__(self) -> str:
        return f"Access({len(self._known)} keys, {'open' if self._open else 'closed'})"

    @classmethod
    def load(cls, path: str | Path, **options: Any) -> Access:
        """Read an access file (TOML); options as for the class.

        Raises:
            InputError: not readable, not TOML, an unknown key, a digest or secret of the wrong form.
        """
        path = Path(path)
        try:
            table = tomllib.loads(path.read_bytes().decode())
            file = msgspec.convert(table, AccessFile)
        except OSError as error:
            raise InputError(f"the access file cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            raise InputError("the access file is not TOML in UTF-8") from None
        except msgspec.ValidationError as error:
            raise InputError(f"access: {error}", hint="see docs/reference/access.md") from None
        return cls(file, folder=path.parent, **options)

    def check(self, upstreams: Mapping[str, Upstream], modes: Collection[str] | None = None) -> None:
        """Refuse tenants that name upstreams which are not there, or a content mode that is none of ``modes``."""
        for known in self._known.values():
            if modes is not None and known.tenant.content and known.tenant.content not in modes:
                raise InputError(
                    f"access: tenant {known.name} has content = {known.tenant.content!r}, which is not allowed",
                    hint="name it in content.allow of the plane's settings",
                )
            for name in (*known.tenant.upstreams, *known.provider_keys):
                if name not in upstreams:
                    raise InputError(f"access: tenant {known.name} names an upstream that is not there: {name[:64]}")

    def for_check(self) -> Access:
        """Return an access that lets everyone in, with the first provider's key that any tenant has per upstream."""
        found = Access(key=self._key)
        found._given = {
            name: key for known in reversed(self._known.values()) for name, key in known.provider_keys.items()
        }
        return found

    def admit(self, headers: Headers) -> Admitted:
        """Return who asks.

        Raises:
            ProxyRefusal: 401 without a key that is known, 429 over the rate, 400 for a conversation's name that is
                not allowed.
        """
        key = _key_of(headers)
        known = self._known.get(key_digest(key)) if key and self._known else None
        if known is None:
            if not self._open:
                raise ProxyRefusal("guard.proxy.access", 401, "no key, or one that is not known here")
            tenant = "key-" + hmac.digest(self._key, b"tenant\n" + key.encode(), "sha256").hex()[:12] if key else ""
            return Admitted(Caller(tenant, PURPOSE, "", _session(headers, allowed=True)), self._given)
        if known.bucket is not None and (seconds := known.bucket.take()):
            raise ProxyRefusal("guard.proxy.rate", 429, "too many requests of this tenant", after=seconds)
        tenant_ = known.tenant
        session = _session(headers, allowed=tenant_.session)
        caller = Caller(known.name, tenant_.purpose, tenant_.content, session, tenant_.upstreams)
        return Admitted(caller, known.provider_keys)


_DIGEST_HINT = "trustplane proxy --digest-key reads a key and prints it"


def _named(name: str) -> str:
    if not _NAME.match(name) or name.startswith("key-"):
        raise InputError("access: a name is letters, digits and ._-, and does not begin with key-")
    return name


def _key_of(headers: Headers) -> str:
    """Return the caller's key, ``""`` without one.

    Raises:
        ProxyRefusal: 401, two keys that differ: the one that is looked at could be another than the one that is used.
    """
    found: set[str] = set()
    for name, value in headers:
        if name in CREDENTIALS:
            if name == "authorization":
                scheme, _, rest = value.partition(" ")
                value = rest if scheme.lower() == "bearer" else value
            if value := value.strip():
                found.add(value)
    if len(found) > 1:
        raise ProxyRefusal("guard.proxy.access", 401, "the request carries two different keys")
    return found.pop() if found else ""


def _session(headers: Headers, *, allowed: bool) -> str:
    given = [value for name, value in headers if name == SESSION]
    if not given:
        return ""
    if not allowed or len(given) > 1 or not _SESSION.match(given[0]):
        message = f"{SESSION} is not allowed here, or is not 1 to 128 letters, digits and ._:@-"
        raise ProxyRefusal("guard.proxy.session", 400, message)
    return given[0]


def _secret(spec: str, folder: Path, environ: Mapping[str, str]) -> str:
    """Return the secret that ``env:NAME`` or ``file:PATH`` names."""
    kind, _, name = spec.partition(":")
    found = ""
    if kind == "env" and name:
        found = environ.get(name, "").strip()
        if not found:
            raise InputError("access: the variable of a provider's key is not set", hint=f"set {name[:64]}")
    elif kind == "file" and name:
        try:
            found = (folder / name).read_text().strip()
        except (OSError, UnicodeDecodeError):
            raise InputError("access: the file of a provider's key cannot be read") from None
    if not found or not found.isascii() or not found.isprintable():
        raise InputError("access: a provider's key is env:NAME or file:PATH, and one line of ASCII")
    return found
