"""Fixtures: the guard once, and houses (a proxy before an upstream)."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from trustplane.guard.proxy import Gate, build_app
from trustplane.guard.proxy.faces.upstream import open_upstreams
from trustplane.guard.proxy.standin import build_standin
from trustplane.guard.text import TextGuard
from trustplane.guard.text.guarded import Guarded
from trustplane.guard.text.policy import Policy
from trustplane.settings import ProxySettings

from .servers import House, ListLog, Start, serve

KEY = bytes(range(32))


@pytest.fixture(scope="session")
def guard() -> TextGuard:
    made = TextGuard()
    made.warm_up()
    return made


@pytest.fixture(scope="session")
def guarded(guard: TextGuard) -> Guarded:
    return Guarded(Policy.preset("proxy"), guard, key=KEY)


@pytest.fixture
def start(guarded: Guarded) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def begin(upstream: Any = None, guarded_: Any = None, access: Any = None, **more: Any) -> House:
            upstream = upstream or build_standin()
            upstream_url = stack.enter_context(serve(upstream))
            log = more.pop("log", None) or ListLog()
            urls = {"openai-standin": more.pop("origin", upstream_url)}
            parts = {name: more.pop(name) for name in ("calls", "pages", "spans", "reviews", "metrics") if name in more}
            gate = Gate(
                guarded_ or guarded,
                open_upstreams(urls, access.upstreams if access else None),
                ProxySettings(**more),
                KEY,
                more.get("pass_through", ()),
            )
            app = build_app(gate, open_request=log, access=access, **parts)
            return House(stack.enter_context(serve(app)), upstream, upstream_url, log)

        yield begin


@pytest.fixture
def house(start: Start) -> House:
    return start()
