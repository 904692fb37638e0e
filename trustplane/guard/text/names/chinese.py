"""ChineseNames: people by surname, dictionary tag and context; places and organisations by tag and suffix."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator

from trustplane.guard.text.hit import Hit
from trustplane.guard.text.names.features import read
from trustplane.guard.text.names.segment import Segment, Segmenter, segmenter
from trustplane.guard.text.names.surnames import COMPOUND, LATIN_DOT, RARE, SINGLE, STOP, TRADITIONAL

__all__ = ["ChineseNames"]

_HAN = "㐀-䶿一-鿿"
_CLAUSE = re.compile(rf"[{_HAN}A-Za-z0-9、:：{LATIN_DOT}()（）“”\"]+")
_FIRST = SINGLE + TRADITIONAL + RARE
_TITLE = (
    "先生|女士|小姐|太太|夫人|医生|大夫|醫生|护士|老师|老師|教授|同学|同志|主任|经理|經理|律师|律師|师傅|博士|院长|校长|局长|处长|"
    "科长|部长|市长|县长|书记|主席|总裁|总监|董事长|总经理|工程师|记者|导演|教练|警官|法官|研究员|院士|将军|女士"
)
_SPEECH = (
    "说|说道|表示|认为|指出|介绍|介绍说|告诉|写道|回忆|解释|强调|透露|承认|宣布|补充|问|答|回答|喊|笑道|签字|签名|负责|担任|出任|"
    "毕业|出生|出生于|获得|参加|加入|辞职|去世|报名|预约|下单|购买|投诉|同意|拒绝|说明|来电|致电|離開|說|認為|今年|現任|现任|曾任|"
    "发来|提交|申请|住在|居住|来自|身份证|手机|电话|邮箱|账号|病历|写|唱|画|打来"
)
_CUE = (
    "叫|名叫|姓名|名字|本人|患者|病人|客户|顾客|联系人|收件人|寄件人|收货人|员工|家属|乘客|业主|被保险人|法定代表人|负责人|作者|编辑|"
    "记者|导演|主演|演员|歌手|作家|诗人|画家|医生|老师|教授|律师|经理|主任|董事长|总经理|总裁|院长|校长|局长|市长|书记|主席|总统|"
    "总理|同事|同学|朋友|儿子|女儿|丈夫|妻子|父亲|母亲|哥哥|弟弟|姐姐|妹妹|爷爷|奶奶|叔叔|阿姨|嘉宾|选手|球员|教练|主持人|联系|"
    "联络|通知|转告|约见|拜访|感谢|祝贺|聯繫人|客戶|参会人员|出席|名单|成员|签名|签字人|经办人|审核人|申请人|被告|原告|证人|嫌疑人"
)
_GATE = re.compile(
    rf"(?:{'|'.join(COMPOUND)}|[{_FIRST}])[{_HAN}]|[{LATIN_DOT}]|[省市区县縣镇鎮村路街]|公司|银行|医院|大学|集团|学院|研究[所院]"
)
_CONTEXT = re.compile(
    rf"{'|'.join(COMPOUND)}|{_TITLE}|{_SPEECH}|{_CUE}|、|和|与|跟|及|[{LATIN_DOT}]|[省市区县縣镇鎮村路街]|公司|行|院|大学|集团|学院|研究所"
)
_IS_TITLE, _IS_SPEECH, _IS_CUE = (frozenset(part.split("|")) for part in (_TITLE, _SPEECH, _CUE))
_LINK = frozenset("、和与與跟及同")
_POSSESSIVE = frozenset("的之")
_COLON = frozenset(":：")
_ADVERB = frozenset("很就不没未也都要会能更最太别着在正还又再常已被把将所去来做地得")
_SOUND = (
    "阿巴贝比彼毕宾波伯博卜布查茨达戴丹当道德登迪蒂丁杜多俄恩尔法菲费佛弗福盖甘冈戈格古瓜哈海汉赫亨胡华霍基吉加贾杰金卡凯坎康"
    "科可克肯库夸昆拉莱赖兰朗劳勒雷里利莉莲林琳琉龙隆卢鲁路伦罗洛吕马玛麦曼芒毛梅门蒙米密明摩莫姆木穆那纳娜南内妮尼涅宁纽农努"
    "诺欧帕派潘佩彭皮珀普齐奇乔切琼热让日荣茹儒瑞萨塞桑瑟森沙莎珊什史士斯司松苏所索塔泰坦汤唐特提图托瓦万王威韦维温文翁沃乌西"
    "约翰逊迈默鲍勃乐姬蕾艾爱奥昂安本沙盖茨强森欧埃丝黛芬妲丽娅菈琪薇琼玻璐扬杨莫妮宝洁"
    "希锡夏谢辛欣休许雅亚扬耶叶伊依易因英尤约泽扎詹珍朱祖佐买合力江热买再努甫孜孙吐依力哈木提帕夏古丽"
)
_DOTTED = re.compile(rf"[{_SOUND}]{{2,8}}(?:[{LATIN_DOT}][{_SOUND}]{{2,8}}){{1,3}}")
_PLACE_END = frozenset("省市区县縣镇鎮村州街路")
_TO_PLACE = frozenset(
    ["在", "去", "到", "来自", "位于", "住", "住在", "从", "飞往", "前往", "抵达", "回", "飞", "离开"]
)
_ORGANISATION = re.compile(r"(?:公司|集团|银行|医院|大学|学院|研究所|研究院|事务所|委员会|基金会|出版社|协会|法院)\Z")
_NOT_A_PERSON = re.compile(rf"(?:{_TITLE}|[省市区县縣镇鎮村路街州]|某)\Z")
_BREAK = frozenset(
    ["v", "p", "c", "r", "u", "uj", "ul", "uz", "ud", "ug", "d", "m", "y", "e", "o", "x", "f", "vn", "t"]
)
_REMEMBERED = 512
"""So many different clauses of a text are remembered while it is read, so that a repeated one is read once."""
_USUAL = 5
_ALSO_USUAL = frozenset(
    "磊轩梓浩宇怡欣萱雨琪鑫煜睿琳婷倩昊诗紫娅璐菲蕾晨國華強偉麗榮東軍傑鳳蘭龍輝雲慶寶貴義勝興業鴻銘娟潔靜飛"
)
"""A character is usual in given names if at least so many of the dictionary's names have it."""


_FRAMED = re.compile(
    rf"(?:^|(?<=[:：、和与据请])|(?<={')|(?<='.join(sorted(_IS_CUE))}))(?:(?:{'|'.join(COMPOUND)})|[{_FIRST}])[{_HAN}]{{1,2}}"
    rf"(?=$|[、和与:：(（]|{_TITLE}|{_SPEECH})"
)
"""A name that fills the place between a beginning or a cue and an end, a title or a verb, however jieba cuts it."""


class ChineseNames:
    """Finds people in Chinese text, and places and organisations that the dictionary or a suffix names.

    A person needs a surname and a given name: a word that jieba's dictionary tags as a person, or
    characters that it knows as no word and that given names use. That alone scores 0.25 to 0.3, below
    the guard's threshold (0.4 for a name of the dictionary with a compound surname); a title, a cue, a
    verb of speech, a list of names or repetition adds to it.
    Minority and foreign names with a dot score 0.6. The dictionary (0.7 s, about 40 MB) is loaded at the
    first text whose characters call for it. Safe in many threads.

    Raises:
        InputError: jieba is missing (at the first such text).
    """

    name = "chinese"
    version = "1"
    entities = ("PERSON", "LOCATION", "ORGANIZATION")
    heavy = False

    def __init__(self) -> None:
        self._excluded = frozenset(read("chinese_words.txt").split())
        self._digest = ""

    @property
    def digest(self) -> str:
        """Digest of jieba's dictionary and of the words that are no names; loads the dictionary."""
        if not self._digest:
            words = "\n".join(sorted(self._excluded)).encode()
            self._digest = "sha256:" + hashlib.sha256(segmenter().digest.encode() + words).hexdigest()
        return self._digest

    def find(self, text: str) -> Iterator[Hit]:
        """Yield the names in folded ``text``; spans may overlap."""
        if text.isascii():
            return
        for found in _DOTTED.finditer(text):
            yield Hit("PERSON", found.start(), found.end(), 0.6)
        places: list[Hit] = []
        people: list[Hit] = []
        seen: dict[str, tuple[list[Hit], list[Hit]]] = {}
        for clause in _CLAUSE.finditer(text):
            piece, start = clause.group(), clause.start()
            if (read_before := seen.get(piece)) is None:
                if len(seen) >= _REMEMBERED:
                    seen.clear()
                read_before = seen[piece] = self._read(piece)
            for group, hits in zip((places, people), read_before, strict=True):
                group += [Hit(entity, start + a, start + b, score) for entity, a, b, score, _ in hits]
        yield from places
        best: dict[tuple[int, int], float] = {}
        for hit in people:
            best[hit.start, hit.end] = max(hit.score, best.get((hit.start, hit.end), 0.0))
        often = Counter(text[start:end] for start, end in best)
        for (start, end), score in best.items():
            again = 0.15 if often[text[start:end]] > 1 else 0.0
            yield Hit("PERSON", start, end, min(round(score + again, 2), 0.9))

    def _read(self, clause: str) -> tuple[list[Hit], list[Hit]]:
        """Return the places and organisations and the people of a clause, offsets from its beginning."""
        if clause.isascii() or _GATE.search(clause) is None or _CONTEXT.search(clause) is None:
            return [], []
        known = segmenter()
        segments = known.cut(clause)
        return list(_places(segments)), [*self._people(segments, known), *self._framed(clause, known)]

    def _people(self, segments: list[Segment], known: Segmenter) -> Iterator[Hit]:
        candidates = list(self._candidates(segments, known))
        starts = {first for first, _, _ in candidates}
        ends = {last for _, last, _ in candidates}
        for first, last, score in candidates:
            before = segments[first - 1].word if first else ""
            earlier = segments[first - 2].word if first > 1 else ""
            after = segments[last].word if last < len(segments) else ""
            later = segments[last + 1].word if last + 1 < len(segments) else ""
            if after in _IS_TITLE:
                score += 0.4
            elif after in _IS_SPEECH or after[:2] in _IS_SPEECH or (after in _POSSESSIVE and later in _IS_SPEECH):
                score += 0.25
            if before in _IS_CUE or (earlier in _IS_CUE and (before in _COLON or before in "是为為")):
                score += 0.35
            elif (before in _LINK and first - 1 in ends) or (after in _LINK and last + 1 in starts):
                score += 0.2
            if before and before[-1] in _ADVERB:
                score -= 0.2
            start = segments[first].start
            stop = segments[last - 1].start + len(segments[last - 1].word)
            yield Hit("PERSON", start, stop, max(round(score, 2), 0.05))

    def _framed(self, clause: str, known: Segmenter) -> Iterator[Hit]:
        for found in _FRAMED.finditer(clause):
            written = found.group()
            given = written[2:] if written[:2] in COMPOUND else written[1:]
            if (
                known.tags.get(written, "nr")[:2] == "nr"
                and all(_usual(c, known) for c in given)
                and not ({written, written[:2]} & self._excluded or _NOT_A_PERSON.search(written))
                and not _is_word(written[:2], known)
            ):
                yield Hit("PERSON", found.start(), found.end(), 0.45)

    def _candidates(self, segments: list[Segment], known: Segmenter) -> Iterator[tuple[int, int, float]]:
        """Yield first and last (exclusive) segment of what may be a name, and what it scores alone."""
        index = 0
        while index < len(segments):
            word, _, tag = segments[index]
            size = self._size(segments, index, known) if word[0] in _FIRST or word[:2] in COMPOUND else 0
            if size:
                written = "".join(s.word for s in segments[index : index + size])
                if not ({written, written[:2]} & self._excluded or _NOT_A_PERSON.search(written)):
                    score = 0.3 if tag[:2] == "nr" or len(written) > 2 else 0.25
                    known_whole = tag[:2] == "nr" and len(word) > 2 and word[:2] in COMPOUND
                    yield index, index + size, 0.4 if known_whole else score
                    index += size
                    continue
            index += 1

    @staticmethod
    def _size(segments: list[Segment], index: int, known: Segmenter) -> int:
        """Return how many segments from ``index`` on make a surname with a given name, 0 if none do."""
        word, _, tag = segments[index]
        surname = 2 if word[:2] in COMPOUND else 1
        following = segments[index + 1 : index + 3]
        usual = [len(s.word) == 1 and _usual(s.word, known) for s in following]
        if tag[:2] == "nr" and len(word) > surname and len(word) <= surname + 2:
            if surname == 2 and len(word) == 3 and usual[:1] == [True]:
                return 2
            return 1
        if len(word) != surname:
            return 0
        if following and len(following[0].word) == 2 and all(_usual(c, known) for c in following[0].word):
            return (
                2
                if following[0].tag not in ("v", "p", "c", "r", "d", "m") and following[0].word not in _IS_TITLE
                else 0
            )
        if usual[:1] == [True]:
            return 3 if usual[1:] == [True] and segments[index + 2].tag not in ("p", "c", "uj", "ul", "d") else 2
        return 0


def _is_word(written: str, known: Segmenter) -> bool:
    """Return whether it is a word of more than rare use that names no person or place."""
    return (
        written not in COMPOUND
        and known.tags.get(written, "nr")[:2] not in ("nr", "ns")
        and known.often(written) > 3000
    )


def _usual(character: str, known: Segmenter) -> bool:
    return character not in STOP and (known.given[character] >= _USUAL or character in _ALSO_USUAL)


def _places(segments: list[Segment]) -> Iterator[Hit]:
    index = 0
    while index < len(segments):
        last = index
        while last < len(segments) and segments[last].tag == "ns":
            last += 1
        if last > index:
            start, stop = segments[index].start, segments[last - 1].start + len(segments[last - 1].word)
            end = segments[last - 1].word[-1] in _PLACE_END and stop - start > 2
            if last < len(segments) and segments[last].word in _PLACE_END:
                stop, end = stop + 1, True
            before = segments[index - 1].word if index else ""
            yield Hit("LOCATION", start, stop, 0.45 if end or before in _TO_PLACE else 0.3)
            index = last
        else:
            index += 1
    for number, segment in enumerate(segments):
        if _ORGANISATION.search(segment.word) is None:
            continue
        first = number
        while (
            first
            and number - first < 6
            and segments[first - 1].tag not in _BREAK
            and segments[first - 1].word[0] >= "一"
        ):
            first -= 1
        if first < number or len(segment.word) > 4 or segment.tag == "nt":
            yield Hit("ORGANIZATION", segments[first].start, segment.start + len(segment.word), 0.45)
