"""Checks of what callers give: texts and lists of texts, so that a wrong type is refused and not looked through."""

from __future__ import annotations

from collections.abc import Iterable

from trustplane.errors import InputError

__all__ = ["check_text", "check_texts", "listed_of"]


def listed_of(given: Iterable[str], what: str) -> tuple[str, ...]:
    """Return a list of texts that a caller gave as ``what``.

    Raises:
        InputError: one text in place of a list, something that is no text, or an empty one.
    """
    found = () if isinstance(given, str | bytes) else tuple(given)
    if isinstance(given, str | bytes) or not all(isinstance(text, str) for text in found):
        raise InputError(f"{what} is not a list of texts", hint=f'{what}=["...", "..."]')
    if not all(text.strip() for text in found):
        raise InputError(f"{what} holds an empty text")
    return found


def check_text(*given: object) -> None:
    """Refuse what is not a text.

    Raises:
        InputError: something else than ``str``.
    """
    if not all(isinstance(text, str) for text in given):
        raise InputError("not a text", hint="str; bytes have to be decoded first")


def check_texts(given: object) -> None:
    """Refuse what is not a list of texts.

    Raises:
        InputError: one text, something that cannot be iterated, or an item that is not ``str``.
    """
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InputError("not a list of texts")
    check_text(*given)
