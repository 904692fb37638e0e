"""Wire formats: which path is which endpoint, errors that the vendors' SDKs read, forms and JSON lines."""

import json
import random
from typing import Any

import anthropic
import httpx
import openai
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trustplane.errors import InputError
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.wire.endpoint import Places
from trustplane.guard.proxy.wire.errors import error_body, error_event
from trustplane.guard.proxy.wire.jsonl import JsonLines, looks_like_jsonl
from trustplane.guard.proxy.wire.multipart import Form
from trustplane.guard.proxy.wire.table import ENDPOINTS, find, find_api, path_ids

from . import matrix
from .servers import serve

NO = ProxyRefusal("guard.proxy.policy", 403, "the policy does not let this through")

# ── the table ───────────────────────────────────────────────────────────────────────────────────────


def test_every_endpoint_is_found_and_has_a_recorded_body_or_a_sibling_with_one() -> None:
    recorded = {case.endpoint for case in matrix.recorded()}
    for endpoint in ENDPOINTS:
        path = endpoint.path.replace("{id}", "abc-123")
        found = find(endpoint.method, path, endpoint.api)
        assert found is not None and (found.name, found.api) == (endpoint.name, endpoint.api)
        if (
            endpoint.method == "POST"
            and endpoint.request == "json"
            and not endpoint.name.endswith(("change", "cancel"))
        ):
            assert endpoint.name in recorded or endpoint.name.startswith("vector_stores.file_batches")


@pytest.mark.parametrize(
    ("method", "path", "api", "name"),
    [
        ("POST", "/v1/chat/completions", "", "chat.completions"),
        ("POST", "/chat/completions", "openai", "chat.completions"),
        ("POST", "/openai/deployments/my-gpt/chat/completions", "", "chat.completions"),
        ("POST", "/openai/v1/responses", "", "responses"),
        ("POST", "/v1beta/openai/embeddings", "", "embeddings"),
        ("POST", "/compatible-mode/v1/chat/completions", "", "chat.completions"),
        ("POST", "/v1/responses/input_tokens", "", "responses.input_tokens"),
        ("POST", "/v1/responses/resp_1/cancel", "", "responses.cancel"),
        ("POST", "/v1/threads/runs", "", "threads.runs"),
        ("GET", "/v1/threads/t_1/runs/r_1/steps/s_1", "", "threads.runs.steps.get"),
        ("GET", "/v1/files/f-1/content", "", "files.content"),
        ("GET", "/v1/files/f-1/content", "anthropic", "anthropic.files.content"),
        ("GET", "/v1/models/ft%3Agpt%3A1", "", "models.get"),
        ("POST", "/v1/messages", "openai", "messages"),
        ("POST", "/v1/messages/batches/b/cancel", "", "messages.batches.cancel"),
        ("POST", "/rerank", "", "rerank"),
        ("POST", "/v2/rerank", "", "rerank"),
        ("POST", "/mcp", "", "mcp"),
        ("DELETE", "/mcp/", "", "mcp.end"),
        ("GET", "/", "mcp", "mcp.stream"),
    ],
)
def test_paths(method: str, path: str, api: str, name: str) -> None:
    found = find(method, path, api)
    assert found is not None and found.name == name


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/realtime"), ("POST", "/v1/realtime/sessions"), ("POST", "/v1/fine_tuning/jobs"), ("POST", "/"),
        ("GET", "/v1/organization/users"), ("PUT", "/v1/chat/completions"), ("GET", "/v1/chat"), ("GET", ""),
        ("POST", "/v1/chat/completions/"), ("POST", "//v1/chat/completions"), ("POST", "/v1//chat/completions"),
        ("GET", "/v1/files/.."), ("GET", "/v1/files/..%2Fx"), ("GET", "/v1/files/%2e%2e"), ("GET", "/v1/files/a%00b"),
        ("GET", "/v1/files/a b"), ("GET", "/v1/files/" + "a" * 3000), ("POST", "/V1/chat/completions"),
        ("POST", "/v1/chat%2Fcompletions"), ("POST", "/v1/chat/completions?x"),
    ],
)  # fmt: skip
def test_unknown_paths(method: str, path: str) -> None:
    assert find(method, path) is None


def test_ids_of_a_path() -> None:
    for path, ids in [
        ("/v1/threads/t1/runs/r1", ["t1", "r1"]), ("/openai/deployments/dep/chat/completions", ["dep"]),
        ("/v1/chat/completions", []), ("/threads/t1", ["t1"]), ("/notes/mcp", ["notes"]),
    ]:  # fmt: skip
        endpoint = find("GET" if "threads" in path else "POST", path, "")
        assert endpoint is not None and path_ids(endpoint, path) == ids


def test_api_of_headers() -> None:
    assert find_api([("anthropic-version", "2023-06-01")]) == "anthropic"
    assert find_api([("mcp-session-id", "1")]) == "mcp"
    assert find_api([("authorization", "Bearer x")]) == ""


def test_places() -> None:
    some = Places("messages[].role", "model", "**.type", under=("messages",))
    assert "messages[3].role" in some and "model" in some and "messages[0].content[2].type" in some
    assert "unknown.type" not in some and "type" not in some and 3 not in some and "x.model" not in some
    assert Places("metadata").covers("metadata.a[0].b") and not Places("metadata").covers("metadatas.a")
    assert Places("input[].output").covers("input[4].output[0].text")


# ── errors ──────────────────────────────────────────────────────────────────────────────────────────


def answering(status: int, kind: str, data: bytes) -> Starlette:
    async def answer(_request: Request) -> Response:
        return Response(data, status, media_type=kind)

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])


ASK: Any = [{"role": "user", "content": "hello"}]


def test_openai_reads_the_error() -> None:
    with serve(answering(403, "application/json", error_body("openai", NO, "req-1"))) as url:
        client = openai.OpenAI(base_url=url, api_key="k", max_retries=0)
        with pytest.raises(openai.PermissionDeniedError) as found:
            client.chat.completions.create(model="m", messages=ASK)
        assert found.value.code == "guard.proxy.policy" and found.value.body["request_id"] == "req-1"  # type: ignore[index,call-overload]


def test_openai_reads_the_error_of_a_stream() -> None:
    with serve(answering(200, "text/event-stream", error_event("openai", NO, "req-1"))) as url:
        client = openai.OpenAI(base_url=url, api_key="k", max_retries=0)
        with pytest.raises(openai.APIError, match="does not let"):
            list(client.chat.completions.create(model="m", messages=ASK, stream=True))
    with serve(answering(200, "text/event-stream", error_event("openai", NO, "r", endpoint="responses"))) as url:
        client = openai.OpenAI(base_url=url, api_key="k", max_retries=0)
        events = list(client.responses.create(model="m", input="hello", stream=True))
        assert events[0].type == "error" and events[0].code == "guard.proxy.policy"


def test_anthropic_reads_the_error() -> None:
    with serve(answering(403, "application/json", error_body("anthropic", NO, "req-1"))) as url:
        client = anthropic.Anthropic(base_url=url, api_key="k", max_retries=0)
        with pytest.raises(anthropic.PermissionDeniedError) as found:
            client.messages.create(model="m", messages=ASK, max_tokens=9)
        assert found.value.body["request_id"] == "req-1"  # type: ignore[index,call-overload]
        assert "guard.proxy.policy" in found.value.message
    with serve(answering(200, "text/event-stream", error_event("anthropic", NO, "req-1"))) as url:
        client = anthropic.Anthropic(base_url=url, api_key="k", max_retries=0)
        with pytest.raises(anthropic.APIStatusError, match=r"guard\.proxy\.policy"):
            list(client.messages.create(model="m", messages=ASK, max_tokens=9, stream=True))


def test_mcp_error() -> None:
    made = json.loads(error_body("mcp", NO, "req-1", rpc_id=7))
    assert made["id"] == 7 and made["error"]["code"] == -32000
    assert made["error"]["data"] == {"request_id": "req-1", "rule": "guard.proxy.policy", "status": 403}
    assert error_event("mcp", NO, "req-1").startswith(b"event: message\ndata: {")
    assert "guard.proxy.policy" in json.loads(error_body("rerank", NO, "req-1"))["message"]


# ── forms ───────────────────────────────────────────────────────────────────────────────────────────


def form_of(**more: Any) -> tuple[str, bytes]:
    request = httpx.Request("POST", "http://x/", **more)
    return request.headers["content-type"], request.read()


def test_form_and_back() -> None:
    kind, body = form_of(
        data={"purpose": "batch", "note": "é中"}, files={"file": ("a.jsonl", b"{}\r\n{}", "text/plain")}
    )
    form = Form(kind, body)
    assert [(p.name, p.filename, p.data) for p in form.parts] == [
        ("purpose", None, b"batch"), ("note", None, "é中".encode()), ("file", "a.jsonl", b"{}\r\n{}"),
    ]  # fmt: skip
    assert form.rewritten() == (kind, body)
    kind, changed = form.rewritten({1: b"x\r\n--y"}, {2: 'a"\r\nb.txt'})
    again = Form(kind, changed)
    assert again.parts[1].data == b"x\r\n--y" and again.parts[2].filename == 'a"\r\nb.txt'
    assert again.parts[0] == form.parts[0] and again.parts[2].kind == "text/plain"


def test_a_boundary_that_speaks_is_replaced() -> None:
    body = b'--alice.canary\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--alice.canary--\r\n'
    kind, made = Form("multipart/form-data; boundary=alice.canary", body).rewritten()
    assert b"canary" not in made and "canary" not in kind and Form(kind, made).parts[0].data == b"x"


def test_data_that_holds_the_boundary() -> None:
    kind, body = form_of(data={"a": "b"}, files={"f": ("x.txt", b"y")})
    form = Form(kind, body)
    again = Form(*form.rewritten({0: f"\r\n--{form.boundary}--\r\n".encode()}))
    assert len(again.parts) == 2 and again.boundary != form.boundary


B = b"--5f0c1d2e3a4b5c6d7e8f90a1b2c3d4e5"
K = "multipart/form-data; boundary=5f0c1d2e3a4b5c6d7e8f90a1b2c3d4e5"
HEAD = b'\r\nContent-Disposition: form-data; name="a"'
BAD = {
    "no boundary": ("multipart/form-data", B + HEAD + b"\r\n\r\nx\r\n" + B + b"--"),
    "two boundaries": (K + "; boundary=y", B + HEAD + b"\r\n\r\nx\r\n" + B + b"--"),
    "preamble": (K, b"canary\r\n" + B + HEAD + b"\r\n\r\nx\r\n" + B + b"--"),
    "epilogue": (K, B + HEAD + b"\r\n\r\nx\r\n" + B + b"--\r\ncanary"),
    "no end": (K, B + HEAD + b"\r\n\r\nx"),
    "after a delimiter": (K, B + b" canary" + HEAD + b"\r\n\r\nx\r\n" + B + b"--"),
    "no head": (K, B + b"\r\nx\r\n" + B + b"--"),
    "other header": (K, B + HEAD + b"\r\nX-Note: canary\r\n\r\nx\r\n" + B + b"--"),
    "header twice": (K, B + HEAD + HEAD + b"\r\n\r\nx\r\n" + B + b"--"),
    "coded": (K, B + HEAD + b"\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n" + B + b"--"),
    "filename*": (K, B + HEAD + b"; filename*=utf-8''canary\r\n\r\nx\r\n" + B + b"--"),
    "parameter": (K, B + HEAD + b'; note="canary"\r\n\r\nx\r\n' + B + b"--"),
    "name twice": (K, B + HEAD + b'; name="canary"\r\n\r\nx\r\n' + B + b"--"),
    "no name": (K, B + b"\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + B + b"--"),
    "name that speaks": (K, B + b'\r\nContent-Disposition: form-data; name="a@b c"\r\n\r\nx\r\n' + B + b"--"),
    "type that speaks": (K, B + HEAD + b"\r\nContent-Type: text/plain; note=canary\r\n\r\nx\r\n" + B + b"--"),
    "long head": (K, B + HEAD + b"\r\nContent-Type: " + b"a" * 5000 + b"\r\n\r\nx\r\n" + B + b"--"),
    "many parts": (K, (B + HEAD + b"\r\n\r\nx\r\n") * 300 + B + b"--"),
    "bare line feed": (K, B + b'\r\nContent-Disposition: form-data; name="a"\nX: canary\r\n\r\nx\r\n' + B + b"--"),
    "not UTF-8": (K, B + HEAD + b'; filename="\xff"\r\n\r\nx\r\n' + B + b"--"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_forms(what: str) -> None:
    with pytest.raises(ProxyRefusal) as found:
        Form(*BAD[what])
    assert "canary" not in str(found.value) and found.value.rule == "guard.proxy.multipart"


def test_random_forms() -> None:
    draw = random.Random(5)
    for _ in range(300):
        data = {f"f{i}": draw.randbytes(draw.randrange(60)) for i in range(draw.randrange(1, 6))}
        kind, body = form_of(files={name: (f"{name}.bin", value) for name, value in data.items()})
        form = Form(kind, body)
        assert {p.name: p.data for p in form.parts} == data and form.rewritten()[1] == body
        number = draw.randrange(len(form.parts))
        again = Form(*form.rewritten({number: b"new"}))
        assert [p.data for p in again.parts] == [b"new" if i == number else p.data for i, p in enumerate(form.parts)]


# ── JSON lines ──────────────────────────────────────────────────────────────────────────────────────


def test_lines_and_back() -> None:
    data = '\ufeff{"a": "b",  "n": 1e2}\r\n\n{"a":"\\u4e2d"}\n["x"]'.encode()
    lines = JsonLines(data)
    assert [leaf.text for leaf in lines.leaves] == ["b", "中", "x"]
    assert lines.rewritten([leaf.text for leaf in lines.leaves]) == data
    assert lines.rewritten(["B", "中", "y"]) == '\ufeff{"a": "B",  "n": 1e2}\r\n\n{"a":"\\u4e2d"}\n["y"]'.encode()
    assert looks_like_jsonl(data) and not looks_like_jsonl(b"hello") and not looks_like_jsonl(b"")
    with pytest.raises(InputError):
        lines.rewritten(["x"])


@pytest.mark.parametrize("data", [b'{"a": canary}', b'{"a":"b"}\nhello', b'{"a":"b"} {"c":"d"}', b'{"a":"\xff"}'])
def test_bad_lines(data: bytes) -> None:
    with pytest.raises(ProxyRefusal) as found:
        JsonLines(data)
    assert "canary" not in str(found.value)
