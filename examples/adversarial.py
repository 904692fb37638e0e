"""Adversarial training in a plain loop: the same small network with and without it, under the same attack."""

from functools import partial

import torch
from sklearn.datasets import load_digits
from torch import nn

from trustplane.guard.robust.attacks import pgd
from trustplane.guard.robust.evaluate import evaluate
from trustplane.guard.robust.training import adversarial_batches

torch.manual_seed(0)
torch.set_num_threads(1)
digits = load_digits()
x = torch.tensor(digits.images / 16.0, dtype=torch.float32)[:, None]  # (1797, 1, 8, 8)
y = torch.tensor(digits.target)
order = torch.randperm(len(x))
train, test = order[:1297], order[1297:]
attack = partial(pgd, epsilon=0.12, step_size=0.04, steps=5)

for adversarial in (False, True):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(20):
        batches = [(x[part], y[part]) for part in train[torch.randperm(len(train))].split(128)]
        for a, b in adversarial_batches(model, batches, attack=attack) if adversarial else batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(a), b).backward()
            optimizer.step()
    report = evaluate(model, x[test], y[test], epsilon=0.12, step_size=0.015, steps=40, restarts=3)
    print("adversarial training" if adversarial else "plain training", report, sep="\n")
