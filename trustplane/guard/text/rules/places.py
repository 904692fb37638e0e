"""Postal addresses: streets with a number, post boxes, postcodes beside a state, in several countries' order."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trustplane.guard.text.hit import Hit, Rule

__all__ = ["RULES"]

_SUFFIX = (
    r"(?:street|st|avenue|ave|road|rd|boulevard|blvd|lane|ln|drive|dr|court|ct|place|pl|terrace|ter|way|parkway|pkwy"
    r"|circle|cir|square|sq|trail|trl|highway|hwy|close|crescent|cres|gardens|gdns|grove|mews|row"
    r"|walk|hill|plaza|alley|loop)"
)
_PLAIN = r"(?:street|avenue|road|boulevard|lane|blvd|terrace|crescent|parkway)"
_UNIT = r"(?i:,? ?(?:apt|apartment|suite|ste|unit|flat|floor|fl|room|rm|#)\.? ?[A-Za-z0-9-]{1,6})"
_STATE = (
    r"(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|P[AR]|RI|S[CD]"
    r"|T[NX]|UT|V[AT]|W[AIVY])"
)
_POSTCODE = r"(?:GIR ?0AA|[A-Z]{1,2}\d[A-Z\d]? ?\d[ABD-HJLNP-UW-Z]{2})"
_WORD = r"[A-Z][A-Za-z'’\u00c0-\u024f.-]{0,24}"
_TAIL = (
    rf"(?:[.,]?\s{{1,4}}(?:{_WORD},?\s{{1,2}}){{0,4}}(?:{_STATE},?\s{{1,2}}\d{{5}}(?:-\d{{4}})?"
    rf"|{_POSTCODE})(?![A-Za-z0-9]))?"
)
_HOUSE = r"(?<![A-Za-z0-9\u00c0-\u024f.,:/$€£-])\d{1,5}[A-Za-z]?(?:[-/]\d{1,4})?"
_STREET = re.compile(
    rf"(?:(?i:flat|apt|apartment|suite|unit|room) [A-Za-z0-9-]{{1,5}},? )?{_HOUSE},? (?:(?:[NSEW]"
    rf"|North|South|East|West)\.? )?(?:{_WORD} |\d{{1,3}}(?:st|nd|rd|th) ){{1,4}}"
    rf"(?i:{_SUFFIX})(?![A-Za-z])\.?{_UNIT}?{_TAIL}"
)
_SMALL = re.compile(rf"{_HOUSE},? (?:[a-z'-]{{2,20}} ){{1,3}}{_PLAIN}(?![A-Za-z]){_UNIT}?", re.ASCII)
_NOT_NAMES = re.compile(
    r"\b(?:the|a|an|of|on|in|at|to|down|up|off|from|per|for|and|or|by|with|my|your|our|this|that|is"
    r"|was|more|people|men|women"
    r"|mile|miles|minutes?|mins?|hours?|hrs?|years?|days?|weeks?|months?|metres?|meters?|km|feet|ft"
    r"|yards?|blocks?|lane|cars?|ways?)\b"
)
_OTHER = re.compile(
    r"(?<![A-Za-z\u00c0-\u024f])(?:[A-ZÄÖÜ][a-zäöüß]{1,24}[ -]?){0,2}[A-ZÄÖÜ]?[a-zäöüß]{0,24}"
    r"(?:[Ss]traße|[Ss]trasse|[Ss]tr\.|[Ww]eg|[Pp]latz|[Aa]llee|[Gg]asse|straat|laan)"
    r" \d{1,4} ?[a-z]?(?![A-Za-z0-9]|\.\d)(?:,? (?:D-|A-|CH-)?\d{4,5} [A-ZÄÖÜ][a-zäöüß]{2,24})?"
    rf"|{_HOUSE}(?: ?bis| ?ter)?,? (?:rue|avenue|boulevard|place|chemin|allée|quai|impasse|route|Rue"
    rf"|Avenue|Boulevard|Place|Chemin|Allée|Quai)"
    r" (?:(?:de|du|des|la|le|les|d'|l')[ ]?){0,3}(?:[A-ZÀ-Ý][\w'’-]{1,24} ?){1,4}(?:,? \d{5} [A-ZÀ-Ý][\w-]{2,24})?"
    r"|(?<![A-Za-z])(?:Calle|Avenida|Avda\.|Plaza|Paseo|Via|Viale|Piazza|Corso|Rua|Travessa|Largo"
    r"|ul\.|ulica|utca) (?:(?:de|del|la|las|los|da|do|dei|della) ){0,2}"
    r"(?:[A-ZÀ-Ý][\w'’.-]{1,24} ?){1,4},? ?(?:n[º°.] ?)?\d{1,4}[A-Za-z]?(?![A-Za-z0-9\u00c0-\u024f])"
)
_BOX = re.compile(r"(?<![A-Za-z])(?:P\.? ?O\.?|Post Office) ?Box\s{0,2}#?\d{1,6}" + _TAIL, re.IGNORECASE)
_ZIP = re.compile(rf"(?<![A-Za-z])(?:{_WORD},? ){{0,3}}{_STATE},? \d{{5}}(?:-\d{{4}})?(?![A-Za-z0-9-])")
_ZIP_SAID = re.compile(
    r"(?<![A-Za-z])(?:zip(?: ?code)?|postcode|postal code|plz|邮编|邮政编码)[\s:=：]{0,3}(?:is |为|是)?"
    r"(?P<value>\d{4,6}(?:-\d{3,4})?|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|[A-Z]\d[A-Z] ?\d[A-Z]\d)"
    r"(?![\w-])",
    re.IGNORECASE | re.ASCII,
)


def _addresses(text: str) -> Iterator[Hit]:
    for found in _STREET.finditer(text):
        if found[0].isupper() and not re.search(_PLAIN, found[0].lower()):
            continue
        yield Hit("ADDRESS", found.start(), found.end(), 0.75)
    for found in _SMALL.finditer(text):
        if not _NOT_NAMES.search(found[0]):
            yield Hit("ADDRESS", found.start(), found.end(), 0.5)
    for found in _OTHER.finditer(text):
        end = found.start() + len(found[0].rstrip(" ,"))
        if any(c.isdigit() for c in found[0]):
            yield Hit("ADDRESS", found.start(), end, 0.7)
    for found in _BOX.finditer(text):
        yield Hit("ADDRESS", found.start(), found.end(), 0.7)
    for found in _ZIP.finditer(text):
        yield Hit("ADDRESS", found.start(), found.end(), 0.55)
    for found in _ZIP_SAID.finditer(text):
        yield Hit("ADDRESS", found.start("value"), found.end("value"), 0.6)


RULES: tuple[Rule, ...] = (
    Rule(
        "own/address",
        "2",
        ("ADDRESS",),
        _addresses,
        gate=(
            rf"[0-9][A-Za-z]?,? (?:[A-Za-z0-9'’\x{{c0}}-\x{{24f}}.-]{{1,25}} ){{1,5}}(?i:{_SUFFIX})(?:[^a-z]|$)",
            r"[0-9](?: ?bis| ?ter)?,? (?i:rue|avenue|boulevard|place|chemin|allée|quai|impasse|route) ",
            r"(?i)box|zip|plz|post|邮",
            f"{_STATE},? [0-9]{{5}}",
            r"(?i)(?:straße|strasse|str\.|weg|platz|allee|gasse|straat|laan) [0-9]",
            r"(?:Calle|Avenida|Avda\.|Plaza|Paseo|Via|Viale|Piazza|Corso|Rua|Travessa|Largo|ul\.|ulica|utca) ",
        ),
        source="USPS Publication 28, Royal Mail PAF; Universal Postal Union S42",
        shapes=tuple((f.pattern, 0) for f in (_STREET, _SMALL, _OTHER, _ZIP))
        + tuple((f"(?i){f.pattern}", 0) for f in (_BOX, _ZIP_SAID)),
        examples=(
            "1600 Pennsylvania Avenue",
            "221B Baker Street, London NW1 6XE",
            "123 Main St Apt 4, Springfield, IL 62704",
            "Nassaustraat 123",
            "12 rue de la Paix, 75002 Paris",
            "Calle Mayor 12",
            "P.O. Box 1234",
            "ZIP: 11164",
        ),
    ),
)
"""Where somebody lives or works, as people write it on letters."""
