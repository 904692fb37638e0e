"""A small honest ledger in memory, for tests of what pays; it keeps the promises of ports.Ledger."""

from typing import Any

from trustplane.errors import BudgetExceeded, InputError
from trustplane.ports import Dataset, Mechanism, Model, Reservation, Spent, Usage
from trustplane.privacy.accounting import ORDERS, RenyiAccountant, add, fits


class MemoryLedger:
    def __init__(self) -> None:
        self.accountant = RenyiAccountant()
        self.datasets: dict[str, Dataset] = {}
        self.charges: dict[str, tuple[Reservation, tuple[int, ...], bool]] = {}  # id → (…, charge, open)

    def register_dataset(self, dataset: Dataset) -> int:
        if self.datasets.setdefault(dataset.name, dataset) != dataset:
            raise InputError("registered already, and differently")
        return len(self.datasets) - 1

    def _sum(self, dataset: str) -> tuple[int, ...]:
        total: tuple[int, ...] = (0,) * len(ORDERS)
        for reservation, charge, _ in self.charges.values():
            if reservation.dataset == dataset:
                total = add(total, charge)
        return total

    def reserve(self, dataset: str, mechanism: Mechanism) -> Reservation:
        if dataset not in self.datasets:
            raise InputError("no such dataset")
        limit = self.datasets[dataset]
        charge = self.accountant.charge(mechanism)
        limits = self.accountant.limits(limit.epsilon_micro, limit.delta_exp)
        if not fits(limits, self._sum(dataset), charge):
            raise BudgetExceeded("the run would pass the limit of the dataset")
        reservation = Reservation(str(len(self.charges)), dataset, mechanism)
        self.charges[reservation.id] = (reservation, charge, True)
        return reservation

    def commit(self, reservation: str, steps: int) -> Spent:
        held, _, still_open = self.charges[reservation]
        if not still_open or not 0 <= steps <= held.mechanism.steps:
            raise InputError("settled already, or more steps than reserved")
        m = held.mechanism
        charge = (
            self.accountant.charge(Mechanism(m.noise_multiplier, m.sampling_rate, steps, m.relation))
            if steps
            else (0,) * len(ORDERS)
        )
        self.charges[reservation] = (held, charge, False)
        return self.spent(held.dataset)

    def spent(self, dataset: str) -> Spent:
        limit, vector = self.datasets[dataset], self._sum(dataset)
        epsilon = self.accountant.epsilon_micro(vector, limit.epsilon_micro, limit.delta_exp)
        count = sum(r.dataset == dataset for r, _, _ in self.charges.values())
        return Spent(dataset, epsilon, limit.epsilon_micro, limit.delta_exp, vector, count)

    def register_model(self, model: Model) -> int:
        raise NotImplementedError

    def record_usage(self, dataset: str, model: str, purpose: str) -> Usage:
        raise NotImplementedError

    def trace(self, name: str, *, direction: str) -> dict[str, Any]:
        raise NotImplementedError
