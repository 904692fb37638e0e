"""Recall and precision of the secret rules on generated tokens and decoys, Kingfisher beside them in the same run.

The tokens are made from our own table of forms, so recall says whether a form is found in every surrounding, not
whether the form is the provider's; Kingfisher knows other forms, wants some in pairs, and checks more digits.
"""

from __future__ import annotations

import argparse
import base64
import random
import time
import uuid
from collections import defaultdict

from harness import finish, row

from trustplane.guard.text.secrets import RULES
from trustplane.guard.text.secrets.providers import PROVIDERS

CODE = (
    'import os\nclient = Client({k}="{v}", timeout=30)\nfor item in client.list():\n    print(item.name, item.size)\n'
)
FRAMES = {
    "code": CODE,
    "environment": "# settings of the worker\nexport LOG_LEVEL=info\nexport {k}={v}\nexport REGION=eu-1\n",
    "json": '{{"name": "svc", "retries": 3, "{k}": "{v}", "enabled": true}}',
    "log": '2026-03-02T10:11:12Z INFO worker[812] request GET /v1/items {k}={v} status=200 took=13ms',
    "prose": "Hi team, the new {k}: {v} and please do not pass it on. Regards, Kim",
    "chinese": "各位好，新的{k}:{v}，请不要外传，谢谢。",
}  # fmt: skip
VALUES = {
    "CONNECTION_STRING": ("{s}://{u}:{p}@db{n}.internal:5432/app", "Server=db{n};User Id={u};Password={p};Database=x"),
    "PASSWORD": (
        "password: {p}",
        'DB_PASSWORD="{p}"',
        "the password is {p}",
        "密码：{p}",
        "CREATE USER {u} IDENTIFIED BY '{p}'",
    ),
    "SECRET": (
        "secret_key: {h}",
        "export API_TOKEN={h}",
        '"clientSecret": "{m}"',
        "Authorization: Bearer {m}",
        "密钥:{h}",
    ),
}
MINIFIED = (
    "!function(e,t){{for(var n={a},r=0;r<e.length;r++)t[e[r]]=function(o){{return o&&o.{b}?"
    "o.{b}({c}):null}}}}(window,{d});"
)


def gated():
    """Return the search that the guard does: one RE2 set for all gates, then the rules that they name."""
    import re2

    options = re2.Options()
    options.max_mem = 256 << 20
    gates = re2.Set.SearchSet(options)
    owner = []
    for rule in RULES:
        for gate in rule.gate:
            gates.Add(gate)
            owner.append(rule)
    gates.Compile()

    def search(text):
        hit = {owner[i].id: owner[i] for i in gates.Match(text) or ()}
        return [h for rule in hit.values() for h in rule.search(text)]

    return search


def word(rng, low=4, high=9):
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(low, high)))


def password(rng):
    return word(rng, 4, 7).capitalize() + rng.choice("!#%+_-") + str(rng.randint(10, 9999))


def planted(rng, copies):
    """Yield ``(kind, provider, text, start, end)``: each token in each kind of text."""
    for token in PROVIDERS:
        for frame, pattern in FRAMES.items():
            for _ in range(copies):
                value = token.example(rng)
                text = pattern.format(k=token.key() or "credential", v=value)
                start = text.index(value)
                yield frame, token, text, start, start + len(value)


def made(rng, copies):
    for entity, patterns in VALUES.items():
        for pattern in patterns:
            for _ in range(copies):
                parts = {
                    "s": rng.choice(("postgresql", "mysql", "redis", "amqp", "mongodb+srv")),
                    "u": word(rng),
                    "n": rng.randint(1, 9),
                    "p": password(rng),
                    "h": rng.randbytes(16).hex(),
                    "m": base64.urlsafe_b64encode(rng.randbytes(21)).decode(),
                }
                text = "x\n" + pattern.format(**parts) + "\ny"
                core = next(parts[k] for k in ("p", "h", "m") if "{" + k + "}" in pattern)
                yield entity, text, text.index(core), text.index(core) + len(core)


PLACEHOLDERS = (
    "password: changeme", "API_KEY=<your-api-key>", "token: ${TOKEN}", 'secret = "xxxxxxxxxxxxxxxx"', "Bearer <token>",
    "sk-your-key-here-please", "password = os.environ['DB_PASSWORD']", "postgres://user:password@localhost/db",
    "密码：******", "api_key: YOUR_API_KEY_HERE", "ghp_" + "x" * 36, "token = request.headers.get('X-Token')",
    "password: {{ vault_password }}",
)  # fmt: skip


def decoys(rng, count):
    """Return texts in which nothing is secret, by kind."""

    def b64(data):
        return base64.b64encode(data).decode()

    def a_hash():
        return f"{rng.randbytes(rng.choice((16, 20, 32, 64))).hex()}  dist/{word(rng)}.tar.gz"

    def integrity():
        return f'"node_modules/{word(rng)}": {{"version": "1.0", "integrity": "sha512-{b64(rng.randbytes(64))}"}}'

    def minified():
        parts = {"a": rng.randint(1, 99), "b": word(rng, 2, 4), "c": word(rng, 1, 2), "d": word(rng, 1, 3)}
        return MINIFIED.format(**parts) * 6

    made = {
        "uuid": lambda: f"id={uuid.UUID(int=rng.getrandbits(128))} status=ok",
        "hash": a_hash,
        "git": lambda: f"commit {rng.randbytes(20).hex()}\nAuthor: {word(rng)}\n    fix {word(rng)} in {word(rng)}",
        "base64 image": lambda: f'<img src="data:image/png;base64,{b64(rng.randbytes(1500))}">',
        "zero image": lambda: "data:image/bmp;base64," + b64(b"BM" + bytes(400) + rng.randbytes(90) + bytes(500)),
        "integrity": integrity,
        "minified": minified,
        "placeholder": lambda: rng.choice(PLACEHOLDERS),
        "prose": lambda: f"The {word(rng)} of the password policy says that a token lasts {rng.randint(2, 90)} days.",
    }
    return [(kind, make()) for kind, make in made.items() for _ in range(count)]


def per_2kb(search, rng, rounds):
    lines = [f"{word(rng).capitalize()} {' '.join(word(rng, 2, 9) for _ in range(12))}." for _ in range(400)]
    texts = ["\n".join(rng.sample(lines, 40))[:2000] for _ in range(20)]
    samples = []
    for _ in range(rounds):
        for text in texts:
            began = time.process_time()
            search(text)
            samples.append((time.process_time() - began) * 1e3)
    return samples


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    rng = random.Random(20261124)
    search = gated()
    try:
        from trustplane.guard.text.secrets.kingfisher import KingfisherFinder

        peer = KingfisherFinder().find
    except Exception as error:  # noqa: BLE001
        print(f"no Kingfisher here: {type(error).__name__}")
        peer = None
    finders = {"ours": search} | ({"kingfisher": peer} if peer else {})
    copies, many = (1, 60) if quick else (8, 500)

    def covers(hits, start, end):
        return any(h.start <= start and h.end >= end for h in hits)

    score = {name: defaultdict(list) for name in finders}
    missed = {name: defaultdict(int) for name in finders}
    for frame, token, text, start, end in planted(rng, copies):
        for name, find in finders.items():
            good = covers(find(text), start, end)
            score[name]["all"].append(good)
            score[name][frame].append(good)
            score[name]["context" if token.context else "prefix"].append(good)
            missed[name][token.provider] += not good
    for entity, text, start, end in made(rng, copies * 10):
        for name, find in finders.items():
            score[name][entity].append(covers(find(text), start, end))
    false = {name: defaultdict(int) for name in finders}
    hard = decoys(rng, many)
    for kind, text in hard:
        for name, find in finders.items():
            false[name][kind] += bool(find(text))
    rate = {n: {k: sum(v) / len(v) for k, v in s.items()} for n, s in score.items()}
    right = {n: sum(map(sum, (s["all"], *(s[e] for e in VALUES)))) for n, s in score.items()}
    precision = {n: right[n] / max(1, right[n] + sum(false[n].values())) for n in finders}
    timed = {n: per_2kb(f, random.Random(7), 10 if quick else 60) for n, f in finders.items()}
    middle = {n: sorted(v)[len(v) // 2] for n, v in timed.items()}
    print(
        f"{len(PROVIDERS)} forms of {len({t.provider for t in PROVIDERS})} providers,"
        f" {len(RULES)} rules, {len(hard)} decoys"
    )
    for name in finders:
        print(
            f"{name}: decoys flagged", {k: v for k, v in false[name].items() if v} or "none", f"of {many} of each kind"
        )
        absent = sorted(p for p, n in missed[name].items() if n)
        print(f"{name}: providers with a miss: {len(absent)}", ", ".join(absent[:12]))

    def beside(key):
        return {"peer": rate["kingfisher"][key], "peer_name": "kingfisher"} if peer and rate["kingfisher"][key] else {}

    rows = [
        row("recall, provider tokens (own forms)", rate["ours"]["all"], unit="share", better="higher", **beside("all"))
    ]
    rows += [
        row(f"recall, tokens in {frame}", rate["ours"][frame], unit="share", better="higher", **beside(frame))
        for frame in FRAMES
    ]
    rows += [
        row(f"recall, {e} (made here)", rate["ours"][e], unit="share", better="higher", **beside(e)) for e in VALUES
    ]
    rows.append(
        row(
            "least recall of any kind of text, ours",
            min(rate["ours"][f] for f in FRAMES),
            unit="share",
            better="higher",
            must=0.97,
            goal=0.99,
        )
    )
    rows.append(row("precision, all against decoys", precision["ours"], unit="share", better="higher", must=0.99,
                    goal=0.999))  # fmt: skip
    rows.append(
        row(
            "decoys flagged, ours",
            sum(false["ours"].values()) / len(hard),
            unit="share",
            better="lower",
            must=0.01,
            goal=0.002,
        )
    )
    if peer:
        rows.append(
            row(
                "decoys flagged, kingfisher",
                sum(false["kingfisher"].values()) / len(hard),
                unit="share",
                better="lower",
            )
        )
    rows.append(row("2 KB without secrets, ours", middle["ours"], unit="ms CPU", better="lower", must=0.2, goal=0.05))
    if peer:
        rows.append(row("2 KB without secrets, kingfisher", middle["kingfisher"], unit="ms CPU", better="lower"))
    finish("text_secrets", rows, {"ms": timed, "missed": {n: dict(m) for n, m in missed.items()}}, quick=quick)


if __name__ == "__main__":
    main()
