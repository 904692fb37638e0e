"""What the stand-in keeps: files, batches that run at once, and objects that come back as they were sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from trustplane.guard.proxy.standin.openai import MODEL, TIME, last_text

__all__ = ["Kept"]

_DAY = "2026-01-01T00:00:00Z"
_PREFIXES = {
    "assistants": ("asst", "assistant"), "threads": ("thread", "thread"), "threads.messages": ("msg", "thread.message"),
    "vector_stores": ("vs", "vector_store"), "vector_stores.files": ("file", "vector_store.file"),
    "vector_stores.file_batches": ("vsfb", "vector_store.file_batch"), "conversations": ("conv", "conversation"),
    "conversations.items": ("item", "conversation.item"), "uploads": ("upload", "upload"),
}  # fmt: skip

Answer = Callable[[str, Any], Any]
"""Answers one request of a batch: the path it names and its body."""


def _listed(data: list[Any]) -> Any:
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return {"object": "list", "data": data, "has_more": False, **ends}


class Kept:
    """Everything that was stored, by id; ``quote`` turns a text into what the model says."""

    def __init__(self, answer: Answer, quote: Callable[[str], str]) -> None:
        self._answer, self._quote = answer, quote
        self._things: dict[str, Any] = {}
        self._contents: dict[str, bytes] = {}

    def content(self, file_id: str) -> bytes | None:
        """Return the bytes of a file."""
        return self._contents.get(file_id)

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}-{len(self._things) + 1}" if prefix == "file" else f"{prefix}_{len(self._things) + 1}"

    def _of(self, kind: str) -> list[Any]:
        return [thing for thing in self._things.values() if thing.get("object") == kind or thing.get("type") == kind]

    def add_file(self, name: str, filename: str, purpose: str, data: bytes, mime: str = "application/jsonl") -> Any:
        """Keep a file and return its object, in the form of the API that ``name`` belongs to."""
        made: dict[str, Any]
        if name.startswith("anthropic."):
            made = {
                "id": self._new_id("file"), "type": "file", "filename": filename, "mime_type": mime,
                "size_bytes": len(data), "created_at": _DAY, "downloadable": True,
            }  # fmt: skip
        else:
            made = {
                "id": self._new_id("file"), "object": "file", "bytes": len(data), "created_at": TIME,
                "filename": filename, "purpose": purpose, "status": "processed",
            }  # fmt: skip
        self._things[made["id"]] = made
        self._contents[made["id"]] = data
        return made

    def batch(self, body: Any) -> Any:
        """Run a batch of OpenAI's at once and return its object."""
        lines = []
        for number, line in enumerate((self.content(body["input_file_id"]) or b"").splitlines()):
            if line.strip():
                asked = json.loads(line)
                response = {
                    "status_code": 200,
                    "request_id": f"req_{number}",
                    "body": self._answer(asked["url"], asked["body"]),
                }
                lines.append(
                    {"id": f"batch_req_{number}", "custom_id": asked["custom_id"], "response": response, "error": None}
                )
        data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
        output = self.add_file("files.create", "output.jsonl", "batch_output", data)
        made = {
            "id": self._new_id("batch"), "object": "batch", "endpoint": body["endpoint"], "errors": None,
            "input_file_id": body["input_file_id"], "completion_window": body["completion_window"],
            "status": "completed", "output_file_id": output["id"], "error_file_id": None, "created_at": TIME,
            "completed_at": TIME + 1, "metadata": body.get("metadata"),
            "request_counts": {"total": len(lines), "completed": len(lines), "failed": 0},
        }  # fmt: skip
        self._things[made["id"]] = made
        return made

    def message_batch(self, body: Any) -> Any:
        """Run a batch of Anthropic's at once and return its object."""
        results = [
            {
                "custom_id": asked["custom_id"],
                "result": {"type": "succeeded", "message": self._answer("/v1/messages", asked["params"])},
            }
            for asked in body["requests"]
        ]
        identifier = self._new_id("msgbatch")
        counts = {"processing": 0, "succeeded": len(results), "errored": 0, "canceled": 0, "expired": 0}
        made = {
            "id": identifier, "type": "message_batch", "processing_status": "ended", "request_counts": counts,
            "created_at": _DAY, "expires_at": _DAY, "ended_at": _DAY, "archived_at": None, "cancel_initiated_at": None,
            "results_url": f"/v1/messages/batches/{identifier}/results",
        }  # fmt: skip
        self._things[identifier] = made
        self._contents[identifier] = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in results).encode()
        return made

    def message(self, thread: str, body: Any) -> Any:
        """Keep a message of a thread and return it."""
        content = body.get("content")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
        shown = [
            {"type": "text", "text": {"value": p["text"], "annotations": []}} if p.get("type") == "text" else p
            for p in parts
        ]
        made = {
            "id": self._new_id("msg"), "object": "thread.message", "created_at": TIME, "thread_id": thread,
            "role": body.get("role", "user"), "content": shown, "attachments": body.get("attachments") or [],
            "metadata": body.get("metadata") or {}, "assistant_id": None, "run_id": None, "status": "completed",
        }  # fmt: skip
        self._things[made["id"]] = made
        return made

    def run(self, thread: str, body: Any) -> Any:
        """Run an assistant at once; return ``run`` and the ``message`` that it wrote."""
        given = list(body.get("additional_messages") or (body.get("thread") or {}).get("messages") or ())
        if given:
            said = last_text(given[-1].get("content"))
        else:
            before = [m for m in self._of("thread.message") if m["thread_id"] == thread and m["role"] == "user"]
            said = before[-1]["content"][0]["text"]["value"] if before else body.get("instructions") or ""
        outputs = body.get("tool_outputs")
        if outputs:
            said = last_text(outputs)
        message = self.message(thread, {"role": "assistant", "content": self._quote(said)})
        run = {
            "id": self._new_id("run"), "object": "thread.run", "created_at": TIME, "thread_id": thread,
            "assistant_id": body.get("assistant_id", "asst_1"), "status": "completed", "model": MODEL,
            "instructions": body.get("instructions") or "", "tools": body.get("tools") or [],
            "metadata": body.get("metadata") or {}, "parallel_tool_calls": True, "required_action": None,
            "last_error": None, "usage": {"prompt_tokens": 4, "completion_tokens": 4, "total_tokens": 8},
        }  # fmt: skip
        self._things[run["id"]] = run
        return {"run": run, "message": message}

    def search(self, body: Any) -> Any:
        """Answer a search in a vector store: one piece, which quotes the query."""
        query = body["query"] if isinstance(body["query"], str) else " ".join(body["query"])
        found = {
            "file_id": "file-1", "filename": "notes.txt", "score": 0.9, "attributes": {},
            "content": [{"type": "text", "text": self._quote(query)}],
        }  # fmt: skip
        return {
            "object": "vector_store.search_results.page", "search_query": [query], "data": [found],
            "has_more": False, "next_page": None,
        }  # fmt: skip

    def plain(self, kind: str, action: str, ids: list[str], body: Any) -> Any:
        """Create, list, get, change or delete an object that has no behaviour; None if it is not there."""
        prefix, name = _PREFIXES[kind]
        if action == "create":
            made = {"id": self._new_id(prefix), "object": name, "created_at": TIME, "status": "completed", **body}
            if kind == "conversations.items":
                items = [{**item, "id": self._new_id("msg"), "status": "completed"} for item in body["items"]]
                return _listed(items)
            if kind == "vector_stores":
                counts = {"in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0, "total": 0}
                made.update({"usage_bytes": 0, "file_counts": counts, "last_active_at": TIME})
            self._things[made["id"]] = made
            return made
        if action == "list":
            return _listed(self._of(name))
        thing = self._things.get(ids[-1])
        if thing is None:
            return None
        if action == "delete":
            del self._things[ids[-1]]
            return {"id": ids[-1], "object": f"{name}.deleted", "type": "message_batch_deleted", "deleted": True}
        if action in {"change", "cancel", "complete"}:
            thing.update(body or {})
        return thing

    def listed(self, kind: str) -> Any:
        """Return the list of all objects of a kind."""
        return _listed(self._of(kind))

    def get(self, identifier: str) -> Any:
        """Return the object of that id, None if there is none."""
        return self._things.get(identifier)

    def remove(self, identifier: str, kind: str) -> Any:
        """Forget an object and say so."""
        self._things.pop(identifier, None)
        self._contents.pop(identifier, None)
        return {"id": identifier, "object": kind, "type": f"{kind}_deleted", "deleted": True}
