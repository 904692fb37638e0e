"""Sessions in memory: time to live, capacity, isolation, threads."""

import random
import threading

import pytest

from trustplane.errors import InputError
from trustplane.guard.text import Session, TextGuard
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.vault import MemoryVault

KEY = b"k" * 32


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_sessions_live_as_long_as_they_are_used(guard: TextGuard) -> None:
    clock = Clock()
    vault = MemoryVault(10, 100, clock=clock)

    def session(name: str) -> Session:
        return vault.session("t", name, lambda: Session(guard, key=KEY, tenant="t", session=name))

    hidden = session("a").hide("alice@example.com")
    clock.now = 9
    assert session("a").restore(hidden) == "alice@example.com"
    clock.now = 18.9
    assert session("a").restore(hidden) == "alice@example.com" and len(vault) == 1
    clock.now = 28.9
    assert len(vault) == 0
    assert session("a").restore(hidden) == hidden
    assert session("a").hide("alice@example.com") == hidden  # the key gives the same pseudonym again
    held = session("a")
    assert vault.forget("t", "a") and not vault.forget("t", "a")
    assert held.restore(hidden) == hidden and held.values() == {}
    assert "alice" not in repr(vault)


def test_capacity_and_bad_settings(guard: TextGuard) -> None:
    vault = MemoryVault(10, 2, clock=Clock())
    made = [vault.session("t", name, lambda: Session(guard)) for name in ("a", "b", "a", "c")]
    assert len(vault) == 2 and made[0] is made[2]
    assert vault.session("t", "a", lambda: Session(guard)) is made[0]  # b was used longest ago
    assert vault.session("t", "b", lambda: Session(guard)) is not made[1]
    for ttl, capacity in ((0, 1), (-1, 1), (float("nan"), 1), (1, 0)):
        with pytest.raises(InputError):
            MemoryVault(ttl, capacity)


def test_interleaved_sessions_never_cross(guard: TextGuard) -> None:
    vault = MemoryVault(1e9, 1000)
    draw = random.Random(5)
    hidden: dict[tuple[str, str], str] = {}
    order = [(f"t{n % 20}", f"s{n // 20}") for n in range(400)] * 2
    draw.shuffle(order)
    for tenant, name in order:
        session = vault.session(tenant, name, lambda t=tenant, n=name: Session(guard, key=KEY, tenant=t, session=n))
        value = f"{tenant}-{name}@example.com"
        shown = session.hide_hits([value], [[Hit("EMAIL_ADDRESS", 0, len(value), 1.0)]])[0]
        assert hidden.setdefault((tenant, name), shown) == shown
        for other in draw.sample(sorted(hidden), min(3, len(hidden))):
            out = session.restore(hidden[other])
            assert "@" not in out or out == value


def test_threads_share_vault_and_session(guard: TextGuard) -> None:
    vault = MemoryVault(60)
    wrong: list[str] = []

    def work(number: int) -> None:
        session = vault.session("t", "s", lambda: Session(guard, key=KEY))
        for turn in range(20):
            text = f"user{(number + turn) % 9}@example.com"
            shown = session.hide_hits([text], [[Hit("EMAIL_ADDRESS", 0, len(text), 1.0)]])[0]
            if session.restore(shown) != text:
                wrong.append(shown)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    session = vault.session("t", "s", lambda: Session(guard))
    assert not wrong and len(session.values()) == 9 and session.findings == 160
