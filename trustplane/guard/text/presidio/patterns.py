"""Presidio without a model: which of its pattern recognisers are on, with no spaCy pipeline and no network."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from trustplane.errors import missing_extra
from trustplane.guard.text.presidio.checks import quick

__all__ = ["LOCALES", "locale_of", "pattern_recognizers", "presidio_version", "validator"]

LOCALES = {
    "en": ("US", "GB", "CA", "AU", "NZ", "IE", "IN", "SG", "ZA"),
    "zh": ("CN", "HK", "TW", "MO", "SG"),
    "de": ("DE",), "es": ("ES",), "fi": ("FI",), "it": ("IT",), "ko": ("KR",),
    "pl": ("PL",), "sv": ("SE",), "th": ("TH",), "tr": ("TR",),
}  # fmt: skip
"""Countries (ISO 3166) whose identifiers are looked for when a guard is opened for a language and no countries."""
_FOLDERS = {
    "australia": "AU", "canada": "CA", "finland": "FI", "germany": "DE", "india": "IN", "italy": "IT", "korea": "KR",
    "nigeria": "NG", "philippines": "PH", "poland": "PL", "singapore": "SG", "south_africa": "ZA", "spain": "ES",
    "sweden": "SE", "thai": "TH", "turkey": "TR", "uk": "GB", "us": "US",
}  # fmt: skip


def presidio_version() -> str:
    """Return the version of presidio-analyzer, or raise for the missing extra."""
    try:
        return importlib.metadata.version("presidio-analyzer")
    except importlib.metadata.PackageNotFoundError:
        raise missing_extra("presidio-analyzer", "guard") from None


def locale_of(recognizer: Any) -> str:
    """Return the country (ISO 3166) that a predefined recogniser is made for, ``""`` for a generic one."""
    kind = recognizer if inspect.isclass(recognizer) else type(recognizer)
    folder = str(kind.__module__).partition(".country_specific.")[2].partition(".")[0]
    return _FOLDERS.get(folder, folder.upper())


def pattern_recognizers(locales: Iterable[str] | None = None) -> list[Any]:
    """Return one instance of each predefined pattern recogniser for ``locales``, in order of name.

    The generic ones (cards, e-mail, IBAN, IP, URL, ...) belong to every country; ``None`` means every country.

    Raises:
        InputError: presidio-analyzer is not installed.
    """
    try:
        import presidio_analyzer.predefined_recognizers as predefined
        from presidio_analyzer import PatternRecognizer
    except ImportError:
        raise missing_extra("presidio-analyzer", "guard") from None
    wanted = None if locales is None else {"", *locales}
    return [
        kind()
        for name in sorted(dir(predefined))
        if inspect.isclass(kind := getattr(predefined, name))
        and issubclass(kind, PatternRecognizer)
        and kind is not PatternRecognizer
        and (wanted is None or locale_of(kind) in wanted)
    ]


def validator(recognizer: Any) -> Callable[[str], bool | None] | None:
    """Return the check of a pattern recogniser, ``None`` if it has none.

    The e-mail recogniser's own would fetch the public-suffix list; the snapshot inside tldextract answers instead.
    """
    from presidio_analyzer import PatternRecognizer
    from presidio_analyzer.predefined_recognizers import EmailRecognizer

    own = recognizer.validate_result
    function = getattr(own, "__func__", own)
    if function is PatternRecognizer.validate_result:
        return None
    if function is EmailRecognizer.validate_result:
        return lambda text: bool(_offline()(text).fqdn)
    return quick(recognizer, own)


@functools.cache
def _offline() -> Any:
    import tldextract

    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
