"""A verifier written from docs/reference/log-format.md: standard library and cryptography, nothing of trustplane.

Usage: python independent_verifier.py FOLDER ORIGIN VKEY...
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sqlite3
import struct
import sys
import time
from pathlib import Path

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SCALARS = {"action": str, "boot": str, "kind": str, "mode": str, "mono_us": int, "origin": str, "parent": str,
           "purpose": str, "request": str, "result": str, "schema": str, "step": int, "wall_us": int}  # fmt: skip
LISTS = {"agents", "content", "findings", "inputs", "outputs"}


class Wrong(Exception):
    """The log does not hold: index of the first wrong entry, and why."""

    def __init__(self, index, cause):
        super().__init__(f"entry {index}: {cause}")
        self.index, self.cause = index, cause


def sha(data):
    return hashlib.sha256(data).digest()


# ── canonical JSON ──────────────────────────────────────────────────────────────────────────────────


def canonical(value):
    def ordered(v):
        if isinstance(v, dict):
            return {k: ordered(v[k]) for k in sorted(v, key=lambda k: k.encode("utf-16-be"))}
        return [ordered(i) for i in v] if isinstance(v, list) else v

    return json.dumps(ordered(value), ensure_ascii=False, separators=(",", ":")).encode()


def parse(data):
    def no(_):
        raise ValueError("not an integer")

    value = json.loads(data.decode(), parse_float=no, parse_constant=no)
    if canonical(value) != data:
        raise ValueError("not canonical")
    return value


# ── tree ────────────────────────────────────────────────────────────────────────────────────────────


def mth(hashes):
    """RFC 9162, 2.1.1, over leaf hashes."""
    if not hashes:
        return sha(b"")
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return sha(b"\x01" + mth(hashes[:k]) + mth(hashes[k:]))


# ── notes ───────────────────────────────────────────────────────────────────────────────────────────


def read_vkey(vkey):
    name, ident, data = vkey.split("+", 2)
    raw = base64.b64decode(data, validate=True)
    if sha(name.encode() + b"\n" + raw)[:4].hex() != ident:
        raise ValueError("key id")
    return name, bytes.fromhex(ident), raw[0], raw[1:]


def signed_by(note, vkeys):
    """Return the text and the keys that signed it; a wrong signature of a known key refuses the note."""
    text, _, tail = note.rpartition("\n\n")
    text += "\n"
    known = {read_vkey(v)[:2]: v for v in vkeys}
    found = set()
    for line in tail.splitlines():
        dash, name, data = line.split(" ")
        raw = base64.b64decode(data, validate=True)
        if dash != "—":
            raise ValueError("signature line")
        vkey = known.get((name, raw[:4]))
        if vkey is None:
            continue
        _, _, kind, public = read_vkey(vkey)
        if kind == 1:
            ed25519.Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], text.encode())
        elif kind == 6:
            stamp, signature = raw[4:12], raw[12:]
            origin, size, root, _ = text.split("\n")
            message = (
                b"subtree/v1\n\0" + bytes([len(name)]) + name.encode() + stamp
                + bytes([len(origin)]) + origin.encode() + struct.pack(">QQ", 0, int(size))
                + base64.b64decode(root)
            )  # fmt: skip
            mldsa.MLDSA44PublicKey.from_public_bytes(public).verify(signature, message)
        else:
            raise ValueError("key type")
        found.add(vkey)
    if not found:
        raise ValueError("unsigned")
    return text, found


def succession(facts, keys, origin):
    note = base64.b64decode("".join(facts["note"]), validate=True).decode()
    lines = note.partition("\n\n")[0].split("\n")
    old = [x[4:] for x in lines if x.startswith("old ")]
    new = [x[4:] for x in lines if x.startswith("new ")]
    text, signers = signed_by(note, [old[0], new[0]])
    expected = ["trustplane/succession/1", origin, *("old " + v for v in old), *("new " + v for v in new)]
    if text != "\n".join(expected) + "\n" or signers != {old[0], new[0]} or old[0] not in keys:
        raise ValueError("succession")
    return [v for v in keys if v not in old] + new


# ── the log ─────────────────────────────────────────────────────────────────────────────────────────


def rows(folder, database, sql):
    connection = sqlite3.connect(f"file:{Path(folder) / database}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def read_entries(folder):
    """Yield (index, public bytes, public part, salt, commitments, stored leaf)."""
    at = 0
    for first, count, publics, salts, commitments, leaves in rows(
        folder, "log.db", "SELECT first, count, publics, salts, commitments, leaves FROM batches ORDER BY first"
    ):
        if first != at or count < 1:
            raise Wrong(at, "sequence")
        parts = publics.split(b"\n")
        if len(parts) != count or len(salts) != 16 * count or len(leaves) != 32 * count:
            raise Wrong(at, "batch form")
        used = 0
        for i, data in enumerate(parts):
            try:
                public = parse(data)
                fields = 32 * len(public.get("content", []))
            except (ValueError, AttributeError, TypeError):
                raise Wrong(at + i, "public part") from None
            yield at + i, data, public, salts[16 * i :][:16], commitments[used : used + fields], leaves[32 * i :][:32]
            used += fields
        if used != len(commitments):
            raise Wrong(at, "batch form")
        at += count


def check_public(index, public, origin):
    for name, value in public.items():
        if name in SCALARS:
            good = type(value) is SCALARS[name] and value not in ("", 0)
        else:
            good = (name in LISTS and isinstance(value, list) and value) or (
                name == "facts" and isinstance(value, dict) and value
            )
        if not good:
            raise Wrong(index, "public part")
    if public.get("schema") != "trustplane/step/1":
        raise Wrong(index, "schema")
    if public.get("origin") != origin:
        raise Wrong(index, "origin")


def check_content(index, public, commitments, keys, kept):
    for i, field in enumerate(public.get("content", [])):
        secret, expires = keys.get(bytes.fromhex(field["key"]), (None, None))
        ends = field.get("expires_us") or expires
        if secret is None or (ends and ends <= time.time() * 1e6) or field["mode"] == "digest":
            continue
        step, name = public.get("step", 0), field["name"]
        row = kept.get((bytes.fromhex(field["key"]), step, name))
        if row is None:
            yield "missing"
            continue
        mode, value = row
        key = hmac.digest(secret, b"seal", "sha256")
        place = bytes.fromhex(field["key"]) + f"/{step}/{name}".encode()
        try:
            data = AESGCM(key).decrypt(value[:12], value[12:], place)
        except (InvalidTag, ValueError):
            raise Wrong(index, "sealed content") from None
        if mode != field["mode"]:
            raise Wrong(index, "content mode")
        salt = hmac.digest(secret, f"salt/{step}/{name}".encode(), "sha256")[:16]
        leaf = sha(b"\0" + salt + name.encode() + b"\0" + data)
        if mode != "redacted" and leaf != commitments[32 * i :][:32]:
            raise Wrong(index, "field")
        yield mode


def verify(folder, origin, vkeys):
    """Verify a whole log; return how many entries, requests and opened fields there are."""
    secrets = {k: (s, e) for k, s, e in rows(folder, "keys.db", "SELECT id, secret, expires_us FROM keys WHERE alive")}
    kept = {(k, s, n): (m, v) for k, s, n, m, v in rows(folder, "content.db", "SELECT * FROM content")}
    checkpoints = rows(folder, "log.db", "SELECT size, note FROM checkpoints ORDER BY size")
    heads = rows(folder, "log.db", "SELECT size, root FROM head")
    tiles = {(lv, i): h for lv, i, h in rows(folder, "log.db", "SELECT level, idx, hashes FROM tiles")}
    trusted, pending = list(vkeys), dict(checkpoints)
    leaves, steps, decided, opened, announced, missing = [], {}, 0, [], set(), None

    for index, data, public, salt, commitments, stored in read_entries(folder):
        fields = [commitments[i : i + 32] for i in range(0, len(commitments), 32)]
        root = mth([sha(b"\0" + salt + b"public\0" + data), *fields])
        leaf = sha(b"\0" + b"trustplane/1\n" + root)
        if leaf != stored:
            raise Wrong(index, "leaf")
        check_public(index, public, origin)
        request, kind, step, facts = public["request"], public["kind"], public.get("step", 0), public.get("facts", {})
        place = request, public["boot"]
        alone = kind == "log" and not request.startswith("boot/")
        if step != (0 if alone else steps.get(place, 0)):
            raise Wrong(index, "step")
        if kind == "decision":
            if facts.get("steps") != step - 1:
                raise Wrong(index, "step")
            steps.pop(place, None)
            decided += 1
        elif not alone:
            steps[place] = step + 1
        found = list(check_content(index, public, commitments, secrets, kept))
        opened += [m for m in found if m in ("sealed", "plain")]
        missing = index if missing is None and "missing" in found else missing
        if public["action"] == "key.succession" and kind == "log":
            try:
                trusted = succession(facts, trusted, origin)
            except (ValueError, KeyError, TypeError, IndexError, InvalidSignature):
                raise Wrong(index, "succession") from None
        elif public["action"] == "subject.erase":
            announced ^= {facts["erasure"]}
        leaves.append(leaf)
        size = len(leaves)
        if size in pending:
            try:
                text, _ = signed_by(pending.pop(size), trusted)
            except (ValueError, InvalidSignature):
                raise Wrong(size - 1, "signature") from None
            if text != f"{origin}\n{size}\n{base64.b64encode(mth(leaves)).decode()}\n":
                raise Wrong(size - 1, "root")
    size = len(leaves)
    if pending or (checkpoints and (not heads or heads[0][0] < checkpoints[-1][0])):
        raise Wrong(size, "truncated")
    if heads:
        built, root = heads[0]
        if built > size or mth(leaves[:built]) != root:
            raise Wrong(size, "head")
        level, hashes = 0, leaves[:built]
        while hashes:
            for i in range(0, len(hashes), 256):
                if tiles.get((level, i // 256)) != b"".join(hashes[i : i + 256]):
                    raise Wrong(i << 8 * level, "tile")
            hashes = [mth(hashes[i : i + 256]) for i in range(0, len(hashes) - 255, 256)]
            level += 1
    if missing is not None and not announced:
        raise Wrong(missing, "content missing")
    return {
        "size": size,
        "requests": decided,
        "contents": len(opened),
        "signed": max([c[0] for c in checkpoints] or [0]),
    }


if __name__ == "__main__":
    print(verify(sys.argv[1], sys.argv[2], sys.argv[3:]))
