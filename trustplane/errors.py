"""The error tree: every failure that a caller can meet, with a hint and an exit code.

TrustplaneError                 exit code
├── InputError                  2   the caller's input is wrong; nothing was done
├── Refused                     3   a rule says no
│   ├── BudgetExceeded              a privacy spend would pass the limit
│   └── PurposeNotAllowed           a dataset's owner did not allow this purpose
├── StoreError                  4   the store is full, locked or gone
├── LedgerError                 4   the ledger failed at a named stage
└── VerificationError           5   a proof fails; carries the first wrong index and the cause
"""

from __future__ import annotations

__all__ = [
    "BudgetExceeded",
    "InputError",
    "LedgerError",
    "PurposeNotAllowed",
    "Refused",
    "StoreError",
    "TrustplaneError",
    "VerificationError",
    "missing_extra",
]


class TrustplaneError(Exception):
    """Base of all errors raised on purpose.

    ``message`` says what happened, ``hint`` what to do next. Neither ever holds content, a key or a
    personal value: both may reach a log.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n\nhint: {self.hint}" if self.hint else self.message


class InputError(TrustplaneError):
    """The input cannot be used; nothing was started."""

    exit_code = 2


class Refused(TrustplaneError):  # noqa: N818 - the word of the field
    """A rule says no: blocked, over budget, not allowed."""

    exit_code = 3


class BudgetExceeded(Refused):
    """The spend would pass the limit of the dataset."""


class PurposeNotAllowed(Refused):
    """The owner of the dataset did not allow this purpose."""


class StoreError(TrustplaneError):
    """The store cannot take or give data now; what was acknowledged is safe."""

    exit_code = 4


class LedgerError(TrustplaneError):
    """The ledger failed; ``stage`` names where (``open``, ``check``, ``record``, ``apply``)."""

    exit_code = 4

    def __init__(self, message: str, *, stage: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.stage = stage


class VerificationError(TrustplaneError):
    """Evidence does not hold; ``index`` is the first wrong entry where one is known, else ``None``."""

    exit_code = 5

    def __init__(self, message: str, *, cause: str, index: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.cause = cause
        self.index = index


def missing_extra(module: str, extra: str) -> InputError:
    """Return the error for an optional package ``module`` that belongs to ``extra``."""
    return InputError(
        f"{module} is not installed",
        hint=f"it belongs to the extra [{extra}]: pip install 'trustplane[{extra}]'",
    )
