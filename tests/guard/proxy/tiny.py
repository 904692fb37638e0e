"""A server of the proxy's kind over a tiny app: ``python tiny.py fork|spawn|one WORKERS [KEY=VALUE...]``."""

import asyncio
import contextlib
import functools
import os
import sys

from trustplane.errors import TrustplaneError
from trustplane.guard.proxy.faces.server import bind, serve
from trustplane.guard.proxy.faces.workers import serve_workers
from trustplane.settings import ProxySettings


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"].endswith("shutdown"):
                return
    if scope["path"] == "/crash":
        raise ValueError("canary in an error")
    if scope["path"] == "/slow":
        await asyncio.sleep(1.5)
    while (await receive()).get("more_body"):
        pass
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def opened(how):
    if how == "die":
        os._exit(7)
    yield app


def main():
    method, workers, *more = sys.argv[1:]
    values = dict(item.split("=") for item in more)
    how = values.pop("open", "")
    settings = ProxySettings(**{key: int(value) for key, value in values.items()})
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]

    def ready():
        sys.stderr.write(f"listening {port}\n")
        sys.stderr.flush()

    open_app = functools.partial(opened, how)
    if method == "one":
        serve(open_app, listener, settings, ready=ready)
    else:
        serve_workers(open_app, listener, settings, int(workers), ready=ready, method=method)


if __name__ == "__main__":
    try:
        main()
    except TrustplaneError as error:
        sys.stderr.write(f"error: {error.message}\n")
        sys.exit(error.exit_code)
