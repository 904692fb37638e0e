"""Recall under evasion: every structured value under each trick alone and in pairs, decoys, Presidio beside us."""

from __future__ import annotations

import argparse
import base64
import hashlib
import itertools
import random
import string
import urllib.parse
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

from harness import finish, row

from trustplane.guard.text.hit import Hit

THRESHOLD, COVERED = 0.4, 0.9
"""Lowest score that counts, on both sides; the share of a value's characters that hits must cover."""
NO_VALUE = frozenset({"DATE_TIME", "LOCATION", "NRP", "ORGANIZATION", "PERSON", "URL"})  # may stand around a value


class Case(NamedTuple):
    """A text, the place of the value in it, and how it was made."""

    text: str
    start: int
    end: int
    kind: str
    tricks: tuple[str, ...]


def luhn_digit(digits: str) -> str:
    total = sum(sum(divmod(int(d) * (2 - i % 2), 10)) for i, d in enumerate(reversed(digits)))
    return str(-total % 10)


def digits(rng: random.Random, n: int) -> str:
    return "".join(rng.choice(string.digits) for _ in range(n))


def card(rng: random.Random) -> str:
    prefix, length = rng.choice((("4", 16), ("52", 16), ("2223", 16), ("37", 15), ("62", 16), ("6011", 16)))
    body = prefix + digits(rng, length - len(prefix) - 1)
    number = body + luhn_digit(body)
    gap = rng.choice(("", " ", "-"))
    groups = (4, 6, 5) if length == 15 else (4, 4, 4, 4)
    ends = list(itertools.accumulate(groups))
    return gap.join(number[a:b] for a, b in zip([0, *ends], ends, strict=False))


def iban(rng: random.Random) -> str:
    country, bank, n = rng.choice((("DE", "", 18), ("GB", "NWBK", 14), ("NL", "INGB", 10), ("ES", "", 20)))
    body = bank + digits(rng, n)
    number = int("".join(str(int(c, 36)) for c in body + country + "00"))
    whole = f"{country}{98 - number % 97:02d}{body}"
    return " ".join(whole[i : i + 4] for i in range(0, len(whole), 4)) if rng.random() < 0.3 else whole


def email(rng: random.Random) -> str:
    name = rng.choice(("alice", "bob.smith", "zhang.wei", "carla_j", "d.o.connor", "eve99"))
    return f"{name}{rng.randrange(100)}@{rng.choice(('example.com', 'mail.example.org', 'qq.com', 'corp.example.net'))}"


def phone(rng: random.Random) -> str:
    line = f"{rng.randrange(2, 10)}{digits(rng, 6)}"
    area = rng.choice(("212", "415", "617", "303", "206"))
    return rng.choice(
        (
            f"+1 {area} {line[:3]} {line[3:]}",
            f"+1-{area}-{line[:3]}-{line[3:]}",
            f"+44 20 7{digits(rng, 3)} {digits(rng, 4)}",
        )
    )


def cn_mobile(rng: random.Random) -> str:
    return rng.choice(("138", "139", "150", "186", "199")) + digits(rng, 8)


def ssn(rng: random.Random) -> str:
    return f"{rng.randrange(100, 660):03d}-{rng.randrange(10, 99)}-{rng.randrange(1000, 9999)}"


def ip(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return "2001:db8:" + ":".join(f"{rng.randrange(0x1000, 0xFFFF):x}" for _ in range(6))
    return f"{rng.randrange(11, 223)}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


def mac(rng: random.Random) -> str:
    return rng.choice(":-").join(f"{rng.randrange(256):02X}" for _ in range(6))


def resident_id(rng: random.Random) -> str:
    body = (
        rng.choice(("110105", "310104", "440305", "510107")) + f"{rng.randrange(1950, 2005)}{rng.randrange(1, 13):02d}"
    )
    body += f"{rng.randrange(1, 29):02d}{digits(rng, 3)}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return body + "10X98765432"[sum(int(d) * w for d, w in zip(body, weights, strict=True)) % 11]


def api_key(rng: random.Random) -> str:
    letters = string.ascii_letters + string.digits
    many = "".join(rng.choice(letters) for _ in range(36))
    upper = "".join(rng.choice(string.ascii_uppercase + "234567") for _ in range(16))
    return rng.choice(("sk-" + many, "ghp_" + many, "AKIA" + upper, "hf_" + many[:34]))


def credentials(rng: random.Random) -> str:
    word = "".join(rng.choice(string.ascii_lowercase + string.digits) for _ in range(12))
    return rng.choice((f"postgres://admin:{word}@db.example.com:5432/app", f"https://bob:{word}@git.example.org/r.git"))


def bitcoin(rng: random.Random) -> str:
    payload = b"\0" + rng.randbytes(20)
    payload += hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number, written = int.from_bytes(payload, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        written = alphabet[rest] + written
    return "1" * (len(payload) - len(payload.lstrip(b"\0"))) + written


VALUES: dict[str, tuple[Callable[[random.Random], str], str, str]] = {
    "card": (card, "Please charge my card {} today.", "我的银行卡号是{}，请查收。"),
    "iban": (iban, "Send the money to IBAN {} today.", "请转到账号 {} ，谢谢。"),
    "email": (email, "Write to {} for details.", "请发邮件到{}，谢谢。"),
    "phone": (phone, "Call me at {} tomorrow.", "我的电话是{}，明天联系。"),
    "cn_mobile": (cn_mobile, "My phone number is {} in China.", "手机号{}，请回电。"),
    "ssn": (ssn, "My SSN is {} as you asked.", "社保号 SSN {} ，请核对。"),
    "ip": (ip, "The server {} is down.", "主机{}不在线。"),
    "mac": (mac, "The device {} is on the network.", "设备{}已经入网。"),
    "resident_id": (resident_id, "The Chinese ID is {} in full.", "身份证号{}，请登记。"),
    "api_key": (api_key, "Use the key {} for the calls.", "密钥是{}，不要外传。"),
    "credentials": (credentials, "Connect to {} from the job.", "连接串是 {} ，请配置。"),
    "bitcoin": (bitcoin, "Pay to the bitcoin wallet {} please.", "比特币钱包地址 {} ，请转账。"),
}  # fmt: skip
"""Kind: generator, English and Chinese carrier."""

INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\ufe0f\U000e0100"
DIRECTION = "\u200e\u200f\u202a\u202b\u202c\u202d\u2066\u2067\u2068\u2069\u061c"
ALIKE = {
    "a": "аɑᴀ", "b": "Ьʙ", "c": "сϲᴄ", "d": "ԁᴅ", "e": "еᴇ", "g": "ɡɢ", "h": "һʜ", "i": "іɪ", "j": "јϳ", "k": "кᴋ",
    "m": "мᴍ", "n": "ոɴ", "o": "оοօ", "p": "рρᴘ", "q": "ԛ", "r": "гʀ", "s": "ѕꜱ", "t": "тᴛ", "u": "սᴜ", "v": "ѵᴠ",
    "w": "ѡᴡ", "x": "хχ", "y": "уүʏ", "z": "ᴢ", "A": "АΑ", "B": "ВΒ", "C": "СⲤ", "E": "ЕΕ", "H": "НΗ", "I": "ІΙ",
    "J": "Ј", "K": "КΚ", "M": "МΜ", "N": "ΝⲚ", "O": "ОΟ", "P": "РΡ", "S": "ЅՏ", "T": "ТΤ", "V": "Ѵ", "W": "Ԝ",
    "X": "ХΧ", "Y": "ΥҮ", "Z": "Ζ", "@": "＠﹫", ".": "․．", "-": "‐‑−", ":": "：", " ": "\u00a0\u2009\u3000",
}  # fmt: skip
SCRIPTS = [0x0660, 0x06F0, 0x0966, 0x09E6, 0xFF10, 0x1D7CE, 0x1D7E2]
"""Zeros of other scripts' decimal digits."""


def between(marks: str) -> Callable[[random.Random, str], str]:
    return lambda rng, value: "".join(c + rng.choice(marks) for c in value[:-1]) + value[-1:]


def homoglyph(rng: random.Random, value: str) -> str:
    zero = rng.choice(SCRIPTS)
    share = rng.choice((0.3, 1.0))
    return "".join(
        c if rng.random() > share
        else rng.choice(ALIKE[c]) if c in ALIKE
        else chr(zero + int(c)) if c in string.digits else c
        for c in value
    )  # fmt: skip


def full_width(rng: random.Random, value: str) -> str:
    return "".join("\u3000" if c == " " else chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in value)


def mathematical(rng: random.Random, value: str) -> str:
    upper, lower, zero = rng.choice(
        ((0x1D400, 0x1D41A, 0x1D7CE), (0x1D5A0, 0x1D5BA, 0x1D7E2), (0x1D670, 0x1D68A, 0x1D7F6))
    )
    bases = [(string.ascii_uppercase, upper), (string.ascii_lowercase, lower), (string.digits, zero)]
    table = {ord(c): chr(base + i) for letters, base in bases for i, c in enumerate(letters)}
    return value.translate(table)


def marks(rng: random.Random, value: str) -> str:
    return "".join(c + "".join(chr(rng.randrange(0x300, 0x370)) for _ in range(rng.randrange(1, 6))) for c in value)


def percent(rng: random.Random, value: str) -> str:
    if rng.random() < 0.3:
        return urllib.parse.quote(value, safe="")
    return "".join(f"%{b:02X}" if rng.random() < 0.5 else f"%{b:02x}" for b in value.encode())


def entity(rng: random.Random, value: str) -> str:
    named = {"@": "&commat;", ".": "&period;", ":": "&colon;", "/": "&sol;", "_": "&lowbar;"}
    forms: list[Callable[[str], str]] = [
        lambda c: f"&#{ord(c)};", lambda c: f"&#x{ord(c):x};", lambda c: f"&#{ord(c):05d};",
        lambda c: named.get(c, f"&#{ord(c)};"),
    ]  # fmt: skip
    form = rng.choice(forms)
    return "".join(map(form, value))


def in_base64(rng: random.Random, value: str) -> str:
    raw = value.encode()
    encoded = (base64.urlsafe_b64encode if rng.random() < 0.3 else base64.b64encode)(raw).decode()
    if rng.random() < 0.3:
        encoded = encoded.rstrip("=")
    if rng.random() < 0.2 and len(encoded) > 40:
        encoded = "\n".join(encoded[i : i + 32] for i in range(0, len(encoded), 32))
    return encoded


def in_hex(rng: random.Random, value: str) -> str:
    raw = value.encode()
    return rng.choice((
        raw.hex(), raw.hex().upper(), raw.hex(" "), "0x" + raw.hex(), "".join(f"\\x{b:02x}" for b in raw),
        ", ".join(f"0x{b:02x}" for b in raw),
    ))  # fmt: skip


def in_json(rng: random.Random, value: str) -> str:
    share = rng.choice((0.3, 1.0))
    pieces = []
    for c in value:
        if c < "\x80" and rng.random() > share:
            pieces.append("\\" + c if c in '/"\\' else c)
            continue
        wide = c.encode("utf-16-be")
        pieces.append("".join(f"\\u{wide[i]:02x}{wide[i + 1]:02x}" for i in range(0, len(wide), 2)))
    return "".join(pieces)


TRICKS: dict[str, Callable[[random.Random, str], str]] = {
    "zero_width": between(INVISIBLE), "bidi": between(DIRECTION), "homoglyph": homoglyph, "full_width": full_width,
    "mathematical": mathematical, "marks": marks, "percent": percent, "html": entity, "base64": in_base64,
    "hex": in_hex, "json": in_json,
}  # fmt: skip
NESTABLE = ("percent", "html", "base64", "hex", "json")
"""Encodings; a pair of these is a value encoded twice."""


def combinations() -> list[tuple[str, ...]]:
    """Each trick alone, then each ordered pair, a trick with itself included where it encodes."""
    alone = [(name,) for name in TRICKS]
    pairs = [(a, b) for a in TRICKS for b in TRICKS if a != b or a in NESTABLE]
    return [*alone, *pairs]


def case(rng: random.Random, kind: str, chinese: bool, tricks: tuple[str, ...]) -> Case:
    make, english, zh = VALUES[kind]
    value = make(rng)
    for trick in tricks:
        value = TRICKS[trick](rng, value)
    before, after = (zh if chinese else english).split("{}")
    return Case(before + value + after, len(before), len(before) + len(value), kind, tricks)


def cases(seed: int, tricks: list[tuple[str, ...]], rounds: int) -> Iterator[Case]:
    """Yield ``rounds`` values of each kind under each of ``tricks``, every second one in a Chinese sentence."""
    rng = random.Random(seed)
    for number, applied, kind in itertools.product(range(rounds), tricks, VALUES):
        yield case(
            rng, kind, bool((number + len(applied) + zlib.crc32((kind + "".join(applied)).encode())) % 2), applied
        )


def decoys(seed: int, rounds: int) -> Iterator[str]:
    """Yield texts like the cases that hold nothing: wrong check digits, encoded innocence, other scripts."""
    rng = random.Random(seed)
    sentence = "The committee met in spring to talk about the garden and the new bridge."
    zh = "今天天气很好，我们去公园散步，然后一起吃饭。"
    tricks = list(TRICKS)
    for _ in range(rounds):
        number = card(rng).replace(" ", "").replace("-", "")
        wrong = number[:-1] + str((int(number[-1]) + rng.randrange(1, 10)) % 10)
        resident = resident_id(rng)
        bad_id = resident[:-1] + str((int("10X98765432".index(resident[-1])) + 3) % 10)
        bad = TRICKS[rng.choice(tricks)](rng, wrong)
        yield f"The part is {bad} in the list."
        bad = TRICKS[rng.choice(tricks)](rng, f"v{rng.randrange(9)}.{rng.randrange(99)} of item #{bad_id[:5]}")
        yield f"看看这个：{bad}。"
        words = TRICKS[rng.choice(tricks)](rng, rng.choice((sentence, zh)))
        yield f"Note: {words}"
        nested = TRICKS[rng.choice(NESTABLE)](rng, TRICKS[rng.choice(NESTABLE)](rng, rng.choice((sentence, zh))))
        yield f"Note: {nested}"
        image = base64.b64encode(b"\x89PNG\r\n\x1a\n" + rng.randbytes(rng.randrange(60, 900))).decode()
        yield f'<img alt="a &amp; b" src="data:image/png;base64,{image}"> &copy; &nbsp; end'
        yield f"digest sha256 of the file: {rng.randbytes(32).hex()}, and of the other: {rng.randbytes(20).hex()}"
        yield f"md5 {rng.randbytes(16).hex()} etag W/{base64.b64encode(rng.randbytes(15)).decode()}"
        query = urllib.parse.quote(rng.choice((sentence, zh)))
        yield f"See the page /search?q={query}&page={rng.randrange(99)}&sort=up%2Cdown"
        yield f"<p>{zh}</p><a title=&quot;next&quot; href='/p/{rng.randrange(999)}'>a &lt; b &#38; c &hellip;</a>"
        yield "Привет, мир! Это обычный текст о погоде, COVID-19 и городе. Καλημέρα, όλα καλά στην Αθήνα."
        yield "C:\\new\\table\\readme.txt and a \\n line, a \\t tab, \\u4eca\\u5929\\u5929\\u6c14\\u5f88\\u597d"
        yield f"rows: {' '.join(f'{rng.randrange(256):02x}' for _ in range(16))} and {'/'.join(wrong)}"
        yield f"一共{rng.choice('三四五六')}百{rng.choice('一二三')}十人，二〇二四年第{rng.choice('一二三')}季度，{zh}"
        yield "meet at the dot com office, point (at) the map, and dot the i"
        yield "\n".join(str(rng.randrange(1000, 9999)) for _ in range(rng.randrange(3, 9)))


def found(hits: list, sample: Case) -> bool:
    """Whether hits cover the value; a hit is anything with entity, start and end."""
    place = set(range(sample.start, sample.end))
    for hit in hits:
        if hit.entity not in NO_VALUE or (hit.entity == "URL" and sample.kind == "credentials"):
            place.difference_update(range(hit.start, hit.end))
    return len(place) <= (1 - COVERED) * (sample.end - sample.start)


def flagged(hits: list) -> bool:
    return any(hit.entity not in NO_VALUE for hit in hits)


def presidio() -> Callable[[str], list]:
    """Presidio's own engine with its pattern recognisers, no model, no network."""
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    registry = RecognizerRegistry(supported_languages=["en"])
    engine = SpacyNlpEngine([{"lang_code": "en", "model_name": "blank"}])
    engine.nlp = {"en": spacy.blank("en")}  # splits words, knows nothing
    registry.load_predefined_recognizers(languages=["en"], nlp_engine=engine)
    registry.recognizers = [r for r in registry.recognizers if r.name != "SpacyRecognizer"]
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])

    def detect(text: str) -> list[Hit]:
        results = analyzer.analyze(text, language="en", score_threshold=THRESHOLD)
        return [Hit(r.entity_type, r.start, r.end, r.score) for r in results]

    return detect


def recall(detect: Callable[[str], list], samples: list[Case]) -> tuple[float, dict[str, float], Counter]:
    """Return the recall over all, over each kind's and trick's samples, and the misses by kind and tricks."""
    parts: dict[str, list[bool]] = defaultdict(list)
    missed: Counter = Counter()
    for sample in samples:
        ok = found(detect(sample.text), sample)
        for name in {"all", sample.kind, *sample.tricks}:
            parts[name].append(ok)
        if not ok:
            missed["/".join((sample.kind, *sample.tricks))] += 1
    shares = {name: sum(values) / len(values) for name, values in parts.items()}
    return shares.pop("all"), shares, missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    from trustplane.guard.text import TextGuard

    guard = TextGuard(threshold=THRESHOLD)
    peer = presidio()
    alone = [c for c in combinations() if len(c) == 1]
    pairs = [c for c in combinations() if len(c) == 2]
    plain = list(cases(1, [()], 10 if quick else 100))
    single = list(cases(2, alone, 2 if quick else 20))
    double = list(cases(3, pairs, 1 if quick else 8))
    innocent = list(decoys(4, 60 if quick else 300))
    chosen = random.Random(5)
    sets = {"plain": plain, "alone": single, "pairs": double}
    ours = {name: recall(guard.detect, part) for name, part in sets.items()}
    theirs = {name: recall(peer, chosen.sample(part, 60 if quick else 400)) for name, part in sets.items()}
    flags = [
        sum(flagged(detect(t)) for t in texts) / len(texts)
        for detect, texts in ((guard.detect, innocent), (peer, innocent[::10]))
    ]
    name = "Presidio, patterns"
    base, other = ours["plain"][0], theirs["plain"][0]
    rows = [
        row("recall, plain", 100 * base, unit="%", better="higher", peer=100 * other, peer_name=name),
        row("recall, each trick alone", 100 * ours["alone"][0], unit="%", better="higher",
            peer=100 * theirs["alone"][0], peer_name=name),
        row("recall, tricks in pairs", 100 * ours["pairs"][0], unit="%", better="higher",
            peer=100 * theirs["pairs"][0], peer_name=name),
        row("points lost to a trick alone", 100 * (base - ours["alone"][0]), unit="points", better="lower", must=2),
        row("points lost to pairs", 100 * (base - ours["pairs"][0]), unit="points", better="lower", must=2),
        row("points that the peer loses to a trick", 100 * (other - theirs["alone"][0]), unit="points", better="lower"),
        row("decoys flagged", 100 * flags[0], unit="%", better="lower", must=1),
        row("decoys that the peer flags", 100 * flags[1], unit="%", better="lower"),
    ]  # fmt: skip
    rows += [row(f"recall under {t}, alone", 100 * ours["alone"][1][t], unit="%", better="higher") for t in TRICKS]
    samples: dict = {"cases": [len(plain), len(single), len(double), len(innocent)]}
    for side, parts in (("ours", ours), ("peer", theirs)):
        samples[side] = {part: [by, dict(miss.most_common(200))] for part, (_, by, miss) in parts.items()}
    finish("text_evasion", rows, samples, quick=quick)


if __name__ == "__main__":
    main()
