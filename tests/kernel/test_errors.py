"""The error tree is the one that its docstring draws: two levels, an exit code each, hints beside messages."""

import re

import pytest

from trustplane import errors
from trustplane.errors import InputError, LedgerError, TrustplaneError, VerificationError, missing_extra

CODES = {"InputError": 2, "Refused": 3, "StoreError": 4, "LedgerError": 4, "VerificationError": 5}


def everything(base=TrustplaneError):
    for sub in base.__subclasses__():
        yield sub
        yield from everything(sub)


def test_the_tree_is_the_documented_one():
    drawn = {}
    parent = None
    for indent, name, code in re.findall(r"^([│ ]*)[├└]── (\w+) +(\d?)", errors.__doc__, re.MULTILINE):
        if not indent.strip("│ ") and len(indent) < 2:
            parent = name
            drawn[name] = ("TrustplaneError", int(code))
        else:
            drawn[name] = (parent, drawn[parent][1])
    ours = [e for e in everything() if e.__module__ == "trustplane.errors"]
    assert {e.__name__: (e.__base__.__name__, e.exit_code) for e in ours} == drawn
    assert {n: c for n, (p, c) in drawn.items() if p == "TrustplaneError"} == CODES
    assert TrustplaneError.exit_code == 1
    assert set(errors.__all__) == {*drawn, "TrustplaneError", "missing_extra"}


def test_two_levels_and_no_more():
    for error in everything():
        if error.__module__.startswith("trustplane"):
            assert error.__mro__.index(TrustplaneError) <= 2, error


def test_a_hint_follows_the_message():
    error = InputError("that is wrong", hint="do this")
    assert str(error) == "that is wrong\n\nhint: do this"
    assert (error.message, error.hint, error.args) == ("that is wrong", "do this", ("that is wrong",))
    assert str(InputError("plain")) == "plain"


def test_what_the_last_two_carry():
    assert LedgerError("x", stage="apply").stage == "apply"
    error = VerificationError("x", cause="leaf-mismatch", index=7)
    assert (error.cause, error.index, error.exit_code) == ("leaf-mismatch", 7, 5)
    assert VerificationError("x", cause="y").index is None
    with pytest.raises(TypeError):
        VerificationError("x")


def test_a_missing_extra_says_how_to_get_it():
    error = missing_extra("torch", "train")
    assert "torch" in error.message and "pip install 'trustplane[train]'" in error.hint
