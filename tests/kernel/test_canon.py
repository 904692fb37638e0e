"""Canonical JSON against a foreign implementation of RFC 8785, and everything that it refuses."""

import json
import math

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from trustplane import canon
from trustplane.errors import InputError
from trustplane.step import MAX_INT

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INT, MAX_INT) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=25,
)


class Thing:
    def __repr__(self):  # the same in every worker: it names a test
        return "Thing()"


OBJECT = Thing()


@settings(max_examples=500, deadline=None)
@given(VALUES)
def test_it_writes_what_a_foreign_implementation_writes(value):
    data = canon.dumps(value)
    assert data == rfc8785.dumps(value)
    assert canon.loads(data) == value == canon.loads(data.decode())
    assert canon.dumps(canon.loads(json.dumps(value, indent=1))) == data


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ({"\U0001f600": 1, "\ufb01": 2, "a": 3}, '{"a":3,"\U0001f600":1,"\ufb01":2}'),  # UTF-16 order, not code points
        ({"b": [True, None, -0], "a": ()}, '{"a":[],"b":[true,null,0]}'),
        ('\x00\x1f\b\t\n\f\r"\\/\x7f\u2028é', '"\\u0000\\u001f\\b\\t\\n\\f\\r\\"\\\\/\x7f\u2028é"'),
        (MAX_INT, "9007199254740991"),
        ({}, "{}"),
    ],
)
def test_known_forms(value, data):
    assert canon.dumps(value) == data.encode()


def nested(depth, value=0):
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        math.nan, math.inf, 1.0, 0.5, 2**53, -(2**53), 10**400, "\ud800", "a\udfff", {"\ud800": 1}, [[{"x": 1.5}]],
        {1: 2}, {None: 1}, b"bytes", {1, 2}, OBJECT, nested(66),
    ],
    ids=repr,
)  # fmt: skip
def test_what_has_no_canonical_form_is_refused(value):
    with pytest.raises(InputError) as caught:
        canon.dumps(value)
    assert caught.value.exit_code == 2
    with pytest.raises(InputError):
        canon.digest(value)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[1,]", "nope", "NaN", "Infinity", "-Infinity", "1.0", "1e3", "9007199254740992", "-9007199254740992",
        "1" * 5000, '"\\ud800"', '{"\\udc00":1}', '{"a":1,"a":1}', '{"x":{"a":1,"a":2}}', "[" * 66 + "]" * 66,
        "[" * 100_000, b"\xff", b'"\xed\xa0\x80"', "1 2", "'a'",
    ],
    ids=lambda t: repr(t[:20]),
)  # fmt: skip
def test_documents_without_canonical_form_are_refused(text):
    with pytest.raises(InputError):
        canon.loads(text)


def test_depth_is_bounded_and_nothing_below_the_bound_is_refused():
    deep = nested(64)
    assert canon.loads(canon.dumps(deep)) == deep


def test_errors_hold_no_content():
    for call, value in ((canon.dumps, {"kanarienvogel": 1.5}), (canon.loads, '{"kanarienvogel": 1.5}'),
                        (canon.loads, '{"kanarienvogel": 1, "kanarienvogel": 2}'),
                        (canon.loads, "kanarienvogel")):  # fmt: skip
        with pytest.raises(InputError) as caught:
            call(value)
        assert "kanarienvogel" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_a_digest_names_its_algorithm():
    assert canon.digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
