"""Policies and decisions: typed files, merging, precedence, and that nothing leaves that may not."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustplane.errors import InputError, Refused
from trustplane.guard.text import TextGuard
from trustplane.guard.text.decide import Judgement, apply, decide, strictest
from trustplane.guard.text.guarded import Guarded
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.policy import PRESETS, Policy
from trustplane.step import Step

ACTIONS = ("allow", "mask", "pseudonymise", "hash", "block", "review")
VALUE = "alice@example.com"
KEY = b"k" * 32

POLICY = """
name = "clinic"
version = "3"
threshold = 0.5

[allow]
values = ["Info@Clinic.example"]
domains = ["clinic.example"]
patterns = ["test-[0-9]+@x\\\\.example"]

[defaults]
out = "mask"
in = "allow"

[rules.EMAIL_ADDRESS]
out = "pseudonymise"

[rules."own/card"]
out = "block"
in = "review"
threshold = 0.2

[tenants.north.defaults]
out = "allow"

[tenants.north.rules.EMAIL_ADDRESS]
out = "allow"

[purposes.research.rules.EMAIL_ADDRESS]
out = "hash"
threshold = 0.9
"""


def hit(entity: str, start: int, end: int, score: float = 1.0, rule: str = "") -> Hit:
    return Hit(entity, start, end, score, rule)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("thresold = 0.4", "policy: thresold is not a key", "did you mean threshold?"),
        ("[rules.PERSON]\nuot = 'mask'", "policy: rules.PERSON.uot is not a key of a policy (line 2)", "out"),
        ("[defaults]\n\nout = 'maks'", "policy: defaults.out is not an action (line 3)", "did you mean mask?"),
        ("[tenants.a.rules.'own/x']\nthreshold = 2", 'policy: tenants.a.rules."own/x".threshold is outside', ""),
        ("[tenants.a]\nnames = ['x']", "policy: tenants.a.names is not a key", ""),
        ("[judges.injectoin]", "policy: judges.injectoin is not a key", "did you mean injection?"),
        ("[judges.content]\nseverity = 'hi'", "policy: judges.content.severity is not one of", "high"),
        ("rules = 3", "policy: rules is not a table", ""),
        ("names = [1]", "policy: names is not a list of texts", ""),
        ("threshold = 'high'", "policy: threshold is not a number", ""),
        ("threshold = nan", "policy: threshold is outside", ""),
        ("languages = []", "policy: languages is empty", ""),
        ("locales = ['Germany']", "policy: locales holds something", "DE"),
        ("a = ", "the policy is not TOML", ""),
        ("a = 1\na = 2\n", "the policy is not TOML (line 2", ""),
        ("[allow]\npatterns = ['(?=a)']", "policy: pattern 1 of allow.patterns is not RE2", ""),
        ("[tenants.a.allow]\npatterns = ['(']", "policy: pattern 1 of allow.patterns is not RE2", ""),
        ("[allow]\nvalues = ['']", "policy: an entry of allow.values is empty", ""),
        ("[judges.content]\nlists = ['absent.txt']", "policy: a file that it names cannot be read", ""),
    ],
)
def test_a_bad_policy_is_refused_by_name(text: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as refused:
        Policy.parse(text)
    assert refused.value.message.startswith(message) and hint in refused.value.hint


def test_files(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("one")
    path = tmp_path / "p.toml"
    path.write_text("[judges.content]\nlists = ['words.txt']\n")
    first = Policy.load(path)
    assert first.path("words.txt") == tmp_path / "words.txt"
    (tmp_path / "words.txt").write_text("two")
    assert Policy.load(path).digest != first.digest  # a list changes results, so it changes the digest
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(InputError, match="not UTF-8 at byte 8"):
        Policy.load(path)
    with pytest.raises(InputError, match="cannot be read"):
        Policy.load(tmp_path / "absent")


def test_a_digest_names_everything_that_counts() -> None:
    policy = Policy.parse(POLICY)
    assert Policy.parse(POLICY).digest == policy.digest and Policy.parse("# x\n" + POLICY).digest == policy.digest
    lines = POLICY.splitlines()
    counting = [i for i, line in enumerate(lines) if "=" in line and not line.startswith(("name", "version"))]
    digests = {Policy.parse("\n".join(lines[:i] + lines[i + 1 :])).digest for i in counting}
    assert len(digests) == len(counting) and policy.digest not in digests
    assert "Clinic" not in json.dumps(policy.explain()) and policy.ref.kind == "policy"
    assert len({p.digest for p in (Policy.default(), *map(Policy.preset, PRESETS))}) == len(PRESETS) + 1
    with pytest.raises(InputError):
        Policy.preset("lax")


def test_tenants_and_purposes_are_laid_over_key_by_key() -> None:
    policy = Policy.parse(POLICY)
    mail, card, name = hit("EMAIL_ADDRESS", 0, 1), hit("CREDIT_CARD", 0, 1, rule="own/card"), hit("PERSON", 0, 1)
    expected = {
        ("", ""): ("pseudonymise", "block", "mask"),
        ("north", ""): ("allow", "block", "allow"),
        ("", "research"): ("hash", "block", "mask"),
        ("north", "research"): ("allow", "block", "allow"),
        ("nobody", "nothing"): ("pseudonymise", "block", "mask"),
    }
    for pair, actions in expected.items():
        assert tuple(policy.for_(*pair).action(h, "out") for h in (mail, card, name)) == actions
    assert [policy.action(h, "in") for h in (mail, card, name)] == ["allow", "review", "allow"]
    assert policy.for_("x", "y") is policy.for_("", "") and policy.for_("north").digest != policy.digest
    assert policy.for_(purpose="research").threshold(mail) == 0.9 and policy.threshold(card) == 0.2
    assert policy.lowest_threshold == 0.2 and policy.for_("north").threshold(name) == 0.5
    secret = Policy.parse("[defaults]\nout='allow'\n[kinds.secret]\nout='block'\n[rules.JWT]\nout='mask'")
    assert [secret.action(hit(e, 0, 1), "out", "secret") for e in ("KEY", "JWT")] == ["block", "mask"]
    assert secret.action(hit("KEY", 0, 1), "out") == "allow"
    styled = policy.restyled("hash")
    assert [styled.for_(t).action(h, "out") for t in ("", "north") for h in (mail, card, name)] == [
        "hash", "block", "hash", "allow", "block", "allow"
    ]  # fmt: skip


def test_allow_lists() -> None:
    policy = Policy.parse(POLICY)

    def action(text: str, entity: str = "EMAIL_ADDRESS", inner: Hit | None = None) -> list[str]:
        found = [hit(entity, 0, len(text)), *([inner] if inner else [])]
        return [d.action for d in decide(text, found, (), policy).hits]

    assert (
        action("INFO@clinic.example") == action("ｉｎｆｏ@clinic.example") == action("test-12@x.example") == ["allow"]
    )
    assert action("info@clinic.example", inner=hit("PERSON", 0, 4)) == ["allow"]  # inside an allowed value
    assert action("bob@clinic.example") == action("bob@mail.clinic.example") == ["allow"]
    assert action("bob@clinic.example", inner=hit("PERSON", 0, 3)) == ["mask"]  # but not inside an allowed domain
    assert action("https://user@clinic.example:80/x", "URL") == ["allow"]
    for bad in ("bob@evilclinic.example", "bob@clinic.example.evil.com", "a test-12@x.example"):
        assert action(bad) == ["pseudonymise"]
    for bad in (
        "https://clinic.example@evil.com/",
        "https://evil.com\\@clinic.example/",
        "http://[x/",
        "evil.com?clinic.example",
    ):
        assert action(bad, "URL") == ["mask"]
    assert action("clinic.example", "PERSON") == ["mask"]


def test_precedence() -> None:
    policy = Policy.parse("\n".join(f"[rules.{a.upper()}]\nout = '{a}'" for a in ACTIONS))

    def verdict(*entities: str, reason: str = "", judged: tuple[Judgement, ...] = ()) -> str:
        found = [hit(entity.upper(), 2 * i, 2 * i + 1) for i, entity in enumerate(entities)]
        return decide("x" * 20, found, judged, policy, reason=reason).verdict

    unknown = Judgement("injection", "unknown", action="block")
    review = Judgement("content", "hit", action="review")
    assert verdict() == verdict("allow") == "allow" and verdict("mask") == verdict("hash", "allow") == "redact"
    assert verdict("review", "mask") == verdict("mask", judged=(review,)) == "review"
    assert verdict("review", reason="guard.text.timeout") == verdict("mask", judged=(unknown, review)) == "unknown"
    assert verdict("block", "review", judged=(unknown,)) == "block"
    assert verdict("mask", judged=(Judgement("injection", "hit", action="block"), unknown)) == "block"
    assert verdict("mask", judged=(Judgement("injection", "unknown", action="allow"),)) == "redact"
    for start, end, score in ((-1, 2, 1.0), (0, 21, 1.0), (3, 3, 1.0), (4, 2, 1.0), (0, 1, 1.5), (0, 1, float("nan"))):
        bad = decide("x" * 20, [hit("ALLOW", start, end, score)], (), policy)
        assert (bad.verdict, bad.reason, bad.hits) == ("unknown", "guard.text.span", ())
    assert strictest(["allow", "review", "unknown"]) == "unknown" and strictest([]) == "allow"


SPANS = st.lists(
    st.tuples(st.integers(0, 29), st.integers(1, 12), st.sampled_from(ACTIONS[:4]), st.floats(0, 1)), max_size=8
)


@settings(max_examples=150, deadline=None)
@given(SPANS)
def test_what_may_not_pass_does_not_pass_whatever_overlaps(spans: list[tuple[int, int, str, float]]) -> None:
    """Each place has a character of its own, so whatever stays of a place shows in the output."""
    policy = Policy.parse("threshold = 0\n" + "\n".join(f"[rules.{a.upper()}]\nout = '{a}'" for a in ACTIONS))
    text = "".join(chr(0xE000 + i) for i in range(41))
    hits = [hit(action.upper(), start, start + size, score) for start, size, action, score in spans]
    decision = decide(text, hits, (), policy, tenant="t")
    (out,) = apply([decision], [text], Plain(), key=KEY)
    hidden = {i for h in hits if h.entity != "ALLOW" for i in range(h.start, h.end)}
    assert [c for c in out if c >= "\ue000"] == [c for i, c in enumerate(text) if i not in hidden]
    ends = [d.hit.end for d in decision.hits]
    assert all(a <= d.hit.start for a, d in zip(ends, decision.hits[1:], strict=False))


class Plain:
    """A pseudonymiser that numbers values."""

    def notice(self, text: str, hits: list[Hit]) -> None:
        pass

    def known(self, text: str, hits: list[Hit]) -> list[Hit]:
        return list(hits)

    def replace(self, text: str, hits: list[Hit]) -> str:
        for found in reversed(hits):
            text = text[: found.start] + f"[{found.entity}]" + text[found.end :]
        return text


def test_apply_refuses(guard: TextGuard) -> None:
    text = f"write to {VALUE}"
    found = [hit("EMAIL_ADDRESS", 9, len(text))]
    for action in ("block", "review"):
        policy = Policy.parse(f"[defaults]\nout = '{action}'")
        decision = decide(text, found, (), policy)
        with pytest.raises(Refused) as refused:
            apply([decide("", [], (), policy), decision], ["", text])
        assert VALUE not in str(refused.value) + repr(decision)
        if action == "review":
            assert apply([decision], [text], approved=True) == ["write to <EMAIL_ADDRESS>"]
        else:
            with pytest.raises(Refused):
                apply([decision], [text], approved=True)
    for action, need in (("pseudonymise", "session"), ("hash", "key")):
        decision = decide(text, found, (), Policy.parse(f"[defaults]\nout = '{action}'"))
        with pytest.raises(InputError, match=need):
            apply([decision], [text])
        with pytest.raises(InputError, match="another text"):
            apply([decision], [text + " "])


def test_hashes_join_within_a_tenant_only() -> None:
    policy = Policy.parse("[defaults]\nout = 'hash'")

    def hashed(text: str, tenant: str = "", key: bytes = KEY) -> str:
        return apply([decide(text, [hit("EMAIL_ADDRESS", 0, len(text))], (), policy, tenant=tenant)], [text], key=key)[
            0
        ]

    assert hashed(VALUE) == hashed(VALUE.upper()) and hashed(VALUE).startswith("<EMAIL_ADDRESS#")
    others = {hashed(VALUE), hashed(VALUE, "a"), hashed(VALUE, "b"), hashed(VALUE, key=b"l" * 32), hashed("b" + VALUE)}
    assert len(others) == 5


def test_guarded_records_counts_and_no_content(guard: TextGuard) -> None:
    steps: list[Step] = []
    guarded = Guarded(Policy.preset("gdpr"), guard, record=steps.append)
    session = guard.session()
    texts = [f"My name is Alice Johnson, {VALUE}", "and Alice Johnson again", "nothing"]
    decisions = guarded.decide_many(texts)
    hidden = guarded.apply_many(decisions, texts, session)
    assert "Alice" not in "".join(hidden) and VALUE not in "".join(hidden)
    assert [session.restore(text) for text in hidden] == texts
    (step,) = steps
    assert step.action == "guard.text.scan" and step.result == "redact" and step.facts["findings"] == 3
    assert guarded.policy.for_().ref in step.agents and guard.refs[0] in step.agents
    assert not any(word in repr(step) for word in ("Alice", VALUE, "nothing"))
    inward = guarded.decide(texts[0], direction="in")
    assert "<EMAIL_ADDRESS>" in guarded.apply(inward, texts[0])
    assert guarded.decide("Oak Ridge").verdict == "allow"
    (found,) = guarded.decide("Oak Ridge", context="full_name").hits
    assert (found.hit.entity, found.hit.start, found.hit.end) == ("PERSON", 0, 9)
    assert guarded.decide("x", context="see alice@example.com 4111111111111111").hits == ()


def test_what_is_no_text_or_no_direction_is_refused(guard: TextGuard) -> None:
    guarded = Guarded(Policy.preset("strict"), guard)
    for direction in ("Out", "", None, "sideways", 1):
        wrong: Any = direction
        for call in (
            lambda d=wrong: guarded.decide("x", direction=d),
            lambda d=wrong: guarded.decide_many([], direction=d),
            lambda d=wrong: decide("x", [], [], guarded.policy, d),
            lambda d=wrong: guarded.policy.action(hit("PERSON", 0, 1), d),
        ):
            with pytest.raises(InputError, match="direction"):
                call()
    for no_text in (None, b"alice@example.com", 5, ["x"]):
        bad: Any = no_text
        for ask in (
            lambda t=bad: guarded.decide(t),
            lambda t=bad: guarded.decide("x", tenant=t),
            lambda t=bad: guard.detect(t),
            lambda t=bad: guard.detect_many([t, "x"]),
            lambda t=bad: guard.session(tenant=t),
            lambda t=bad: guard.session().hide(t),
            lambda t=bad: guard.session().restore(t),
        ):
            with pytest.raises(InputError, match="not a text"):
                ask()
    with pytest.raises(InputError, match="not a list"):
        guarded.decide_many("letters")


def test_names_of_tenants_are_checked_on_demand() -> None:
    policy = Policy.parse(POLICY)
    assert policy.for_("nort") == policy.for_() and policy.for_("north", "research", strict=True)
    for wrong in ({"tenant": "nort"}, {"purpose": "reserch"}):
        with pytest.raises(InputError, match="none for this one"):
            policy.for_(**wrong, strict=True)
    assert Policy.default().for_("anyone", "anything", strict=True) == Policy.default()


@pytest.mark.parametrize(
    "wrong",
    [
        {"languages": ("xx",)}, {"languages": ("EN",)}, {"languages": ()}, {"locales": ("ZZ",)}, {"locales": ("UK",)},
        {"names": "Project Heron"}, {"names": [""]}, {"names": ["\u200b"]},
        {"names": [5]}, {"entities": "PERSON"}, {"recognizers": "a.b:C"},
    ],
)  # fmt: skip
def test_a_guard_refuses_what_would_find_nothing(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        TextGuard(**wrong)


def test_a_decided_finding_speaks_for_its_hit(guard: TextGuard) -> None:
    (found,) = Guarded(Policy.default(), guard).decide(VALUE).hits
    assert (found.entity, found.rule, found.start, found.end, found.score) == found.hit[:1] + found.hit[4:] + found.hit[
        1:4
    ]


class Bad:
    """A judge that does not work; ``how`` says how not."""

    def __init__(self, how: str) -> None:
        self.how, self.go = how, threading.Event()

    def judge(self, text: str, source: str) -> object:
        if self.how == "raise":
            raise ValueError(text)
        if self.how == "hang":
            self.go.wait(20)
        return Judgement("x", self.how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("how", "verdict"),
    [("raise", "unknown"), ("hang", "unknown"), ("odd", "unknown"), ("hit", "block"), ("clean", "allow")],
)
def test_a_judge_that_fails_blocks(guard: TextGuard, how: str, verdict: str) -> None:
    judge = Bad(how)
    policy = Policy.parse("[judges.injection]\n[tenants.open.judges.injection]\nhit='allow'\nunknown='allow'")
    guarded = Guarded(policy, guard, judges={"injection": judge}, limit_seconds=0.05)
    for _ in range(6):  # more often than threads may hang
        assert guarded.decide("some text").verdict == verdict
    assert guarded.decide("some text", tenant="open").verdict == "allow"
    judge.go.set()


def test_a_detector_that_fails_blocks() -> None:
    from presidio_analyzer import EntityRecognizer, RecognizerResult

    class Own(EntityRecognizer):  # type: ignore[misc]
        how, go = "", threading.Event()

        def load(self) -> None:
            pass

        def analyze(self, text: str, entities: object, nlp_artifacts: object = None) -> list[RecognizerResult]:
            if self.how == "raise":
                raise ValueError(text)
            if self.how == "hang":
                self.go.wait(20)
            return [RecognizerResult("OWN", -3, 10**6, 1.0)] if self.how == "range" else []

    own = Own(supported_entities=["OWN"])
    steps: list[Step] = []
    guarded = Guarded(Policy.default(), TextGuard(recognizers=[own], recognizer_seconds=2.0), record=steps.append)
    assert guarded.decide(VALUE).verdict == "redact"
    for how in ("raise", "range", "hang"):
        Own.how = how
        decision = guarded.decide(VALUE)
        assert decision.verdict == "unknown" and decision.reason.startswith("guard.text.")
        assert steps[-1].facts["reason"] == decision.reason and VALUE not in repr(steps[-1])
        with pytest.raises(Refused):
            guarded.apply(decision, VALUE)
    Own.go.set()
