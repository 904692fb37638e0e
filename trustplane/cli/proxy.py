"""`trustplane proxy`: the filtering proxy as a server, a check of its whole way, and the digest of a caller's key."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from trustplane.cli.console import JsonFlag, PlaneOption, emit, talk
from trustplane.errors import InputError, Refused

if TYPE_CHECKING:
    from trustplane.guard.proxy.faces.access import Access
    from trustplane.guard.proxy.gate import Gate
    from trustplane.plane import Plane

__all__ = ["open_gate", "parse_listen", "parse_upstreams", "register"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


class Options(NamedTuple):
    """What a worker needs to open its app."""

    plane: str
    upstreams: dict[str, str]
    policy: str
    access: str
    workers: int


def parse_listen(listen: str, *, public: bool) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; ``[::1]:0`` for IPv6.

    Raises:
        InputError: another form. Refused: not a loopback address, without ``public``.
    """
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit() and int(port) < 65_536):
        raise InputError("--listen is not HOST:PORT", hint="such as 127.0.0.1:8080; port 0 picks a free one")
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local and not public:
        raise Refused(
            "the address is not loopback: whoever reaches it can use it",
            hint="--public allows it; add --access and --tls-cert",
        )
    return host, int(port)


def parse_upstreams(given: list[str]) -> dict[str, str]:
    """Return name → URL of ``NAME=URL`` options."""
    found: dict[str, str] = {}
    for item in given:
        name, equals, url = item.partition("=")
        if not equals or not url or name in found:
            raise InputError("--upstream is not NAME=URL, or names one twice", hint="openai=https://api.openai.com")
        if not _NAME.match(name):
            raise InputError("the name of an upstream is letters, digits and ._-", hint="openai=https://api.openai.com")
        found[name] = url
    return found


def open_gate(plane: Plane, options: Options) -> tuple[Gate, Access]:
    """Return what the proxy's exchanges share, and who may use it.

    Raises:
        InputError: the policy or the access file cannot be used with this plane.
    """
    from trustplane.guard.text.policy import PRESETS

    if options.policy and options.policy not in PRESETS and not Path(options.policy).is_file():
        raise InputError("--policy names no file and no preset", hint=f"the presets: {', '.join(PRESETS)}")
    access = plane.access(options.access, workers=max(options.workers, 1))
    gate = plane.gate(options.upstreams, policy=options.policy, access=access)
    access.check(gate.upstreams, modes={"digest", *plane.settings.content.allow})
    return gate, access


@contextlib.contextmanager
def _opened(options: Options, gate: Gate | None = None) -> Iterator[Any]:
    """Open the plane and the app over it, in the process that serves."""
    import trustplane

    with trustplane.open(options.plane) as plane:
        access = plane.access(options.access, workers=options.workers)
        yield plane.proxy_app(options.upstreams, policy=options.policy, access=access, gate=gate)


def _serve(options: Options, listen: str, *, public: bool, tls: tuple[str, str]) -> None:
    import trustplane
    from trustplane.cli.texts import without_torch
    from trustplane.guard.proxy.faces.server import Tls, bind, serve
    from trustplane.guard.proxy.faces.workers import serve_workers, start_method

    without_torch()
    with trustplane.open(options.plane) as plane:  # settings, keys and the guard; each worker opens the log itself
        settings = plane.settings.proxy
        options = options._replace(workers=options.workers or settings.workers)
        host, port = parse_listen(listen or settings.listen, public=public)
        gate, _ = open_gate(plane, options)
    listener = bind(host, port)
    scheme = "https" if tls[0] else "http"
    shown = f"[{host}]" if ":" in host else host
    address = f"listening {scheme}://{shown}:{listener.getsockname()[1]}"

    def ready() -> None:
        talk(address)

    if options.workers == 1:
        serve(functools.partial(_opened, options, gate), listener, settings, ready=ready, tls=Tls(*tls))
        return
    method = start_method()
    opened = functools.partial(_opened, options, gate if method == "fork" else None)
    serve_workers(opened, listener, settings, options.workers, ready=ready, tls=Tls(*tls), method=method)


def register(app: typer.Typer) -> None:
    """Add ``proxy``."""

    @app.command()
    def proxy(
        upstream: Annotated[
            list[str] | None, typer.Option("--upstream", metavar="NAME=URL", help="Origin of an LLM API; repeat.")
        ] = None,
        listen: Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="By default the setting's.")] = "",
        plane: PlaneOption = "trustplane-plane",
        policy: Annotated[
            str, typer.Option("--policy", metavar="FILE", help="Policy in TOML or a preset; by default proxy.")
        ] = "",
        access: Annotated[str, typer.Option("--access", metavar="FILE", help="Tenants and their keys, in TOML.")] = "",
        workers: Annotated[int, typer.Option("--workers", min=0, max=256, help="Processes; 0: the setting's.")] = 0,
        public: Annotated[bool, typer.Option("--public", help="Allow an address that is not loopback.")] = False,
        tls_cert: Annotated[str, typer.Option("--tls-cert", metavar="PEM", help="Serve TLS with this chain.")] = "",
        tls_key: Annotated[str, typer.Option("--tls-key", metavar="PEM", help="The private key of --tls-cert.")] = "",
        check: Annotated[bool, typer.Option("--check", help="Try the whole way to each upstream, then end.")] = False,
        model: Annotated[str, typer.Option("--model", metavar="NAME", help="Model that --check asks.")] = "",
        digest_key: Annotated[
            bool, typer.Option("--digest-key", help="Read a caller's key from stdin, print its digest, then end.")
        ] = False,
        as_json: JsonFlag = False,
    ) -> None:
        """Run the filtering proxy before LLM APIs; each request leaves its steps in the plane's log."""
        if digest_key:
            _digest(as_json=as_json)
            return
        if bool(tls_cert) != bool(tls_key):
            raise InputError("--tls-cert and --tls-key go together")
        options = Options(plane, parse_upstreams(upstream or []), policy, access, workers)
        if not options.upstreams and not access:
            raise InputError("the proxy needs an upstream", hint="--upstream openai=https://api.openai.com")
        if check:
            from trustplane.cli.proxy_check import run_check

            run_check(options, model, as_json=as_json)
            return
        if listen:
            parse_listen(listen, public=public)
        _serve(options, listen, public=public, tls=(tls_cert, tls_key))


def _digest(*, as_json: bool) -> None:
    from trustplane.guard.proxy.faces.access import key_digest

    if sys.stdin.isatty():
        talk("the key, then Enter:")
    key = sys.stdin.readline().strip()
    if len(key) < 16 or not key.isascii() or not key.isprintable():
        raise InputError("a caller's key is one line of at least 16 ASCII characters", hint="openssl rand -hex 32")
    digest = key_digest(key)
    emit({"digest": digest}, as_json=as_json, text=digest)
