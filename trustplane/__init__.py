"""AI security, privacy and compliance: whatever acts leaves a step in one tamper-evident log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trustplane.errors import (
    BudgetExceeded,
    InputError,
    LedgerError,
    PurposeNotAllowed,
    Refused,
    StoreError,
    TrustplaneError,
    VerificationError,
)
from trustplane.ports import Dataset, Mechanism, Model
from trustplane.step import Finding, Ref, Step

if TYPE_CHECKING:
    from trustplane.plane import Plane, open

__version__ = "0.1.0"
__all__ = [
    "BudgetExceeded",
    "Dataset",
    "Finding",
    "InputError",
    "LedgerError",
    "Mechanism",
    "Model",
    "Plane",
    "PurposeNotAllowed",
    "Ref",
    "Refused",
    "Step",
    "StoreError",
    "TrustplaneError",
    "VerificationError",
    "open",
]


def __getattr__(name: str) -> object:
    if name in {"Plane", "open"}:
        from trustplane import plane

        return getattr(plane, name)
    raise AttributeError(f"module 'trustplane' has no attribute {name!r}")
