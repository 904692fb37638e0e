"""Names of people by cue, English and Chinese, and names that the user listed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from trustplane.guard.text.hit import Hit, Rule
from trustplane.guard.text.views import fold

__all__ = ["NAME_RULES", "listed", "name_pattern"]

_WORD = r"[A-ZÀ-ÖØ-Þ](?:[a-zß-öø-ÿ'’-]|(?<=[a-zß-öø-ÿ'’-])[A-ZÀ-ÖØ-Þ]|(?<=Mc)[A-Z]){0,30}"
_ANY = r"[A-Za-zÀ-ÖØ-öø-ÿ][a-zß-öø-ÿ'’-]{0,30}"
_GAP = r"[ \t]{1,3}"
_EN_TITLE = re.compile(
    rf"(?<![A-Za-z])(?:Mr|Mrs|Ms|Mx|Dr|Prof|Professor|Doctor|Miss)\.?{_GAP}((?:{_WORD}{_GAP}){{0,2}}{_WORD})"
)
_EN_CUE = re.compile(
    rf"(?<![A-Za-z])(?:[Dd]ear|[Pp]atient|PATIENT|[Cc]lient|[Cc]ustomer|[Ss]incerely,|[Rr]egards,){_GAP}"
    rf"(?:name:?{_GAP})?((?:{_WORD}{_GAP}){{0,2}}{_WORD})"
)
_EN_I_AM = re.compile(rf"(?<![A-Za-z])(?:I am|I['’]m|[Tt]his is|[Nn]ame:){_GAP}({_WORD}(?:{_GAP}{_WORD}){{1,2}})")
_EN_MY_NAME = re.compile(
    rf"(?<![A-Za-z])[Mm][Yy]{_GAP}(?:full{_GAP})?[Nn][Aa][Mm][Ee]{_GAP}(?:is|IS)[: ]?{_GAP}?"
    rf"({_ANY}(?:{_GAP}{_ANY}){{0,2}})"
)
# fmt: off
_NOT_A_NAME = frozenset(
    [
        "sir", "sirs", "madam", "mr", "mrs", "ms", "dr", "prof", "team", "all", "customer", "customers",
        "client", "colleague", "colleagues", "friend", "friends", "user", "users", "hiring", "manager",
        "editor", "committee", "support", "everyone", "everybody", "the", "a", "an", "my", "our", "your",
        "his", "her", "their", "its", "this", "that", "these", "those", "on", "in", "at", "not", "and", "or",
        "but", "so", "very", "to", "from", "of", "for", "with", "is", "are", "was", "be", "been", "being",
        "has", "have", "had", "do", "does", "did", "will", "would", "can", "could", "may", "might", "must",
        "should", "i", "you", "he", "she", "it", "we", "they", "who", "what", "when", "where", "why", "how",
        "here", "there", "hidden", "secret", "unknown", "called", "spelled", "sorry", "sure", "happy", "glad",
        "afraid", "american", "british", "chinese", "german", "french", "indian", "service", "records",
        "record", "data", "id", "number", "name", "history", "portal", "relations", "success", "experience",
        "god", "diary", "sirmadam", "one", "also", "just", "still", "now", "then", "please", "if", "because",
        "as", "than", "by", "too",
    ]
)
# fmt: on

# The commonest Chinese surnames (the census report of 2020 names the first hundred), and compound ones.
_SINGLE = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩邓冯曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔"
    "谭陆范汪廖石金韦贾夏付方邹熊白孟秦邱侯江尹薛闫段雷龙黎史陶贺毛郝顾龚邵万覃武钱戴严莫孔向常汤康易乔赖文庞樊兰殷施洪"
    "翟安颜倪牛温季俞章鲁葛伍申尤毕聂焦柳邢岳齐梅庄辛管祝左涂谷时舒耿卜路詹关苗凌费纪靳盛童欧甄项曲成游阳裴席卫查屈鲍"
    "位覃霍翁隋植甘景薄单包司柏宁柯阮桂闵解强柴华车冉房边"
)
# fmt: off
_COMPOUND = [
    "欧阳", "司马", "上官", "诸葛", "夏侯", "皇甫", "尉迟", "公孙", "慕容", "令狐", "司徒",
    "东方", "南宫", "西门", "长孙", "宇文", "端木", "百里", "轩辕", "独孤", "闻人", "申屠",
    "太史", "淳于", "单于", "钟离", "呼延", "万俟", "澹台", "赫连", "濮阳", "公羊", "仲孙",
    "司空", "歐陽", "司馬", "諸葛",
]  # fmt: skip
# fmt: on
_TRADITIONAL = (
    "張劉陳楊黃趙吳孫馬羅鄭謝許韓鄧馮葉蘇呂盧鍾譚陸範賈鄒閻龍賀"
    "顧龔萬錢嚴湯賴龐蘭顏溫魯畢聶齊莊關淩費紀歐項陽衛單寧華車邊"
)
_SURNAME = f"(?:{'|'.join(_COMPOUND)}|[{_SINGLE}{_TRADITIONAL}])"
_STOP = (
    "今是的和与跟有住来从要想了我他她你您也就都不电手身男女年因请说到去为被把对及等先已将会能患现需入出这那在吗呢吧啊"
    "們们岁歲月日号號并且或但而很最更可以曾给让使用及其之或于某些什么怎"
)
_GIVEN = rf"[㐀-䶿一-鿿](?:(?![{_STOP}])[㐀-䶿一-鿿])?"
_BEFORE_STRONG = "我叫|我名叫|我的名字是|我的名字叫|名叫|姓名|名字是|名字叫|本人|叫做"
_BEFORE_WEAK = "我是|患者|病人|客户|顾客|联系人|收件人|寄件人|员工|家属|乘客|业主|被保险人|法定代表人|聯繫人|客戶"
_ZH_STRONG = re.compile(rf"(?:{_BEFORE_STRONG})[ 　]?(?:是|为|為)?[ 　]?[:：]?[ 　]?({_SURNAME}(?![{_STOP}]){_GIVEN})")
_ZH_WEAK = re.compile(rf"(?:{_BEFORE_WEAK})[ 　]?(?:是|为)?[:：]?[ 　]?({_SURNAME}(?![{_STOP}]){_GIVEN})")
_AFTER = "先生|女士|小姐|医生|大夫|醫生|护士|老师|老師|教授|同学|主任|经理|经理|律师|师傅|博士|院长"
_ZH_TITLE = re.compile(rf"({_SURNAME}(?:(?![{_STOP}])[㐀-䶿一-鿿]){{0,2}}?)(?={_AFTER})")
_ZH_LATIN = re.compile(rf"(?:{_BEFORE_STRONG}|我是)[ 　]?[:：]?[ 　]?({_WORD}(?:{_GAP}{_WORD}){{0,2}})")
_ZH_NOT = (
    "高中|高血压|高热|高烧|高级|高管|程序|方便|方面|黄疸|黄金|白血病|白细胞|白领|金牌|金融|安全|安装|平台|成年|成都|成员|成为|"
    "常常|华为|华人|江苏|许多|万一|何时|白天|马上|温度|管理|学生|石家庄|武汉|文科|文员|时候|路人|关于|关系|查询|解决|强烈|"
    "车主|房东|房客|单位|单身|包括|位于|司机|经理|向您|向你|任何|任意|左右|项目|游客|边缘|易感|施工|严重|钱包|康复|季度|"
    "盛行|齐全|谢谢|谢您|余额|方案|程度|龙头|毛病|毕业|申请|董事|牛奶|应|夏天|童年|阳性|阳台|景区|于是|石油|路上|路过|成功"
)
_ZH_EXCLUDED = re.compile(rf"(?:{_ZH_NOT})")


def _english(text: str) -> Iterator[Hit]:
    for pattern, score in ((_EN_TITLE, 0.8), (_EN_CUE, 0.6), (_EN_I_AM, 0.6), (_EN_MY_NAME, 0.85)):
        for found in pattern.finditer(text):
            start, end = found.span(1)
            for word in re.finditer(r"[^ \t]+", found.group(1)):
                if word.group().rstrip("'’-").lower() in _NOT_A_NAME:
                    end = start + word.start()
                    break
            name = text[start:end].rstrip(" \t'’-")
            if pattern is _EN_I_AM and " " not in name and "\t" not in name:
                continue
            if len(name) > 1:
                yield Hit("PERSON", start, start + len(name), score)


def _chinese(text: str) -> Iterator[Hit]:
    if text.isascii():
        return
    for pattern, score in ((_ZH_STRONG, 0.8), (_ZH_WEAK, 0.55), (_ZH_TITLE, 0.6)):
        for found in pattern.finditer(text):
            if not _ZH_EXCLUDED.match(text, found.start(1)):
                yield Hit("PERSON", found.start(1), found.end(1), score)
    for found in _ZH_LATIN.finditer(text):
        yield Hit("PERSON", found.start(1), found.end(1), 0.7)


NAME_RULES: dict[str, Rule] = {
    "en": Rule("own/person_en", "1", ("PERSON",), _english),
    "zh": Rule("own/person_zh", "1", ("PERSON",), _chinese),
}
"""Rule of each language whose cues are known."""


def name_pattern(names: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern that finds any of ``names`` in folded text, longest first, whatever the case.

    A Latin name does not match inside a longer word; a Chinese name matches anywhere.
    """
    folded = {fold(name).text.strip() for name in names}
    found = sorted((name for name in folded if name), key=lambda name: (-len(name), name))
    if not found:
        return None
    edge = [
        (r"(?<![A-Za-z0-9])" if name[0].isascii() and name[0].isalnum() else "")
        + re.sub(r"(?:\\?\s)+", r"\\s{1,3}", re.escape(name))
        + (r"(?![A-Za-z0-9])" if name[-1].isascii() and name[-1].isalnum() else "")
        for name in found
    ]
    return re.compile("|".join(edge), re.IGNORECASE)


def listed(pattern: re.Pattern[str] | None, rule: str, text: str, score: float = 1.0) -> Iterator[Hit]:
    """Yield where the names of ``pattern`` stand in folded ``text``."""
    if pattern is not None:
        for found in pattern.finditer(text):
            yield Hit(rule, found.start(), found.end(), score)
