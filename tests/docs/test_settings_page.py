"""The page of settings names each setting once, with the default and the range that hold."""

import json
import re
from pathlib import Path

import msgspec

from trustplane import settings
from trustplane.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
ROW = re.compile(r"^\| `(\w+)\.(\w+)` \| `(.+?)` \| (?:(\d+)\.\.(\d+))? ?\| (.+) \|$", re.MULTILINE)


def test_the_page_is_what_holds():
    rows = {
        (section, key): (default, low, high) for section, key, default, low, high, _ in ROW.findall(PAGE.read_text())
    }
    built = Settings()
    there = {
        (section.name, key.name): getattr(getattr(built, section.name), key.name)
        for section in msgspec.structs.fields(Settings)
        for key in msgspec.structs.fields(section.type)
    }
    assert sorted(rows) == sorted(there)
    for place, value in there.items():
        default, low, high = rows[place]
        assert json.loads(default) == (list(value) if isinstance(value, tuple) else value), place
        bounds = settings._BOUNDS.get(place)
        assert (bounds is None) == (low == ""), place
        if bounds:
            assert (int(low), int(high)) == bounds, place
