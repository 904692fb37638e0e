"""Rebuild the content filter's character tables: traditional to simplified, and character to pinyin.

    pip download --no-deps pypinyin==0.55.0 opencc-python-reimplemented==0.1.7 && unzip each wheel
    python train/content_characters.py PYPINYIN_FOLDER OPENCC_FOLDER

Sources: pypinyin 0.55.0 (MIT), ``pinyin_dict.json``, the first reading of each character of GB 2312;
opencc-python-reimplemented 0.1.7 (Apache-2.0), ``TSCharacters.txt``, the first simplified form.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent / "trustplane" / "guard" / "text" / "content"


def toneless(syllable: str) -> str:
    plain = unicodedata.normalize("NFD", syllable.replace("ü", "v"))
    marks = plain.replace("u\u0308", "v")
    return "".join(c for c in marks if c.isascii() and c.isalpha())


def gb2312() -> list[str]:
    found = []
    for row in range(0xB0, 0xF8):
        for cell in range(0xA1, 0xFF):
            try:
                found.append(bytes((row, cell)).decode("gb2312"))
            except UnicodeDecodeError:
                continue
    return found


def main() -> None:
    readings_folder, opencc_folder = map(Path, sys.argv[1:3])
    readings = json.loads(next(readings_folder.rglob("pinyin_dict.json")).read_text("utf-8"))
    by_syllable: dict[str, list[str]] = defaultdict(list)
    for character in gb2312():
        first = readings.get(str(ord(character)), "").split(",")[0]
        if syllable := toneless(first):
            by_syllable[syllable].append(character)
    head = (
        "# Toneless first reading of each character of GB 2312; derived from pypinyin 0.55.0 (MIT, (c) mozillazg and\n"
        "# the authors of pinyin-data). Rebuild: train/content_characters.py\n"
    )
    lines = [f"{s}\t{''.join(sorted(c))}" for s, c in sorted(by_syllable.items())]
    (HERE / "pinyin.txt").write_text(head + "\n".join(lines) + "\n", "utf-8")
    pairs = []
    for line in next(opencc_folder.rglob("TSCharacters.txt")).read_text("utf-8").splitlines():
        old, _, new = line.partition("\t")
        new = new.split(" ")[0]
        if len(old) == len(new) == 1 and old != new and max(ord(old), ord(new)) < 0x10000:
            pairs.append(old + new)
    head = (
        "# Traditional character, then its simplified form; from opencc-python-reimplemented 0.1.7 (Apache-2.0,\n"
        "# dictionaries of OpenCC, Apache-2.0). Rebuild: train/content_characters.py\n"
    )
    (HERE / "traditional.txt").write_text(head + "\n".join(sorted(pairs)) + "\n", "utf-8")


if __name__ == "__main__":
    main()
