"""AI security, privacy and compliance: whatever acts leaves a step in one tamper-evident log."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    from trustplane.plane import Plane, open  # noqa: A004 - trustplane.open is the name
    from trustplane.ports import Dataset, Mechanism, Model
    from trustplane.step import Finding, Ref, Step

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

_HOMES = {"Plane": "plane", "open": "plane", "Finding": "step", "Ref": "step", "Step": "step"} | dict.fromkeys(
    ("Dataset", "Mechanism", "Model"), "ports"
)


def __getattr__(name: str) -> object:
    """Import what is asked for, so that the import itself costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'trustplane' has no attribute {name!r}")
    found: object = getattr(importlib.import_module(f"trustplane.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = found
    return found
