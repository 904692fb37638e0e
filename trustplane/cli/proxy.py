"""`trustplane proxy`: the filtering proxy as a server."""

from __future__ import annotations

import contextlib
import ipaddress
import signal
import socket
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from trustplane.cli.console import PlaneOption, talk
from trustplane.errors import InputError, Refused, StoreError, missing_extra

__all__ = ["register"]


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
            hint="--public allows it; put TLS and authentication before it",
        )
    return host, int(port)


def parse_upstreams(given: list[str]) -> dict[str, str]:
    """Return name → URL of ``NAME=URL`` options."""
    found: dict[str, str] = {}
    for item in given:
        name, equals, url = item.partition("=")
        if not equals or not name or not url or name in found:
            raise InputError("--upstream is not NAME=URL, or names one twice", hint="openai=https://api.openai.com")
        found[name] = url
    return found


def _serve(app: Any, host: str, port: int) -> None:
    try:
        import uvicorn
    except ImportError:
        raise missing_extra("uvicorn", "proxy") from None
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise StoreError(f"cannot listen on {host}:{port}: {error.strerror}") from None

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            shown = f"[{host}]" if ":" in host else host
            talk(f"listening http://{shown}:{listener.getsockname()[1]}")

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Stop on a signal and return, so that the plane can sign its last checkpoint."""
            before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    # No access log: a path or a header could hold what the proxy is there to keep back.
    config = uvicorn.Config(app, access_log=False, log_level="warning", server_header=False)
    with listener:
        Server(config).run(sockets=[listener])


def register(app: typer.Typer) -> None:
    """Add ``proxy``."""

    @app.command()
    def proxy(
        upstream: Annotated[list[str], typer.Option("--upstream", metavar="NAME=URL", help="Origin of an LLM API.")],
        listen: Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="By default the setting's.")] = "",
        plane: PlaneOption = "trustplane-plane",
        public: Annotated[bool, typer.Option("--public", help="Allow an address that is not loopback.")] = False,
    ) -> None:
        """Run the filtering proxy before LLM APIs; each request leaves its steps in the plane's log."""
        import trustplane

        upstreams = parse_upstreams(upstream)
        if listen:
            parse_listen(listen, public=public)
        with trustplane.open(plane) as opened:
            host, port = parse_listen(listen or opened.settings.proxy.listen, public=public)
            _serve(opened.proxy_app(upstreams), host, port)
