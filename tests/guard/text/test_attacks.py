"""What attackers tried: encoded cues, recognisers and judges that misbehave, decisions used for other texts."""

import html
import json
import sys
import threading
from urllib.parse import quote

import pytest
from presidio_analyzer import EntityRecognizer, RecognizerResult

from trustplane.errors import InputError, Refused
from trustplane.guard.text import TextGuard
from trustplane.guard.text.guarded import Guarded
from trustplane.guard.text.policy import Policy
from trustplane.guard.text.shapes import StandIns


class Own(EntityRecognizer):
    """A recogniser of the user's whose behaviour is given."""

    def __init__(self, give):
        self.give = give
        super().__init__(["OWN"], name="own")

    def load(self):
        pass

    def analyze(self, text, entities, nlp_artifacts=None):
        return self.give(text)


def guard_with(give):
    return TextGuard(recognizers=[Own(give)], finders=(), recognizer_seconds=2)


@pytest.mark.parametrize("encode", [json.dumps, html.escape, quote], ids=["json", "html", "percent"])
@pytest.mark.parametrize("text", ["账号:123456789012", 'password = "x9f8e7d6c5b4a"', "IMEI 490154203237518"])
def test_a_cue_that_is_encoded_gives_the_value_away_all_the_same(guard: TextGuard, text: str, encode) -> None:
    assert guard.detect(text), text
    assert guard.detect(encode(text)), encode(text)


def test_encoding_beside_a_number_that_is_nothing_finds_nothing(guard: TextGuard) -> None:
    assert guard.detect("invoice total 123456789012 and %41 there") == []


@pytest.mark.parametrize(
    "give",
    [
        lambda text: [RecognizerResult("x " + text, 0, 4, 0.9)],
        lambda text: [RecognizerResult(None, 0, 4, 0.9)],
        lambda text: [RecognizerResult("OWN", 0, len(text) + 1, 0.9)],
        lambda text: [RecognizerResult("OWN", 0.5, 4, 0.9)],
        lambda text: [RecognizerResult("OWN", 0, 4, float("nan"))],
        lambda text: sys.exit(text),
        lambda text: 7,
    ],
)
def test_a_recogniser_that_misbehaves_blocks_and_shows_no_content(give) -> None:
    with pytest.raises(Refused) as caught:
        guard_with(give).mask("geheim Zanzibar9")
    assert "Zanzibar9" not in str(caught.value) and "geheim" not in repr(caught.value)


def test_a_recogniser_that_gives_results_without_end_is_stopped() -> None:
    started = []

    def give(_text):
        started.append(threading.current_thread())
        while True:
            yield RecognizerResult("OWN", 0, 4, 0.9)

    with pytest.raises(Refused):
        guard_with(give).detect("some text")
    started[0].join(5)
    assert not started[0].is_alive()


def test_a_recogniser_whose_name_fails_later_is_not_skipped() -> None:
    class Fickle(Own):
        broken = False

        @property
        def name(self):
            if self.broken:
                raise ValueError
            return "fickle"

        @name.setter
        def name(self, value):
            pass

    fickle = Fickle(lambda text: [RecognizerResult("OWN", 0, 4, 0.9)])
    guard = TextGuard(recognizers=[fickle], finders=())
    fickle.broken = True
    assert guard.mask("abcd efgh").startswith("<OWN>")


class Judges:
    def __init__(self, **said):
        self.said = said

    def judge(self, text, **_named):
        if "leave" in self.said:
            raise SystemExit(text)
        return type("Said", (), {"outcome": "clean", "score": 0.0, "rules": (), **self.said})()


@pytest.mark.parametrize(
    "said",
    [{"leave": True}, {"score": float("nan")}, {"score": 7}, {"rules": ("the text itself, geheim",)}, {"outcome": "?"}],
)
def test_a_judge_that_talks_nonsense_could_not_judge(guard: TextGuard, said) -> None:
    policy = Policy.parse('[judges.injection]\nhit = "block"\n')
    decision = Guarded(policy, guard, judges={"injection": Judges(**said)}).decide("geheim")
    assert decision.verdict == "unknown" and "geheim" not in repr(decision)


def test_a_decision_is_good_for_its_own_text_only(guard: TextGuard) -> None:
    guarded = Guarded(Policy.default(), guard)
    decision = guarded.decide("hello world foo ba")
    with pytest.raises(InputError):
        guarded.apply(decision, "alice@example.com!")


def test_what_a_session_forgets_is_gone_from_it(guard: TextGuard) -> None:
    session = guard.session(shapes=("PHONE_NUMBER",))
    session.hide("call +44 20 7946 0018")
    session.forget()
    held = " ".join(str(getattr(session, name)) for name in vars(session))
    assert "7946" not in held


def test_stand_ins_are_found_while_others_are_added() -> None:
    table, failed = StandIns(), []

    def add(number):
        for i in range(300):
            table.add(f"{chr(97 + number)}{i:04d}@example.com", str(i))

    def find():
        try:
            for _ in range(300):
                table.find("mail a0001@example.com b0002@example.com")
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=add, args=(n,)) for n in range(4)] + [
        threading.Thread(target=find) for _ in range(4)
    ]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failed
    assert len(table.find("mail a0001@example.com d0299@example.com")[0]) == 2
