"""What a guard can be asked for: the languages and countries that it knows."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Collection, Sequence

from trustplane.errors import InputError
from trustplane.guard.text.names.cues import NAME_RULES
from trustplane.guard.text.presidio.patterns import LOCALES
from trustplane.guard.text.rules import RULES

__all__ = ["LANGUAGES", "countries", "countries_of", "languages_of", "unnamed"]

LANGUAGES: tuple[str, ...] = tuple(sorted({*NAME_RULES, *LOCALES}))
"""Languages with cues of names, a finder of names or countries of their own."""
_COUNTRY = re.compile(r"[A-Z]{2}\Z")


@functools.cache
def countries() -> frozenset[str]:
    """Return the countries (ISO 3166) that any rule or language is for."""
    of_rules = {country for rule in RULES for country in rule.locales}
    return frozenset(of_rules.union(*LOCALES.values()))


def languages_of(given: Sequence[str]) -> tuple[str, ...]:
    """Return the languages of a guard.

    Raises:
        InputError: none, a single text in place of a list, or one for which nothing is known.
    """
    if isinstance(given, str) or not given:
        raise InputError("the guard needs a language", hint='languages=("en", "zh")')
    found = tuple(given)
    if any(language not in LANGUAGES for language in found):
        raise InputError("nothing is known of a language that was asked for", hint=f"known: {', '.join(LANGUAGES)}")
    return found


def countries_of(languages: Sequence[str], given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the countries of a guard: those given, or those of its languages.

    Raises:
        InputError: not a list of codes of ISO 3166, or one for which there is no rule.
    """
    if given is None:
        return tuple(dict.fromkeys(country for language in languages for country in LOCALES.get(language, ())))
    if isinstance(given, str) or not all(isinstance(code, str) and _COUNTRY.match(code) for code in given):
        raise InputError("a locale is not a country of ISO 3166", hint='locales=("US", "DE")')
    if unknown := [code for code in given if code not in countries()]:
        close = difflib.get_close_matches(unknown[0], countries(), 3, 0.5)
        hint = f"known are {', '.join(sorted(close)) or 'US, GB, DE, CN'} and {len(countries()) - len(close)} others"
        raise InputError(f"no rule is for the country {unknown[0]}", hint=hint)
    return tuple(dict.fromkeys(given))


def unnamed(languages: Collection[str]) -> list[str]:
    """Return the languages whose names of people are not found."""
    return [language for language in languages if language not in NAME_RULES]
