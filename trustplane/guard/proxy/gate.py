"""Gate and caller: what an exchange is given, the same for all requests and for this one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from trustplane.guard.proxy.wire.endpoint import Api
from trustplane.guard.text.guarded import Guarded
from trustplane.settings import ProxySettings

__all__ = ["Caller", "Gate", "Upstream"]


class Upstream(NamedTuple):
    """An LLM API. ``origin``: ``scheme://host[:port]``. ``models``: shell patterns of the models that it serves."""

    name: str
    api: Api
    origin: str
    models: tuple[str, ...] = ()


class Caller(NamedTuple):
    """Who asks. ``tenant``: id from the access file, else derived from a keyed digest of the caller's key.

    ``session``: conversation within the tenant, so that pseudonyms differ between conversations. ``upstreams``: those
    that the tenant may use, empty for all. ``mode``: content mode of the log, empty for the default.
    """

    tenant: str = ""
    purpose: str = ""
    mode: str = ""
    session: str = ""
    upstreams: tuple[str, ...] = ()


class Gate(NamedTuple):
    """What all exchanges share. ``key``: 32 bytes, from which pseudonyms and sealed tokens are made.

    ``passed``: paths that go through unguarded because the settings name them; each use is a step.
    """

    guarded: Guarded
    upstreams: Mapping[str, Upstream]
    settings: ProxySettings
    key: bytes
    passed: tuple[str, ...] = ()
