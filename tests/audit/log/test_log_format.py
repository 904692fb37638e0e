"""The worked example of docs/reference/log-format.md is what the code makes; run this file to print it anew."""

import base64
from pathlib import Path

from trustplane import canon
from trustplane.audit.log import seal
from trustplane.audit.log.entry import SCHEMA, Content, Public, encode, entry_data, entry_hash, field_leaf
from trustplane.audit.log.note import MLDSA, Checkpoint, Key, Proof, _message
from trustplane.audit.log.tree import node_hash

DOCUMENT = Path(__file__).parents[3] / "docs" / "reference" / "log-format.md"


def example():
    """Return the lines of the example: two entries, their tree, a checkpoint and a proof."""
    secret, key_id, salt = bytes(range(32)), bytes(range(16, 32)), bytes(range(16))
    lines = []

    def say(name, value):
        lines.append(f"{name} = {value.hex() if isinstance(value, bytes) else value}")

    say("secret", secret)
    say("key id", key_id)
    value = canon.dumps({"名": "Alice", "income": 52000})
    say("value", value.decode())
    field_salt = seal.salt_of(secret, 0, "input")
    say("field salt", field_salt)
    commitment = field_leaf(field_salt, "input", value)
    say("field leaf", commitment)
    say("sealing key", seal.hmac.digest(secret, b"seal", "sha256"))
    say("sealing context", seal._bound_to(key_id, 0, "input"))
    content = Content(key_id.hex(), "digest", "input").evidence()
    common = {"boot": "00112233445566aa", "origin": "log.example/demo", "schema": SCHEMA}
    first = encode(
        Public(
            "request", content=(content,), kind="open", mode="digest", mono_us=1000, purpose="credit", request="r1",
            result="opened", wall_us=1_700_000_000_000_000, **common,
        )
    )  # fmt: skip
    say("public 0", first.decode())
    say("salt 0", salt)
    say("entry data 0", entry_data(first, salt, [commitment]))
    leaf0 = entry_hash(first, salt, [commitment])
    say("leaf 0", leaf0)
    second = encode(
        Public(
            "decision", facts={"steps": 0}, kind="decision", mode="digest", mono_us=2000, purpose="credit",
            request="r1", result="approved", step=1, wall_us=1_700_000_000_001_000, **common,
        )
    )  # fmt: skip
    say("public 1", second.decode())
    say("salt 1", salt[::-1])
    say("entry data 1", entry_data(second, salt[::-1], []))
    leaf1 = entry_hash(second, salt[::-1], [])
    say("leaf 1", leaf1)
    root = node_hash(leaf0, leaf1)
    say("root", root)
    key = Key("log.example/demo", 1, bytes([1]) * 32)
    say("vkey", key.vkey)
    body = Checkpoint("log.example/demo", 2, root).body
    note = body + "\n" + key.sign(body) + "\n"
    lines.append("checkpoint:")
    lines += note[:-1].split("\n")
    say("ML-DSA-44 message at time 1700000000", _message(MLDSA, "log.example/demo", 1_700_000_000, body))
    lines.append("proof of entry 0:")
    lines += Proof(0, (leaf1,), note).text.split("\n")[:3]
    return lines


def test_the_document_shows_these_bytes():
    block = DOCUMENT.read_text().partition("<!-- example -->\n```text\n")[2].partition("```\n")[0]
    assert block.split("\n")[:-1] == example()


def test_the_document_names_every_field_table_and_cause():
    import re

    from trustplane.audit.log import note as notes
    from trustplane.audit.log import read, rotate, sqlite, store, verify

    text = DOCUMENT.read_text()
    for name in Public.__struct_fields__:
        assert f"`{name}`" in text, name
    for name in re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", sqlite._LOG + sqlite._KEYS + sqlite._CONTENT):
        assert name in text, name
    causes = set()
    for module in (read, rotate, verify, notes, seal, store):
        causes |= set(re.findall(r'cause="([a-z-]+)"', Path(module.__file__).read_text()))
    assert {c for c in causes if f"`{c}`" not in text} == set()


def test_the_example_verifies_by_hand():
    """The same numbers with hashlib alone, from the words of the document."""
    import hashlib
    import hmac

    said = dict(line.split(" = ", 1) for line in example() if " = " in line)
    sha = lambda data: hashlib.sha256(data).digest()  # noqa: E731
    raw = bytes.fromhex
    salt = hmac.digest(raw(said["secret"]), b"salt/0/input", "sha256")[:16]
    field = sha(b"\0" + salt + b"input\0" + said["value"].encode())
    public = sha(b"\0" + raw(said["salt 0"]) + b"public\0" + said["public 0"].encode())
    data0 = b"trustplane/1\n" + sha(b"\1" + public + field)
    data1 = b"trustplane/1\n" + sha(b"\0" + raw(said["salt 1"]) + b"public\0" + said["public 1"].encode())
    assert (data0.hex(), data1.hex()) == (said["entry data 0"], said["entry data 1"])
    root = sha(b"\1" + sha(b"\0" + data0) + sha(b"\0" + data1))
    assert root.hex() == said["root"] and base64.b64encode(root).decode() in example()


if __name__ == "__main__":
    print("\n".join(example()))
