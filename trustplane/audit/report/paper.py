"""The report as PDF/A, set by typst from a JSON file; log text is never part of the markup.

PDF/A forbids text without a glyph, so a character that no font has fails the build instead of coming out as
a box. Characters of values that the font lacks are written out before, so that no log text can cause that.
"""

from __future__ import annotations

import functools
import json
import struct
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from trustplane.audit.report.page import translation
from trustplane.errors import InputError, missing_extra

__all__ = ["FACE", "covered", "pdf_paper"]

FACE = "Noto Sans CJK SC"
"""The simplified Chinese face of the font; typst would pick the Japanese one by itself."""
_FACE_NUMBER = 2


@functools.cache
def _font_folder() -> Path:
    try:
        import manimgx_fonts_cjk  # type: ignore[import-untyped]
    except ImportError:
        raise missing_extra("manimgx_fonts_cjk", "report") from None
    return Path(str(resources.files(manimgx_fonts_cjk)))


@functools.cache
def covered() -> frozenset[int]:
    """Return the characters that the report's font has: the format 12 table of its ``cmap`` (OpenType 1.9)."""
    (path,) = _font_folder().glob("*.ttc")
    data = path.read_bytes()
    (font,) = struct.unpack_from(">I", data, 12 + 4 * _FACE_NUMBER)
    (tables,) = struct.unpack_from(">H", data, font + 4)
    records = (struct.unpack_from(">4s3I", data, font + 12 + 16 * i) for i in range(tables))
    cmap = next(offset for tag, _sum, offset, _length in records if tag == b"cmap")
    (count,) = struct.unpack_from(">H", data, cmap + 2)
    found: set[int] = set()
    for i in range(count):
        platform, encoding, offset = struct.unpack_from(">HHI", data, cmap + 4 + 8 * i)
        if (platform, encoding) == (3, 10) and struct.unpack_from(">H", data, cmap + offset) == (12,):
            (groups,) = struct.unpack_from(">I", data, cmap + offset + 12)
            for j in range(groups):
                first, last, glyph = struct.unpack_from(">3I", data, cmap + offset + 16 + 12 * j)
                found.update(range(first + (glyph == 0), last + 1))
    return frozenset(found)


def _drawable(text: str) -> str:
    known = covered()
    return "".join(c if ord(c) in known else f"\\u{{{ord(c):04X}}}" for c in text)


def _data(contents: Mapping[str, Any], scope: Mapping[str, Any], language: str) -> dict[str, Any]:
    """Return what the template reads; values of log and register hold only characters that the font has."""
    _ = translation(language).gettext
    articles = _("Art. %(article)s")
    sections = [
        {
            "id": section["id"],
            "title": section["title"],
            "duty": section["duty"],
            "sentences": [
                {
                    "kind": s["kind"],
                    "tone": s["tone"],
                    "parts": [[value, _drawable(text) if value else text] for value, text in s["parts"]],
                    "reference": articles % {"article": s["article"]} + "\n" + s["id"] if s["article"] else s["id"],
                }
                for s in section["sentences"]
            ],
        }
        for section in contents["sections"]
    ]
    summary = [
        {"title": line["title"], "counts": list(line["counts"].values()), "gaps": line["gaps"]}
        for line in contents["summary"]
    ]
    totals = contents["totals"]
    catalogue = contents["catalogue"]
    take = _(
        "Take verify_bundle.py from a release of trustplane, not from this folder, and the log's key from"
        " someone you trust. Then run, without a network:"
    )
    does = _(
        "It recomputes every entry, the root, each query and each sentence. It exits with 0 if all holds,"
        " with 5 if something does not, and names the first wrong place. It also lists what it could not check."
    )
    return {
        "classes": contents["classes"],
        "facts": [[name, _drawable(value), mono] for name, value, mono in contents["facts"]],
        "footer": f"{contents['title']} · {scope['origin']} · {contents['facts'][3][1]}",
        "kinds": contents["kinds"],
        "lang": language,
        "region": {"en": "GB", "zh": "CN"}[language],
        "origin": scope["origin"],
        "sections": sections,
        "summary": summary,
        "title": contents["title"],
        "totals": {"counts": list(totals["counts"].values()), "gaps": totals["gaps"]},
        "words": {
            "act": _("To act on"),
            "advice": _("This document is evidence, not legal advice."),
            "all": _("All"),
            "catalogue": _("Catalogue of duties: %(name)s, from %(source)s.") % catalogue,
            "check": _("How to check this report"),
            "classes": _("Classes of evidence"),
            "command": f"python3 verify_bundle.py {_('FOLDER')} --key {contents['vkey']}",
            "does": does,
            "duty": _("Duty"),
            "glance": _("At a glance"),
            "nothing": _("Nothing to report."),
            "shaded": _("A shaded row needs somebody to act."),
            "subtitle": _("Each sentence carries its evidence, and one file checks them all offline."),
            "summary": _("Sentences by duty and class of evidence"),
            "take": take,
        },
    }


def pdf_paper(contents: Mapping[str, Any], scope: Mapping[str, Any], language: str, **options: Any) -> bytes:
    """Return the PDF (PDF/A-2b), the same bytes for the same contents on every machine.

    ``options`` go to typst (``format="png"`` in tests, to look at pages).

    Raises:
        InputError: typst or the font is not installed, or our own words need a glyph that the font lacks.
    """
    try:
        import typst
    except ImportError:
        raise missing_extra("typst", "report") from None
    fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=[str(_font_folder())])
    template = (resources.files("trustplane.audit.report") / "templates" / "report.typ").read_bytes()
    settings: dict[str, Any] = {"format": "pdf", "pdf_standards": ["a-2b"]} | options
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.typ"
        path.write_bytes(template)
        data = _data(contents, scope, language)
        (Path(folder) / "data.json").write_text(json.dumps(data, ensure_ascii=False), "utf-8")
        stamp = min(max(scope["date_us"] // 1_000_000, 0), 253_402_300_799)  # the last second of year 9999
        try:
            made, warnings = typst.compile_with_warnings(
                str(path), root=folder, font_paths=fonts, ignore_system_fonts=True, timestamp=stamp, **settings
            )
        except typst.TypstError as error:
            raise InputError(f"the PDF cannot be set: {error.message}") from None
    if warnings:
        raise InputError(f"the PDF cannot be set: {warnings[0].message}")
    return made  # type: ignore[no-any-return]
