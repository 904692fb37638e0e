"""Flags of ``trustplane proxy`` that cannot be right end it with exit code 2 and say what would be."""

from pathlib import Path

import pytest

import trustplane
from trustplane.cli import proxy_check
from trustplane.cli.proxy import Options, open_gate, parse_upstreams
from trustplane.errors import InputError

UPSTREAM = {"openai": "http://127.0.0.1:9"}


@pytest.mark.parametrize("name", ["a b", "a/b", "a\nb", "é", "x" * 65, ""])
def test_names_of_upstreams(name: str) -> None:
    with pytest.raises(InputError):
        parse_upstreams([f"{name}=http://127.0.0.1:9"])


def test_a_misspelt_preset_names_the_presets(tmp_path: Path) -> None:
    with trustplane.open(tmp_path / "plane") as plane, pytest.raises(InputError) as refused:
        open_gate(plane, Options(str(tmp_path / "plane"), UPSTREAM, "gdrp", "", 1))
    assert "gdpr" in refused.value.hint


def test_a_key_that_the_provider_refuses_is_explained() -> None:
    row = {
        "upstream": "openai", "api": "openai", "host": "h", "result": "unavailable", "status": 401, "rule": "",
        "masked": {"CREDIT_CARD": 1}, "restored": False, "milliseconds": 3,
    }  # fmt: skip
    assert "OPENAI_API_KEY" in proxy_check._line(row)
    assert "guard.proxy.upstream" in proxy_check._line(row | {"status": 502, "rule": "guard.proxy.upstream"})
