"""The user's recognisers: taken from an object, a registry, a YAML file of Presidio's or a dotted path."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trustplane.errors import InputError, missing_extra

__all__ = ["ENTITY", "adopt"]

ENTITY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}\Z")
"""What the name of an entity must look like, so that it can stand in a mask, a pseudonym and a fact."""
_DOTTED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z")


def adopt(sources: Iterable[Any]) -> tuple[list[Any], list[Any]]:
    """Return the recognisers of ``sources``, and those left out because they need an NLP engine's tokens.

    A source is an ``EntityRecognizer``, a ``RecognizerRegistry``, the path of a Presidio YAML file of recognisers,
    or ``package.module:Name`` of a recogniser's class (made without arguments), object or registry.

    Raises:
        InputError: a source is none of these, cannot be loaded, or names an entity that is not of the form
            ``[A-Za-z][A-Za-z0-9_]*`` with 48 characters at most.
    """
    found = [recognizer for source in sources for recognizer in _from(source)]
    for recognizer in found:
        if not all(ENTITY.match(str(entity)) for entity in recognizer.supported_entities):
            raise InputError("a recogniser's entity is not of the form [A-Za-z][A-Za-z0-9_]*, 48 at most")
    left_out = [recognizer for recognizer in found if _needs_tokens(recognizer)]
    return [recognizer for recognizer in found if recognizer not in left_out], left_out


def _from(source: Any) -> list[Any]:
    try:
        from presidio_analyzer import EntityRecognizer, RecognizerRegistry
    except ImportError:
        raise missing_extra("presidio-analyzer", "guard") from None
    if isinstance(source, EntityRecognizer):
        return [source]
    if isinstance(source, RecognizerRegistry):
        return list(source.recognizers)
    if isinstance(source, type) and issubclass(source, EntityRecognizer):
        return [_called("the recogniser's class", source)]
    if isinstance(source, str | Path):
        if Path(source).suffix.lower() in {".yaml", ".yml"}:
            return _from_yaml(Path(source))
        if _DOTTED.match(str(source)):
            return _from(_imported(str(source)))
    raise InputError(
        f"a {type(source).__name__} is not a source of recognisers",
        hint="give a Presidio EntityRecognizer, a RecognizerRegistry, a .yaml file or package.module:Class",
    )


def _imported(dotted: str) -> Any:
    module, _, name = dotted.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        raise InputError(f"there is no recogniser {dotted!r}", hint="package.module:Class, importable here") from None
    if isinstance(found, str | Path):
        raise InputError(f"{dotted!r} is not a recogniser")
    return found


def _from_yaml(path: Path) -> list[Any]:
    from presidio_analyzer.recognizer_registry import RecognizerRegistryProvider

    if not path.is_file():
        raise InputError("the file of recognisers is not there", hint=str(path))

    def load() -> Any:
        import yaml  # type: ignore[import-untyped]  # comes with presidio-analyzer

        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        settings.setdefault("supported_languages", _languages(settings["recognizers"]))
        return RecognizerRegistryProvider(registry_configuration=settings).create_recognizer_registry()

    return list(_called("the file of recognisers", load).recognizers)


def _languages(rows: Iterable[Any]) -> list[str]:
    """Return the languages that a file's recognisers name, so that none of them is filtered away."""
    found = {"en"}
    for row in rows:
        if isinstance(row, dict):
            named = [row.get("supported_language"), *(row.get("supported_languages") or ())]
            found |= {item["language"] if isinstance(item, dict) else str(item) for item in named if item}
    return sorted(found)


def _called(what: str, make: Any) -> Any:
    try:
        return make()
    except Exception as error:  # noqa: BLE001 - the user's code or file may fail in any way
        raise InputError(f"{what} cannot be loaded ({type(error).__name__})") from None


def _needs_tokens(recognizer: Any) -> bool:
    """Return whether a recogniser only reads what an NLP engine made of the text, which there is none of here."""
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    return isinstance(recognizer, SpacyRecognizer) and type(recognizer).analyze is SpacyRecognizer.analyze
