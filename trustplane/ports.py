"""The ports: small protocols through which a room gets what another room does, and the values that cross."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from trustplane.step import Step

__all__ = [
    "Accountant",
    "Dataset",
    "Journal",
    "Ledger",
    "Mechanism",
    "Model",
    "Record",
    "Redactor",
    "Reservation",
    "ReviewOutcome",
    "Reviews",
    "Signer",
    "Spent",
    "Ticket",
    "Usage",
]

Record = Callable[[Step], None]
"""The only port that producers know: it takes a step and returns at once. Tests pass ``list.append``."""

Redactor = Callable[[str], str]
"""Text in, text with its sensitive parts masked out."""


class Journal(Protocol):
    """The audit log as a ledger sees it: a step is written through at once, and read back by its name."""

    def write(self, request: str, step: Step) -> int:
        """Write the one step of ``request``, durable on return; return its index.

        Raises:
            StoreError: it was not written and will not be.
        """

    def read(self, request: str) -> list[tuple[int, Step]]:
        """Return index and step of what was written under ``request``, checked against its hash."""


class Signer(Protocol):
    """Signs a note: a log key, a witness or a hardware module."""

    @property
    def vkey(self) -> str:
        """The verifier key, ``name+keyid+base64`` (C2SP signed-note)."""

    def sign(self, body: str) -> str:
        """Return the signature line, without its newline, over the note text ``body``."""


class Mechanism(msgspec.Struct, frozen=True):
    """A Poisson-subsampled Gaussian mechanism, as DP-SGD runs it ``steps`` times.

    ``noise_multiplier``: standard deviation of the noise over the clipping norm, > 0.
    ``sampling_rate``: chance of each record to be in a batch, in (0, 1].
    ``steps``: how many noised sums are released, >= 1.
    ``relation``: the neighbouring relation; only ``add-remove`` is accounted for.
    """

    noise_multiplier: float
    sampling_rate: float
    steps: int
    relation: str = "add-remove"


class Dataset(msgspec.Struct, frozen=True):
    """A dataset as its owner registers it, once; no field can change later.

    ``commitment``: digest of the content (salted or keyed where it is personal).
    ``purposes``: the uses that the owner allows. ``epsilon_micro`` and ``delta_exp``: the limit ε in
    millionths, and δ = 10^-delta_exp.
    """

    name: str
    commitment: str
    owner: str
    purposes: tuple[str, ...]
    epsilon_micro: int = 2_000_000
    delta_exp: int = 5


class Model(msgspec.Struct, frozen=True):
    """A model: its name and the digest of its weights or of its manifest."""

    name: str
    digest: str


class Usage(msgspec.Struct, frozen=True):
    """That a dataset went into a model for a purpose; ``index`` is the log entry that says so."""

    dataset: str
    model: str
    purpose: str
    index: int


class Reservation(msgspec.Struct, frozen=True):
    """A granted reservation: the whole charge counts as spent until a commit says that less was done."""

    id: str
    dataset: str
    mechanism: Mechanism


class Spent(msgspec.Struct, frozen=True):
    """What a dataset has spent: ε in millionths at its δ, the limit, and the vector of Rényi micro-units."""

    dataset: str
    epsilon_micro: int
    limit_micro: int
    delta_exp: int
    rdp_micro: tuple[int, ...]
    reservations: int


class Accountant(Protocol):
    """Turns mechanisms into integer vectors, and a limit into the vector that those must stay under."""

    @property
    def version(self) -> str:
        """The name of this way of accounting; a ledger keeps it with each dataset."""

    @property
    def orders(self) -> Sequence[float]:
        """The Rényi orders, ascending; entry k of each vector belongs to order k."""

    def charge(self, mechanism: Mechanism) -> tuple[int, ...]:
        """Return the Rényi divergence of ``mechanism`` per order, in millionths, rounded up."""

    def limits(self, epsilon_micro: int, delta_exp: int) -> tuple[int, ...]:
        """Return per order the most that may be spent, in millionths, rounded down; below 0: never."""

    def epsilon_micro(self, rdp_micro: Sequence[int], epsilon_micro: int, delta_exp: int) -> int:
        """Return the ε in millionths that a spent vector stands for under the weights of a limit."""


@runtime_checkable
class Ledger(Protocol):
    """Registers, refuses and traces; each grant and each refusal is a step of the log.

    One contract test suite holds every implementation to these promises: what was granted is durable
    on return, the granted sum never passes the limit, a name is fixed once.
    """

    def register_dataset(self, dataset: Dataset) -> int:
        """Register once; return the log index. A second, different registration is an InputError."""

    def register_model(self, model: Model) -> int:
        """Register a model once; return the log index."""

    def record_usage(self, dataset: str, model: str, purpose: str) -> Usage:
        """Record a use; PurposeNotAllowed where the owner did not allow it."""

    def reserve(self, dataset: str, mechanism: Mechanism) -> Reservation:
        """Charge the whole mechanism; BudgetExceeded where the filter would pass its limit."""

    def commit(self, reservation: str, steps: int) -> Spent:
        """Settle a reservation at the ``steps`` that ran, at most those reserved; the rest returns."""

    def spent(self, dataset: str) -> Spent:
        """Return what a dataset has spent so far."""

    def trace(self, name: str, *, direction: str) -> dict[str, Any]:
        """Follow uses ``forward`` from a dataset or ``backward`` from a model."""


class Ticket(msgspec.Struct, frozen=True):
    """A request that waits for a person: what is known of it without its content.

    ``id``: unguessable, the caller gets it. ``request``: id in the log. ``tenant``, ``endpoint``: who asks for what.
    ``commitment``: keyed digest of the body. ``facts``: place and rule of each finding that asks for review.
    """

    id: str
    request: str
    tenant: str
    endpoint: str
    commitment: str
    facts: tuple[tuple[str, str], ...] = ()


class ReviewOutcome(msgspec.Struct, frozen=True):
    """Where a ticket stands; ``unknown``: no such ticket, or it belongs to another body or tenant."""

    state: Literal["pending", "approved", "rejected", "expired", "used", "unknown"]
    by: str = ""
    reason: str = ""


class Reviews(Protocol):
    """The human gate as whoever holds a request sees it; each call may wait for the disk."""

    def open(self, ticket: Ticket) -> None:
        """Put a ticket before people, durable on return; Refused where too many wait already."""

    def redeem(self, ticket_id: str, *, tenant: str, commitment: str) -> ReviewOutcome:
        """Return where a ticket stands; ``approved`` exactly once, which uses it up, for its own tenant and body."""
