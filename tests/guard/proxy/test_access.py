"""Access: keys, tenants, provider's keys, conversations, rates; and an access file that says what it means."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from trustplane.errors import InputError
from trustplane.guard.proxy.faces.access import Access, key_digest
from trustplane.guard.proxy.faces.limits import Bucket
from trustplane.guard.proxy.refusal import ProxyRefusal

from .conftest import KEY
from .servers import House, Start

ALPHA, BETA, STRANGER = "alpha-key-canary-000001", "beta-key-canary-0000002", "stranger-key-canary-003"
PROVIDER = "provider-key-canary-0004"
MAIL = "alice.canary@example.com"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "access.toml"
    path.write_text(text)
    return path


def loaded(tmp_path: Path, text: str, **environ: str) -> Access:
    return Access.load(written(tmp_path, text), key=KEY, environ=environ)


FILE = f"""
[tenants.alpha]
keys = ["{key_digest(ALPHA)}"]
purpose = "support"
session = false
provider_keys = {{ openai-standin = "env:STANDIN_KEY" }}

[tenants.beta]
keys = ["{key_digest(BETA)}"]
per_minute = 12
"""


def ask(
    house: House, headers: dict[str, str], text: str = f"write to {MAIL}", path: str = "/v1/chat/completions"
) -> Any:
    body: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": text}]}
    return httpx.post(house.url + path, json=body, headers=headers, timeout=30)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_who_is_let_in_and_with_whose_key(start: Start, tmp_path: Path) -> None:
    house = start(access=loaded(tmp_path, FILE, STANDIN_KEY=PROVIDER))
    for headers in ({}, bearer(STRANGER), {"api-key": STRANGER}, {"authorization": ALPHA + "x"}):
        reply = ask(house, headers)
        assert reply.status_code == 401 and reply.json()["error"]["code"] == "guard.proxy.access"
        assert reply.json()["error"]["request_id"] == reply.headers["x-trustplane-request-id"]
    assert ask(house, {"x-api-key": STRANGER}, path="/v1/messages").json()["error"]["type"] == "authentication_error"
    assert ask(house, {**bearer(ALPHA), "x-api-key": BETA}).status_code == 401  # which one would count?
    assert house.received == [] and house.log.requests == {}

    assert ask(house, bearer(ALPHA)).status_code == 200
    assert house.received[-1]["headers"]["authorization"] == f"Bearer {PROVIDER}"
    assert ask(house, {"x-api-key": ALPHA}).status_code == 200
    assert "x-api-key" not in house.received[-1]["headers"]
    assert house.log.last["purpose"] == "support"
    assert ask(house, bearer(BETA)).status_code == 200
    assert house.received[-1]["headers"]["authorization"] == f"Bearer {BETA}"
    assert not any(ALPHA in repr(got) for got in house.received)
    assert not any(key in repr(house.log.steps) for key in (ALPHA, BETA, PROVIDER))


def hidden(house: House) -> str:
    return str(house.received[-1]["body"]["messages"][0]["content"])


def test_tenants_and_conversations_have_pseudonyms_of_their_own(start: Start, tmp_path: Path) -> None:
    house = start(access=loaded(tmp_path, FILE.replace("per_minute = 12", ""), STANDIN_KEY=PROVIDER))
    seen = []
    for headers in (bearer(ALPHA), bearer(BETA), {**bearer(BETA), "x-trustplane-session": "s-1"}, bearer(BETA)):
        assert MAIL in ask(house, headers).text
        seen.append(hidden(house))
    assert len(set(seen)) == 3 and seen[1] == seen[3]
    assert ask(house, {**bearer(ALPHA), "x-trustplane-session": "s-1"}).status_code == 400
    assert ask(house, {**bearer(BETA), "x-trustplane-session": "a b"}).status_code == 400
    assert all("x-trustplane-session" not in got["headers"] for got in house.received)


def test_without_a_file_every_key_is_a_tenant(start: Start) -> None:
    house = start()
    seen = []
    for headers in ({}, bearer(ALPHA), bearer(BETA), bearer(ALPHA)):
        assert ask(house, headers).status_code == 200
        seen.append(hidden(house))
    assert len(set(seen)) == 3 and seen[1] == seen[3]
    access = Access(key=KEY)
    tenant = access.admit((("authorization", f"Bearer {ALPHA}"),)).caller.tenant
    assert tenant.startswith("key-") and len(tenant) == 16 and tenant != f"key-{key_digest(ALPHA)[7:19]}"
    other = Access(key=bytes(32)).admit((("authorization", f"Bearer {ALPHA}"),)).caller.tenant
    assert other != tenant and access.admit(()).caller.tenant == ""


def test_a_rate_is_kept(start: Start, tmp_path: Path) -> None:
    house = start(access=loaded(tmp_path, FILE, STANDIN_KEY=PROVIDER))
    found = [ask(house, bearer(BETA), "hi") for _ in range(4)]
    assert [reply.status_code for reply in found[:2]] == [200, 200] and found[-1].status_code == 429
    assert found[-1].json()["error"]["code"] == "guard.proxy.rate" and 1 <= int(found[-1].headers["retry-after"]) <= 6
    assert ask(house, bearer(ALPHA), "hi").status_code == 200


def test_bucket() -> None:
    now = [100.0]
    bucket = Bucket(60, clock=lambda: now[0])  # one a second, ten at once
    assert [bucket.take() for _ in range(10)] == [0.0] * 10
    assert bucket.take() == pytest.approx(1.0)
    now[0] += 2.5
    assert [bucket.take() for _ in range(2)] == [0.0, 0.0] and bucket.take() == pytest.approx(0.5)
    now[0] += 3600
    assert sum(bucket.take() == 0.0 for _ in range(20)) == 10


def test_upstreams_of_the_file_by_model_and_tenant(start: Start, tmp_path: Path) -> None:
    other = start()
    text = FILE.replace('provider_keys = { openai-standin = "env:STANDIN_KEY" }', 'upstreams = ["openai-standin"]')
    table = f'[upstreams.local]\norigin = "{other.upstream_url}"\nmodels = ["llama*"]\n'
    house = start(access=loaded(tmp_path, table + text))
    for headers, model in ((bearer(BETA), "llama-3"), (bearer(BETA), "gpt"), (bearer(ALPHA), "llama-3")):
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        assert httpx.post(f"{house.url}/v1/chat/completions", json=body, headers=headers).status_code == 200
    assert [len(other.received), len(house.received)] == [1, 2]
    named = {**bearer(ALPHA), "x-trustplane-upstream": "local"}
    assert ask(house, named).status_code == 404 and len(other.received) == 1


DIGEST = key_digest(ALPHA)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tenants.a]\nkeys = []\nkey = 1", "unknown field"),
        ("[tenant.a]\nkeys = []", "unknown field"),
        ("unknown = 'maybe'", "Invalid enum"),
        (f"[tenants.a]\nkeys = ['{ALPHA}']", "not sha256"),
        (f"[tenants.a]\nkeys = ['{DIGEST}']\n[tenants.b]\nkeys = ['{DIGEST}']", "twice"),
        ("[tenants.key-a]\nkeys = []", "key-"),
        ("[tenants.a]\nkeys = []\nprovider_keys = {x = 'sk-canary'}", "env:NAME"),
        ("[tenants.a]\nkeys = []\nprovider_keys = {x = 'env:NOT_SET'}", "not set"),
        ("[tenants.a]\nkeys = []\nprovider_keys = {x = 'file:not-there'}", "cannot be read"),
        ("[tenants.a]\nkeys = []\ncontent = 'all'", "Invalid enum"),
        ("[upstreams.a]\norigin = 'http://x/v1'", "more than an origin"),
        ("not toml", "not TOML"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        loaded(tmp_path, text)
    assert said in str(error.value) and "canary" not in str(error.value)


def test_names_of_upstreams_are_checked(start: Start, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        start(access=loaded(tmp_path, FILE.replace("openai-standin", "nowhere"), STANDIN_KEY=PROVIDER))


def test_keys_in_files_and_none_in_reprs(tmp_path: Path) -> None:
    (tmp_path / "provider.key").write_text(PROVIDER + "\n")
    access = loaded(tmp_path, FILE.replace("env:STANDIN_KEY", "file:provider.key"))
    admitted = access.admit((("authorization", f"Bearer {ALPHA}"),))
    assert admitted.provider_keys == {"openai-standin": PROVIDER}
    assert "canary" not in repr(access) + repr(admitted) + repr(access._known)
    passing = loaded(tmp_path, 'unknown = "pass"\n' + FILE, STANDIN_KEY=PROVIDER)
    assert passing.admit((("x-api-key", STRANGER),)).caller.tenant.startswith("key-")
    with pytest.raises(ProxyRefusal):
        access.admit((("x-api-key", STRANGER),))
