"""Identifiers of mainland China, Hong Kong, Macau and Taiwan: people, companies, permits, accounts."""

from __future__ import annotations

import datetime
import re

from trustplane.guard.text.hit import Rule
from trustplane.guard.text.rules import chinese_places
from trustplane.guard.text.rules.checks import is_luhn, weighted
from trustplane.guard.text.rules.context import Words, seek
from trustplane.guard.text.rules.windows import alone

__all__ = ["RULES", "is_hk_id", "is_organisation_code", "is_resident_id", "is_taiwan_id", "is_uscc"]

_PROVINCES = frozenset(
    [
        "11",
        "12",
        "13",
        "14",
        "15",
        "21",
        "22",
        "23",
        "31",
        "32",
        "33",
        "34",
        "35",
        "36",
        "37",
        "41",
        "42",
        "43",
        "44",
        "45",
        "46",
        "50",
        "51",
        "52",
        "53",
        "54",
        "61",
        "62",
        "63",
        "64",
        "65",
        "71",
        "81",
        "82",
        "83",
        "91",
    ]
)
"""First two digits of a region (GB/T 2260), 81 to 83 for Hong Kong, Macau and Taiwan, 91 for foreigners."""
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_USCC_CHARACTERS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_USCC_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
_CODE_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)
_TAIWAN = "ABCDEFGHJKLMNPQRSTUVXYWZIO"


def _date(year: int, month: int, day: int) -> bool:
    try:
        return 1850 <= datetime.date(year, month, day).year <= 2100
    except ValueError:
        return False


def is_resident_id(number: str) -> bool:
    """Return whether 18 characters are a Chinese resident ID: region, birth date, check (GB 11643-1999)."""
    if len(number) != 18 or not number[:17].isdigit() or not number.isascii() or number[:2] not in _PROVINCES:
        return False
    if not _date(int(number[6:10]), int(number[10:12]), int(number[12:14])):
        return False
    return number[17].upper() == "10X98765432"[weighted(number[:17], _WEIGHTS) % 11]


def _is_old_resident_id(number: str) -> bool:
    return number[:2] in _PROVINCES and _date(1900 + int(number[6:8]), int(number[8:10]), int(number[10:12]))


def is_uscc(code: str) -> bool:
    """Return whether 18 characters are a unified social credit code with its check character (GB 32100-2015)."""
    code = code.upper()
    if len(code) != 18 or any(c not in _USCC_CHARACTERS for c in code) or not code[2:8].isdigit():
        return False
    total = sum(_USCC_CHARACTERS.index(c) * w for c, w in zip(code, _USCC_WEIGHTS, strict=False))
    return _USCC_CHARACTERS[-total % 31] == code[17]


def is_organisation_code(code: str) -> bool:
    """Return whether eight characters and a check character are an organisation code (GB 11714-1997)."""
    code = code.replace("-", "").upper()
    total = sum(int(c, 36) * w for c, w in zip(code[:8], _CODE_WEIGHTS, strict=True))
    return len(code) == 9 and "0123456789X0"[(11 - total % 11)] == code[8]


def is_hk_id(number: str) -> bool:
    """Return whether one or two letters, six digits and a check character are a Hong Kong identity card number."""
    compact = re.sub(r"[^A-Z0-9]", "", number.upper()).rjust(9)
    values = [36 if c == " " else int(c, 36) for c in compact]
    return sum(v * w for v, w in zip(values, range(9, 0, -1), strict=True)) % 11 == 0


def is_taiwan_id(number: str) -> bool:
    """Return whether a letter and nine digits are a Taiwan identity or resident number with its check digit."""
    letter = _TAIWAN.index(number[0].upper()) + 10
    return (letter // 10 + letter % 10 * 9 + weighted(number[1:], (8, 7, 6, 5, 4, 3, 2, 1, 1))) % 10 == 0


def _resident(value: str) -> bool:
    return is_resident_id(re.sub(r"[ -]", "", value))


def _bank_card(value: str) -> bool:
    return is_luhn(re.sub(r"[ -]", "", value)) or value[:2] == "62"


_L, _R = "(?<![A-Za-z0-9])", "(?![A-Za-z0-9])"


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(f"{_L}(?:{pattern}){_R}", re.ASCII | re.IGNORECASE)


_RESIDENT = _compile(r"[1-9]\d{5}[ -]?\d{8}[ -]?\d{3}[\dX]|[1-9]\d{2}(?:[ -]\d{3}){1}[ -]\d{4}[ -]\d{4}[ -]\d{3}[\dX]")
_ID_WORDS = Words("身份证", "身份证号", "证件号", "证件", "id card", "id", "resident id", "公民身份", "sfz")
_HK = _compile(r"[A-Z]{1,2}\d{6} ?(?:\([0-9A]\)|[0-9A])")
_HK_WORDS = Words("hkid", "hong kong", "香港身份证", "香港身份證", "身份证", "身份證", "香港", "id card", "id")
_COMPANY_WORDS = Words("组织机构代码", "机构代码", "组织代码", "organization code", "organisation code")

RULES: tuple[Rule, ...] = (
    Rule(
        "own/cn_resident_id",
        "2",
        ("CN_RESIDENT_ID",),
        seek("CN_RESIDENT_ID", _RESIDENT, 1.0, check=_resident),
        gate=(
            alone("[1-9][0-9]{5}[ -]?[0-9]{8}[ -]?[0-9]{3}[0-9Xx]"),
            alone("[0-9]{3}[ -][0-9]{3}[ -][0-9]{4}[ -][0-9]{4}[ -][0-9]{3}[0-9Xx]"),
        ),
        source="GB 11643-1999",
        examples=("11010519491231002X", "身份证 110105 19491231 002X"),
    ),
    Rule(
        "own/cn_resident_id_15",
        "1",
        ("CN_RESIDENT_ID",),
        seek(
            "CN_RESIDENT_ID", _compile(r"[1-9]\d{14}"), 0.0, words=_ID_WORDS, with_words=0.8, check=_is_old_resident_id
        ),
        gate=(alone("[1-9][0-9]{14}"),),
        source="GB 11643-1989",
        examples=("身份证号130503670401001",),
    ),
    Rule(
        "own/cn_uscc",
        "1",
        ("CN_USCC",),
        seek("CN_USCC", _compile(r"[0-9A-HJ-NP-Y]\d[0-9]{6}[0-9A-HJ-NPQRTUWXY]{10}"), 0.85, check=is_uscc),
        gate=(alone("(?i)[0-9A-Y][0-9]{7}[0-9A-Y]{10}"),),
        source="GB 32100-2015",
        examples=("91110000600037341L",),
    ),
    Rule(
        "own/cn_organisation_code",
        "1",
        ("CN_ORGANISATION_CODE",),
        seek(
            "CN_ORGANISATION_CODE",
            _compile(r"[0-9A-Z]{8}-?[0-9X]"),
            0.0,
            words=_COMPANY_WORDS,
            with_words=0.85,
            check=is_organisation_code,
        ),
        gate=(alone("(?i)[0-9A-Z]{8}-?[0-9X]"),),
        source="GB 11714-1997",
        examples=("组织机构代码 D2143569-X",),
    ),
    Rule(
        "own/cn_passport",
        "1",
        ("CN_PASSPORT",),
        seek(
            "CN_PASSPORT",
            _compile(r"(?:E[0-9A-HJ-NP-Z]\d{7}|[GDSP]\d{8}|(?:14|15)\d{7}|[DSP]E\d{7}|G\d{8})"),
            0.3,
            words=Words("护照", "護照", "passport", "护照号"),
            with_words=0.9,
        ),
        gate=(alone("(?i)[EGDSP1][0-9A-Z][0-9]{7}"),),
        source="NIA passport numbers",
        examples=("护照号E12345678", "护照:EA1234567"),
    ),
    Rule(
        "own/cn_permit",
        "1",
        ("CN_TRAVEL_PERMIT",),
        seek(
            "CN_TRAVEL_PERMIT",
            _compile(r"[CWHM][A-Z0-9]\d{7}(?:\d{2})?|[TL]?\d{8}(?:\d{2})?"),
            0.0,
            words=Words(
                "通行证",
                "回乡证",
                "台胞证",
                "往来港澳",
                "港澳居民",
                "大陆通行证",
                "travel permit",
                "通行證",
                "回鄉證",
                "台胞證",
            ),
            with_words=0.85,
        ),
        gate=("通行|回乡|回鄉|台胞|港澳|(?i)permit",),
        source="NIA travel permits",
        examples=("港澳通行证C12345678", "回乡证H12345678", "台胞证12345678"),
    ),
    Rule(
        "own/cn_officer_id",
        "1",
        ("CN_OFFICER_ID",),
        seek(
            "CN_OFFICER_ID",
            re.compile(
                r"(?:军官证|士官证|士兵证|文职干部证|警官证)(?:号码?|编号)?[\s:为是]{0,3}(?P<value>[\u4e00-\u9fff]?字?第?[A-Za-z0-9]{6,10}号?)",
                re.ASCII,
            ),
            0.8,
            group="value",
        ),
        gate=("军官证|士官证|士兵证|文职干部证|警官证",),
        source="military identity documents",
        examples=("军官证:军字第1234567号", "士官证号 12345678"),
    ),
    Rule(
        "own/hk_id",
        "1",
        ("HK_ID",),
        seek("HK_ID", _HK, 0.5, words=_HK_WORDS, with_words=0.95, check=is_hk_id),
        gate=("(?i)[A-Z][0-9]{6} ?[(0-9A]",),
        source="Hong Kong Immigration Department",
        examples=("A123456(3)", "HKID C123456(9)"),
    ),
    Rule(
        "own/macau_id",
        "1",
        ("MACAU_ID",),
        seek(
            "MACAU_ID",
            _compile(r"[1578]/?\d{6}/?(?:\(\d\)|\d)"),
            0.0,
            words=Words("macau", "macao", "澳门", "澳門", "bir"),
            with_words=0.85,
        ),
        gate=(alone(r"[1578]/?[0-9]{6}/?(?:\([0-9]\)|[0-9])"),),
        source="DSI Macau, BIR",
        examples=("澳门身份证1234567(8)",),
    ),
    Rule(
        "own/taiwan_id",
        "1",
        ("TW_NATIONAL_ID",),
        seek(
            "TW_NATIONAL_ID",
            _compile(r"[A-Z][1289]\d{8}"),
            0.6,
            words=Words("身分證", "身份證", "统一编号", "統一編號", "居留證", "taiwan", "national id"),
            with_words=0.95,
            check=is_taiwan_id,
        ),
        gate=(alone("(?i)[A-Z][1289][0-9]{8}"),),
        source="Taiwan Ministry of the Interior",
        examples=("A123456789",),
    ),
    Rule(
        "own/cn_bank_card",
        "1",
        ("CREDIT_CARD",),
        seek(
            "CREDIT_CARD",
            re.compile(
                r"(?:卡号|银行卡号?|账号|借记卡号?|储蓄卡号?|信用卡号?|帐号)[\s:为是]{0,3}"
                r"(?P<value>\d(?:[ -]?\d){15,18})(?!\d)",
                re.ASCII,
            ),
            0.7,
            group="value",
            check=_bank_card,
        ),
        gate=("卡|账号|帐号",),
        source="JR/T 0008-2000",
        examples=("银行卡号:6222 0202 0011 2233 445",),
    ),
    Rule(
        "own/cn_landline",
        "1",
        ("PHONE_NUMBER",),
        seek(
            "PHONE_NUMBER",
            re.compile(
                r"(?<![\w.-])(?:\(?0(?:10|2\d|[3-9]\d{2})\)?[ -]\d{7,8}|0(?:10|2\d)[2-8]\d{7}"
                r"|400[ -]?\d{3}[ -]?\d{4}|800[ -]\d{3}[ -]?\d{4})(?:[-转]\d{1,6})?(?![\w]|-\d)",
                re.ASCII,
            ),
            0.6,
            words=Words("电话", "座机", "传真", "热线", "tel", "phone", "fax", "call"),
            with_words=0.85,
        ),
        gate=(r"\(?0[0-9]{2,3}\)?[ -]?[0-9]{7}", "[48]00[ -]?[0-9]{3}"),
        source="GB/T 15120; area codes of MIIT",
        examples=("010-62345678", "0755-83765432", "座机02162345678", "400-800-8820"),
    ),
    Rule(
        "own/cn_qq",
        "1",
        ("QQ_NUMBER",),
        seek(
            "QQ_NUMBER",
            re.compile(
                r"(?:(?<![A-Za-z])QQ(?:号码?|群号?|邮箱)?|扣扣号?|企鹅号)[\s:为是]{0,3}(?P<value>[1-9]\d{4,11})(?![\w@])",
                re.ASCII | re.IGNORECASE,
            ),
            0.8,
            group="value",
        ),
        gate=("(?i)qq|扣扣|企鹅",),
        source="Tencent QQ account numbers",
        examples=("QQ:123456789", "我的qq号是10001"),
    ),
    Rule(
        "own/cn_wechat",
        "1",
        ("WECHAT_ID",),
        seek(
            "WECHAT_ID",
            re.compile(
                r"(?:微信(?:号|账号|ID)?|(?<![A-Za-z])(?:wechat|weixin|wxid|vx|wx)(?: ?(?:id|号))?|薇信|威信"
                r"|加[vV](?=[:\s]))[\s:为是=]{1,3}(?P<value>[A-Za-z][\w-]{5,19}|1[3-9]\d{9})(?![\w-])",
                re.ASCII | re.IGNORECASE,
            ),
            0.75,
            group="value",
        ),
        gate=("(?i)微信|wechat|weixin|wxid|vx|wx|薇信|威信|加v",),
        source="WeChat ID rules",
        examples=("微信号:zhang_wei88", "WeChat ID: bob_smith1"),
    ),
    *chinese_places.RULES,
)
"""Identifiers used in China, and Chinese postal addresses."""
