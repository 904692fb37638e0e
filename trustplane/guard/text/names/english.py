"""Names of people in English text by cue: titles, greetings, "my name is", kinship, verbs of speech, letter heads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from trustplane.guard.text.hit import Hit
from trustplane.guard.text.names.features import closed_classes

__all__ = ["CUES", "GAP", "WORD", "Cue", "cued", "english_cues"]

_LETTERS = [chr(c) for c in (*range(0x41, 0x250), *range(0x370, 0x530))]
_UPPER = "".join(c for c in _LETTERS if c.isupper())
_LOWER = "-" + "".join(c for c in _LETTERS if c.islower()) + "'’"
WORD = rf"[{_UPPER}](?:[{_LOWER}]|(?<=[{_LOWER}])[{_UPPER}]|(?<=Mc)[{_UPPER}]){{0,30}}"
"""Pattern of one capitalised word."""
GAP = r"[ \t]{1,3}"
_ANY = rf"[{_UPPER}{_LOWER[1:-2]}][{_LOWER}]{{0,30}}"
_WHATEVER = rf"({_ANY}(?:{GAP}{_ANY}){{0,2}})"
_NAME = rf"({WORD}(?:{GAP}(?:(?:van|von|de|da|di|del|der|den|la|al|bin){GAP}){{0,2}}{WORD}|{GAP}[A-Z]\.){{0,2}})"
_FULL = rf"({WORD}{GAP}(?:[A-Z]\.{GAP})?{WORD}(?:{GAP}{WORD})?)"
_EDGE = rf"(?<![{_LOWER}{_UPPER}0-9])"
_KIN = (
    "husband|wife|partner|spouse|son|daughter|kid|child|brother|sister|mother|father|mom|mum|dad|boss|manager|colleague|"
    "friend|boyfriend|girlfriend|fiancé|fiancée|neighbour|neighbor|uncle|aunt|cousin|nephew|niece|roommate|assistant|"
    "lawyer|doctor|teacher|landlord|tenant|grandmother|grandfather|grandson|granddaughter"
)
_SPEECH = (
    "said|says|asked|asks|replied|replies|told|shouted|shouts|wrote|writes|added|adds|answered|whispered|explained"
)
_DOES = (
    rf"{_SPEECH}|lives|lived|works|worked|joined|signed|resigned|is{GAP}a(?:n|{GAP}\d\d?{GAP}year)|was{GAP}born|"
    rf"will{GAP}be{GAP}(?:talking|speaking)|had{GAP}given|has{GAP}given|gave|spent|began|studied|graduated|died|married|"
    rf"listed|called|phoned|emailed"
)
_OWNS = (
    "address|phone|mobile|number|email|e-mail|account|birthday|passport|salary|password|kid|son|daughter|wife|husband|"
    "mother|father|brother|sister|house|boss|doctor|lawyer|record|records|file|diagnosis|CV|resume"
)
_MY = "[Mm]y|[Hh]is|[Hh]er|[Tt]heir|[Oo]ur|[Yy]our"
_MADE = "written|directed|composed|produced|painted|starring|sung|performed|signed|authored"
_ASKED = "can|could|would|will|please|are|do|did|have"
_MEET = rf"[Ff]ollow{GAP}up|[Ss]peak|[Tt]alk|[Mm]eet|[Mm]eeting|[Cc]all|[Ss]poke|[Mm]et"
_MR = "[Mm](?:r|rs|s|x)|M(?:R|RS|S|X)|[Dd]r|DR|Prof|Professor|Doctor|Miss|Herr|Frau|Monsieur|Madame|Señora?"
_DEAR = "[Dd]ear|[Pp]atient|PATIENT|[Cc]lient|[Cc]ustomer|[Ss]incerely,?|[Rr]egards,?|[Cc]heers,?"
_I_AM = "I am|I['’]m|[Tt]his is|[Nn]ame:|[Cc]ontact:|[Aa]ttn:?|[Ss]igned:?"
_KIND_OF_NAME = "(?:first|last|maiden|middle|given|family|full|sur)[ -]?name"
_BEGINS = r"(?:\A|(?<=[.!?\n\"“] )|(?<=[\n\"“]))"
_NAMED = rf"(?:['’]s{GAP}name(?:{GAP}is)?)?,?{GAP}"
_HEAD = r"[^\n]{0,60}\n?[ \t?>*-]{0,8}"
_LU = r"\p{Lu}"


class Cue(NamedTuple):
    """An RE2 pattern that every text with the cue matches, the cue with the name in group 1, and a score."""

    gate: str
    pattern: re.Pattern[str]
    score: float


CUES = tuple(
    Cue(gate, re.compile(pattern), score)
    for gate, pattern, score in (
        (rf"(?:{_MR})\.?{GAP}{_LU}", rf"{_EDGE}(?:{_MR})\.?{GAP}{_NAME}", 0.8),
        (rf"(?:{_DEAR})\s", rf"{_EDGE}(?:{_DEAR})\s{{1,3}}(?:name:?{GAP})?{_NAME}", 0.6),
        (rf"(?:{_I_AM}){GAP}{_LU}", rf"{_EDGE}(?:{_I_AM}){GAP}{_FULL}", 0.6),
        (
            rf"(?i)my{GAP}(?:full{GAP})?name",
            rf"{_EDGE}[Mm][Yy]{GAP}(?:full{GAP})?[Nn][Aa][Mm][Ee]{GAP}(?:is|IS)[: ]?{GAP}?{_WHATEVER}",
            0.85,
        ),
        (r"<[^<>\s@]{1,64}@", rf"{_EDGE}{_FULL}[\"”]?[ \t]{{0,3}}(?=<[^<>\s@]{{1,64}}@)", 0.8),
        (_KIND_OF_NAME, rf"{_EDGE}{_KIND_OF_NAME}(?:{GAP}(?:is|was))?[:?]?{GAP}{_NAME}", 0.75),
        (
            rf"(?:calls?|called|named){GAP}(?:(?:me|him|her){GAP})?{_LU}",
            rf"{_EDGE}(?:calls?|called|named){GAP}(?:(?:me|him|her){GAP})?{_NAME}",
            0.5,
        ),
        (rf"(?:{_KIN}){_NAMED}{_LU}", rf"{_EDGE}(?:{_MY}){GAP}(?:{_KIN}){_NAMED}{_NAME}", 0.65),
        (
            rf"(?:{_SPEECH}){GAP}{_LU}",
            rf"{_EDGE}(?:{_SPEECH}){GAP}{_NAME}(?=[.,;!?]|{GAP}(?:to|and|in|on|at)\b|\s*+\Z)",
            0.5,
        ),
        (rf"(?:{_MADE}){GAP}(?:by{GAP})?{_LU}", rf"{_EDGE}(?:{_MADE}){GAP}(?:by{GAP})?{_NAME}", 0.5),
        (rf"(?:{_MEET}){GAP}(?:with|to){GAP}{_LU}", rf"{_EDGE}(?:{_MEET}){GAP}(?:with|to){GAP}{_FULL}", 0.5),
        (rf"{GAP}(?:{_DOES})", rf"{_BEGINS}{_NAME}{GAP}(?:{_DOES})(?![{_LOWER}])", 0.45),
        (
            rf",{GAP}(?:{_ASKED}){GAP}(?:I|you|we|tell|send|call)",
            rf"{_BEGINS}{_NAME},{GAP}(?:{_ASKED}){GAP}(?:I|you|we|tell|send|call)\b",
            0.5,
        ),
        (rf"['’]s{GAP}(?:{_OWNS})", rf"{_EDGE}{_NAME}['’]s{GAP}(?:{_OWNS})(?![{_LOWER}])", 0.45),
        (
            rf"\n{_HEAD}\p{{Nd}}",
            rf"(?:\A|(?<=\n\n))[ \t?>*-]{{0,8}}{_FULL}[ \t]{{0,3}},?\n(?={_HEAD}\d)",
            0.5,
        ),
    )
)
"""Each cue; "I am" is the one that needs two words."""
_STOP_WORDS = closed_classes()["stop"]


@lru_cache(maxsize=1)
def _gates() -> Any:
    """Return an RE2 set that says which cues a text can hold; its last, empty pattern matches always."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 32 << 20
    gates = re2.Set.SearchSet(options)
    for cue in CUES:
        gates.Add(cue.gate)
    gates.Add("")
    gates.Compile()
    return gates


def english_cues(text: str) -> Iterator[Hit]:
    """Yield names of people in folded ``text`` that a cue announces; hits may overlap; linear time."""
    possible = set(_gates().Match(text.encode("utf-8", "replace")) or ())
    gated = len(CUES) in possible  # else RE2 gave up on this text
    for number, cue in enumerate(CUES):
        if not gated or number in possible:
            yield from cued(cue, text, whole=number == 0)


def cued(cue: Cue, text: str, *, whole: bool = False) -> Iterator[Hit]:
    """Yield the names that one cue announces; ``whole``: a single word in capitals counts too."""
    for found in cue.pattern.finditer(text):
        start, end = found.span(1)
        for word in re.finditer(r"[^ \t]+", found.group(1)):
            if word.group().rstrip("'’-").lower() in _STOP_WORDS:
                end = start + word.start()
                break
        name = text[start:end].rstrip(" \t'’-")
        if name.endswith(("'s", "’s")):
            name = name[:-2]
        single = " " not in name and "\t" not in name
        if len(name) > 1 and not (single and (cue.pattern is CUES[2].pattern or (name.isupper() and not whole))):
            yield Hit("PERSON", start, start + len(name), cue.score)
