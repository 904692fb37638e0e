"""The register: what the operator declares, a TOML file; the report never says more than it does."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from trustplane import canon
from trustplane.errors import InputError

__all__ = ["Register", "load_register"]

MAX_BYTES = 1 << 20
MAX_TEXT = 2000


class Party(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who: a controller, representative or data protection officer."""

    name: str = ""
    address: str = ""
    contact: str = ""


class Purpose(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One purpose, under the word that requests carry; ``basis`` such as ``6(1)(f)``, ``condition9`` ``9(2)(h)``."""

    name: str
    basis: str = ""
    condition9: str = ""
    subjects: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    retention_days: int = 0
    retention_seconds: int = 0


class Recipient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who receives data: the host that requests go to, the name, ``processor`` or ``controller``, the country."""

    host: str
    name: str = ""
    role: str = ""
    country: str = ""
    safeguard: str = ""
    contract: str = ""


class Notice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The privacy notice in force."""

    date: str = ""
    digest: str = ""
    address: str = ""


class Assessment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The impact assessment: its date and digest, and the words that only people can supply."""

    date: str = ""
    digest: str = ""
    necessity: str = ""
    risks: str = ""
    dpo_advice: str = ""


class Statements(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Statements in the operator's own words, each answering one duty."""

    access: str = ""
    accuracy: str = ""
    automated_decisions: str = ""
    breaches: str = ""
    consent: str = ""
    erasure_recipients: str = ""
    human_review: str = ""
    portability: str = ""
    rights: str = ""
    special_categories: str = ""
    transfers: str = ""


class Register(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All that an operator can declare; each field may be left out, and then the report says so."""

    controller: Party = Party()
    joint_controllers: tuple[str, ...] = ()
    representative: Party = Party()
    dpo: Party = Party()
    purposes: tuple[Purpose, ...] = ()
    recipients: tuple[Recipient, ...] = ()
    notice: Notice = Notice()
    security: tuple[str, ...] = ()
    assessment: Assessment = Assessment()
    statements: Statements = Statements()

    @property
    def declared(self) -> dict[str, Any]:
        """The canonical form: only what was declared, retention also in seconds."""
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        for purpose in found.get("purposes", []):
            if purpose.get("retention_days"):
                purpose["retention_seconds"] = purpose["retention_days"] * 86_400
        return found


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


def load_register(path: Path | None) -> dict[str, Any]:
    """Read a register file; without one nothing is declared.

    Raises:
        InputError: not TOML, an unknown key, a wrong type, a text over 2,000 characters, a doubled name.
    """
    if path is None:
        return {}
    try:
        data = path.read_bytes()
        if len(data) > MAX_BYTES:
            raise InputError(f"{path.name} is larger than {MAX_BYTES} bytes")
        register = msgspec.convert(tomllib.loads(data.decode()), Register)
    except OSError as error:
        raise InputError(f"the register {path.name} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the register {path.name} is not valid TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise InputError(f"the register {path.name}: {error}", hint="see docs/how-to/report.md") from None
    declared = register.declared
    canon.dumps(declared)
    if any(len(text) > MAX_TEXT for text in _texts(declared)):
        raise InputError(f"the register {path.name} holds a text over {MAX_TEXT} characters")
    for kind, names in (
        ("purpose", [p.name for p in register.purposes]),
        ("recipient", [r.host for r in register.recipients]),
    ):
        if len(set(names)) != len(names) or "" in names:
            raise InputError(f"the register {path.name} names a {kind} twice, or not at all")
    if any(p.retention_seconds or not 0 <= p.retention_days <= 36_525 for p in register.purposes):
        raise InputError(f"the register {path.name}: retention_days is 1 to 36525; retention_seconds is derived")
    return declared
