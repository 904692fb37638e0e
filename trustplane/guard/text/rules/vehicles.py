"""Vehicles: identification numbers with their check digit, licence plates of several countries."""

from __future__ import annotations

import re

from trustplane.guard.text.hit import Rule
from trustplane.guard.text.rules.context import Words, seek
from trustplane.guard.text.rules.windows import alone

__all__ = ["RULES", "is_vin"]

_VIN_VALUES = dict(
    zip("ABCDEFGHJKLMNPRSTUVWXYZ0123456789", [*range(1, 9), *range(1, 6), 7, 9, *range(2, 10), *range(10)], strict=True)
)
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_VIN = re.compile(
    r"(?<![A-Za-z0-9])(?=[A-Z0-9]{0,16}[A-Z])(?=[A-Z0-9]{0,16}[0-9])[A-HJ-NPR-Z0-9]{13}[0-9]{4}(?![A-Za-z0-9])"
)
_VIN_LOOSE = re.compile(r"(?<![A-Za-z0-9])[A-HJ-NPR-Za-hj-npr-z0-9]{17}(?![A-Za-z0-9])")
_VIN_WORDS = Words("vin", "vehicle", "chassis", "fahrgestellnummer", "车架号", "车辆识别代号", "车辆识别码")
_PLATE_WORDS = Words(
    "plate", "plates", "number plate", "license plate", "licence plate", "registration", "reg", "vrm", "car", "vehicle",
    "kennzeichen", "immatriculation", "plaque", "matrícula", "targa",
    "kenteken", "tag", "parked", "车牌", "车牌号", "牌照",
)  # fmt: skip
_PROVINCE = "京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新"
_CN = re.compile(
    rf"[{_PROVINCE}][A-HJ-NP-Z][ ·•.\-]?(?:[A-HJ-NP-Z0-9]{{4}}[A-HJ-NP-Z0-9警学挂港澳]"
    rf"|[DFABCEGHJK][A-HJ-NP-Z0-9]\d{{4}}"
    r"|\d{5}[DFABCEGHJK])(?![A-Za-z0-9])|使\d{6}(?!\d)|\d{6}使|[\u4e00-\u9fff]?[A-Z]\d{4}领(?![事导])",
    re.ASCII,
)
_CN_OLD = re.compile(r"(?<![A-Za-z0-9])WJ[\u4e00-\u9fff0-9][A-Z0-9]{4,5}(?![A-Za-z0-9])")
_GB = re.compile(r"(?<![A-Za-z0-9])[A-HJ-PR-Y][A-HJ-PR-Y](?:0[1-9]|[1-7]\d) ?[A-HJ-PR-Z]{3}(?![A-Za-z0-9])", re.ASCII)
_DE = re.compile(r"(?<![A-Za-z0-9ÄÖÜ])[A-ZÄÖÜ]{1,3}[- ][A-Z]{1,2}[- ]?[1-9]\d{0,3}[EH]?(?![A-Za-z0-9])", re.ASCII)
_FR = re.compile(r"(?<![A-Za-z0-9-])[A-HJ-NP-TV-Z]{2}[- ]\d{3}[- ][A-HJ-NP-TV-Z]{2}(?![A-Za-z0-9-])", re.ASCII)
_US = re.compile(
    r"(?<![A-Za-z0-9-])(?:\d[A-Z]{3}\d{3}|[A-Z]{3}[- ]?\d{3,4}|\d{3}[- ]?[A-Z]{3}"
    r"|[A-Z]{2}\d{2}[- ]?[A-Z0-9]{2,3})(?![A-Za-z0-9-])",
    re.ASCII,
)


def is_vin(value: str) -> bool:
    """Return whether 17 characters carry the check digit of ISO 3779 as North America and China use it."""
    if len(value) != 17 or any(c not in _VIN_VALUES for c in value):
        return False
    rest = sum(_VIN_VALUES[c] * w for c, w in zip(value, _VIN_WEIGHTS, strict=True)) % 11
    return value[8] == "0123456789X"[rest]


def _mixed(value: str) -> bool:
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value) and len(set(value)) > 4


RULES: tuple[Rule, ...] = (
    Rule(
        "own/vin",
        "1",
        ("VIN",),
        seek("VIN", _VIN, 0.6, words=_VIN_WORDS, with_words=0.95, check=is_vin),
        gate=(alone("[A-HJ-NPR-Z0-9]{13}[0-9]{4}"),),
        source="ISO 3779; 49 CFR 565",
        examples=("1M8GDM9AXKP042788",),
    ),
    Rule(
        "own/vin_said",
        "1",
        ("VIN",),
        seek("VIN", _VIN_LOOSE, 0.0, words=_VIN_WORDS, with_words=0.7, check=_mixed),
        gate=(alone("[A-HJ-NPR-Za-hj-npr-z0-9]{17}"),),
        source="ISO 3779",
        examples=("VIN: WVWZZZ1JZXW000001", "车架号LSVAM4187C2184841"),
    ),
    Rule(
        "own/cn_plate",
        "1",
        ("LICENSE_PLATE",),
        seek("LICENSE_PLATE", _CN, 0.85),
        gate=(f"[{_PROVINCE}][A-HJ-NP-Z]|使|领",),
        source="GA 36-2018",
        examples=("京A12345", "粤B·D12345", "沪AF1234", "京A12345D", "粤Z1234港", "使014578"),
    ),
    Rule(
        "own/cn_police_plate",
        "1",
        ("LICENSE_PLATE",),
        seek("LICENSE_PLATE", _CN_OLD, 0.7),
        gate=("WJ",),
        source="GA 36-2018",
        examples=("WJ京12345",),
    ),
    Rule(
        "own/uk_plate",
        "1",
        ("UK_VEHICLE_REGISTRATION",),
        seek("UK_VEHICLE_REGISTRATION", _GB, 0.4, words=_PLATE_WORDS, with_words=0.85),
        gate=(alone("[A-Z]{2}[0-9]{2} ?[A-Z]{3}"),),
        locales=frozenset({"GB"}),
        source="DVLA INF104",
        examples=("reg AB51 DVL", "AB12CDE"),
    ),
    Rule(
        "own/de_plate",
        "1",
        ("LICENSE_PLATE",),
        seek("LICENSE_PLATE", _DE, 0.0, words=_PLATE_WORDS, with_words=0.75),
        gate=("[A-ZÄÖÜ][- ][A-Z]{1,2}[- ]?[1-9]",),
        locales=frozenset({"DE"}),
        source="FZV, Anlage 1",
        examples=("Kennzeichen B-MW 1234", "Kennzeichen M AB 123E"),
    ),
    Rule(
        "own/fr_plate",
        "1",
        ("LICENSE_PLATE",),
        seek("LICENSE_PLATE", _FR, 0.45, words=_PLATE_WORDS, with_words=0.85),
        gate=(alone("[A-Z]{2}[- ][0-9]{3}[- ][A-Z]{2}"),),
        locales=frozenset({"FR", "IT"}),
        source="Arrêté du 9 février 2009",
        examples=("immatriculation AB-123-CD", "AA-229-AA"),
    ),
    Rule(
        "own/us_plate",
        "1",
        ("LICENSE_PLATE",),
        seek(
            "LICENSE_PLATE",
            _US,
            0.0,
            words=Words("plate", "plates", "license plate", "licence plate", "number plate", "tag number"),
            with_words=0.7,
            before=24,
            after=0,
        ),
        gate=(r"(?i)plate|tag number",),
        locales=frozenset({"US", "CA"}),
        source="AAMVA license plate standard",
        examples=("license plate 7ABC123", "plate ABC 1234"),
    ),
)
"""Vehicle identification numbers and licence plates."""
