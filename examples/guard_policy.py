"""Decide about texts by a policy: by direction, purpose and tenant, with the reason for each place."""

from pathlib import Path

from trustplane.errors import Refused
from trustplane.guard.text.guarded import Guarded
from trustplane.guard.text.policy import Policy

policy = Policy.load(Path(__file__).with_name("guard_policy.toml"))
guarded = Guarded(policy, key=b"thirty-two bytes from your vault", record=lambda step: print("step:", step.result))
session = guarded.guard.session()

text = "My name is Alice Johnson, alice@example.com; ask info@clinic.example"
for where in ({}, {"direction": "in"}, {"purpose": "statistics"}, {"tenant": "psychiatry"}):
    decision = guarded.decide(text, **where)
    print(where or "default", "→", decision.verdict, [(d.hit.entity, d.action) for d in decision.hits])
    try:
        print("  ", guarded.apply(decision, text, session))
    except Refused as refused:
        print("  ", refused.message)
