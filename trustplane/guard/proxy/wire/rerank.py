"""Rerank, which several vendors serve in one form: a query, documents, and their order (Cohere, Jina, vLLM, TEI)."""

from __future__ import annotations

from trustplane.guard.proxy.wire.endpoint import Endpoint, Places

__all__ = ["ENDPOINTS"]

_IDENTIFIERS = Places("model", "truncation", "encoding_format")
_REPLY_IDENTIFIERS = Places("id", "model", "object", "meta.api_version.version", "**.created")
_MEDIA = Places("documents[].image", "query.image", "documents[].image_url", "query.image_url")
_FREE = Places("documents", "results[].document")
_SOURCES = Places("documents[]", "documents[].text", "texts[]")

ENDPOINTS: tuple[Endpoint, ...] = tuple(
    Endpoint(
        name="rerank",
        api="rerank",
        method="POST",
        path=path,
        identifiers=_IDENTIFIERS,
        reply_identifiers=_REPLY_IDENTIFIERS,
        media=_MEDIA,
        free=_FREE,
        sources=_SOURCES,
    )
    for path in ("/v1/rerank", "/v1/reranking")
)
"""Under /v1, /v2 (Cohere) and the root (TEI, vLLM)."""
