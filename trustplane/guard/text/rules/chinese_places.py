"""Chinese postal addresses, found from the street and number outwards."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trustplane.guard.text.hit import Hit, Rule

__all__ = ["RULES"]

_HAN = "\u3400-\u9fff"
_PROVINCES = (
    "北京|天津|上海|重庆|河北|山西|内蒙古|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|广西|海南|四川|贵州|云南|西藏|陕西"
    "|甘肃|青海|宁夏|新疆|台湾|臺灣|香港|澳门|澳門|广州|深圳|杭州|南京|成都|武汉|西安|苏州|台北|臺北|高雄"
)
_NUMBER = r"[0-9〇零一二三四五六七八九十百]{1,6}"
_ANCHOR = re.compile(
    rf"(?:路|街|大道|道|巷|弄|胡同|里|村|组|镇|乡|园区|工业区|小区|花园|公寓|大厦|广场|苑|屯|段)"
    rf"(?:[东西南北中]段?)? ?(?:[甲乙丙]?{_NUMBER}(?:[-之]{_NUMBER})?)(?P<unit>号院?|號|弄|巷|栋|幢|座|组|室|楼|层)"
)
_REST = re.compile(
    rf"(?:[,， -]?(?:[{_HAN}]{{2,10}}(?:小区|花园|公寓|大厦|广场|苑|大楼|中心|家园|新村))?[,， -]?"
    rf"(?:[A-Za-z]|{_NUMBER}|[东西南北])[-]?(?:号楼?|號樓?|栋|幢|座|单元|單元|层|樓|楼|室|房|户|门)){{1,6}}(?:[A-Za-z]?[0-9]{{1,5}}(?:室|房)?)?"
)
_UNIT_BEFORE = re.compile(r"[^在于到往至是址住寄从来去过,，:：;。\s]{2,5}(?:省|市|区|县|镇|乡)")
_CUT = re.compile(r"[在于到往至是址住寄从来去过为送发位]")


def _start(text: str, anchor: int) -> tuple[int, bool]:
    """Return where the address that reaches ``anchor`` begins and whether it names a province, city or district."""
    low = max(0, anchor - 32)
    run = anchor
    while run > low and (("\u3400" <= text[run - 1] <= "\u9fff") or text[run - 1].isalnum() or text[run - 1] == " "):
        run -= 1
    window = text[run:anchor]
    named = re.search(_PROVINCES, window)
    if named:
        return run + named.start(), True
    area = _UNIT_BEFORE.search(window)
    if area:
        return run + area.start(), True
    cuts = [m.end() for m in _CUT.finditer(window)]
    begin = max([cuts[-1] if cuts else 0, len(window) - 8])
    return run + begin, False


def _addresses(text: str) -> Iterator[Hit]:
    end = 0
    for found in _ANCHOR.finditer(text):
        if found.start() < end:
            continue
        start, area = _start(text, found.start())
        start = max(start, end)
        rest = _REST.match(text, found.end())
        end = rest.end() if rest else found.end()
        if found.start() - start >= 1 and (area or found["unit"] in ("号", "号院", "號", "弄")):
            yield Hit("ADDRESS", start, end, 0.85 if area else 0.6)


_NAMED = re.compile(
    r"(?:家庭住址|居住地址|联系地址|收货地址|通讯地址|邮寄地址|户籍地址?|住址|地址)[\s:为是]{1,3}"
    rf"(?P<value>(?=[{_HAN}]{{1,24}}(?:省|市|区|县|路|街|镇|村))[{_HAN}A-Za-z0-9 ()#-]{{4,60}})"
)


def _named(text: str) -> Iterator[Hit]:
    for found in _NAMED.finditer(text):
        yield Hit("ADDRESS", found.start("value"), found.start("value") + len(found["value"].rstrip()), 0.7)


RULES: tuple[Rule, ...] = (
    Rule(
        "own/cn_address",
        "1",
        ("ADDRESS",),
        _addresses,
        gate=("[路街道巷弄同里村组镇乡区园寓厦场苑屯段东西南北中] ?[甲乙丙]?[0-9〇零一二三四五六七八九十百]{1,6}",),
        source="GB/T 23705-2009",
        examples=(
            "北京市海淀区中关村大街27号",
            "我住在上海市浦东新区世纪大道100号3号楼502室",
            "广东省深圳市南山区科技园路8号",
        ),
    ),
    Rule(
        "own/cn_address_named",
        "1",
        ("ADDRESS",),
        _named,
        gate=("地址|住址|户籍",),
        source="GB/T 23705-2009",
        examples=("收货地址:浙江省杭州市西湖区文三路",),
    ),
)
"""Addresses in mainland China and Taiwan."""
