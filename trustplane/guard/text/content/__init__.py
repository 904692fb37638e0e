"""Content: word lists and value-alignment categories, judged as hit, clean or unknown."""

from __future__ import annotations

from trustplane.guard.text.content.filter import ContentFilter
from trustplane.guard.text.content.judgement import CATEGORIES, SEVERITIES, Category, ContentHit, Judgement
from trustplane.guard.text.content.words import Entry, WordList, load_list, parse_list, word_list

__all__ = [
    "CATEGORIES",
    "SEVERITIES",
    "Category",
    "ContentFilter",
    "ContentHit",
    "Entry",
    "Judgement",
    "WordList",
    "load_list",
    "parse_list",
    "word_list",
]
