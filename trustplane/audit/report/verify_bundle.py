#!/usr/bin/env python3
"""Check a report bundle offline: python3 verify_bundle.py FOLDER --key VKEY. One file, standard library only.

1. the folder holds exactly the files of the manifest    5. the disclosed entries lead to the signed root
2. the log's key signed the manifest                     6. each request's steps are gap-free, keys follow on
3. the checkpoint is signed by the same log              7. every sentence follows from entries and register
4. the words are those of the released catalogue         8. the pages hold exactly these sentences
Exit code 0: all holds. 5: something does not; the first wrong place is named. 2: bad arguments.
"""

# fmt: off
# ruff: noqa: B905, D102, D103, DTZ001 - one file under 500 lines: what a function does stands beside its name
import argparse
import base64
import hashlib
import json
import re
import sys
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

CATALOGUE = "e266fb1542ca1844b6b959542e34c3cddaefa4a7c7f04d71040db21920228e01"  # SHA-256 of the words and duties
STYLE = "c3f21c4b63f2b45a2a954bcb084efea8ddada3a11ba17f9d761ca6f95c87b9aa"  # SHA-256 of the style: none that hides
MAX_FILE, MAX_LINE, MAX_EACH = 256 << 20, 4 << 20, 2000
ALWAYS = ("README.txt", "catalogue.json", "checkpoint.txt", "entries.jsonl", "keys.txt", "range-proof.txt",
          "register.json", "report.json", "verify_bundle.py")
WRONG = ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, StopIteration, TypeError, ValueError

class ProofError(Exception):
    """What does not hold: the file, the sentence or entry, and the cause."""
    def __init__(self, file: Any, cause: Any, place: Any = "") -> None:
        super().__init__(f"{file}: {place}{': ' if place != '' else ''}{cause}")
        self.file, self.cause, self.place = file, cause, str(place)

# ── Ed25519 (RFC 8032 sections 5.1 and 6), verification only ──
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)

def point(data: Any) -> Any:  # decode 32 bytes to a point in extended coordinates, or None
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(xx, (P + 3) // 8, P)
    x = x * ROOT % P if (x * x - xx) % P else x
    if len(data) != 32 or y >= P or (x * x - xx) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P

def add(p: Any, q: Any) -> Any:  # add two points
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)

def times(n: Any, p: Any) -> Any:  # multiply a point by n
    q = (0, 1, 1, 0)
    while n:
        q, p, n = add(q, p) if n & 1 else q, add(p, p), n >> 1
    return q

BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))

def ed25519(public: Any, message: Any, signature: Any) -> Any:  # say whether the signature fits
    a, r = point(public), point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or a is None or r is None or s >= L or times(8, a) == (0, 1, 1, 0):
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = times(s, BASE), add(r, times(h, a))
    return all((left[i] * right[2] - right[i] * left[2]) % P == 0 for i in (0, 1))

# ── Merkle tree (RFC 9162 section 2.1) and signed notes (C2SP) ──
def sha(*parts: Any) -> Any:  # return the SHA-256 of the parts together
    return hashlib.sha256(b"".join(parts)).digest()

def tree(leaves: Any) -> Any:  # return the root over leaf hashes
    level = list(leaves)
    while len(level) > 1:
        level = [sha(b"\x01", *level[i : i + 2]) if i + 1 < len(level) else level[i] for i in range(0, len(level), 2)]
    return level[0]

def range_root(leaves: Any, start: Any, size: Any, proof: Any) -> Any:  # the root they lead to
    end, rest = start + len(leaves), list(proof)

    def walk(low: Any, high: Any) -> Any:
        if end <= low or high <= start:
            return rest.pop(0)  # IndexError: too few hashes
        if start <= low and high <= end:
            return tree(leaves[low - start : high - start])
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        return sha(b"\x01", walk(low, middle), walk(middle, high))

    root = walk(0, size)
    if rest:
        raise ProofError("range-proof.txt", "too many hashes")
    return root

def b64(text: Any, file: Any) -> Any:  # decode canonical base64
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ProofError(file, "base64 that is not canonical")
    return data

class Key:
    """A verifier key, name+id+base64(type, public key)."""
    def __init__(self, text: Any, file: Any) -> None:
        try:
            self.name, ident, data = text.split("+", 2)
            raw = b64(data, file)
        except ValueError:
            raise ProofError(file, "not a verifier key (name+id+base64)") from None
        self.kind, self.public, self.text = raw[:1], raw[1:], text
        self.id = sha(self.name.encode(), b"\n", raw)[:4]
        if self.id.hex() != ident or self.kind not in (b"\1", b"\4") or len(self.public) != 32:
            raise ProofError(file, "not an Ed25519 verifier key, or one whose id does not fit")

    def check(self, body: Any, signature: Any) -> Any:  # what was found, or ProofError
        at = f"cosignature/v1\ntime {int.from_bytes(signature[:8], 'big')}\n" if self.kind == b"\4" else ""
        return ed25519(self.public, (at + body).encode(), signature[8:] if at else signature)

def note(text: Any, keys: Any, file: Any) -> Any:  # body and signers; unknown signers are refused
    body, found, tail = text.rpartition("\n\n")
    if not found or not body or not tail.endswith("\n"):
        raise ProofError(file, "not a signed note")
    signed = []
    for line in tail[:-1].split("\n"):
        name, _, data = line.removeprefix("— ").partition(" ")
        raw = b64(data, file)
        fits = [k for k in keys if (k.name, k.id) == (name, raw[:4])]
        if not line.startswith("— ") or not fits or fits[0] in signed:
            raise ProofError(file, "a signature of a key that is not trusted, or twice of one", name)
        if not fits[0].check(body + "\n", raw[4:]):
            raise ProofError(file, "a wrong signature", name)
        signed.append(fits[0])
    return body + "\n", signed

# ── the query language ──
def at(value: Any, path: Any) -> Any:  # return the values at a path; lists are spread
    if "." not in path and type(value) is dict and not isinstance(value.get(path, []), list):
        return [value[path]]  # the same, faster
    found = value if isinstance(value, list) else [value]
    for name in path.split("."):
        nodes = [node[name] for node in found if isinstance(node, dict) and name in node]
        found = [item for node in nodes for item in (node if isinstance(node, list) else [node])]
    return found

def typed(value: Any) -> Any:  # tell 1 from true
    return (type(value).__name__, value)

def meets(values: Any, op: Any, wanted: Any) -> Any:  # say whether values meet a condition
    if op == "exists":
        return (len(values) > 0) == (wanted[0] is True)
    if op in ("=", "in", "!=", "not in"):
        hit = not {typed(v) for v in values if not isinstance(v, dict)}.isdisjoint(map(typed, wanted))
        return hit if op in ("=", "in") else not hit and (op == "!=" or len(values) > 0)
    if op == "prefix":
        return any(isinstance(v, str) and v.startswith(tuple(wanted)) for v in values)
    ints = [w for w in wanted if type(w) is int]
    mine = [v for v in values if type(v) is int]
    return bool(ints and mine) and (min(mine) <= max(ints) if op == "<=" else max(mine) > min(ints))

class Log:
    """The disclosed entries and the answers to queries over them."""
    def __init__(self, rows: Any) -> None:
        self.rows: Any = rows
        self.index: Any = {}

    def where(self, conditions: Any, scope: Any) -> Any:  # the rows that meet every condition
        rows, rest = None, []
        for path, op, wanted in conditions:
            wanted = refer(wanted, scope)
            if op in ("=", "in", "prefix"):
                if path not in self.index:
                    made = self.index[path] = dict[Any, Any]()
                    for place, row in enumerate(self.rows):
                        for value in {typed(v) for v in at(row, path) if not isinstance(v, dict)}:
                            made.setdefault(value, []).append(place)
                keys = map(typed, wanted) if op != "prefix" else [
                    key for key in self.index[path] if meets(key[1:], op, wanted)]
                found = set().union(*(self.index[path].get(key, ()) for key in keys))
                rows = found if rows is None else rows & found
            else:
                rest.append((path, op, wanted))
        picked = self.rows if rows is None else [self.rows[i] for i in sorted(rows)]
        return [row for row in picked if all(meets(at(row, p), o, w) for p, o, w in rest)] if rest else picked

    def ask(self, query: Any, scope: Any) -> Any:  # answer one query
        if not isinstance(query, dict):
            return next(iter(refer(query, scope)), None)
        op, of, keep = query["op"], query.get("of", ""), query.get("keep", ["exists", True])
        wanted = refer(keep[1], scope)
        rows = self.where(query.get("where", []), scope) if not of.startswith("$") else []
        if op == "count":
            return len(rows)
        if op in ("first", "last"):
            return rows[-(op == "last")]["index"] if rows else None
        if op == "tally" and of.endswith("*"):
            head, _, start = of[:-1].rpartition(".")
            pairs = [(k[len(start) :], v) for r in rows for part in at(r, head) for k, v in part.items()
                     if k.startswith(start) and type(v) is int]
            return tally((k, v) for k, v in pairs if meets([k], keep[0], wanted))
        values = refer(of, scope) if of.startswith("$") else [v for row in rows for v in at(row, of)]
        values = [v for v in values if not isinstance(v, dict) and meets([v], keep[0], wanted)]
        if op == "tally":
            return tally((v, 1) for v in values if isinstance(v, str))
        if "except" in query:
            gone = set(map(typed, self.ask({**query["except"], "op": "values"}, scope)))
            values = [v for v in values if typed(v) not in gone]
        if op in ("items", "latest"):
            return len(values) if op == "items" else values[-1] if values else None
        distinct = set(map(typed, values))
        if op == "missing":
            return [v for _, v in sorted(set(map(typed, refer(query["from"], scope))) - distinct)]
        if op in ("distinct", "values", "list"):
            return len(distinct) if op == "distinct" else [v for _, v in sorted(distinct)]
        numbers = [v for v in values if type(v) is int]
        return sum(numbers) if op == "sum" else {"min": min, "max": max}[op](numbers, default=None)

def tally(pairs: Any) -> Any:  # add up pairs of name and number
    found: Any = {}
    for name, number in pairs:
        found[name] = found.get(name, 0) + number
    return {name: found[name] for name in sorted(found) if found[name]}

def refer(wanted: Any, scope: Any) -> Any:  # resolve a $reference to its values
    if isinstance(wanted, str) and wanted[:1] == "$":
        return at(scope, wanted[1:])
    return wanted if isinstance(wanted, list) else [wanted]

# ── sentences ──
UNSEEN = [(0, 31), (127, 160), (173, 173), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x1680, 0x1680),
          (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2000, 0x200F), (0x2028, 0x202F), (0x205F, 0x206F), (0x3000, 0x3000),
          (0x3164, 0x3164), (0xD800, 0xF8FF), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFF),
          (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0x10FFFF)]

SLOT = re.compile(r"\{([a-z0-9_]+)(?:\|([^|{}]*)\|([^|{}]*))?\}")

def visible(text: Any) -> Any:  # show characters that cannot be seen, and stacked marks, by their numbers
    out, marks = list[Any](), 0
    for place, c in enumerate(text):
        marks = marks + 1 if "\u0300" <= c <= "\u036f" else 0
        odd = (any(low <= ord(c) <= high for low, high in UNSEEN) or marks > 1) if not " " <= c <= "~" else (
            text[place : place + 3] == "\\u{")
        out.append(f"\\u{{{ord(c):04X}}}" if odd else c)
    return "".join(out)

def shown(value: Any, kind: Any, units: Any) -> Any:  # return a value in words
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, (list, dict)):
        items = [units["quote"].replace("#", visible(str(v))) for v in value] if isinstance(value, list) else [
            f"{visible(name)} {number:,}" for name, number in value.items()]
        return units["join"].join(items[:40]) + (units["more"].replace("#", f"{len(items) - 40:,}") * (len(items) > 40))
    if kind == "date":
        try:
            return f"{datetime(1970, 1, 1) + timedelta(microseconds=value):%Y-%m-%d %H:%M:%S}Z".rjust(20, "0")
        except OverflowError:
            return f"{value} µs"
    if kind == "micro":
        return "-" * (value < 0) + f"{abs(value) // 10**6}." + (f"{abs(value) % 10**6:06}".rstrip("0") or "0")
    if kind == "percent":
        return f"{(value + 500) // 10_000}.{(value + 500) // 1000 % 10} %"
    if kind == "seconds":
        days, rest = divmod(value, 86_400)
        return units["seconds" if rest else "days"].replace("#", f"{value if rest else days:,}")
    return f"{value:,}"

def sentence(claim: Any, ident: Any, log: Any, scope: Any, catalogue: Any, languages: Any) -> Any:
    """Return one sentence as it must stand in report.json, or None where the claim says nothing."""
    values = dict[Any, Any]()
    for name, query in claim.get("let", {}).items():
        value = log.ask(query, {**scope, **values})
        if value is not None and value != [] and value != {}:
            values[name] = value
    inner = {**scope, **values}
    case = next(c for c in claim["cases"]
                if all(meets(at(inner, n), op, refer(w, inner)) for n, op, w in c.get("if", [])))
    if case.get("omit"):
        return None

    def slot(match: Any) -> Any:
        name, one, many = match.groups()
        text = shown(values[name], claim.get("as", {}).get(name, ""), catalogue["units"][language])
        return text if one is None else f"{text} {one if values[name] == 1 else many}"

    text = {}
    for language in languages:
        text[language] = SLOT.sub(slot, case[language])
    named = [values[n] for n, q in claim.get("let", {}).items()
             if n in values and isinstance(q, dict) and q["op"] in ("first", "last")]
    return {"article": claim["article"], "class": case["class"], "entries": sorted(set(named)), "id": ident,
            "section": claim["section"], "text": text, "tone": case.get("tone", "ok")}

def sentences(catalogue: Any, log: Any, scope: Any, languages: Any) -> Any:  # return all sentences
    found = []
    for claim in catalogue["claims"]:
        ident, each, jobs = claim["id"], claim.get("each"), [(claim["id"], scope)]
        if each:
            items = log.ask(each, scope) if isinstance(each, dict) else refer(each, scope)
            jobs = [(f"{ident}.{n}", {**scope, "item": item}) for n, item in enumerate(items[:MAX_EACH], 1)]
        found += [sentence(claim, ident, log, inner, catalogue, languages) for ident, inner in jobs]
    return [made for made in found if made]

TAG = re.compile(r"</?(?:html|head|meta|title|style|body|header|footer|main|section|h1|h2|h3|p|a|b|bdi|code|pre|span"
                 r"|table|thead|tbody|tr|th|td|div)(?: (?:(?:lang|class|id|data-id|data-badge|scope|charset|name"
                 r'|content)="[^"<>]*"|href="#[^"<>]*"|http-equiv="Content-Security-Policy"))*>')

def page(text: Any, given: Any, language: Any, file: Any) -> None:  # holds each sentence once, nothing else
    rest = TAG.sub("", text.removeprefix("<!doctype html>\n"))
    if "<" in rest or text.count("<title") != 1 or not re.match(r"[^\0]{,500}<title>[^<>]*</title>\n<style>", text):
        raise ProofError(file, "a tag or attribute that no report has")
    style = re.findall("<style>(.*?)</style>", text, re.DOTALL)
    if len(style) != 1 or sha(style[0].encode()).hex() != STYLE:
        raise ProofError(file, "a style sheet that is not the released one")
    for name, want in (("id", [(s["id"], s["text"][language]) for s in given]),
                       ("badge", [(s["id"], s["class"]) for s in given])):
        found = re.findall(rf' data-{name}="([^"<>]*)">(.*?)</(?:p|b)>', text, re.DOTALL)
        found = [(unescape(i), unescape(re.sub("<[^<>]*>", "", t))) for i, t in found]
        if found != want or sum(f" data-{name}=" in tag for tag in re.findall("<[^<>]*>", text)) != len(want):
            place = next((w[0] for f, w in zip(found, want) if f != w), "")
            raise ProofError(file, "the page does not hold exactly the report's sentences", place)

def exact(data: Any, name: Any) -> Any:  # read JSON that is in its one canonical form
    value = json.loads(data)
    plain = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    if type(value) is not dict or plain.encode() != data:
        raise ProofError(name, "not in canonical form")
    return value

def entries(folder: Any, want: Any, start: Any, count: Any, origin: Any, keys: Any) -> Any:
    """Read the disclosed entries; return their rows, leaf hashes and the keys that hold after them."""
    whole, rows, leaves, steps, name = hashlib.sha256(), list[Any](), list[Any](), dict[Any, Any](), "entries.jsonl"
    with (folder / name).open("rb") as file:
        for line in iter(lambda: file.readline(MAX_LINE), b""):
            index = start + len(rows)
            whole.update(line)
            try:
                found = json.loads(line)
                public, salt, row = found["public"], bytes.fromhex(found["salt"]), json.loads(found["public"])
                fields = [bytes.fromhex(f) for f in found.get("fields", [])]
                plain = json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
                if plain != public or found["index"] != index or len(rows) >= count:
                    raise ProofError(name, "not in canonical form, or out of order", index)
                if row["origin"] != origin or row["schema"] != "trustplane/step/1" or len(salt) != 16:
                    raise ProofError(name, "an entry of another log or schema", index)
                if len(fields) != len(row.get("content", [])) or any(len(f) != 32 for f in fields):
                    raise ProofError(name, "content fields do not fit their commitments", index)
                first = sha(b"\x00", salt, b"public\x00", public.encode())
                leaves.append(sha(b"\x00trustplane/1\n", tree([first, *fields])))
                if leaves[-1].hex() != found["leaf"]:
                    raise ProofError(name, "this entry was changed: its hash is another", index)
                step, request = row.get("step", 0), (row["request"], row["boot"])
                if step != steps.get(request, step if start else 0):
                    raise ProofError(name, "a step of a request is missing or out of order", index)
                steps[request] = 0 if row["kind"] == "decision" else step + 1
                if row["kind"] == "decision" and row["facts"]["steps"] != step - 1:
                    raise ProofError(name, "a decision counts other steps than there are", index)
                if row["action"] == "key.succession" and row["kind"] == "log":
                    keys = succession(row, keys, origin)
            except WRONG as error:
                raise ProofError(name, f"a malformed entry ({type(error).__name__})", index) from None
            for unused in ("boot", "mono_us", "origin", "schema"):
                row.pop(unused, None)
            rows.append({**row, "index": index})
    if len(rows) != count or whole.hexdigest() != want:
        raise ProofError(name, "entries are missing, or the digest is not that of the manifest", start + len(rows))
    return rows, leaves, keys

def succession(row: Any, keys: Any, origin: Any) -> Any:  # old and new key sign it
    text = base64.b64decode("".join(row["facts"]["note"]), validate=True).decode()
    lines = text.partition("\n\n")[0].split("\n")
    old, new = (Key(next(t for t in lines if t.startswith(w))[4:], "entries.jsonl") for w in ("old ", "new "))
    _, signed = note(text, [old, new], "entries.jsonl")
    if row["kind"] != "log" or lines[:2] != ["trustplane/succession/1", origin] or {old, new} != set(signed):
        raise ValueError
    return [k for k in keys if k.text != old.text] + [new] if old.text in {k.text for k in keys} else keys

def check(folder: Any, keys: Any = (), witnesses: Any = ()) -> Any:
    """Check a bundle against the keys that the auditor trusts; return what was found, or raise ProofError."""
    try:
        return _check(Path(folder), keys, witnesses)
    except WRONG as error:
        raise ProofError("bundle", f"malformed ({type(error).__name__})") from None

def _check(folder: Any, keys: Any, witnesses: Any) -> Any:
    # 1. exactly the files of the manifest, each with its digest
    here = {p.name: p.is_file() and not p.is_symlink() and p.stat().st_size for p in folder.iterdir()}
    for name in ("manifest.json", "manifest.sig"):
        if not here.get(name) or here[name] > MAX_FILE:
            raise ProofError(name, "missing, empty or too large")
    signed = (folder / "manifest.json").read_bytes()
    manifest = exact(signed, "manifest.json")
    files, languages = manifest["files"], manifest["languages"]
    want = {*ALWAYS, *(f"report.{language}.{kind}" for language in languages for kind in ("html", "pdf"))}
    if not languages or not {"en", "zh"}.issuperset(languages) or set(files) != want or len(manifest) != 3:
        raise ProofError("manifest.json", "lists other files than a report has")
    for name in sorted({*want, *here} - {"manifest.json", "manifest.sig"}):
        if name not in here or name not in want:
            raise ProofError(name, "missing" if name in want else "in the folder, but not covered by the manifest")
        if here[name] is False or (here[name] > MAX_FILE and name != "entries.jsonl"):
            raise ProofError(name, "not a plain file, or too large")
    data = {name: (folder / name).read_bytes() for name in want - {"entries.jsonl"}}
    if changed := [name for name in sorted(data) if sha(data[name]).hex() != files[name]]:
        raise ProofError(changed[0], "its digest is not that of the manifest")
    # 4. the released words
    if files["catalogue.json"] != CATALOGUE:
        raise ProofError("catalogue.json", "not the catalogue that this verifier knows")
    catalogue, declared = json.loads(data["catalogue.json"]), exact(data["register.json"], "register.json")
    # 5, 6. entries, root, steps, keys
    listed = [line.split(" ", 1) for line in data["keys.txt"].decode().split("\n")[:-1]]
    own = [Key(text, "keys.txt") for kind, text in listed if kind == "log"]
    trusted = [Key(text, "--key") for text in keys] or own[-1:]
    origin, number, root = data["checkpoint.txt"].decode().partition("\n\n")[0].split("\n")
    head, numbers, *hashes = data["range-proof.txt"].decode().split("\n")[:-1]
    start, stop, size = (int(n) for n in numbers.split(" "))
    if head != "trustplane/range/1" or f"{start} {stop} {size}" != numbers or not 0 <= start < stop <= size <= 2**53:
        raise ProofError("range-proof.txt", "malformed")
    rows, leaves, trusted = entries(folder, files["entries.jsonl"], start, stop - start, origin, trusted)
    found = range_root(leaves, start, size, [b64(h, "range-proof.txt") for h in hashes])
    if trusted[-1].text not in [k.text for k in own]:
        raise ProofError("keys.txt", "does not list the key that signs")
    if (number, root) != (str(size), base64.b64encode(found).decode()):
        raise ProofError("checkpoint.txt", "the disclosed entries do not lead to its root")
    # 2, 3. signatures
    seen = [Key(text, "keys.txt") for kind, text in listed if kind == "witness"]
    unknown = [k.name for k in seen if witnesses and k.text not in witnesses]
    _, signers = note(data["checkpoint.txt"].decode(), trusted + seen, "checkpoint.txt")
    if unknown or not any(k in trusted for k in signers):
        raise ProofError("checkpoint.txt", "not signed by the log, or by a witness not trusted", unknown[:1] or "")
    text = f"trustplane/report/1\n{origin}\n{size}\n{root}\n{sha(signed).hex()}\n"
    if note((folder / "manifest.sig").read_bytes().decode(), trusted, "manifest.sig")[0] != text:
        raise ProofError("manifest.sig", "signs another report")
    # 7. every sentence
    names = sorted(k.name for k in signers if k in seen)
    register = "sha256:" + files["register.json"] if declared else None
    times_us = [row.get("wall_us", 0) for row in rows]
    scope = {"start": start, "last": stop - 1, "covered": stop - start, "outside": size - stop + start, "size": size,
             "origin": origin, "from_us": min(times_us), "to_us": max(times_us), "declared": declared,
             "witnesses": names, "law": catalogue["law"], **({"register": register} if register else {})}
    made = sentences(catalogue, Log(rows), scope, languages)
    report = {"format": "trustplane/report/1", "catalogue": {"name": catalogue["name"], "sha256": CATALOGUE},
              "checkpoint": {"origin": origin, "size": size, "root": root}, "range": {"start": start, "stop": stop},
              "date_us": times_us[-1], "languages": languages, "register": register, "witnesses": names,
              "sentences": made}
    wanted = json.dumps(report, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    if wanted.encode() != data["report.json"]:
        given = json.loads(data["report.json"]).get("sentences", [])
        wrong = next((a["id"] for a, b in zip(made, given) if a != b), "")
        raise ProofError("report.json", "does not follow from the entries and the register", wrong)
    # 8. the pages
    for language in languages:
        page(data[f"report.{language}.html"].decode(), made, language, f"report.{language}.html")
    classes = {kind: sum(s["class"] == kind for s in made) for kind in catalogue["classes"]}
    same = sha(Path(__file__).read_bytes()).hex() == files["verify_bundle.py"]
    limits = [
        not keys and "THE KEY: none was given with --key, so the operator's own word says which key is the log's.",
        names and not witnesses and "WITNESSES: their keys are the operator's list; give them with --witness.",
        f"E0: {classes['E0']} sentences say what is missing; only the operator can supply it.",
        f"E4: {classes['E4']} sentences are the operator's declarations; only their wording was checked.",
        size > stop - start and f"ENTRIES: {size - stop + start} signed entries lie outside the report.",
        "PDF: its text is bound by digest only; the sentences were checked in report.json and on the pages.",
        "PAGES: the words around the sentences (headings, notes) were not checked.",
        "SIGNATURES: post-quantum signatures (ML-DSA-44) are not part of a bundle; Ed25519 was checked.",
        not same and "THIS FILE: the bundle's verify_bundle.py is another version; it was not run.",
    ]
    return {"origin": origin, "size": size, "start": start, "stop": stop, "key": trusted[-1].text, "classes": classes,
            "date_us": times_us[-1], "sentences": made, "witnesses": names, "not_checked": [t for t in limits if t]}

def main(arguments: Any = None) -> Any:  # run the command line; return the exit code
    parser = argparse.ArgumentParser(description="Check a report bundle offline; exit 0: all holds, 5: it does not.")
    parser.add_argument("folder", nargs="?", default=Path(__file__).parent)
    parser.add_argument("--key", action="append", default=[], metavar="VKEY", help="a key of the log, from elsewhere")
    parser.add_argument("--witness", action="append", default=[], metavar="VKEY", help="a witness that you trust")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--print", metavar="LANG", help="print every checked sentence (en or zh)")
    options = parser.parse_args(arguments)
    try:
        found = check(options.folder, options.key, options.witness)
    except ProofError as error:
        wrong = {"ok": False, "file": error.file, "place": error.place, "cause": error.cause}
        print(json.dumps(wrong) if options.json else f"FAILED  {visible(str(error))}")
        return 5
    if options.json:
        print(json.dumps({"ok": True, **found}, ensure_ascii=False))
        return 0
    for made in found["sentences"] if options.print else []:
        print(f"[{made['class']}] {made['id']}: {made['text'].get(options.print, '')}")
    print(f"HOLDS  {len(found['sentences'])} sentences over entries {found['start']} to {found['stop'] - 1}"
          f" of {found['origin']}, under the key {found['key']}")
    print("\n".join(["Not checked, because nobody can from here:", *(f"  {text}" for text in found["not_checked"])]))
    return 0

if __name__ == "__main__":
    sys.exit(main())
