"""Words: find personal data and secrets in text, mask them, or hide them behind pseudonyms and restore."""

from __future__ import annotations

from trustplane.guard.text.guard import TextGuard
from trustplane.guard.text.restore import Restorer
from trustplane.guard.text.session import Session

__all__ = ["Restorer", "Session", "TextGuard"]
