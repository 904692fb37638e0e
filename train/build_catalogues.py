"""Rebuild what is derived from the words: gettext catalogues, and the digests inside verify_bundle.py.

    python train/build_catalogues.py            rewrite
    python train/build_catalogues.py --check    say what is out of date; exit 1

English is the source; ``trustplane/locale/zh/LC_MESSAGES/trustplane.po`` is edited by hand.
"""

from __future__ import annotations

import hashlib
import io
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "trustplane"
REPORT = PACKAGE / "audit" / "report"
DATE = datetime(2026, 11, 22, tzinfo=UTC)
"""Fixed, so that the same words give the same bytes."""
HEADER = "# Words around the report's sentences and of the command line. Edited by hand; see train/build_catalogues.py."
METHODS = [("**.py", "python"), ("**.j2", "jinja2.ext:babel_extract")]


def extracted() -> Catalog:
    """Return every message that the package's code and templates mark."""
    found = Catalog(project="trustplane", charset="utf-8")
    options = {"**.j2": {"trimmed": "true", "encoding": "utf-8"}}
    for name, _line, message, comments, context in extract_from_dir(
        PACKAGE, METHODS, options, keywords={"_": None, "gettext": None, "ngettext": (1, 2)}
    ):
        found.add(message, None, [(name, None)], auto_comments=comments, context=context)
    return found


def catalogue_files(language: str) -> dict[Path, bytes]:
    """Return the .po, brought up to date, and the .mo made from it."""
    path = PACKAGE / "locale" / language / "LC_MESSAGES" / "trustplane.po"
    catalog = Catalog(language, "trustplane", charset="utf-8")
    if path.exists():
        catalog = read_po(io.BytesIO(path.read_bytes()), locale=language)
    catalog.fuzzy = False
    catalog.project, catalog.version, catalog.copyright_holder = "trustplane", "1", "the trustplane authors"
    catalog.creation_date = catalog.revision_date = DATE
    catalog.last_translator, catalog.language_team = "trustplane <none>", "zh <none>"
    catalog.msgid_bugs_address, catalog.header_comment = "none", HEADER
    catalog.update(extracted(), no_fuzzy_matching=True, update_creation_date=False)
    missing = [m.id for m in catalog if m.id and not m.string]
    if missing:
        sys.stderr.write(f"{path.name} ({language}) lacks: " + "; ".join(str(m) for m in missing) + "\n")
    po, mo = io.BytesIO(), io.BytesIO()
    write_po(po, catalog, width=110, omit_header=False, sort_output=True, ignore_obsolete=True)
    write_mo(mo, catalog)
    return {path: po.getvalue(), path.with_suffix(".mo"): mo.getvalue()}


def verifier() -> dict[Path, bytes]:
    """Return verify_bundle.py with the digests of the newest law file and of the style sheet."""
    path = REPORT / "verify_bundle.py"
    law = max((REPORT / "law").glob("*.json")).read_bytes()
    sheet = (REPORT / "templates" / "report.css").read_bytes()
    text = path.read_text("utf-8")
    for name, data in (("CATALOGUE", law), ("STYLE", sheet)):
        text = re.sub(rf'(?m)^{name} = "[0-9a-f]*"', f'{name} = "{hashlib.sha256(data).hexdigest()}"', text)
    return {path: text.encode()}


def main() -> int:
    """Write or check every derived file."""
    stale = []
    for path, data in (catalogue_files("zh") | verifier()).items():
        if not path.exists() or path.read_bytes() != data:
            stale.append(path)
            if "--check" not in sys.argv:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    for path in stale:
        print(("stale" if "--check" in sys.argv else "rebuilt"), path.relative_to(ROOT))
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
