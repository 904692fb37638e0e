"""JSON leaf by leaf and CSV cell by cell: what is looked at, and that the rest keeps its bytes."""

import csv
import io
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustplane.errors import InputError
from trustplane.guard.text.document import MAX_DEPTH, JsonDocument
from trustplane.guard.text.table import DELIMITERS, records, rewritten, sniff

KEYS = st.text(max_size=6)
SCALARS = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
        | inner.map(lambda v: json.dumps(v, ensure_ascii=False))
    ),
    max_leaves=12,
)
LAYOUTS = st.sampled_from(
    [{}, {"indent": 1}, {"ensure_ascii": False}, {"separators": (",", ":")}, {"indent": "\t", "ensure_ascii": False}]
)


def strings(value: Any) -> list[str]:
    """Every string of a value, JSON inside strings opened: the slow oracle of the walk."""
    if isinstance(value, str):
        try:
            inner = json.loads(value) if value.lstrip()[:1] in {"{", "["} else None
        except ValueError:
            inner = None
        return [value] if inner is None else strings(inner)
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings(item)]
    return [text for item in value for text in strings(item)] if isinstance(value, list) else []


@settings(max_examples=150, deadline=None)
@given(VALUES, LAYOUTS)
def test_the_walk_sees_every_string_and_changes_nothing_else(value: Any, layout: dict[str, Any]) -> None:
    text = json.dumps(value, **layout)
    document = JsonDocument(text)
    assert document.rewritten([leaf.text for leaf in document.leaves]) == text
    assert [leaf.text for leaf in document.leaves if leaf.kind == "text"] == strings(value)
    masked = document.rewritten([f"<{i}>" for i in range(len(document.leaves))])
    again = JsonDocument(masked)  # still strict JSON: no key twice
    if all(leaf.kind == "text" for leaf in document.leaves):
        assert [leaf.text for leaf in again.leaves if leaf.kind == "text"] == [
            f"<{i}>" for i in range(len(document.leaves))
        ]


def test_places_keys_and_numbers() -> None:
    text = (
        '{"messages": [{"content": "x"}], "a@b.example": {"n": 12345678, "m": -4111111111111111, "e": 4.1e12,'
        ' "f": 1e99999},'
        ' "args": "{\\"to\\": \\"y\\", \\"k\\": 1.50}", "esc": "\\u4f60\\/"}'
    )
    document = JsonDocument(text)
    assert [(leaf.text, leaf.place, leaf.context, leaf.kind) for leaf in document.leaves] == [
        ("x", "messages[0].content", "content", "text"),
        ("a@b.example", "*", "", "key"),
        ("4111111111111111", "*.m", "m", "number"),
        ("4100000000000", "*.e", "e", "number"),
        ("y", "args.to", "to", "text"),
        ("你/", "esc", "esc", "text"),
    ]
    new = document.rewritten(["x", "<E>", "<CARD>", "4100000000000", "<Y>", "你/"])
    assert new == text.replace("a@b.example", "<E>").replace("-4111111111111111", '"<CARD>"').replace(
        '\\"y\\"', '\\"<Y>\\"'
    )
    keys = JsonDocument('{"a@x": 1, "b@x": 2, "<E>": 3, "E": 4}')
    assert json.loads(keys.rewritten(["<E>", "<E>", "<E>"])) == {"<E>#2": 1, "<E>#3": 2, "<E>": 3, "E": 4}
    assert JsonDocument('["\\ud83d"]').rewritten(["\ud83d!"]) == '["\\ud83d!"]'
    with pytest.raises(InputError):
        keys.rewritten([])


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}', "[NaN]", "[-Infinity]", "", "{", "[1,]", "{'a': 1}", "[01]",
        "[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), "[" * 200_000, '["\t"]', "1 2",
    ],
)  # fmt: skip
def test_what_two_readers_could_read_differently_is_refused(text: str) -> None:
    with pytest.raises(InputError) as refused:
        JsonDocument(text)
    assert len(str(refused.value)) < 200


def test_json_inside_strings_counts_as_depth() -> None:
    deep = json.dumps("[" * MAX_DEPTH + json.dumps("x") + "]" * MAX_DEPTH)
    (leaf,) = JsonDocument(deep).leaves
    assert leaf.text == json.loads(deep)  # too deep to open: looked at as one text
    nested = json.dumps("x")
    for _ in range(9):
        nested = json.dumps("[" * 10 + nested + "]" * 10)
    (leaf,) = JsonDocument(nested).leaves
    assert leaf.text.startswith("[" * 10) and leaf.text.count("x") == 1


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=6), st.text(max_size=6), st.data())
def test_a_string_keeps_the_escapes_around_what_is_replaced(left: str, right: str, data: st.DataObject) -> None:
    def spelled(text: str) -> str:
        return "".join(
            data.draw(st.sampled_from([json.dumps(c)[1:-1], json.dumps(c, ensure_ascii=False)[1:-1]]))
            if c != "/"
            else data.draw(st.sampled_from(["/", "\\/", "\\u002F"]))
            for c in text
        )

    before, after = spelled(left), spelled(right)
    text = f'["|{before}{spelled("A/?")}{after}"]'
    document = JsonDocument(text)
    masked = document.rewritten([f"|{left}B!{right}"])
    assert json.loads(masked) == [f"|{left}B!{right}"]
    assert masked.startswith(f'["|{before}') and masked.endswith(f'{after}"]')


@pytest.mark.parametrize(
    "inner",
    ["[NaN]", "[Infinity]", '{"a": 1, "a": "x@y.example"}', "[" * 200_000, "[" * 99 + "]" * 99, '["x", [NaN]]', "{[}"],
)
def test_a_string_that_only_looks_like_json_is_a_text(inner: str) -> None:
    text = json.dumps({"m": inner, "n": '["y"]'})
    document = JsonDocument(text)
    assert [leaf.text for leaf in document.leaves] == [inner, "y"]
    assert document.rewritten([inner, "y"]) == text
    assert json.loads(document.rewritten(["<m>", "<n>"])) == {"m": "<m>", "n": '["<n>"]'}


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(CELLS, min_size=2, max_size=4), min_size=1, max_size=5),
    st.sampled_from(DELIMITERS),
    st.sampled_from(["\r\n", "\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_csv_round_trip(rows: list[list[str]], delimiter: str, end: str, quoting: Any) -> None:
    rows = [[cell.replace("\r", " ") for cell in row] for row in rows]
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(rows)
    found = list(records(io.StringIO(out.getvalue(), newline="\n"), delimiter))
    assert [record.cells for record in found] == rows
    assert "".join(rewritten(record, record.cells, delimiter) for record in found) == out.getvalue()
    masked = "".join(rewritten(r, ["<X>", *r.cells[1:]], delimiter) for r in found)
    assert [r.cells for r in records(io.StringIO(masked, newline="\n"), delimiter)] == [["<X>", *r[1:]] for r in rows]


def test_csv_that_is_broken_or_endless_is_refused() -> None:
    for text in ('a,"b', 'a,"b"c\n', 'a\rb\n"x'):
        with pytest.raises(InputError):
            list(records(io.StringIO(text, newline="\n")))
    endless = ("x" * 99 + "\n" for _ in iter(int, 1))
    with pytest.raises(InputError, match="too long"):
        list(records(['"open\n', *(next(endless) for _ in range(20))], ",", 1000))


def test_sniff() -> None:
    for delimiter in DELIMITERS:
        rows = [["id", "name", "note"], ["1", "张伟", "a, b; c|d\te"], ["2", "Bob", 'said "x"']] * 3
        out = io.StringIO(newline="")
        csv.writer(out, delimiter=delimiter).writerows(rows)
        assert sniff(out.getvalue()) == sniff(out.getvalue()[:-9]) == delimiter
    assert sniff("") == sniff("one\ntwo\n") == ","


def test_switches_and_where_json_in_strings_begins() -> None:
    inner = json.dumps('{"store": true, "c": "x"}')
    text = f'{{"a": [1, true, {{"store":true}}], "store" : true , "b": {inner}, "n": {{"store": 0}}}}'
    document = JsonDocument(text, watch="store")
    assert [(switch.place, switch.token) for switch in document.switches] == [
        ("a[2].store", "true"),
        ("store", "true"),
        ("n.store", "0"),
    ]
    assert [(leaf.place, leaf.inside) for leaf in document.leaves] == [("b.c", True)]
    off = document.rewritten(["x"], {document.switches[1].at: "false"})
    assert off == text.replace('"store" : true', '"store" : false')
    both = document.rewritten(["y"], {document.switches[0].at: "false", document.switches[2].at: "null"})
    assert both == text.replace('"store":true', '"store":false').replace('{"store": 0}', '{"store": null}').replace(
        '\\"x\\"', '\\"y\\"'
    )


SHAPES: dict[str, Callable[[int], Any]] = {
    "numbers of one list": lambda count: {"input": [13800138000] * count},
    "switches of one list": lambda count: {"on": [1] * count},
    "objects with a key": lambda count: [{"a@b.example": 1}] * count,
    "keys of one object": lambda count: {f"a{i}@b.example": "" for i in range(count)},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_work_is_linear_in_what_is_replaced(shape: str) -> None:
    def seconds(count: int) -> float:
        document = JsonDocument(json.dumps(SHAPES[shape](count)), watch="on")
        values = ["<x>" if leaf.text else "" for leaf in document.leaves]
        began = time.thread_time()
        written = document.rewritten(values, {switch.at: '"<x>"' for switch in document.switches})
        took = time.thread_time() - began
        assert written.count('"<x>') + written.count('"<x>#') >= count
        JsonDocument(written)
        return took

    few = min(seconds(10_000) for _ in range(3))
    assert min(seconds(20_000) for _ in range(3)) <= 3 * few


def test_each_replaced_number_of_a_list_is_written_at_its_place() -> None:
    text = '[1, 13800138000 ,true,\n13800138001, {"a": [13800138002, 4, 13800138003]}, 13800138004]'
    document = JsonDocument(text)
    new = document.rewritten([f"<{leaf.text[-1]}>" for leaf in document.leaves])
    assert new == '[1, "<0>" ,true,\n"<1>", {"a": ["<2>", 4, "<3>"]}, "<4>"]'
