"""Connection strings: a user and a password inside a URL, a JDBC or ADO.NET string, or an Azure account string."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from trustplane.guard.text.hit import Hit, Rule
from trustplane.guard.text.secrets.placeholders import is_placeholder

__all__ = ["RULES"]

ENTITY = "CONNECTION_STRING"
_SCHEMES = (
    "postgres(?:ql)?|mysqlx?|mariadb|mongodb|rediss?|valkeys?|amqps?|mssql|sqlserver|oracle|db2|cockroachdb|clickhouse(?:s)?|cassandra"
    "|neo4j(?:\\+s)?|bolt|couchbases?|couchdb|elasticsearch|influxdb|snowflake|redshift|trino|presto|hive2?|vertica|etcd|nats|mqtts?|stomp"
    "|kafka|ldaps?|smtps?|imaps?|pop3s?|ftps?|sftp|ssh|scp|smb|socks[45]h?|https?|git|svn|vnc|rdp|rtsp|rtmp|sqlite|dameng|kingbase8|opengauss|oceanbase|tidb"
)
_URL = re.compile(
    rf"(?i)(?<![A-Za-z0-9])((?:jdbc:)?(?:{_SCHEMES})(?:\+[a-z0-9]{{1,16}})?)(?::thin)?://([^\s\"'`<>\x00]{{1,600}})"
)
_ORACLE = re.compile(r"(?i)jdbc:oracle:(?:thin|oci):([\w$#.-]{1,64})/([^\s\"'`@/]{1,128})@[^\s\"'`<>]{1,256}")
_PARAMETER = re.compile(r"(?i)[?&;](?:password|passwd|pwd|sslpassword)=([^\s&;\"'`<>]{1,200})")
_PASSWORD = re.compile(
    r"(?i)(?<![A-Za-z])(?:password|pwd)[ ]{0,2}=[ ]{0,2}(\"[^\"\n]{1,200}\"|'[^'\n]{1,200}'|[^;\s\"'`]{1,200})"
)
_OTHER = re.compile(
    r"(?i)(?<![A-Za-z])(?:server|data source|host|addr(?:ess)?|network address"
    r"|user id|userid|uid|user|username|database|initial catalog|port|driver|dsn)[ ]{0,2}=[ ]{0,2}[^;\n]{1,120};"
)
_ACCOUNT = re.compile(
    r"(?i)(?:(?:DefaultEndpointsProtocol|AccountName|Endpoint|HostName|SharedAccessKeyName|BlobEndpoint|DeviceId)=[^;\s\"'`]{1,200};){1,6}"
    r"(?:AccountKey|SharedAccessKey|SharedAccessSignature)=([A-Za-z0-9+/%=&?_.:-]{16,400})"
)
_SAS = re.compile(r"(?<![A-Za-z])sig=([A-Za-z0-9%+/=_-]{40,120})")
_LINE = 512
"""How far from the password the other keys of an ADO.NET string may stand."""


def _urls(text: str) -> Iterator[Hit]:
    for found in _URL.finditer(text):
        rest = found[2]
        cut = min((i for i in map(rest.find, "/?#") if i >= 0), default=len(rest))
        at = rest.rfind("@", 0, cut)
        user, colon, password = rest[: max(at, 0)].partition(":")
        if at < 0 and not found[1].lower().startswith("http") and ":" in rest[:cut]:
            at = rest.rfind("@")  # a password with an unescaped slash
            user, colon, password = rest[: max(at, 0)].partition(":")
            if password[:cut].split("/")[0].isdigit():
                at = -1
        if at >= 0 and colon and password and not is_placeholder(password) and not is_placeholder(user + password):
            yield Hit(ENTITY, found.start(), found.start(2) + len(rest.rstrip(".,;)]}。，；）")), 0.95)
            continue
        parameter = _PARAMETER.search(rest)
        if parameter and not is_placeholder(parameter[1]):
            yield Hit(ENTITY, found.start(), found.end(), 0.9)


def _oracle(text: str) -> Iterator[Hit]:
    for found in _ORACLE.finditer(text):
        if not is_placeholder(found[2]):
            yield Hit(ENTITY, found.start(), found.end(), 0.95)


def _ado(text: str) -> Iterator[Hit]:
    """From the first key of the string to the last value, where a password stands among other keys."""
    done = 0
    for found in _PASSWORD.finditer(text):
        if found.start() < done or is_placeholder(found[1].strip("\"'")):
            continue
        low = max(text.rfind("\n", 0, found.start()) + 1, found.start() - _LINE, done)
        start = next((other.start() for other in _OTHER.finditer(text, low, found.start())), -1)
        high = min(len(text), found.end() + _LINE)
        after = text[found.end() : high].split("\n", 1)[0]
        last = found.end()
        if text.startswith(";", found.end()):
            for other in _OTHER.finditer(after + ";", 0):
                last = max(last, found.end() + min(other.end() - 1, len(after)))
        done = last
        if start < 0 and last == found.end():
            continue
        yield Hit(ENTITY, found.start() if start < 0 else start, last, 0.9)


def _accounts(text: str) -> Iterator[Hit]:
    for found in _ACCOUNT.finditer(text):
        if not is_placeholder(found[1]):
            yield Hit(ENTITY, found.start(), found.end(), 0.95)


def _signatures(text: str) -> Iterator[Hit]:
    for found in _SAS.finditer(text):
        window = text[max(0, found.start() - _LINE) : found.end() + _LINE]
        if "sv=" in window and "se=" in window:
            yield Hit(ENTITY, found.start(1), found.end(1), 0.9)


def _rule(name: str, search: Callable[[str], Iterator[Hit]], gate: str, source: str, example: str) -> Rule:
    return Rule(
        f"own/secret/{name}", "1", (ENTITY,), search, (gate,), kind="secret", source=source, examples=(example,),
        reach=1200,
    )  # fmt: skip


RULES: tuple[Rule, ...] = (
    _rule(
        "url_password",
        _urls,
        rf"(?i)(?:{_SCHEMES})(?:\+[a-z0-9]{{1,16}})?(?::thin)?://[^\s\"'`<>]*(?:@|[?&;](?:passw|pwd|sslp))",
        "RFC 3986 section 3.2.1",
        "postgresql://app:s3cr7t-Pw@db.internal:5432/app",
    ),
    _rule(
        "jdbc_oracle",
        _oracle,
        "(?i)jdbc:oracle:",
        "https://docs.oracle.com/en/database/oracle/oracle-database/23/jjdbc/",
        "jdbc:oracle:thin:scott/t1gerPw@//db:1521/orcl",
    ),
    _rule(
        "ado_net",
        _ado,
        "(?i)(?:password|pwd) {0,2}=",
        "https://learn.microsoft.com/dotnet/framework/data/adonet/connection-strings",
        "Server=db,1433;User Id=sa;Password=Pa55w0rd!9;Database=app",
    ),
    _rule(
        "azure_account",
        _accounts,
        "(?i)(?:AccountKey|SharedAccessKey|SharedAccessSignature)=",
        "https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string",
        "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=" + "Zm9vYmFyMTIzNDU2Nzg5MGFiY2RlZg" * 2 + "==",
    ),
    _rule(
        "azure_signature",
        _signatures,
        "sig=[A-Za-z0-9%+/=_-]{12}",
        "https://learn.microsoft.com/azure/storage/common/storage-sas-overview",
        "https://a.blob.core.windows.net/c?sv=2022-11-02&se=2026-01-01&sr=c&sp=r&sig=" + "aB3%2F" * 10,
    ),
)
