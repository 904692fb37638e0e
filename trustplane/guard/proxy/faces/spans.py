"""Spans: one OpenTelemetry client span per exchange by the GenAI semantic conventions, without content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from trustplane.guard.proxy.gate import Upstream
from trustplane.step import Step

__all__ = ["Span", "Spans"]

_OPERATIONS = (
    ("chat", "chat"), ("completions", "text_completion"), ("responses", "chat"), ("messages", "chat"),
    ("embeddings", "embeddings"), ("images", "generate_content"), ("mcp", "execute_tool"),
)  # fmt: skip
"""``gen_ai.operation.name`` by the beginning of the endpoint's name (semantic conventions, GenAI spans)."""


class Spans:
    """Makes spans where OpenTelemetry can be imported, else nothing. ``provider``: by default the global one."""

    def __init__(self, provider: Any = None) -> None:
        try:
            from opentelemetry import trace
        except ImportError:
            self._tracer: Any = None
            return
        self._tracer = trace.get_tracer("trustplane.guard.proxy", tracer_provider=provider)

    def begin(self, endpoint: str, upstream: Upstream, model: str) -> Span | None:
        """Begin the span of a call; ``model``: as the request names it, ``""`` where that is not a plain word."""
        if self._tracer is None:
            return None
        from opentelemetry.trace import SpanKind

        operation = next((o for start, o in _OPERATIONS if endpoint.startswith(start)), endpoint or "pass_through")
        parts = urlsplit(upstream.origin)
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": upstream.api if upstream.api in ("openai", "anthropic") else upstream.name,
            "server.address": parts.hostname or "",
            "server.port": parts.port or (443 if parts.scheme == "https" else 80),
        }
        if model:
            attributes["gen_ai.request.model"] = model
        name = f"{operation} {model}" if model else operation
        return Span(self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes))


class Span:
    """The span of one exchange."""

    def __init__(self, span: Any) -> None:
        self._span = span

    def steps(self, steps: Sequence[Step]) -> None:
        """Add what steps count."""
        for step in steps:
            for key in ("masked", "restored", "status"):
                value = step.facts.get(key)
                if type(value) is int:
                    name = "http.response.status_code" if key == "status" else f"trustplane.{key}"
                    self._span.set_attribute(name, value)
            if step.action == "guard.proxy.refused":
                self._span.set_attribute("error.type", str(step.facts.get("rule", "refused")))

    def end(self, outcome: str, request_id: str) -> None:
        """End the span with the decision."""
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("trustplane.outcome", outcome)
        self._span.set_attribute("trustplane.request_id", request_id)
        if outcome != "answered":
            self._span.set_status(StatusCode.ERROR)
        self._span.end()
