"""Addresses of machines and people on a network: e-mail, URLs, IP, MAC, IMEI, coordinates, device identifiers."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterator

from trustplane.guard.text.hit import Hit, Rule
from trustplane.guard.text.rules.checks import is_luhn
from trustplane.guard.text.rules.context import EMPHASIS, EMPHASIS_END, Words, seek
from trustplane.guard.text.rules.windows import alone

__all__ = ["RULES"]

_LOCAL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.!#$%&'*+/=?^_`{|}~-" + "".join(
    chr(c) for c in range(0xC0, 0x530) if unicodedata.category(chr(c))[0] == "L"
)
"""What an e-mail address may hold left of the ``@``: RFC 5322 atoms, RFC 6531 for Latin, Greek and Cyrillic."""
_EDGES = ".!#$%&'*+/=?^`{|}~-"
_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9\u00c0-\u052f](?:[A-Za-z0-9\u00c0-\u052f-]{0,61}[A-Za-z0-9\u00c0-\u052f])?\.){1,8}"
    r"(?:xn--[A-Za-z0-9-]{2,59}|[A-Za-z\u00c0-\u052f]{2,24}[A-Za-z0-9\u00c0-\u052f]{0,38})(?![A-Za-z0-9])"
    r"|(?:[\w-]{1,30}\.){1,3}(?:中国|中國|公司|网络|網絡|政务|商城|网址|在线|香港|台灣|台湾|日本|한국|みんな)"
    r"|\[(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|IPv6:[0-9A-Fa-f:.]{2,45})\]"
)


def _emails(text: str) -> Iterator[Hit]:
    """Start from each ``@``: the domain to the right, then what may stand left of it, at most 64 characters."""
    at = text.find("@")
    taken = 0
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        if domain is not None:
            low = max(taken, at - 64)
            if (
                text[at - 1 : at] == '"'
                and (opening := text.rfind('"', low, at - 1)) >= 0
                and "\n" not in text[opening:at]
            ):
                start = opening
            else:
                window = text[low:at]
                local = window[len(window.rstrip(_LOCAL)) :].lstrip(_EDGES)
                start = at - len(local)
            if start < at and text[at - 1] != ".":
                yield Hit("EMAIL_ADDRESS", start, domain.end(), 0.95)
                taken = domain.end()
        at = text.find("@", at + 1)


_URL = re.compile(
    r"(?<![A-Za-z0-9])(?:https?|ftps?|sftp|wss?|ssh|git|s3|smb|ldaps?|rtsp|file|magnet|tel|sip)://"
    r"[^\s<>\"'`\u2e80-\u9fff\u3000-\u303f\uac00-\ud7ff\uff00-\uffef]{3,2048}"
    r"|(?<![A-Za-z0-9@.])www\.[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,6}"
    r"(?:[/?#][^\s<>\"'`\u2e80-\u9fff\u3000-\u303f\uac00-\ud7ff\uff00-\uffef]{0,2048})?",
    re.IGNORECASE,
)
_SECRET_PART = re.compile(
    r"://[^/?#@\s]{1,256}:[^/?#@\s]{1,256}@"
    r"|[?&#;](?:[a-z_\-]{0,24}(?:token|secret|passwd|password|pwd|api_?key|apikey|signature"
    r"|credential|sessionid|session_id)"
    r"|sig|auth|key|code|x-amz-[a-z-]{3,20}|sid|jwt)=[^&#\s]{4,}",
    re.IGNORECASE,
)
_TRAILING = ".,;:!?)]}*…"


def _url_end(text: str, start: int, end: int) -> int:
    """Return the end without punctuation of the sentence; a bracket stays when its partner is inside."""
    while end > start and text[end - 1] in _TRAILING:
        last = text[end - 1]
        if last in ")]}" and text.count("([{"[")]}".index(last)], start, end) >= text.count(last, start, end):
            break
        end -= 1
    return end


def _urls(text: str) -> Iterator[Hit]:
    for found in _URL.finditer(text):
        start, end = found.start(), _url_end(text, found.start(), found.end())
        if end - start > 7:
            yield Hit("URL", start, end, 0.8)


def _url_credentials(text: str) -> Iterator[Hit]:
    for found in _URL.finditer(text):
        if _SECRET_PART.search(text, found.start(), found.end()):
            yield Hit("URL_CREDENTIALS", found.start(), _url_end(text, found.start(), found.end()), 0.9)


_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(
    rf"(?:(?<![\w.])|{EMPHASIS})(?<!\d-){_BYTE}(?:\[?\.\]?{_BYTE}){{3}}(?:/(?:3[0-2]|[12]?[0-9]))?"
    rf"(?:(?!\w|\.\d|-[a-z0-9])|{EMPHASIS_END})",
    re.ASCII | re.IGNORECASE,
)
_VERSION_BEFORE = re.compile(
    r"(?:\bv|version|release|build|driver|firmware|版本|chapter|section|§)[\s:=.]{0,3}\Z", re.IGNORECASE
)
_HOST_BEFORE = re.compile(r"(?:ip|host|server|address|地址)[\s:=.]{0,3}\Z", re.IGNORECASE)
_IPV6 = re.compile(
    r"(?<![\w:.])[0-9A-Fa-f:]{2,39}(?:(?:\.[0-9]{1,3}){3})?(?:%[\w.-]{1,16})?(?:/[0-9]{1,3})?(?![\w:])",
    re.ASCII,
)


def _ip(text: str) -> Iterator[Hit]:
    for found in _IPV4.finditer(text):
        before = text[max(0, found.start() - 12) : found.start()]
        if _VERSION_BEFORE.search(before):
            continue
        small = all(len(part) == 1 for part in found[0].partition("/")[0].split("."))
        yield Hit("IP_ADDRESS", found.start(), found.end(), 0.4 if small and not _HOST_BEFORE.search(before) else 0.75)
    if ":" not in text:
        return
    for found in _IPV6.finditer(text):
        value = found[0].partition("/")[0].partition("%")[0]
        if value.count(":") < 2 or not any(c.isdigit() for c in value):
            continue
        try:
            ipaddress.IPv6Address(value)
        except ValueError:
            continue
        yield Hit("IP_ADDRESS", found.start(), found.end(), 0.8 if value.count(":") > 2 or len(value) > 6 else 0.4)


_MAC = re.compile(
    r"(?<![\w:-])(?:[0-9A-Fa-f]{2}(?P<sep>[:-])(?:[0-9A-Fa-f]{2}(?P=sep)){4}[0-9A-Fa-f]{2}"
    r"|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}|[0-9A-Fa-f]{6}-[0-9A-Fa-f]{6})(?![\w:]|-[0-9A-Fa-f])",
    re.ASCII,
)
_BARE_MAC = re.compile(r"(?<![\w-])[0-9A-Fa-f]{12}(?![\w-])", re.ASCII)
_MAC_WORDS = Words("mac", "mac address", "ethernet", "bssid", "wlan", "hwaddr", "物理地址", "网卡")
_IMEI = re.compile(r"(?<![\w-])\d{2}[- ]?\d{6}[- ]?\d{6}[- ]?\d(?:\d)?(?![\w-])", re.ASCII)
_IMEI_WORDS = Words("imei", "imeisv", "meid", "device id", "serial", "handset", "串号", "设备号", "手机串号")
_UUID = re.compile(
    r"(?<![0-9A-Fa-f-])[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}(?![0-9A-Fa-f-])"
)
_DEVICE_WORDS = Words(
    "device", "device id", "device_id", "deviceid", "idfa", "idfv", "gaid", "aaid", "advertising", "udid", "android id",
    "installation id", "client id", "设备", "设备id", "广告标识",
)  # fmt: skip


def _is_imei(value: str) -> bool:
    digits = re.sub(r"[- ]", "", value)
    return len(digits) == 16 or (is_luhn(digits) and len(set(digits)) > 2)


_PAIR = re.compile(
    r"(?<![\w.+-])(?P<lat>[+-]?[0-8]?\d\.\d{3,15}|[+-]?90\.0{3,15})°?\s?[NSns]?\s?[,;/ ]\s?(?:lon"
    r"(?:gitude)?|lng|经度)?[:=\s]{0,3}"
    r"(?P<lon>[+-]?(?:1[0-7]\d|\d{1,2})\.\d{3,15}|[+-]?180\.0{3,15})°?\s?[EWew]?(?!\w|\.\d)",
    re.ASCII,
)
_DMS = re.compile(
    r"(?<!\d)\d{1,2}°\s?\d{1,2}['\u2032\u2019]\s?(?:\d{1,2}(?:\.\d{1,6})?(?:\"|\u2033|''|\u2032\u2032"
    r"|\u201d)\s?)?[NS][,;\s]{1,3}"
    r"\d{1,3}°\s?\d{1,2}['\u2032\u2019]\s?(?:\d{1,2}(?:\.\d{1,6})?(?:\"|\u2033|''|\u2032\u2032"
    r"|\u201d)\s?)?[EW](?![A-Za-z])"
    r"|(?:北纬|南纬)\s?\d{1,2}[°度][^\n]{0,16}?[,，\s]?(?:东经|西经)\s?\d{1,3}[°度](?:\s?\d{1,2}['\u2032分]"
    r"(?:\s?\d{1,2}(?:\.\d+)?[\"\u2033秒]?)?)?",
    re.IGNORECASE | re.ASCII,
)
_PLACE_WORDS = Words(
    "lat", "latitude", "lng", "lon", "long", "longitude", "gps", "coordinate", "coordinates", "coords", "location",
    "position", "geo", "map", "maps", "home", "lives", "located", "坐标", "经纬度", "定位", "位置", "纬度", "经度",
)  # fmt: skip

RULES: tuple[Rule, ...] = (
    Rule(
        "own/email",
        "3",
        ("EMAIL_ADDRESS",),
        _emails,
        gate=("@",),
        source="RFC 5322, RFC 6531, RFC 5891",
        examples=("alice@example.com", '"john doe"@example.org', "jörg@bücher.example", "root@xn--fsq.xn--0zwm56d"),
        reach=512,
    ),
    Rule(
        "own/url",
        "1",
        ("URL",),
        _urls,
        gate=("://", r"(?i)www\."),
        source="RFC 3986",
        examples=("https://example.com/a?b=c", "www.example.org"),
        reach=2200,
    ),
    Rule(
        "own/url_credentials",
        "1",
        ("URL_CREDENTIALS",),
        _url_credentials,
        gate=("://", r"(?i)www\."),
        shapes=((f"(?i){_SECRET_PART.pattern}", 2300),),
        kind="secret",
        source="RFC 3986, section 3.2.1",
        examples=("https://bob:hunter2@example.com/", "https://example.com/?token=abcd1234"),
        reach=2200,
    ),
    Rule(
        "own/ip",
        "2",
        ("IP_ADDRESS",),
        _ip,
        gate=(r"[0-9]\]?\.\[?[0-9]{1,3}\]?\.", ":[0-9A-Fa-f:]*:"),
        shapes=((f"(?i){_IPV4.pattern}", 0), (":[0-9A-Fa-f]{0,39}:", 96)),
        source="RFC 791, RFC 4291, RFC 6890",
        examples=("192.0.2.17", "198.51.100.0/24", "2001:db8::8a2e:370:7334", "fe80::1ff:fe23:4567:890a%eth2"),
    ),
    Rule(
        "own/mac",
        "1",
        ("MAC_ADDRESS",),
        seek("MAC_ADDRESS", _MAC, 0.8, words=_MAC_WORDS, with_words=0.9),
        gate=(
            "[0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-]",
            r"[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.",
            "[0-9A-Fa-f]{6}-[0-9A-Fa-f]{6}",
        ),
        source="IEEE 802",
        examples=("00:00:5E:00:53:AF", "0000.5e00.53af", "00005E-0053AF"),
    ),
    Rule(
        "own/mac_bare",
        "1",
        ("MAC_ADDRESS",),
        seek("MAC_ADDRESS", _BARE_MAC, 0.0, words=_MAC_WORDS, with_words=0.7),
        gate=(alone("[0-9A-Fa-f]{12}"),),
        source="IEEE 802",
        examples=("MAC 00005E0053AF",),
    ),
    Rule(
        "own/imei",
        "1",
        ("IMEI",),
        seek("IMEI", _IMEI, 0.0, words=_IMEI_WORDS, with_words=0.9, check=_is_imei),
        gate=(alone("[0-9]{2}[- ]?[0-9]{6}[- ]?[0-9]{6}[- ]?[0-9]{1,2}"),),
        source="3GPP TS 23.003",
        examples=("IMEI 490154203237518", "IMEI: 35-209900-176148-1"),
    ),
    Rule(
        "own/coordinates",
        "2",
        ("COORDINATES",),
        seek("COORDINATES", _PAIR, 0.3, words=_PLACE_WORDS, with_words=0.8, before=32, after=16),
        gate=(r"[0-9]\.[0-9]{3}[^.]*?[0-9]\.[0-9]{3}",),
        source="ISO 6709",
        examples=("GPS: 48.858370, 2.294481", "坐标 39.90923, 116.397428"),
    ),
    Rule(
        "own/coordinates_dms",
        "1",
        ("COORDINATES",),
        seek("COORDINATES", _DMS, 0.85),
        gate=("[0-9][°度]",),
        source="ISO 6709",
        examples=("50°40'46\"N 95°48'26\"W", "北纬39度54分 东经116度23分"),
    ),
    Rule(
        "own/device_id",
        "1",
        ("DEVICE_ID",),
        seek("DEVICE_ID", _UUID, 0.0, words=_DEVICE_WORDS, with_words=0.8),
        gate=("[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-",),
        source="RFC 9562",
        examples=("device id f81d4fae-7dec-11d0-a765-00a0c91e6bf6",),
    ),
)
"""What identifies a machine, an account or a place on a network."""
