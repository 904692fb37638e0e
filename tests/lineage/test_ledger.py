"""The contract of the Ledger port, and attacks on the embedded ledger's file."""

import random
import shutil
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trustplane.audit.log.log import AuditLog
from trustplane.audit.log.verify import verify_log
from trustplane.errors import BudgetExceeded, InputError, LedgerError, PurposeNotAllowed
from trustplane.lineage.embedded import EmbeddedLedger
from trustplane.ports import Dataset, Ledger, Mechanism, Model
from trustplane.privacy.accounting import RenyiAccountant

COMMITMENT = "sha256:" + "ab" * 32
RUN = Mechanism(1.1, 0.01, 200)


def dataset(name="patients", commitment=COMMITMENT, **change):
    fields = {"owner": "City Hospital", "purposes": ("diagnosis", "research"), "epsilon_micro": 2_000_000}
    return Dataset(name, commitment, **(fields | change))


@pytest.fixture
def log(tmp_path):
    with AuditLog.open(tmp_path / "plane") as opened:
        yield opened


@pytest.fixture
def ledger(log, tmp_path):
    made = EmbeddedLedger(tmp_path / "plane/ledger.db", journal=log, accountant=RenyiAccountant())
    yield made
    made.close()


def reopen(log, tmp_path):
    return EmbeddedLedger(tmp_path / "plane/ledger.db", journal=log, accountant=RenyiAccountant())


def steps_of(log):
    log.flush()
    return [(e.public.action, e.public.result) for e in log.entries()]


# ── the contract ────────────────────────────────────────────────────────────────────────────────────


def test_it_is_a_ledger(ledger):
    assert isinstance(ledger, Ledger)


def test_registration_is_fixed_once(ledger, log):
    first = ledger.register_dataset(dataset())
    assert ledger.register_dataset(dataset()) == first
    for change in ({"epsilon_micro": 9_000_000}, {"purposes": ("ads",)}, {"owner": "x"}, {"delta_exp": 3}):
        with pytest.raises(InputError, match="other particulars"):
            ledger.register_dataset(dataset(**change))
    with pytest.raises(InputError, match="registered already"):
        ledger.register_dataset(dataset(name="patients again"))  # a second name is no second budget
    ledger.register_model(Model("m", COMMITMENT))
    with pytest.raises(InputError):
        ledger.register_model(Model("m", "sha256:" + "cd" * 32))
    assert steps_of(log).count(("ledger.dataset.register", "registered")) == 1


@pytest.mark.parametrize(
    "bad",
    [
        dataset(name=""), dataset(name=" x"), dataset(name="a\nb"), dataset(name="x" * 129), dataset(commitment="abc"),
        dataset(purposes=()), dataset(purposes=("a", "a")), dataset(epsilon_micro=0), dataset(epsilon_micro=1.5),
        dataset(delta_exp=0), dataset(delta_exp=99), dataset(epsilon_micro=10**12),
    ],
)  # fmt: skip
def test_bad_registrations_are_refused_before_anything_is_written(ledger, log, bad):
    before = len(steps_of(log))
    with pytest.raises(InputError):
        ledger.register_dataset(bad)
    assert len(steps_of(log)) == before


def test_purposes(ledger, log):
    ledger.register_dataset(dataset(name="病历"))
    ledger.register_model(Model("诊断模型", COMMITMENT))
    usage = ledger.record_usage("病历", "诊断模型", "diagnosis")
    assert log.entry(usage.index).public.facts["purpose"] == "diagnosis"
    with pytest.raises(PurposeNotAllowed):
        ledger.record_usage("病历", "诊断模型", "advertising")
    assert ("ledger.usage.record", "refused") in steps_of(log)
    with pytest.raises(InputError):
        ledger.record_usage("nothing", "诊断模型", "diagnosis")
    forward = ledger.trace("病历", direction="forward")
    assert [u["model"] for u in forward["uses"]] == ["诊断模型"] and forward["spent"]["limit_micro"] == 2_000_000
    backward = ledger.trace("诊断模型", direction="backward")
    assert backward["uses"][0]["commitment"] == COMMITMENT
    with pytest.raises(InputError):
        ledger.trace("病历", direction="sideways")


def test_spending_stops_at_the_limit(ledger, log):
    ledger.register_dataset(dataset())
    granted = 0
    with pytest.raises(BudgetExceeded) as refused:
        for _ in range(100):
            ledger.reserve("patients", RUN)
            granted += 1
    assert granted >= 3 and refused.value.exit_code == 3
    spent = ledger.spent("patients")
    assert 0 < spent.epsilon_micro <= spent.limit_micro and spent.reservations == granted
    limits = RenyiAccountant().limits(2_000_000, 5)
    assert any(s <= limit for s, limit in zip(spent.rdp_micro, limits, strict=True))
    results = steps_of(log)
    assert results.count(("ledger.spend.reserve", "granted")) == granted
    assert results.count(("ledger.spend.reserve", "refused")) == 1


def test_what_did_not_run_is_free_again(ledger):
    ledger.register_dataset(dataset())
    reservation = ledger.reserve("patients", RUN)
    whole = ledger.spent("patients").epsilon_micro
    part = ledger.commit(reservation.id, 50)
    assert part.epsilon_micro < whole
    with pytest.raises(InputError):
        ledger.commit(reservation.id, 50)  # settled once
    other = ledger.reserve("patients", RUN)
    for steps in (-1, 201, 1.5, True):
        with pytest.raises(InputError):
            ledger.commit(other.id, steps)
    assert ledger.commit(other.id, 0).rdp_micro == part.rdp_micro


@pytest.mark.parametrize(
    "bad",
    [
        Mechanism(0, 0.1, 1), Mechanism(-1, 0.1, 1), Mechanism(float("nan"), 0.1, 1), Mechanism(float("inf"), 0.1, 1),
        Mechanism(1, 0, 1), Mechanism(1, 1.1, 1), Mechanism(1, float("nan"), 1), Mechanism(1, 0.1, 0),
        Mechanism(1, 0.1, 1.5), Mechanism(1, 0.1, True), Mechanism(1, 0.1, 10**10), Mechanism(1, 0.1, 1, "replace-one"),
        Mechanism(1e-12, 0.1, 1),
    ],
)  # fmt: skip
def test_mechanisms_that_cannot_be_accounted_are_refused(ledger, bad):
    ledger.register_dataset(dataset())
    with pytest.raises(InputError):
        ledger.reserve("patients", bad)
    assert ledger.spent("patients").epsilon_micro == 0


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.floats(0.5, 8), st.floats(0.0005, 0.2), st.integers(1, 500), st.floats(0, 1)), max_size=12)
)
def test_any_mix_of_grants_and_settlements_stays_under_the_limit(tmp_path_factory, spends):
    folder = tmp_path_factory.mktemp("mix")
    accountant = RenyiAccountant()
    with AuditLog.open(folder) as log:
        ledger = EmbeddedLedger(folder / "ledger.db", journal=log, accountant=accountant)
        ledger.register_dataset(dataset())
        ran = []
        for sigma, rate, steps, part in spends:
            try:
                reservation = ledger.reserve("patients", Mechanism(sigma, rate, steps))
            except BudgetExceeded:
                continue
            done = int(steps * part)
            ledger.commit(reservation.id, done)
            if done:
                ran.append(accountant.charge(Mechanism(reservation.mechanism.noise_multiplier,
                                                       reservation.mechanism.sampling_rate, done)))  # fmt: skip
        total = [sum(column) for column in zip(*ran, strict=True)] if ran else [0]
        assert list(ledger.spent("patients").rdp_micro) == total or not ran
        assert not ran or any(t <= b for t, b in zip(total, accountant.limits(2_000_000, 5), strict=True))
        ledger.close()


# ── attacks on the file ─────────────────────────────────────────────────────────────────────────────


def fill(ledger):
    ledger.register_dataset(dataset())
    ledger.register_model(Model("m", COMMITMENT))
    ledger.record_usage("patients", "m", "research")
    ledger.reserve("patients", RUN)
    ledger.reserve("patients", RUN)


def test_a_deleted_file_is_noticed_and_can_be_rebuilt(ledger, log, tmp_path):
    fill(ledger)
    before = ledger.spent("patients")
    ledger.close()
    for path in (tmp_path / "plane").glob("ledger.db*"):
        path.unlink()
    with pytest.raises(LedgerError, match="missing") as refused:
        reopen(log, tmp_path)
    assert refused.value.exit_code == 4 and "rebuild" in refused.value.hint
    rebuilt = EmbeddedLedger.rebuild(tmp_path / "plane/ledger.db", journal=log, accountant=RenyiAccountant())
    assert rebuilt.spent("patients") == before
    rebuilt.close()
    assert reopen(log, tmp_path).spent("patients") == before


def test_a_file_deleted_while_open_is_noticed(ledger, tmp_path):
    fill(ledger)
    for path in (tmp_path / "plane").glob("ledger.db*"):
        path.unlink()
    with pytest.raises(LedgerError):
        ledger.reserve("patients", RUN)


def test_a_restored_file_is_noticed(ledger, log, tmp_path):
    fill(ledger)
    ledger.close()
    saved = tmp_path / "saved.db"
    shutil.copy(tmp_path / "plane/ledger.db", saved)
    again = reopen(log, tmp_path)
    again.reserve("patients", Mechanism(4.0, 0.001, 10))
    again.close()
    for path in (tmp_path / "plane").glob("ledger.db-*"):
        path.unlink()
    shutil.copy(saved, tmp_path / "plane/ledger.db")
    with pytest.raises(LedgerError, match="log goes on"):
        reopen(log, tmp_path)


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE budgets SET rdp = '[' || rtrim(replace(hex(zeroblob(200)), '00', '0,'), ',') || ']'",
        "UPDATE budgets SET epsilon_micro = 9000000",
        "UPDATE budgets SET delta_exp = 1",
        "UPDATE budgets SET reservations = 0",
        "DELETE FROM budgets",
        "DELETE FROM held",
        "UPDATE held SET rdp = '[]'",
        "UPDATE meta SET op = op - 1",
        "UPDATE meta SET op = 0",
        "UPDATE meta SET lineage = ''",
        "UPDATE records SET facts = replace(facts, 'research', 'advertising')",
        "DELETE FROM records WHERE kind = 'usage'",
        "INSERT INTO records(kind, name, facts, entry) VALUES ('usage', 'x', '{}', 1)",
        'UPDATE meta SET pending = \'{"facts":{"state":"sha256:00"}}\', op = op - 1',
    ],
)
def test_an_edited_file_is_noticed(ledger, log, tmp_path, edit):
    fill(ledger)
    ledger.close()
    with sqlite3.connect(tmp_path / "plane/ledger.db") as db:
        db.execute(edit)
    with pytest.raises(LedgerError) as refused:
        reopen(log, tmp_path)
    assert refused.value.stage in ("check", "open")


def test_random_bytes_in_the_file_never_grant_more(ledger, log, tmp_path):
    fill(ledger)
    before = ledger.spent("patients")
    ledger.close()
    path = tmp_path / "plane/ledger.db"
    good = path.read_bytes()
    rng = random.Random(5)
    noticed = 0
    for _ in range(60):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(bytes(data))
        try:
            opened = reopen(log, tmp_path)
        except LedgerError:
            noticed += 1
        else:  # an edit of a free page or of an index changes nothing that counts
            assert opened.spent("patients") == before
            opened.close()
    assert noticed > 5


def test_a_crash_between_log_and_file_is_finished_by_the_next(ledger, log, tmp_path, monkeypatch):
    ledger.register_dataset(dataset())
    monkeypatch.setattr(ledger, "_apply", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        ledger.reserve("patients", RUN)
    after = reopen(log, tmp_path)
    assert after.spent("patients").reservations == 1  # it stands in the log: it counts
    after.close()


def test_a_crash_before_the_log_leaves_nothing(ledger, log, tmp_path, monkeypatch):
    ledger.register_dataset(dataset())
    monkeypatch.setattr(log.store, "append", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        ledger.reserve("patients", RUN)
    monkeypatch.undo()
    after = reopen(log, tmp_path)
    assert after.spent("patients").reservations == 0
    after.reserve("patients", RUN)
    after.close()


def test_the_log_of_a_used_ledger_verifies(ledger, log):
    fill(ledger)
    log.checkpoint()
    assert verify_log(log.store, log.origin, log.keys.verifiers).size == log.store.size()
