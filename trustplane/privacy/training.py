"""DP-SGD around a plain torch loop: Poisson batches, clipped gradients, secret noise, a ledger that says no."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import torch
from opacus.grad_sample import GradSampleHooks
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import Dataset, TensorDataset

from trustplane.errors import BudgetExceeded, InputError
from trustplane.ports import Ledger, Mechanism, Record, Reservation
from trustplane.privacy.accounting import calibrate
from trustplane.privacy.randomness import SecureStream
from trustplane.privacy.refusals import check_dataset, check_model
from trustplane.step import Ref, Step

__all__ = ["PrivateTraining"]

MICRO = 1_000_000
NANO = 1_000_000_000


class PrivateTraining:
    """One DP-SGD run (Abadi et al. 2016, arXiv 1607.00133) on a registered dataset.

        with PrivateTraining(model, optimizer, dataset, ledger=ledger, dataset_name="wards",
                             target_epsilon_micro=500_000, batch_size=256, epochs=10) as run:
            for x, y in run.batches():
                loss = criterion(model(x), y)
                loss.backward()
                run.step()

    ``model``: an ``nn.Module`` in train mode whose outputs depend on their own record only; it stays as it
    is, hooks come off on exit. ``optimizer``: any over the model's parameters that needs no closure.
    ``dataset``: map-style, items are tensors or tuples of tensors of one shape, one item per person.
    ``ledger``, ``dataset_name``: who pays. ``noise_multiplier`` σ > 0, or ``target_epsilon_micro``: the
    smallest σ with which the ledger reports at most that ε for this run alone, at the dataset's δ.
    ``max_grad_norm`` C > 0: L2 bound of one record's gradient. ``batch_size``: the *expected* batch, a public
    constant and the divisor of the noised sum. ``epochs`` > 0: steps = ⌈epochs / q⌉. ``sampling_rate`` q: by
    default batch_size / len(dataset), which treats the number of records as public; give q yourself where it
    is not. ``physical_batch_size``: most records in one forward pass; a speed setting, it changes no
    guarantee. ``loss_reduction``: ``mean`` or ``sum``, as the loss does it. ``batch_seed``: for tests of the
    batch order only; the noise never has a seed. σ and C are rounded down to 10^-6, q up to 10^-9, and the
    rounded values are those used, charged and recorded.

    What holds: the sequence of weights is (ε, δ)-DP under add/remove of one item, ε and δ those of the
    ledger, also when runs are chosen after seeing earlier weights. The whole charge is reserved before the
    first step; the steps that ran are committed on exit, also after an exception; a process that dies
    stays charged in full.

    What does not hold: ``loss`` and whatever else the loop computes from a batch is not private, and a
    decision made from it, to stop early or to keep the better model, is not covered. Neither is a loss that
    couples records: contrastive losses, or a mean divided by something the batch decides (class weights,
    ``ignore_index``, unpadded tokens; there use ``sum``). Neither are several items of one person, timing, or
    the last bits of floating-point noise.

    Silent behaviours of common engines, and what happens here:

    - training past the target ε, a second run that counts from zero: refused by ledger and hard stop
    - shuffled batches accounted as Poisson; samplers replaced (WeightedRandomSampler): no loader is taken
    - divisor int(N·q), which depends on the private N: the divisor is ``batch_size``
    - an early break or a skipped step that leaves a clipped sum behind: the sum is dropped
    - two backward passes of one batch, so a record counts twice; a forward without a backward: refused
    - empty batches skipped without noise: they make a noised step
    - ``optimizer.step()`` called directly, which would apply the raw gradient: refused
    - BatchNorm, buffers that learn from the batch, several processes: refused
    - noise repeated by ``manual_seed`` or on resume: a fresh 256-bit key for each run
    - one record with an infinite gradient poisons the sum: it contributes zero; weights that are no longer
      finite end the run
    - a checkpoint that loads with changed σ, q or C: there is none; each run reserves what it does itself

    Raises:
        InputError: any of the cases above, or a value out of range; nothing was trained.
        BudgetExceeded: on entry, the ledger refuses the run; nothing was trained.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        dataset: Dataset[Any],
        *,
        ledger: Ledger,
        dataset_name: str,
        batch_size: int,
        epochs: float,
        noise_multiplier: float | None = None,
        target_epsilon_micro: int | None = None,
        max_grad_norm: float = 1.0,
        sampling_rate: float | None = None,
        physical_batch_size: int = 512,
        loss_reduction: str = "mean",
        record: Record | None = None,
        batch_seed: int | None = None,
    ) -> None:
        self._records = check_dataset(dataset)
        check_model(model, optimizer)
        if batch_size < 1 or physical_batch_size < 1:
            raise InputError("batch sizes are integers of at least 1")
        if not (math.isfinite(max_grad_norm) and max_grad_norm >= 1 / MICRO):
            raise InputError("the clipping norm is not a finite number of at least 10^-6")
        if not (math.isfinite(epochs) and epochs > 0):
            raise InputError("epochs is not a finite number above 0")
        if loss_reduction not in ("mean", "sum"):
            raise InputError("loss_reduction is neither mean nor sum")
        if (noise_multiplier is None) == (target_epsilon_micro is None):
            raise InputError("give either noise_multiplier or target_epsilon_micro")
        rate = batch_size / self._records if sampling_rate is None else sampling_rate
        if not 0 < rate <= 1:
            raise InputError("the sampling rate is outside (0, 1]", hint="batch_size is larger than the dataset")
        rate = min(NANO, math.ceil(rate * NANO)) / NANO
        steps = max(1, math.ceil(epochs / rate - 1e-9))
        if noise_multiplier is None:
            assert target_epsilon_micro is not None
            spent = ledger.spent(dataset_name)
            noise_multiplier = calibrate(
                target_epsilon_micro, spent.delta_exp, rate, steps, limit_micro=spent.limit_micro
            )
        if not (math.isfinite(noise_multiplier) and noise_multiplier >= 1 / MICRO):
            raise InputError("the noise multiplier is not a finite number of at least 10^-6")

        self.mechanism = Mechanism(math.floor(noise_multiplier * MICRO + 1e-6) / MICRO, rate, steps)
        self.max_grad_norm = math.floor(max_grad_norm * MICRO + 1e-6) / MICRO
        self.batch_size = batch_size
        self.steps_run = 0
        self._model, self._optimizer, self._dataset = model, optimizer, dataset
        self._ledger, self._dataset_name, self._record = ledger, dataset_name, record
        self._physical, self._loss_reduction = physical_batch_size, loss_reduction
        self._noise = SecureStream()
        self._draws = SecureStream(_test_key(batch_seed))
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._sums: list[torch.Tensor] = []
        self._pending: tuple[int, bool] | None = None  # records in the batch given out, last of its step
        self._stepping = False
        self._hooks: Any = None
        self._guard: Any = None
        self._quiet = warnings.catch_warnings()
        self._reservation: Reservation | None = None
        self._buffers: list[tuple[int, int]] = []

    def __enter__(self) -> Self:
        if self._reservation is not None:
            raise InputError("a run is entered once", hint="make a new PrivateTraining: each run has its own noise")
        try:
            self._hooks = GradSampleHooks(self._model, loss_reduction=self._loss_reduction)
        except (NotImplementedError, ValueError) as error:
            raise InputError(f"no per-record gradients for this model ({type(error).__name__})") from error
        try:
            self._reservation = self._ledger.reserve(self._dataset_name, self.mechanism)
            known = self._ledger.trace(self._dataset_name, direction="forward")["registration"]
            self._dataset_ref = Ref(known["commitment"], "dataset", self._dataset_name)
        except BaseException:
            self._hooks.cleanup()
            raise
        self._quiet.__enter__()
        warnings.filterwarnings("ignore", message="Full backward hook is firing")  # of torch, at each step
        self._guard = self._optimizer.register_step_pre_hook(self._refuse_foreign_step)
        self._buffers = self._buffer_versions()
        self._forget()
        try:
            self._say("privacy.train.start", "granted", self.mechanism.steps)
        except BaseException:  # no step without its record; nothing ran, so nothing is charged
            self._leave()
            self._ledger.commit(self._reservation.id, 0)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        assert self._reservation is not None
        self._ledger.commit(self._reservation.id, self.steps_run)
        ended = "failed" if error is not None else "done" if self.steps_run == self.mechanism.steps else "stopped"
        self._say("privacy.train.stop", ended, self.steps_run)

    def batches(self) -> Iterator[Any]:
        """Yield batches until the reserved steps are done, each an item's structure with a leading axis.

        Every record is in a step's batch with chance q, independently. A batch larger than
        ``physical_batch_size`` comes in parts; each part wants its own ``backward()`` and ``step()``, the
        update happens after the last. An empty batch makes its noised step here and is not yielded.

        Raises:
            InputError: ``step()`` was not called for the batch before.
        """
        while self.steps_run < self.mechanism.steps:
            self._sums, self._pending = [], None  # what an abandoned step left behind is dropped
            self._forget()
            chosen = (self._draws.uniform(self._records) < self.mechanism.sampling_rate).nonzero()[0]
            if len(chosen) == 0:
                self._release()
                continue
            for start in range(0, len(chosen), self._physical):
                part = chosen[start : start + self._physical].tolist()
                self._pending = (len(part), start + self._physical >= len(chosen))
                yield self._fetch(part)
                if self._pending is not None:
                    raise InputError("a batch was given out and run.step() was not called for it")

    def step(self) -> None:
        """Clip the gradients of this batch; after a step's last part add the noise and update the weights.

        Raises:
            BudgetExceeded: the reserved steps are done; the weights are untouched.
            InputError: no batch to step for, no or more than one backward pass of it, a model in eval mode,
                buffers that changed, weights that are no longer finite.
        """
        if self.steps_run >= self.mechanism.steps:
            raise BudgetExceeded(
                f"all {self.mechanism.steps} reserved steps are done", hint="reserve a new run for more steps"
            )
        if self._pending is None:
            raise InputError("run.step() has no batch", hint="loop over run.batches() and step once for each")
        records, last = self._pending
        self._clip(records)
        self._forget()
        self._pending = None
        if last:
            self._release()

    def _clip(self, records: int) -> None:
        """Add this part's clipped gradients to the sums; a record's gradient has norm <= C over all layers."""
        if self._buffer_versions() != self._buffers:
            raise InputError("a buffer of the model changed during the forward pass", hint="buffers are not private")
        gradients: list[torch.Tensor | None] = []
        for p in self._parameters:
            found = p.grad_sample  # type: ignore[attr-defined]
            if p._forward_counter != 0 or isinstance(found, list):  # type: ignore[attr-defined]
                raise InputError("forward and backward passes of a batch do not pair up one to one")
            if found is not None and found.shape[0] != records:
                raise InputError(f"gradients of {found.shape[0]} records for a batch of {records}")
            gradients.append(found)
        present = [g for g in gradients if g is not None]  # each (B, *shape of its parameter)
        if not present:
            raise InputError(
                "no gradients", hint="call loss.backward() before run.step(), with the model in train mode"
            )
        squares = torch.stack([g.flatten(1).double().square().sum(1) for g in present]).sum(0)  # (B,)
        norms = squares.sqrt()
        factors = (self.max_grad_norm / norms.clamp_min(1e-30)).clamp(max=1.0)  # (B,)
        usable = torch.isfinite(norms)
        if not self._sums:
            self._sums = [torch.zeros_like(p) for p in self._parameters]
        for total, g in zip(self._sums, gradients, strict=True):
            if g is not None:
                clean = g if bool(usable.all()) else torch.where(_column(usable, g), g, torch.zeros_like(g))
                weight = torch.where(usable, factors, torch.zeros_like(factors)).to(g.dtype)
                total += torch.tensordot(weight, clean, dims=1)  # (B,) · (B, *shape) → shape

    def _release(self) -> None:
        """One application of the mechanism: (clipped sum + σC·noise) / batch_size, then the optimizer."""
        sums = self._sums or [torch.zeros_like(p) for p in self._parameters]
        scale = self.mechanism.noise_multiplier * self.max_grad_norm
        for p, total in zip(self._parameters, sums, strict=True):
            noise = self._noise.normal(p.shape, like=p)
            p.grad = (total + scale * noise) / self.batch_size
        ours = {id(p) for p in self._parameters}
        for group in self._optimizer.param_groups:  # a layer thawed or added meanwhile has a raw gradient
            for p in group["params"]:
                if id(p) not in ours:
                    p.grad = None
        self.steps_run += 1  # counted before the weights move, so an error below cannot lose it
        self._stepping = True
        try:
            self._optimizer.step()
        finally:
            self._stepping = False
            self._sums = []
            for p in self._parameters:
                p.grad = None
        if not all(bool(torch.isfinite(p).all()) for p in self._parameters):
            raise InputError("the weights are no longer finite", hint="lower the learning rate")

    def _refuse_foreign_step(self, *_: Any) -> None:
        if not self._stepping:
            raise InputError("optimizer.step() would apply the raw gradient", hint="call run.step() instead")

    def _leave(self) -> None:
        """Give the model and the optimizer back as they were; no raw gradient stays."""
        self._guard.remove()
        self._quiet.__exit__(None, None, None)
        self._forget()
        self._hooks.cleanup()
        self._sums, self._pending = [], None

    def _forget(self) -> None:
        """Drop gradients and half-finished passes, so nothing of one batch reaches the next."""
        for p in self._parameters:
            p.grad = None
            p.grad_sample = None  # type: ignore[attr-defined]
            p._forward_counter = 0  # type: ignore[attr-defined]
            if hasattr(p, "_current_grad_sample"):
                del p._current_grad_sample
        for module in self._model.modules():
            for name in ("activations", "max_batch_len"):
                if name in module.__dict__:
                    delattr(module, name)

    def _fetch(self, indices: list[int]) -> Any:
        device = self._parameters[0].device
        if isinstance(self._dataset, TensorDataset):
            return tuple(t[indices].to(device) for t in self._dataset.tensors)
        items = [self._dataset[i] for i in indices]
        if isinstance(items[0], torch.Tensor):
            return torch.stack(items).to(device)
        return tuple(torch.stack(list(column)).to(device) for column in zip(*items, strict=True))

    def _buffer_versions(self) -> list[tuple[int, int]]:
        return [(id(b), b._version) for b in self._model.buffers()]

    def _say(self, action: str, result: str, steps: int) -> None:
        if self._record is None:
            return
        spent = self._ledger.spent(self._dataset_name)
        facts = {
            "batch_size": self.batch_size,
            "clip_norm_micro": round(self.max_grad_norm * MICRO),
            "delta_exp": spent.delta_exp,
            "epsilon_micro": spent.epsilon_micro,
            "limit_micro": spent.limit_micro,
            "noise_multiplier_micro": round(self.mechanism.noise_multiplier * MICRO),
            "sampling_rate_nano": round(self.mechanism.sampling_rate * NANO),
            "steps": steps,
        }
        self._record(Step(action, result, inputs=(self._dataset_ref,), facts=facts))


def _column(mask: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return mask.reshape(-1, *([1] * (like.dim() - 1)))  # (B,) → (B, 1, ..., 1)


def _test_key(seed: int | None) -> bytes | None:
    return None if seed is None else hashlib.sha256(f"trustplane test batches {seed}".encode()).digest()
