"""`trustplane proxy --check`: a synthetic text through the whole proxy to each upstream and back."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import TYPE_CHECKING, Any

import typer

from trustplane.cli.console import emit
from trustplane.errors import missing_extra

if TYPE_CHECKING:
    from trustplane.cli.proxy import Options
    from trustplane.guard.proxy.faces.app import ProxyApp
    from trustplane.guard.proxy.gate import Upstream
    from trustplane.guard.proxy.wire.endpoint import Api
    from trustplane.plane import Plane

__all__ = ["run_check"]

VALUES = ("erika.mustermann@example.com", "4111 1111 1111 1111")
"""Nobody's: an address at a reserved domain (RFC 2606) and a card number for tests."""
TEXT = f"Repeat this line, nothing else: write to {VALUES[0]} about the card {VALUES[1]}."
MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5", "mcp": "", "rerank": ""}
KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY", "mcp": "", "rerank": "COHERE_API_KEY"}
SECONDS = 600.0
"""The proxy's own limits end a request before."""
EXIT = {"fine": 0, "refused": 3, "unavailable": 4, "leak": 5}


def run_check(options: Options, model: str, *, as_json: bool) -> None:
    """Try each upstream; exit 0 if all answered, 3 if one refused, 4 if one is not there, 5 if a value got through."""
    import trustplane
    from trustplane.cli.proxy import open_gate
    from trustplane.cli.texts import without_torch

    without_torch()
    with trustplane.open(options.plane) as plane:
        gate, access = open_gate(plane, options)
        app = plane.proxy_app(options.upstreams, access=access.for_check(), gate=gate)
        policy = app.gate.guarded.policy
        rows = asyncio.run(_all(plane, app, model))
    found = {"policy": policy.name, "digest": policy.digest, "upstreams": rows}
    lines = [f"policy {policy.name} {policy.digest}", *(_line(row) for row in rows)]
    emit(found, as_json=as_json, text="\n".join(lines))
    code = max(EXIT[row["result"]] for row in rows)
    if code:
        raise typer.Exit(code)


def _line(row: dict[str, Any]) -> str:
    masked = ", ".join(f"{n} {entity}" for entity, n in row["masked"].items()) or "nothing"
    restored = "restored" if row["restored"] else "not restored"
    rule = f" {row['rule']}" if row["rule"] else ""
    said = f"masked {masked}; reply {restored}; status {row['status']}{rule}; {row['milliseconds']} ms"
    line = f"{row['upstream']} {row['host']}: {row['result']}: {said}"
    if row["status"] in {401, 403} and not row["rule"]:
        line += f"\n  the provider refused the key: {_key_hint(row['api'])}"
    return line


def _key_hint(api: Api) -> str:
    variable = KEYS[api]
    named = f"the variable {variable}, or " if variable else ""
    return f"--check takes that of {named}provider_keys of the access file"


async def _all(plane: Plane, app: ProxyApp, model: str) -> list[dict[str, Any]]:
    try:
        return [await _one(plane, app, upstream, model) for upstream in app.gate.upstreams.values()]
    finally:
        await app.close()


def _request(upstream: Upstream, model: str) -> tuple[str, dict[str, Any], dict[str, str]]:
    """Return path, body and headers of the synthetic request in the upstream's API."""
    key = os.environ.get(KEYS[upstream.api], "") if KEYS[upstream.api] else ""
    headers = {"x-trustplane-upstream": upstream.name}
    model = model or MODELS[upstream.api]
    messages = [{"role": "user", "content": TEXT}]
    if upstream.api == "anthropic":
        headers |= {"anthropic-version": "2023-06-01", **({"x-api-key": key} if key else {})}
        return "/v1/messages", {"model": model, "max_tokens": 128, "messages": messages}, headers
    headers |= {"authorization": f"Bearer {key}"} if key else {}
    if upstream.api == "mcp":
        headers |= {"accept": "application/json, text/event-stream"}
        info = {"name": "trustplane-check", "version": "1", "title": TEXT}
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}
        return "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}, headers
    if upstream.api == "rerank":
        return "/v1/rerank", {"model": model or "rerank-v3.5", "query": TEXT, "documents": [TEXT]}, headers
    return "/v1/chat/completions", {"model": model, "messages": messages}, headers


async def _one(plane: Plane, app: ProxyApp, upstream: Upstream, model: str) -> dict[str, Any]:
    try:
        import httpx
    except ImportError:
        raise missing_extra("httpx", "proxy") from None
    path, body, headers = _request(upstream, model)
    begun = time.monotonic()
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://check", timeout=SECONDS) as client:
        reply = await client.post(path, json=body, headers=headers)
    spent = time.monotonic() - begun
    request_id = reply.headers.get("x-trustplane-request-id", "")
    facts = await asyncio.to_thread(_facts, plane, request_id)
    masked = {key[2:].upper(): n for key, n in facts.items() if key.startswith("n_")}
    rule = facts.get("rule", "")
    if reply.status_code < 400:
        result = "fine" if masked else "leak"
    else:
        result = (
            "unavailable" if not rule or rule.startswith(("guard.proxy.upstream", "guard.proxy.log")) else "refused"
        )
    return {
        "upstream": upstream.name,
        "api": upstream.api,
        "host": upstream.origin.partition("://")[2],
        "result": result,
        "status": reply.status_code,
        "rule": rule,
        "masked": masked,
        "restored": bool(facts.get("restored")) and all(json.dumps(v)[1:-1] in reply.text for v in VALUES),
        "receipt": "x-trustplane-receipt" in reply.headers,
        "request_id": request_id,
        "milliseconds": round(spent * 1000),
    }


def _facts(plane: Plane, request_id: str) -> dict[str, Any]:
    """Return the facts of a request's steps in the log, later ones over earlier ones."""
    from trustplane.audit.log.read import of_request

    plane.log.flush()
    found: dict[str, Any] = {}
    for run in of_request(plane.log.store, request_id) if request_id else ():
        for _, public in run:
            found |= public.facts
    return found
