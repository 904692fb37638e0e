"""Names of people by cue, English and Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trustplane.guard.text.hit import Hit, Rule
from trustplane.guard.text.names.english import CUES, GAP, WORD, english_cues
from trustplane.guard.text.names.surnames import STOP, SURNAME

__all__ = ["NAME_RULES"]

_GIVEN = rf"[㐀-䶿一-鿿](?:(?![{STOP}])[㐀-䶿一-鿿])?"
_BEFORE_STRONG = "我叫|我名叫|我的名字是|我的名字叫|名叫|姓名|名字是|名字叫|本人|叫做"
_BEFORE_WEAK = "我是|患者|病人|客户|顾客|联系人|收件人|寄件人|员工|家属|乘客|业主|被保险人|法定代表人|聯繫人|客戶"
_ZH_STRONG = re.compile(rf"(?:{_BEFORE_STRONG})[ 　]?(?:是|为|為)?[ 　]?[:：]?[ 　]?({SURNAME}(?![{STOP}]){_GIVEN})")
_ZH_WEAK = re.compile(rf"(?:{_BEFORE_WEAK})[ 　]?(?:是|为)?[:：]?[ 　]?({SURNAME}(?![{STOP}]){_GIVEN})")
_AFTER = "先生|女士|小姐|医生|大夫|醫生|护士|老师|老師|教授|同学|主任|经理|经理|律师|师傅|博士|院长"
_ZH_TITLE = re.compile(rf"({SURNAME}(?:(?![{STOP}])[㐀-䶿一-鿿]){{0,2}}?)(?={_AFTER})")
_TOWARDS = "给|找|转给|转交|联系|通知|告诉|提醒|约|跟|和|与|让|派|由"
_DO = (
    "打电话|打个电话|打了电话|发邮件|发短信|发消息|发微信|回电|回复|通电话|联系|处理|跟进|负责|审批|签字|确认|开会|见面|汇报|"
    "商量|沟通|预约|办理|转账|汇款|寄|说|谈|聊|一起|[，,。；;]?抄送"
)
_ZH_TOWARDS = re.compile(rf"(?:{_TOWARDS})({SURNAME}(?![{STOP}]){_GIVEN})(?={_DO})")
_ZH_GREETED = re.compile(rf"(?:\A|[。！？，,；;\n “\"])({SURNAME}(?![{STOP}]){_GIVEN})(?=[，,]?(?:你好|您好))")
_ZH_LATIN = re.compile(rf"(?:{_BEFORE_STRONG}|我是)[ 　]?[:：]?[ 　]?({WORD}(?:{GAP}{WORD}){{0,2}})")
_ZH_NOT = (
    "高中|高血压|高热|高烧|高级|高管|程序|方便|方面|黄疸|黄金|白血病|白细胞|白领|金牌|金融|安全|安装|平台|成年|成都|成员|成为|"
    "常常|华为|华人|江苏|许多|万一|何时|白天|马上|温度|管理|学生|石家庄|武汉|文科|文员|时候|路人|关于|关系|查询|解决|强烈|"
    "车主|房东|房客|单位|单身|包括|位于|司机|经理|向您|向你|任何|任意|左右|项目|游客|边缘|易感|施工|严重|钱包|康复|季度|"
    "盛行|齐全|谢谢|谢您|余额|方案|程度|龙头|毛病|毕业|申请|董事|牛奶|应|夏天|童年|阳性|阳台|景区|于是|石油|路上|路过|成功"
)
_ZH_EXCLUDED = re.compile(rf"(?:{_ZH_NOT})")


def _chinese(text: str) -> Iterator[Hit]:
    if text.isascii():
        return
    for pattern, score in (
        (_ZH_STRONG, 0.8),
        (_ZH_WEAK, 0.55),
        (_ZH_TITLE, 0.6),
        (_ZH_TOWARDS, 0.6),
        (_ZH_GREETED, 0.6),
    ):
        for found in pattern.finditer(text):
            if not _ZH_EXCLUDED.match(text, found.start(1)):
                yield Hit("PERSON", found.start(1), found.end(1), score)
    for found in _ZH_LATIN.finditer(text):
        yield Hit("PERSON", found.start(1), found.end(1), 0.7)


NAME_RULES: dict[str, Rule] = {
    "en": Rule("own/person_en", "3", ("PERSON",), english_cues, tuple(cue.gate for cue in CUES)),
    "zh": Rule("own/person_zh", "3", ("PERSON",), _chinese),
}
"""Rule of each language whose cues are known."""
