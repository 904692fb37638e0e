"""One guard for all tests: loading Presidio takes seconds."""

import pytest

from trustplane.guard.text import TextGuard


@pytest.fixture(scope="session")
def guard() -> TextGuard:
    return TextGuard()
