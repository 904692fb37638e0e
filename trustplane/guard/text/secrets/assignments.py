"""Passwords and secrets without a form of their own, found by the key that they are assigned to."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from trustplane.guard.text.hit import Hit, Rule
from trustplane.guard.text.secrets.placeholders import entropy, is_mixed, is_placeholder

__all__ = ["RULES"]

_WORDY = r"pass[-_]?words?|passwd|passphrase|pwd|passcode|userpass|db[-_]?pass|_pass|密码|口令|通行码|登录码"
"""Keys whose values people make up; the other keys promise a random value."""
_RANDOM = (
    r"secrets?|tokens?|api[-_ ]?keys?|apikeys?|credentials?|auth|bearer|jwt|密钥|秘钥|令牌|私钥"
    r"|(?:access|private|secret|auth|signing|encryption|master|account|storage|service|session|shared)[-_ ]?keys?"
    r"|(?:hmac|app|licen[cs]e|admin|deploy)[-_ ]?key"
)
_KEY = re.compile(rf"(?i:({_WORDY})|{_RANDOM})(?![a-z])([A-Za-z0-9_.-]{{0,24}}+)")
_SEPARATOR = re.compile(
    r"(?:\\?[\"'`\])]){0,2}+[ \t]{0,4}+(?::[ \t]*(?:str|String|string)[ \t]*)?"
    r"(?:(?P<sign>=>|:=|==?|[:：]|>|,(?=[ \t]?[\"']))[ \t]{0,4}+"
    r"|(?P<word>is[ \t]|was[ \t]|为|是|(?:changed |set |reset )?to[ \t])[:：]?[ \t]{0,2}"
    r"|(?P<option>(?<=[ \t])))"
    r"(?i:(?:Bearer|Basic|Token)[ ])?"
)
_KEYED = (
    rf"(?i:{_WORDY}|{_RANDOM})[A-Za-z0-9_.-]{{0,24}}"
    r"(?:\\?[\"'`\])]){0,2}[ \t]{0,4}(?::[ \t]*(?:str|String|string)[ \t]*)?"
)
"""A key and what may stand between it and the sign of an assignment."""
_QUOTED = re.compile(r"([\"'`])((?:(?!\1)[^\n\\\x00]|\\.){1,256}+)\1")
_ESCAPED = re.compile(r"(\\[\"'])([^\"'\\\n\x00]{1,256}+)\1")
_BARE = re.compile(r"[^\s\"'`<>\x00，。；、）】]{4,256}+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_FOREIGN = re.compile(r"[\u2000-\u2bff\u2e80-\ud7ff\ue000-\U0010ffff]")
"""What ends a bare password: CJK, signs and emoji; letters of the other scripts may be a part of it."""
_NO_SECRET = re.compile(
    r"(?i)(?:type|url|uri|name|count|counts|length|len|limit|expir\w*|expiry|endpoint|file|path|hash|hint|policy|field|label|min|max|ttl|at|version"
    r"|id|ids|size|used|usage|budget|window|regex|pattern|format|algorithm|alg|provider|ref|reset|manager|store|class|input|prompt|strength|rules?|arn|date|age)\Z"
)
_WORDS = re.compile(r"[A-Za-z]+(?:[-_ .][A-Za-z]+)*[.,;:!?)]*\Z")
_CODE = re.compile(r"[A-Za-z_)](?:\(|\[|->|::)|&&|\|\||=>|[=!]=|\\[dwsb]|\bnew\b|\{|^\(")
_PATH = re.compile(r"(?:[a-z]+://|\.{0,2}/)[^:@]*\Z|[A-Za-z]:\\")
_HEADER = re.compile(r"(?i)(?<![A-Za-z])(Basic|Bearer)[ ]{1,2}([A-Za-z0-9+/=._~-]{8,2000}+)")
_SQL = re.compile(
    r"(?i)(?<![A-Za-z0-9_])(?:identified\s{1,4}(?:with\s{1,4}\S{1,40}\s{1,4})?by|with\s{1,4}password|password)\s{1,4}"
    r"(?:password\s{1,2})?'((?:[^'\n]|''){1,128}+)'"
)
_COMMAND = re.compile(
    r"(?:(?<![A-Za-z0-9_-])(?:curl|wget|http)\b[^\n|;]{0,200}?\s(?:-u|--user)[ =]?[\"']?"
    r"[\w.@-]{1,64}:([^\s\"'`]{3,128}+)"
    r"|(?<![A-Za-z0-9_-])sshpass\s{1,2}-p\s{0,2}[\"']?([^\s\"'`]{3,128}+)"
    r"|(?<![A-Za-z0-9_-])(?:mysql|mysqldump|mysqladmin)\b[^\n|;]{0,120}?\s-p([^\s\"'`-][^\s\"'`]{2,64}+)"
    r"|(?<![A-Za-z0-9_-])machine\s{1,4}\S{1,128}\s{1,4}login\s{1,4}\S{1,64}\s{1,4}password\s{1,4}(\S{3,128}+)"
    r"|(?<![A-Za-z0-9_-])redis-cli\b[^\n|;]{0,120}?\s-a\s{1,2}[\"']?([^\s\"'`]{3,128}+))"
)
_SECRET_BITS = 3.0
"""Least entropy in bits a character of a value behind a key that promises randomness."""
_JUDGED = 96
"""How many characters of a value are looked at to judge it."""
_DIGIT = re.compile(r"[0-9]")
_NAME = re.compile(r"[a-z]+(?:[-_./:@][a-z0-9]+)*+\Z")
_SHORTEST_SECRET, _SHORTEST_PASSWORD = 8, 4


def _assigned(text: str) -> Iterator[Hit]:
    done = 0
    for key in _KEY.finditer(text):
        if key.start() < done or _NO_SECRET.search(key[2]):
            continue
        separator = _SEPARATOR.match(text, key.end())
        if separator is None:
            continue
        if separator["option"] is not None and not _is_option(text, key.start()):
            continue
        quoted = _QUOTED.match(text, separator.end()) or _ESCAPED.match(text, separator.end())
        found = quoted or _BARE.match(text, separator.end())
        if found is None:
            continue
        start, end = found.span(2) if quoted else found.span()
        is_password = key[1] is not None
        if not quoted:
            other = (_FOREIGN if is_password else _NOT_ASCII).search(text, start + 1, end)
            end = start + len(_trim(text[start : other.start() if other else end]))
        value = text[start : min(end, start + _JUDGED)]
        judge = _is_password if is_password else _is_secret
        if judge(value, quoted is not None, separator["word"] is not None):
            done = end
            yield Hit("PASSWORD" if is_password else "SECRET", start, end, 0.8 if quoted or separator["sign"] else 0.65)


def _is_option(text: str, start: int) -> bool:
    """Whether the key is a command's option (``--password``): only then may a blank stand before the value."""
    before = text[max(0, start - 24) : start]
    return "--" in before.rsplit(None, 1)[-1] if before.strip() and not before[-1:].isspace() else False


def _trim(value: str) -> str:
    """Drop what a sentence, a query string or a program puts behind a bare value."""
    value = re.split(r"[;,&|](?=$|[A-Za-z_ ]{1,24}[=:])|\\[nrt]|</", value, maxsplit=1)[0]
    while value and value[-1] in ",;)]}.\\" and not (value[-1] in ")]}" and "([{"[")]}".index(value[-1])] in value):
        value = value[:-1]
    return value


def _is_password(value: str, quoted: bool, prose: bool) -> bool:
    if len(value) < _SHORTEST_PASSWORD or is_placeholder(value) or _PATH.match(value):
        return False
    if not quoted and (_CODE.search(value) or value[0] in "$%({[&*|=+"):
        return False
    if _WORDS.match(value):  # a dictionary word is a password only where nothing else makes sense
        return quoted and not prose and value.isalpha() and len(value) >= 5 and not value.istitle()
    if quoted and " " in value and not any(c.isdigit() for c in value):
        return False
    return any(c.isalnum() for c in value) and value.count(" ") <= 4


def _is_secret(value: str, _quoted: bool, prose: bool) -> bool:
    if len(value) < _SHORTEST_SECRET or is_placeholder(value) or _PATH.match(value) or " " in value:
        return False
    if not value.isascii() or _WORDS.match(value) or value.isdigit() or _CODE.search(value):
        return False
    if _NAME.match(value) and len(_DIGIT.findall(value)) < 4:
        return False  # a name: bert-base-v2, user.token.v1
    if not _DIGIT.search(value) and not (len(value) >= 16 and is_mixed(value) and entropy(value) > 3.5):
        return False
    return entropy(value) >= (_SECRET_BITS if len(value) >= 12 and not prose else 2.5)


def _headers(text: str) -> Iterator[Hit]:
    for found in _HEADER.finditer(text):
        value = found[2].rstrip(".")
        if found[1].lower() == "basic":
            try:
                user, colon, password = (
                    base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode().partition(":")
                )
            except (binascii.Error, ValueError):
                continue
            if colon and password and user.isprintable() and password.isprintable() and not is_placeholder(password):
                yield Hit("PASSWORD", found.start(2), found.start(2) + len(value), 0.9)
        elif len(value) >= 16 and is_mixed(value) and not is_placeholder(value) and entropy(value) >= _SECRET_BITS:
            yield Hit("SECRET", found.start(2), found.start(2) + len(value), 0.85)


def _statements(text: str) -> Iterator[Hit]:
    for pattern in (_SQL, _COMMAND):
        for found in pattern.finditer(text):
            number = next(i for i, value in enumerate(found.groups(), 1) if value is not None)
            value = found[number]
            if len(value) >= _SHORTEST_PASSWORD and not is_placeholder(value) and value[0] not in "$%{":
                yield Hit("PASSWORD", found.start(number), found.end(number), 0.9)


RULES: tuple[Rule, ...] = (
    Rule(
        "own/secret/assigned",
        "2",
        ("PASSWORD", "SECRET"),
        _assigned,
        gate=(rf"(?i)(?:{_WORDY}|{_RANDOM})",),
        shapes=(
            (_KEYED + r"(?:[=:：>为是]|,[ \t]?[\"'`]|(?:is|was|(?:changed |set |reset )?to)[ \t])", 300),
            (rf"--\S{{0,24}}{_KEYED}(?<=[ \t])", 300),
        ),
        kind="secret",
        source="keys under which files, programs and letters keep credentials; entropy after Shannon (1948)",
        examples=('password = "Tr0ub4dor&3"', "export API_TOKEN=9f8e7d6c5b4a39281706", "密码：Abc12345"),
        reach=320,
    ),
    Rule(
        "own/secret/authorization",
        "2",
        ("PASSWORD", "SECRET"),
        _headers,
        gate=(r"(?i)(?:basic|bearer) {1,2}[A-Za-z0-9+/=._~-]{8}",),
        kind="secret",
        source="RFC 7617, RFC 6750 section 2.1",
        examples=("Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Authorization: Bearer mF_9.B5f-4.1JqM7xK2"),
        reach=2048,
    ),
    Rule(
        "own/secret/statement",
        "2",
        ("PASSWORD",),
        _statements,
        gate=(
            r"(?i)(?:identified\s+(?:with\s+\S+\s+)?by|password)\s+(?:password\s+)?'",
            r"(?:curl|wget|http|mysql|mysqldump|mysqladmin|redis-cli)\b.*\s-",
            r"sshpass\s+-p",
            r"machine\s+\S+\s+login\s",
        ),
        shapes=((_SQL.pattern, 0), (_COMMAND.pattern, 0)),
        kind="secret",
        source="https://dev.mysql.com/doc/refman/8.4/en/create-user.html, curl(1), netrc(5)",
        examples=("CREATE USER app IDENTIFIED BY 'S3cr7t!'", "curl -u admin:hunter22x https://example.org"),
        reach=512,
    ),
)
