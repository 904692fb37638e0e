"""Logs for the report's tests: nearly empty, with some steps, and rich; register files; hostile words."""

from __future__ import annotations

from pathlib import Path

from trustplane.audit.log.keys import Keys
from trustplane.audit.log.log import AuditLog
from trustplane.audit.log.store import MemoryStore
from trustplane.step import Ref, Step

HOSTILE = (
    "[#]",
    '#import "x"',
    "</script><script>alert(1)</script>",
    "<!-- ",
    "\u202eevil\u2066x\u2069",
    "a\ufe0fb\u200b\U000e0041",
    '" onclick="x',
    "{{ 7*7 }}{% raw %}",
    "$x$ *bold* _i_ @ref <label>",
    "\\u{202E}",
    "e\u0301\u0301\u0301\u0301",
    "😀",
    "עברית 12",
    " data-id=x",
    "# # #",
    "tab\there",
)
"""Purposes that try to leave their place, in one format or another."""

REGISTER = """
security = ["Disk encryption", "Access on a need-to-know basis"]

[controller]
name = "Example GmbH"
address = "Musterstraße 1, Berlin"
contact = "privacy@example.com"

[dpo]
name = "Dr. Ada Muster"
contact = "dpo@example.com"

[notice]
date = "2026-05-01"
digest = "sha256:aa"
address = "https://example.com/privacy"

[[purposes]]
name = "customer support"
basis = "6(1)(f)"
subjects = ["customers"]
categories = ["contact data", "contract data"]
retention_days = 90

[[purposes]]
name = "newsletter"
basis = "6(1)(a)"

[[recipients]]
host = "api.model.example"
name = "Model AG"
role = "processor"
country = "DE"
safeguard = "none needed (EU)"
contract = "DPA of 2026-01-01"

[[recipients]]
host = "backup.example"

[statements]
transfers = "No transfer to third countries."
"""


def memory_log(**options: object) -> AuditLog:
    return AuditLog(MemoryStore(), Keys.generate("example.org/audit"), **options)


def some_log() -> AuditLog:
    log = memory_log()
    with log.request("r1", input="hello", purpose="customer support") as request:
        request.step("income.check", {"ok": True})
        request.decide("yes")
    return log


def rich_log(requests: int = 30, *, hostile: bool = False) -> AuditLog:
    log = memory_log(mode="sealed", allow=("sealed", "plain"), ttl_seconds=120 * 86_400)
    purposes = ["customer support", "客户服务", "profiling", *(HOSTILE if hostile else ())]
    agents = (Ref("sha256:" + "ab" * 32, "policy", "guard.text", "1"), Ref("sha256:" + "cd" * 32, "model", "m1"))
    for i in range(requests):
        host = ["api.model.example", "other.example", *(h for h in HOSTILE if hostile)][
            i % (2 + hostile * len(HOSTILE))
        ]
        mode = "plain" if i == 3 else None
        with log.request(
            f"req-{i}", input="x", purpose=purposes[i % len(purposes)], subject=f"s{i % 7}", mode=mode
        ) as r:
            facts = {"n_email_address": i % 3, "n_phone_number": 1, "n_nrp": int(i == 5)}
            if i != 4:
                r.record(Step("guard.text.detect", agents=agents, facts=facts))
                r.record(Step("guard.text.hide", facts={"masked": i % 3 + 1}))
            r.record(Step("guard.proxy.sent", facts={"host": host}))
            r.record(Step("guard.proxy.received", facts={"bytes": 10}))
            r.decide("ok", outcome="blocked" if i % 10 == 9 else "answered")
    log.flush()
    for name in ("claims-2025", "客户数据"):
        facts = {"dataset": name, "commitment": "sha256:" + "11" * 32, "owner": "o", "purposes": ["scoring"],
                 "epsilon_micro": 2_000_000, "delta_exp": 5}  # fmt: skip
        log.append(Step("ledger.dataset.register", "registered", facts=facts))
    log.append(Step("ledger.model.register", "registered", facts={"model": "m1", "digest": "sha256:" + "22" * 32}))
    log.append(
        Step("ledger.usage.record", "recorded", facts={"dataset": "claims-2025", "model": "m1", "purpose": "scoring"})
    )
    log.append(
        Step("ledger.usage.record", "refused", facts={"dataset": "claims-2025", "model": "m1", "purpose": "ads"})
    )
    spend = {"dataset": "claims-2025", "limit_micro": 2_000_000, "epsilon_micro": 1_234_500}
    log.append(Step("ledger.spend.reserve", "granted", facts=spend))
    log.append(Step("ledger.spend.reserve", "refused", facts=spend | {"asked_micro": 3_000_000}))
    log.append(Step("ledger.spend.commit", "settled", facts={"dataset": "claims-2025", "steps": 10}))
    log.append(Step("privacy.train.start", "granted", facts={"epsilon_micro": 1}))
    log.append(Step("privacy.train.stop", "done", facts={"epsilon_micro": 1_234_500}))
    figures = {"clean_accuracy_micro": 953_200, "adaptive_accuracy_micro": 671_900}
    log.append(Step("guard.robust.evaluate", "measured", agents=agents, facts=figures))
    log.append(Step("audit.scan.bias", "done"))
    log.erase("s1")
    log.append(Step("content.expire", "destroyed", facts={"keys": 1, "fields": 2, "until_us": 1}))
    log.rotate()
    log.append(Step("incident.noted", "open"))
    return log


def write_register(folder: Path, text: str = REGISTER) -> Path:
    path = folder / "register.toml"
    path.write_text(text, "utf-8")
    return path
