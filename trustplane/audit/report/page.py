"""What all readable forms show (:func:`view`), and the report as one HTML page."""

from __future__ import annotations

import base64
import gettext
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from trustplane.audit.report.sentence import CLASSES, Catalogue, Sentence
from trustplane.audit.report.words import shown, visible
from trustplane.errors import missing_extra

__all__ = ["LANGUAGES", "html_page", "style", "translation", "view"]

LANGUAGES = {"en": "en", "zh": "zh-Hans"}
"""Languages of the report, and how a page names them (BCP 47)."""


def translation(language: str) -> gettext.NullTranslations:
    """Return the catalogue of words around the sentences; English is the source."""
    folder = str(resources.files("trustplane") / "locale")
    return gettext.translation("trustplane", folder, languages=[language], fallback=language == "en")


def style() -> str:
    """Return the style sheet of the page."""
    return (resources.files("trustplane.audit.report") / "templates" / "report.css").read_text("utf-8")


def _count(made: Sequence[Sentence]) -> dict[str, Any]:
    return {
        "counts": {kind: sum(s.kind == kind for s in made) for kind in CLASSES if kind != "L"},
        "gaps": sum(s.tone == "gap" for s in made),
    }


def view(
    catalogue: Catalogue, made: Sequence[Sentence], scope: Mapping[str, Any], vkey: str, language: str
) -> dict[str, Any]:
    """Return the contents of the page and the paper in one language: plain strings, to be escaped by each."""
    _ = translation(language).gettext
    document = catalogue.document
    units = document["units"][language]
    sections = []
    for section in document["sections"]:
        inside = [s for s in made if s.section == section["id"]]
        sections.append(
            {
                "id": section["id"],
                "title": section["title"][language],
                "duty": section["duty"][language],
                "sentences": [
                    {"id": s.id, "kind": s.kind, "tone": s.tone, "article": s.article, "parts": s.parts[language]}
                    for s in inside
                ],
                **_count(inside),
            }
        )
    register, witnesses = scope["register"], scope["witnesses"]
    facts = [
        (_("Log"), scope["origin"], False),
        (_("Entries"), f"{scope['start']:,} – {scope['last']:,} ({scope['covered']:,} / {scope['size']:,})", False),
        (_("Recorded"), f"{shown(scope['from_us'], 'date', units)} – {shown(scope['to_us'], 'date', units)}", False),
        (_("Date of this report"), shown(scope["date_us"], "date", units), False),
        (_("Root of the log"), scope["root"], True),
        (_("Key of the log"), vkey, True),
        (_("Witnesses"), ", ".join(witnesses) or _("none"), False),
        (_("Register"), register or _("none given"), register is not None),
    ]
    return {
        "catalogue": {"name": document["name"], "source": document["source"]},
        "classes": [(kind, document["classes"][kind][language]) for kind in CLASSES],
        "facts": [(name, visible(value), mono) for name, value, mono in facts],
        "kinds": [kind for kind in CLASSES if kind != "L"],
        "sections": sections,
        "summary": [s for s in sections if s["id"] != "limits"],
        "title": document["title"][language],
        "totals": _count(made),
        "vkey": vkey,
    }


def html_page(contents: Mapping[str, Any], language: str) -> str:
    """Return the page: no script, nothing loaded from anywhere, every value escaped by the template engine.

    Raises:
        InputError: Jinja2 is not installed.
    """
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError:
        raise missing_extra("jinja2", "report") from None
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trustplane.audit.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(translation(language), newstyle=True)  # type: ignore[attr-defined]
    sheet = style()
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    template = environment.get_template("report.html.j2")
    return template.render(
        contents, lang=LANGUAGES[language], style=Markup(sheet), style_hash=digest  # noqa: S704 - our own file
    )  # fmt: skip
