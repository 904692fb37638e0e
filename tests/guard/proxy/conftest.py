"""Fixtures: the guard once, and houses (a proxy before an upstream)."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from trustplane.guard.proxy import build_app
from trustplane.guard.proxy.standin import build_standin
from trustplane.guard.text import TextGuard
from trustplane.settings import ProxySettings

from .servers import House, ListLog, Start, serve


@pytest.fixture(scope="session")
def guard() -> TextGuard:
    made = TextGuard()
    made.warm_up()
    return made


@pytest.fixture
def start(guard: TextGuard) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def begin(upstream: Any = None, guarded: Any = None, **settings: Any) -> House:
            upstream = upstream or build_standin()
            upstream_url = stack.enter_context(serve(upstream))
            log = ListLog()
            app = build_app(
                upstreams={"standin": upstream_url},
                guard=guarded or guard,
                open_request=log,
                settings=ProxySettings(**settings),
            )
            return House(stack.enter_context(serve(app)), upstream, upstream_url, log)

        yield begin


@pytest.fixture
def house(start: Start) -> House:
    return start()
