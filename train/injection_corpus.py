"""The texts on which the injection model is trained and measured, each with its group, so that copies stay together."""

from __future__ import annotations

import csv
import gzip
import inspect
import io
import json
import random
import re
import zlib
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
DATA = HERE.parent.parent / "shared" / "data"
_HEADER = re.compile(r"@ (\S+) ?(en|zh) (user|document)|@ (en|zh) (user|document)")
_SLOT = re.compile(r"\{([^{}]*)\}")
_HAN_BLANK = re.compile(
    r"(?<=[\u3000-\uffef]) (?=[\u201c\u3000-\uffef])|(?<=[\u3000-\uffef\u201d]) (?=[\u3000-\uffef])"
)
MODULES = (
    "argparse", "ast", "asyncio", "calendar", "collections", "configparser", "csv", "datetime", "decimal", "difflib",
    "email.message", "functools", "gettext", "heapq", "http.client", "imaplib", "inspect", "itertools", "json",
    "logging", "mailbox", "optparse", "os", "pathlib", "pickle", "random", "re", "sched", "shelve", "shlex",
    "smtplib", "socket", "sqlite3", "statistics", "string", "subprocess", "tempfile", "textwrap", "threading",
    "tkinter", "turtle", "typing", "unittest", "urllib.request", "zipfile",
)  # fmt: skip


class Text(NamedTuple):
    """``label``: 1 for an attack. ``group``: what must not be split. ``start``, ``end``: where the attack stands."""

    text: str
    label: int
    group: str
    source: str
    language: str
    start: int
    end: int


def expand(template: str, rng: random.Random) -> str:
    """Return the template with one wording in each slot; braces around anything else stay."""

    def choose(found: re.Match[str]) -> str:
        if "|" in found[1]:
            return rng.choice(found[1].split("|"))
        return found[1] if re.fullmatch(r"[\w ,.'-]+", found[1]) else found[0]

    return _HAN_BLANK.sub("", _SLOT.sub(choose, template).replace("\\n", "\n"))


def templates(name: str) -> list[tuple[str, str, str, str]]:
    """Return ``(family, language, source, template)`` of a file beside this one."""
    found, header = [], ("", "en", "user")
    for line in (HERE / name).read_text("utf-8").splitlines():
        if match := _HEADER.fullmatch(line):
            header = (match[1] or "", match[2] or match[4], match[3] or match[5])
        elif line.startswith("# {") or (line and not line.startswith("# ")):
            found.append((*header, line))
    return found


def own(name: str, copies: int) -> list[Text]:
    """Return up to ``copies`` different wordings of each template of a file, the same ones every time."""
    label = int("benign" not in name)
    found = []
    for number, (family, language, source, template) in enumerate(templates(name)):
        rng = random.Random(zlib.crc32(template.encode()))
        group = f"{name[10:13]}/{family}/{number}"
        wordings = sorted({expand(template, rng) for _ in range(copies)})
        found += [Text(text, label, group, source, language, 0, len(text)) for text in wordings]
    return found


def _lines(name: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(gzip.open(DATA / name), "utf-8")


def giskard() -> list[Text]:
    """Return the 35 prompts of Giskard; all DAN-like ones are one group, all hijacks another."""
    with _lines("prompt_injection_dev/giskard_prompt_injections.csv.gz") as file:
        return [Text(r["prompt"], 1, "giskard/" + r["group"].split()[0].lower(), "user", "en", 0, len(r["prompt"]))
                for r in csv.DictReader(file)]  # fmt: skip


def bipia_attacks() -> list[Text]:
    """Return BIPIA's 125 instructions, a group for each category; alone, without the mail around them."""
    found = []
    for kind in ("text", "code"):
        table = json.loads((DATA / f"prompt_injection_dev/bipia_{kind}_attack_train.json").read_text("utf-8"))
        for category, texts in table.items():
            found += [Text(t, 1, f"bipia-{kind}/{category}", "document", "en", 0, len(t)) for t in texts]
    return found


def bipia_mails() -> list[Text]:
    """Return the e-mails of BIPIA (documents) and the questions asked about them (user)."""
    found = []
    with _lines("prompt_injection_dev/bipia_email_train.jsonl.gz") as file:
        for number, line in enumerate(file):
            mail = json.loads(line)
            for text, source in ((mail["context"], "document"), (mail["question"], "user")):
                found.append(Text(text, 0, f"mail/{number}", source, "en", 0, len(text)))
    return found


def sms(most: int) -> list[Text]:
    """Return ham from the SMS Spam Collection, spread evenly; user texts and documents in turn."""
    with _lines("sms_spam/SMSSpamCollection.tsv.gz") as file:
        ham = sorted({line.split("\t", 1)[1].strip() for line in file if line.startswith("ham\t")})
    chosen = ham[:: max(1, len(ham) // most)][:most]
    return [Text(t, 0, f"sms/{i}", ("user", "document")[i % 2], "en", 0, len(t)) for i, t in enumerate(chosen)]


def docstrings() -> list[Text]:
    """Return docstrings of the standard library as documents; a module is a group."""
    found = []
    for name in MODULES:
        try:
            module = __import__(name, fromlist=["x"])
        except ImportError:
            continue
        texts = {inspect.getdoc(module) or ""}
        for attribute in sorted(vars(module)):
            value = getattr(module, attribute)
            if callable(value) and getattr(value, "__module__", "") == name:
                texts.add(inspect.getdoc(value) or "")
        chosen = [text[:1200] for text in sorted(t for t in texts if len(t) > 60)[:14]]
        found += [Text(text, 0, f"python/{name}", "document", "en", 0, len(text)) for text in chosen]
    return found


def embed(attacks: list[Text], carriers: list[Text], copies: int) -> list[Text]:
    """Return attacks inside documents: at the end, in the middle or at the start of a carrier."""
    found = []
    for attack in attacks:
        rng = random.Random(zlib.crc32(attack.text.encode()) ^ 7)
        fitting = [c for c in carriers if c.language == attack.language]
        for carrier in rng.sample(fitting, min(copies, len(fitting))):
            body = carrier.text
            at = rng.choice((len(body), len(body), _break(body), 0))
            head = body[:at] + ("" if at == 0 else rng.choice(("\n", "\n\n", " ")))
            text = head + attack.text + rng.choice(("\n", " ")) + body[at:]
            found.append(
                attack._replace(text=text, source="document", start=len(head), end=len(head) + len(attack.text))
            )
    return found


def _break(body: str) -> int:
    ends = [found.end() for found in re.finditer(r"[.!?\n。！？]\s*", body)]
    return ends[len(ends) // 2] if ends else len(body)
