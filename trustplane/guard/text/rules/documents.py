"""Documents that a word names: passports, driving licences, medical records, a few identifiers of single countries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from trustplane.guard.text.hit import Hit, Rule
from trustplane.guard.text.rules.checks import is_luhn, weighted
from trustplane.guard.text.rules.context import Words, seek
from trustplane.guard.text.rules.windows import alone

__all__ = ["RULES", "is_nric"]

_LINK = (
    r"(?:['’]s)?(?: ?(?:number|num|no|nr|nummer|numéro|número|id|#|n°|nº|号码?|编号))?\.?[\s\"':=：#|-]{0,4}"
    r"(?:is |was |are |为|是)?[\s\"'#]{0,2}"
)
_VALUE = r"(?P<value>(?=[A-Za-z-]{0,6}[0-9])[A-Za-z0-9]{%d,%d}(?:-[A-Za-z0-9]{1,8}){0,3})(?![A-Za-z0-9-])"


def _said(entity: str, words: str, least: int, most: int, digits: int) -> Callable[[str], Iterator[Hit]]:
    """Return a search for a value of letters and digits right after the words, with at least so many digits."""
    pattern = re.compile(rf"(?:{words}){_LINK}{_VALUE % (least, most)}", re.IGNORECASE | re.ASCII)

    def enough(value: str) -> bool:
        return sum(c.isdigit() for c in value) >= digits

    return seek(entity, pattern, 0.7, group="value", check=enough)


_PASSPORT = (
    r"(?<![A-Za-z])(?:passport|passeport|reisepass|pasaporte|passaporto|passaporte|paspoort)"
    r"(?: (?:number|no|card|book))?|护照|護照|旅券"
)
_LICENCE = (
    r"(?<![A-Za-z])(?:driver'?s?'?|driving|drivers')[ -]?(?:licen[cs]e|permit)|(?<![A-Za-z])(?:DL"
    r"|D\.L\.)(?= ?(?:no|number|#|:))"
    r"|(?<![A-Za-z])(?:führerschein(?:nummer)?|permis de conduire|permiso de conducir"
    r"|patente di guida|rijbewijs)|驾驶证|驾照|駕照|免許証"
)
_RECORD = (
    r"(?<![A-Za-z])(?:MRN|medical record|patient id|patient number|patient no|chart number|hospital (?:number|no|id)"
    r"|health record|case number|admission (?:number|no))|病历号?|病案号?|住院号|门诊号|就诊卡号?|患者编号|医疗记录号?"
)
_INSURANCE = (
    r"(?<![A-Za-z])(?:health insurance|insurance policy|policy (?:number|no)|member id|subscriber id"
    r"|beneficiary (?:number|id)"
    r"|medicaid|group (?:number|no))|医保卡?号?|保单号?"
)
_EMPLOYEE = r"(?<![A-Za-z])(?:employee|staff|student|matriculation) (?:id|number|no)|工号|学号|员工编号"
_NINO = re.compile(
    r"(?<![A-Za-z0-9])(?!BG|GB|NK|KN|TN|NT"
    r"|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][ -]?\d{2}[ -]?\d{2}[ -]?\d{2}[ -]?[A-D](?![A-Za-z0-9])",
    re.IGNORECASE | re.ASCII,
)
_NRIC = re.compile(r"(?<![A-Za-z0-9])[STFGM]\d{7}[A-Z](?![A-Za-z0-9])", re.IGNORECASE | re.ASCII)
_NPI = re.compile(r"(?<![\w-])[12]\d{9}(?![\w-])", re.ASCII)
_ORCID = re.compile(r"(?<![\w-])\d{4}-\d{4}-\d{4}-\d{3}[\dX](?![\w-])", re.ASCII)
_DEA = re.compile(r"(?<![A-Za-z0-9])[ABCDEFGHJKLMPRSTUX][A-Z9]\d{7}(?![A-Za-z0-9])", re.ASCII)


def is_nric(value: str) -> bool:
    """Return whether nine characters are a Singapore NRIC or FIN: letter, seven digits, check letter."""
    value = value.upper()
    total = weighted(value[1:8], (2, 7, 6, 5, 4, 3, 2)) + {"S": 0, "T": 4, "F": 0, "G": 4, "M": 3}[value[0]]
    if value[0] == "M":
        return "XWUTRQPNJLK"[total % 11] == value[8]
    return ("JZIHGFEDCBA" if value[0] in "ST" else "XWUTRQPNMLK")[total % 11] == value[8]


def _is_dea(value: str) -> bool:
    digits = value[2:]
    return (sum(map(int, digits[:6:2])) + 2 * sum(map(int, digits[1:6:2]))) % 10 == int(digits[6])


RULES: tuple[Rule, ...] = (
    Rule(
        "own/passport",
        "1",
        ("PASSPORT",),
        _said("PASSPORT", _PASSPORT, 6, 12, 5),
        gate=("(?i)pass|reise|pasaporte|paspoort|护照|護照|旅券",),
        source="ICAO Doc 9303",
        examples=("passport number: X12345678", "passport no. 533380006", "护照号码E12345678"),
    ),
    Rule(
        "own/driver_license",
        "1",
        ("DRIVER_LICENSE",),
        _said("DRIVER_LICENSE", _LICENCE, 5, 20, 4),
        gate=(r"(?i)driv|d\.?l|führerschein|permis|patente|rijbewijs|驾|駕|免許",),
        source="ISO/IEC 18013-1",
        examples=(
            "driver's license number is 481195160",
            "driving licence MORGA657054SM9IJ",
            "驾驶证号:110105199003078888",
        ),
    ),
    Rule(
        "own/medical_record",
        "1",
        ("MEDICAL_RECORD",),
        _said("MEDICAL_RECORD", _RECORD, 5, 20, 4),
        gate=("(?i)mrn|medical|patient|chart|hospital|record|case|admission|病|住院|门诊|就诊|患者|医疗",),
        source="45 CFR 164.514(b)(2)(i)(H)",
        examples=("MRN: 00123456", "medical record number 7781234", "住院号:20231234"),
    ),
    Rule(
        "own/insurance_number",
        "1",
        ("INSURANCE_NUMBER",),
        _said("INSURANCE_NUMBER", _INSURANCE, 6, 20, 4),
        gate=("(?i)insurance|policy|member|subscriber|beneficiary|medicaid|group|医保|保单",),
        source="45 CFR 164.514(b)(2)(i)(I)",
        examples=("member ID: XYZ123456789", "policy number AB1234567"),
    ),
    Rule(
        "own/employee_id",
        "1",
        ("EMPLOYEE_ID",),
        _said("EMPLOYEE_ID", _EMPLOYEE, 4, 16, 4),
        gate=("(?i)employee|staff|student|matriculation|工号|学号|员工",),
        source="ISO/IEC 27701, annex A",
        examples=("employee ID: E104233", "工号:A10023"),
    ),
    Rule(
        "own/uk_nino",
        "1",
        ("UK_NINO",),
        seek("UK_NINO", _NINO, 0.7),
        gate=("(?i)[A-Z]{2}[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[A-D]",),
        locales=frozenset({"GB"}),
        source="HMRC NIM39110",
        examples=("AA123456C",),
    ),
    Rule(
        "own/sg_nric",
        "1",
        ("SG_NRIC_FIN",),
        seek("SG_NRIC_FIN", _NRIC, 0.8, check=is_nric),
        gate=(alone("(?i)[STFGM][0-9]{7}[A-Z]"),),
        locales=frozenset({"SG"}),
        source="Immigration and Checkpoints Authority, NRIC",
        examples=("S1234567D",),
    ),
    Rule(
        "own/us_npi",
        "1",
        ("US_NPI",),
        seek(
            "US_NPI",
            _NPI,
            0.0,
            words=Words("npi", "national provider", "provider"),
            with_words=0.85,
            check=lambda v: is_luhn("80840" + v),
        ),
        gate=(alone("[12][0-9]{9}"),),
        locales=frozenset({"US"}),
        source="45 CFR 162.406",
        examples=("NPI 1234567893",),
    ),
    Rule(
        "own/us_dea",
        "1",
        ("MEDICAL_LICENSE",),
        seek("MEDICAL_LICENSE", _DEA, 0.3, words=Words("dea", "prescriber", "license"), with_words=0.85, check=_is_dea),
        gate=(alone("[A-Z][A-Z9][0-9]{7}"),),
        locales=frozenset({"US"}),
        source="21 CFR 1301.13",
        examples=("DEA number AB1234563",),
    ),
    Rule(
        "own/orcid",
        "1",
        ("ORCID",),
        seek("ORCID", _ORCID, 0.0, words=Words("orcid", "orcid.org"), with_words=0.9),
        gate=("[0-9]{4}-[0-9]{4}-[0-9]{4}-[0-9]{3}",),
        source="ISO 27729",
        examples=("ORCID 0000-0002-1825-0097",),
    ),
)
"""Numbers of documents."""
