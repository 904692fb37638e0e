"""The ledger's state as a function of its operations: what each one does, and the digest after it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from trustplane import canon
from trustplane.errors import InputError
from trustplane.ports import Dataset, Mechanism, Model

__all__ = ["NANO", "check_dataset", "check_model", "check_name", "mechanism_facts", "rounded", "state_digest"]

NANO = 1_000_000_000
_DIGEST = re.compile(r"(sha256|hmac-sha256|sha512|blake2b):[0-9a-f]{32,128}\Z")


def check_name(name: str, what: str) -> str:
    """Return a name of 1 to 128 printable characters, no space at its ends; InputError otherwise."""
    if not 0 < len(name) <= 128 or not name.isprintable() or name != name.strip():
        raise InputError(f"a {what} is 1 to 128 printable characters without space at its ends")
    return name


def _check_digest(digest: str, what: str) -> None:
    if not _DIGEST.match(digest):
        raise InputError(f"the {what} is not a digest", hint="it reads sha256:<hex>, or hmac-sha256:<hex>")


def check_dataset(dataset: Dataset) -> dict[str, Any]:
    """Return a dataset as facts, or say what is wrong with it."""
    check_name(dataset.name, "dataset's name")
    check_name(dataset.owner, "dataset's owner")
    _check_digest(dataset.commitment, "dataset's commitment")
    purposes = [check_name(p, "purpose") for p in dataset.purposes]
    if not purposes or len(set(purposes)) != len(purposes) or len(purposes) > 64:
        raise InputError("a dataset has 1 to 64 allowed purposes, each once")
    if not isinstance(dataset.epsilon_micro, int) or not 0 < dataset.epsilon_micro <= 1_000_000_000:
        raise InputError("epsilon_micro is an integer in 1..10^9", hint="ε = 2 is 2_000_000")
    if not isinstance(dataset.delta_exp, int) or not 1 <= dataset.delta_exp <= 18:
        raise InputError("delta_exp is an integer in 1..18", hint="δ = 10^-5 is 5")
    return {
        "dataset": dataset.name,
        "commitment": dataset.commitment,
        "owner": dataset.owner,
        "purposes": sorted(purposes),
        "epsilon_micro": dataset.epsilon_micro,
        "delta_exp": dataset.delta_exp,
    }


def check_model(model: Model) -> dict[str, Any]:
    """Return a model as facts, or say what is wrong with it."""
    check_name(model.name, "model's name")
    _check_digest(model.digest, "model's digest")
    return {"model": model.name, "digest": model.digest}


def rounded(mechanism: Mechanism) -> Mechanism:
    """Return the mechanism in whole billionths, each rounded to the side that costs more."""
    sigma, rate = mechanism.noise_multiplier, mechanism.sampling_rate
    if not 0 < sigma < 1e6 or not 0 < rate <= 1:
        raise InputError("a mechanism needs 0 < noise multiplier < 10^6 and 0 < sampling rate <= 1")
    if type(mechanism.steps) is not int or not 1 <= mechanism.steps <= 10**9:
        raise InputError("a mechanism's steps are an integer in 1..10^9")
    nano_sigma = int(sigma * NANO + 1e-3)  # a float's own error must not cost a billionth each round trip
    nano_rate = min(NANO, -int(-(rate * NANO - 1e-3) // 1))
    if nano_sigma < 1:
        raise InputError("the noise multiplier is below 10^-9")
    return Mechanism(nano_sigma / NANO, max(1, nano_rate) / NANO, mechanism.steps, mechanism.relation)


def mechanism_facts(mechanism: Mechanism) -> dict[str, Any]:
    """Return a rounded mechanism as integers."""
    return {
        "noise_multiplier_nano": round(mechanism.noise_multiplier * NANO),
        "sampling_rate_nano": round(mechanism.sampling_rate * NANO),
        "steps": mechanism.steps,
        "relation": mechanism.relation,
    }


def mechanism_of(facts: dict[str, Any]) -> Mechanism:
    """Return the mechanism that facts describe."""
    return Mechanism(
        facts["noise_multiplier_nano"] / NANO, facts["sampling_rate_nano"] / NANO, facts["steps"], facts["relation"]
    )


def chained(before: str, facts: dict[str, Any]) -> str:
    """Return the digest of a lineage record after those before it."""
    return hashlib.sha256(before.encode() + b"\n" + canon.dumps(facts)).hexdigest()


def state_digest(op: int, lineage: str, budgets: Sequence[Sequence[Any]], held: Sequence[Sequence[Any]]) -> str:
    """Return the digest of the whole state: the number of operations, the lineage chain, every budget row."""
    return canon.digest([op, lineage, [list(row) for row in budgets], [list(row) for row in held]])
