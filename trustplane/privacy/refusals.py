"""What private training refuses before it starts: datasets, models and optimizers without a bound."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset, IterableDataset

from trustplane.errors import InputError

__all__ = ["check_dataset", "check_model"]


def check_dataset(dataset: Dataset[Any]) -> int:
    """Return the number of records; refuse what cannot be Poisson-sampled item by item."""
    if isinstance(dataset, DataLoader):
        raise InputError("a loader was given", hint="pass its dataset: the sampling is part of the guarantee")
    if isinstance(dataset, IterableDataset) or not isinstance(dataset, Sized):
        raise InputError("a dataset with a length and an index is needed", hint="a stream cannot be Poisson-sampled")
    indices = list(getattr(dataset, "indices", ()))  # of torch's Subset
    if len(set(indices)) != len(indices):
        raise InputError("the subset names a record twice", hint="its weight would exceed the clipping norm")
    if len(dataset) < 1:
        raise InputError("the dataset is empty")
    first = dataset[0]
    parts = first if isinstance(first, tuple | list) else [first]
    if not parts or not all(isinstance(part, torch.Tensor) for part in parts):
        raise InputError("the dataset's items are not tensors or tuples of tensors", hint="wrap labels in a tensor")
    return len(dataset)


def check_model(model: nn.Module, optimizer: Optimizer) -> None:
    """Refuse layers, wrappers and optimizers under which one record's influence is not bounded."""
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise InputError(f"layer {name or 'model'} is a BatchNorm: it mixes records", hint="use nn.GroupNorm")
        if isinstance(module, nn.modules.instancenorm._InstanceNorm) and module.track_running_stats:
            raise InputError(f"layer {name or 'model'} keeps running statistics", hint="track_running_stats=False")
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            raise InputError("the model is wrapped for several devices", hint="pass the inner module")
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        raise InputError("several processes would each release their own sums")
    if isinstance(optimizer, torch.optim.LBFGS):
        raise InputError("LBFGS evaluates the loss several times per step", hint="use SGD or Adam")
    if not model.training:
        raise InputError("the model is in eval mode", hint="call model.train()")
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    if not trainable:
        raise InputError("the model has no trainable parameter")
    if any(id(p) not in trainable for group in optimizer.param_groups for p in group["params"] if p.requires_grad):
        raise InputError("the optimizer holds parameters that are not the model's")
