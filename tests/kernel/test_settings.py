"""Settings: who wins over whom, and that nothing misspelt, mistyped or out of range passes."""

import re
from pathlib import Path

import pytest

from trustplane import settings
from trustplane.errors import InputError
from trustplane.settings import Settings, load


def test_defaults_are_careful():
    assert load(environ={}) == Settings()
    assert Settings().content.mode == "digest" and Settings().content.allow == ()
    assert Settings().proxy.listen.startswith("127.0.0.1:")


def test_later_sources_win_key_by_key(tmp_path):
    file = tmp_path / "plane.toml"
    file.write_text("[budget]\nepsilon_micro = 1\ndelta_exp = 2\n[log]\nqueue_steps = 100\n")
    assert load(file, environ={}).budget.epsilon_micro == 1
    environ = {"TRUSTPLANE_BUDGET_EPSILON_MICRO": "10", "TRUSTPLANE_LOG_POST_QUANTUM": "false", "PATH": "/bin"}
    found = load(file, environ=environ)
    assert (found.budget.epsilon_micro, found.budget.delta_exp, found.log.post_quantum) == (10, 2, False)
    found = load(file, environ=environ, arguments={"budget": {"epsilon_micro": 100}})
    assert (found.budget.epsilon_micro, found.budget.delta_exp, found.log.queue_steps) == (100, 2, 100)
    assert load(tmp_path / "missing.toml", environ={}) == Settings()


def test_lists_come_from_variables_too():
    environ = {"TRUSTPLANE_CONTENT_MODE": "sealed", "TRUSTPLANE_CONTENT_ALLOW": "sealed, plain"}
    assert load(environ=environ).content.allow == ("sealed", "plain")


@pytest.mark.parametrize(
    "text",
    ["[lgo]\n", "[log]\norigni = 'x'\n", "[log]\nqueue_steps = 'many'\n", "log = 1\n", "[content]\nmode = 'all'\n",
     "[content]\nallow = ['all']\n", "[log", "[content]\nttl_seconds = 1.5\n"],
)  # fmt: skip
def test_a_bad_file_is_an_error(tmp_path, text):
    file = tmp_path / "plane.toml"
    file.write_text(text)
    with pytest.raises(InputError):
        load(file, environ={})


def test_a_file_that_is_not_text_is_an_error(tmp_path):
    (tmp_path / "plane.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError):
        load(tmp_path / "plane.toml", environ={})


@pytest.mark.parametrize("name", ["TRUSTPLANE_LOG_ORIGNI", "TRUSTPLANE_NOTHING", "TRUSTPLANE_", "TRUSTPLANE_LOG"])
def test_an_unknown_variable_is_an_error(name):
    with pytest.raises(InputError) as caught:
        load(environ={name: "secret value"})
    assert name in caught.value.message and "secret value" not in str(caught.value)
    load(environ={"TRUSTPLANE_PLANE": "x"})


@pytest.mark.parametrize(("place", "bounds"), settings._BOUNDS.items(), ids=lambda p: ".".join(map(str, p)))
def test_bounds(place, bounds):
    section, key = place
    for good in bounds:
        assert getattr(getattr(load(environ={}, arguments={section: {key: good}}), section), key) == good
    for bad in (bounds[0] - 1, bounds[1] + 1):
        with pytest.raises(InputError):
            load(environ={}, arguments={section: {key: bad}})


@pytest.mark.parametrize("mode", ["redacted", "sealed", "plain"])
def test_keeping_content_must_be_allowed_on_purpose(mode):
    with pytest.raises(InputError) as caught:
        load(environ={}, arguments={"content": {"mode": mode}})
    assert "content.allow" in caught.value.hint
    with pytest.raises(InputError):
        load(environ={}, arguments={"content": {"mode": mode, "allow": ["digest"]}})
    assert load(environ={}, arguments={"content": {"mode": mode, "allow": [mode]}}).content.mode == mode


def test_every_number_has_bounds():
    source = Path(settings.__file__).read_text()
    numbers = re.findall(r"^    (\w+): int = ", source, re.MULTILINE)
    assert sorted(numbers) == sorted(key for _, key in settings._BOUNDS)
