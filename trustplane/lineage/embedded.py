"""The embedded ledger: a state file beside the log, believed only while it is exactly what the log says.

Every operation is a step of the log, named ``ledger/<number>``, with the digest of the state after it. One
operation: take the lock; compare the file with the log's last operation; note what is about to happen; write
the step (this is the acknowledgement); apply it. A crash leaves at most a noted operation, which the next
caller finishes or drops by looking into the log. A file that is missing, older or edited differs from the
log and is refused; :meth:`EmbeddedLedger.rebuild` makes it anew from the log. Longer than most files here since
noting, writing, applying and settling are one protocol, which is read and checked as one.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trustplane.errors import BudgetExceeded, InputError, LedgerError, PurposeNotAllowed, StoreError
from trustplane.lineage import state
from trustplane.lock import held
from trustplane.ports import Accountant, Dataset, Journal, Mechanism, Model, Reservation, Spent, Usage
from trustplane.step import Step

__all__ = ["EmbeddedLedger"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta(
    id INTEGER PRIMARY KEY CHECK(id = 1), op INTEGER NOT NULL, lineage TEXT NOT NULL, pending TEXT);
CREATE TABLE IF NOT EXISTS budgets(
    dataset TEXT PRIMARY KEY, epsilon_micro INTEGER NOT NULL, delta_exp INTEGER NOT NULL,
    rdp TEXT NOT NULL, reservations INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held(
    id TEXT PRIMARY KEY, dataset TEXT NOT NULL, mechanism TEXT NOT NULL, rdp TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records(
    seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, model TEXT NOT NULL DEFAULT '',
    facts TEXT NOT NULL, entry INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS records_name ON records(name);
CREATE INDEX IF NOT EXISTS records_model ON records(model);
"""
_LINEAGE = {
    "ledger.dataset.register": "dataset",
    "ledger.model.register": "model",
    "ledger.usage.record": "usage",
}
REBUILD = "the ledger's file is not what the log says; rebuild it from the log: trustplane ledger rebuild"


def op_name(number: int) -> str:
    """Return the request id under which operation ``number`` stands in the log."""
    return f"ledger/{number:012d}"


def _place(facts: dict[str, Any]) -> tuple[str, str, str]:
    """Return kind, name and model under which a lineage record is found."""
    if "purpose" in facts:
        return "usage", facts["dataset"], facts["model"]
    return ("model", facts["model"], "") if "model" in facts else ("dataset", facts["dataset"], "")


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


class EmbeddedLedger:
    """A ledger in one SQLite file; any number of threads and processes may use it at once.

    ``path``: the file. ``journal``: the audit log. ``accountant``: what a mechanism costs and a limit allows.

    Raises:
        LedgerError: stage ``check``: the file is missing while the log has operations, or differs from it;
            stage ``open``: it cannot be opened.
    """

    def __init__(self, path: Path, *, journal: Journal, accountant: Accountant) -> None:
        self.path, self._journal, self._accountant = path, journal, accountant
        self._thread_lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._pid, self._inode = os.getpid(), 0
        with self._held():
            self._check_records()

    # ── plumbing ────────────────────────────────────────────────────────────────────────────────────

    def _connect(self) -> sqlite3.Connection:
        if self._db is not None and (self._pid != os.getpid() or _inode(self.path) != self._inode):
            self._db = None  # forked, deleted or put in place of: look at what is there now
        if self._db is None:
            existed = self.path.exists()
            db = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.executescript(_SCHEMA)
            db.execute("INSERT OR IGNORE INTO meta VALUES (1, 0, '', NULL)")
            if not existed:
                self.path.chmod(0o600)
            self._db, self._pid, self._inode = db, os.getpid(), _inode(self.path)
        return self._db

    @contextmanager
    def _held(self) -> Iterator[sqlite3.Connection]:
        """Hold the ledger: nobody else in any process, and the file is what the log says."""
        if self._pid != os.getpid():  # forked: another thread of the parent may hold its lock for ever
            self._thread_lock = threading.RLock()
        with self._thread_lock, held(self.path.with_suffix(".lock")):
            try:
                db = self._connect()
                self._settle(db)
                yield db
            except sqlite3.Error as error:
                self._db = None
                text = str(error)
                if "full" in text:
                    raise StoreError("the ledger: no space left", hint="free space and try again") from None
                raise LedgerError(f"the ledger's file: {type(error).__name__}", stage="open", hint=REBUILD) from None
            except (ValueError, KeyError, TypeError) as error:  # a row that is not what this class wrote
                raise LedgerError("a row of the ledger's file is malformed", stage="open", hint=REBUILD) from error

    def _wrong(self, why: str) -> LedgerError:
        return LedgerError(f"refused: {why}", stage="check", hint=REBUILD)

    def _settle(self, db: sqlite3.Connection) -> None:
        """Finish or drop a noted operation; refuse a file that differs from the log."""
        op, lineage, pending = db.execute("SELECT op, lineage, pending FROM meta").fetchone()
        if pending is not None:
            noted = json.loads(pending)
            written = self._journal.read(op_name(op + 1))
            if written:
                index, step = written[0]
                if step.facts.get("state") != noted["facts"]["state"]:
                    raise self._wrong("a noted operation is not the one in the log")
                self._apply(db, step, index)
            else:
                db.execute("UPDATE meta SET pending = NULL")
            op, lineage, _ = db.execute("SELECT op, lineage, pending FROM meta").fetchone()
        if self._journal.read(op_name(op + 1)):
            missing = "the file is missing" if op == 0 else f"the file ends at operation {op}"
            raise self._wrong(f"{missing}, the log goes on")
        if op:
            last = self._journal.read(op_name(op))
            if len(last) != 1:
                raise self._wrong(f"operation {op} is not in the log once")
            if last[0][1].facts.get("state") != self._digest(db, op, lineage):
                raise self._wrong("the file was edited")
        elif db.execute("SELECT (SELECT count(*) FROM budgets) + (SELECT count(*) FROM records)").fetchone()[0]:
            raise self._wrong("the file holds what the log never saw")

    def _digest(self, db: sqlite3.Connection, op: int, lineage: str) -> str:
        return state.state_digest(
            op,
            lineage,
            db.execute("SELECT * FROM budgets ORDER BY dataset").fetchall(),
            db.execute("SELECT * FROM held ORDER BY id").fetchall(),
        )

    def _check_records(self) -> None:
        """Recompute the chain over all lineage records."""
        with self._thread_lock:
            db = self._connect()
            chain = ""
            try:
                for kind, name, model, text in db.execute("SELECT kind, name, model, facts FROM records ORDER BY seq"):
                    facts = json.loads(text)
                    chain = state.chained(chain, facts)
                    if (kind, name, model) != _place(facts):
                        raise ValueError
            except (ValueError, InputError):
                raise self._wrong("a lineage record was edited") from None
            if chain != db.execute("SELECT lineage FROM meta").fetchone()[0]:
                raise self._wrong("a lineage record was edited")

    def _do(self, db: sqlite3.Connection, action: str, result: str, facts: dict[str, Any]) -> int:
        """Carry out one operation and return its log index."""
        op = int(db.execute("SELECT op FROM meta").fetchone()[0]) + 1
        facts = facts | {"op": op}
        db.execute("BEGIN IMMEDIATE")
        try:  # run it, to learn the state after it, then take it back
            self._change(db, Step(action, result, facts=facts), -1)
            lineage = db.execute("SELECT lineage FROM meta").fetchone()[0]
            facts = facts | {"state": self._digest(db, op, lineage)}
        finally:
            db.execute("ROLLBACK")
        step = Step(action, result, facts=facts)
        db.execute("UPDATE meta SET pending = ?", (json.dumps({"action": action, "facts": facts}),))
        try:
            index = self._journal.write(op_name(op), step)
        except StoreError as error:
            raise LedgerError(f"the log took no step: {error.message}", stage="record", hint=error.hint) from None
        self._apply(db, step, index)
        return index

    def _apply(self, db: sqlite3.Connection, step: Step, index: int) -> None:
        db.execute("BEGIN IMMEDIATE")
        try:
            self._change(db, step, index)
            db.execute("UPDATE meta SET pending = NULL")
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise

    def _change(self, db: sqlite3.Connection, step: Step, index: int) -> None:
        """Do to the tables what an operation says: the state is a function of the operations alone."""
        facts = step.facts
        if step.result in ("registered", "recorded"):
            kind = _LINEAGE[step.action]
            plain = {k: list(v) if isinstance(v, tuple) else v for k, v in facts.items() if k != "state"}
            chain = state.chained(db.execute("SELECT lineage FROM meta").fetchone()[0], plain)
            _, name, model = _place(facts)
            db.execute(
                "INSERT INTO records(kind, name, model, facts, entry) VALUES (?,?,?,?,?)",
                (kind, name, model, json.dumps(plain), index),
            )
            db.execute("UPDATE meta SET lineage = ?", (chain,))
            if kind == "dataset":
                zero = json.dumps([0] * len(self._accountant.orders))
                db.execute(
                    "INSERT INTO budgets VALUES (?,?,?,?,0)",
                    (name, facts["epsilon_micro"], facts["delta_exp"], zero),
                )
        elif step.result == "granted":
            charge = list(facts["charge_micro"])
            self._add(db, facts["dataset"], charge, 1)
            mechanism = {k: facts[k] for k in ("noise_multiplier_nano", "sampling_rate_nano", "steps", "relation")}
            db.execute(
                "INSERT INTO held VALUES (?,?,?,?)",
                (facts["reservation"], facts["dataset"], json.dumps(mechanism), json.dumps(charge)),
            )
        elif step.result == "settled":
            (held,) = db.execute("SELECT rdp FROM held WHERE id = ?", (facts["reservation"],)).fetchone()
            back = [used - whole for used, whole in zip(facts["charge_micro"], json.loads(held), strict=True)]
            self._add(db, facts["dataset"], back, 0)
            db.execute("DELETE FROM held WHERE id = ?", (facts["reservation"],))
        db.execute("UPDATE meta SET op = ?", (facts["op"],))

    def _add(self, db: sqlite3.Connection, dataset: str, charge: list[int], reservations: int) -> None:
        (rdp,) = db.execute("SELECT rdp FROM budgets WHERE dataset = ?", (dataset,)).fetchone()
        total = [a + b for a, b in zip(json.loads(rdp), charge, strict=True)]
        db.execute(
            "UPDATE budgets SET rdp = ?, reservations = reservations + ? WHERE dataset = ?",
            (json.dumps(total), reservations, dataset),
        )

    # ── datasets, models, uses ──────────────────────────────────────────────────────────────────────

    def register_dataset(self, dataset: Dataset) -> int:
        """Register a dataset once, with its purposes and its limit; return the log index.

        The same registration again returns the first index; another under this name is refused.
        """
        facts = state.check_dataset(dataset) | {"accountant": self._accountant.version}
        limits = self._accountant.limits(dataset.epsilon_micro, dataset.delta_exp)
        if max(limits) <= 0:
            raise InputError("no spend fits under this ε and δ", hint="a larger δ or ε")
        return self._register("dataset", dataset.name, "ledger.dataset.register", facts)

    def register_model(self, model: Model) -> int:
        """Register a model once; return the log index."""
        return self._register("model", model.name, "ledger.model.register", state.check_model(model))

    def _register(self, kind: str, name: str, action: str, facts: dict[str, Any]) -> int:
        with self._held() as db:
            sql = "SELECT facts, entry FROM records WHERE kind = ? AND name = ?"
            found = db.execute(sql, (kind, name)).fetchone()
            if found is None:
                if kind == "dataset":
                    self._refuse_twin(db, facts["commitment"])
                return self._do(db, action, "registered", facts)
            known = json.loads(found[0])
            if {k: v for k, v in known.items() if k != "op"} != facts:
                raise InputError(
                    f"{kind} {name!r} is registered with other particulars", hint="they are fixed once; use a new name"
                )
            return int(found[1])

    def _refuse_twin(self, db: sqlite3.Connection, commitment: str) -> None:
        """The same content under a second name would have a second budget."""
        for name, facts in db.execute("SELECT name, facts FROM records WHERE kind = 'dataset'"):
            if json.loads(facts)["commitment"] == commitment:
                raise InputError(f"this content is registered already, as {name!r}", hint="one content, one budget")

    def _registered(self, db: sqlite3.Connection, kind: str, name: str) -> dict[str, Any]:
        found = db.execute("SELECT facts FROM records WHERE kind = ? AND name = ?", (kind, name)).fetchone()
        if found is None:
            raise InputError(f"there is no {kind} {name!r}", hint=f"trustplane ledger register {kind} ...")
        facts: dict[str, Any] = json.loads(found[0])
        return facts

    def record_usage(self, dataset: str, model: str, purpose: str) -> Usage:
        """Record that ``dataset`` goes into ``model`` for ``purpose``.

        Raises:
            PurposeNotAllowed: the owner did not allow it; the refusal is in the log.
        """
        state.check_name(purpose, "purpose")
        with self._held() as db:
            known = self._registered(db, "dataset", dataset)
            self._registered(db, "model", model)
            facts = {"dataset": dataset, "model": model, "purpose": purpose}
            if purpose not in known["purposes"]:
                self._do(db, "ledger.usage.record", "refused", facts)
                raise PurposeNotAllowed(
                    f"dataset {dataset!r} may not be used for {purpose!r}",
                    hint=f"its owner allows: {', '.join(known['purposes'])}",
                )
            return Usage(dataset, model, purpose, self._do(db, "ledger.usage.record", "recorded", facts))

    def trace(self, name: str, *, direction: str) -> dict[str, Any]:
        """Follow uses ``forward`` from a dataset, or ``backward`` from a model.

        Returns name, direction, its registration and the uses, each with its log index; forward also the
        budget, backward also each dataset's commitment.
        """
        if direction not in ("forward", "backward"):
            raise InputError("a trace goes forward or backward")
        kind, column = ("dataset", "name") if direction == "forward" else ("model", "model")
        with self._held() as db:
            self._check_records()
            about = self._registered(db, kind, name)
            sql = f"SELECT facts, entry FROM records WHERE kind = 'usage' AND {column} = ? ORDER BY seq"  # noqa: S608
            uses = [json.loads(facts) | {"entry": entry} for facts, entry in db.execute(sql, (name,))]
            for use in uses:
                if [index for index, _ in self._journal.read(op_name(use["op"]))] != [use["entry"]]:
                    raise self._wrong("a lineage record names another entry than the log's")
            result: dict[str, Any] = {"name": name, "direction": direction, "registration": about, "uses": uses}
            if direction == "backward":
                for use in uses:
                    use["commitment"] = self._registered(db, "dataset", use["dataset"])["commitment"]
        if direction == "forward":
            spent = self.spent(name)
            result["spent"] = {"epsilon_micro": spent.epsilon_micro, "limit_micro": spent.limit_micro}
        return result

    def datasets(self) -> list[str]:
        """Return the names of all registered datasets, sorted."""
        with self._held() as db:
            return [row[0] for row in db.execute("SELECT dataset FROM budgets ORDER BY dataset")]

    # ── budgets ─────────────────────────────────────────────────────────────────────────────────────

    def _budget(self, db: sqlite3.Connection, dataset: str) -> tuple[int, int, list[int], int]:
        sql = "SELECT epsilon_micro, delta_exp, rdp, reservations FROM budgets WHERE dataset = ?"
        row = db.execute(sql, (dataset,)).fetchone()
        if row is None:
            raise InputError(f"there is no dataset {dataset!r}", hint="trustplane ledger register dataset ...")
        return row[0], row[1], json.loads(row[2]), row[3]

    def reserve(self, dataset: str, mechanism: Mechanism) -> Reservation:
        """Charge a whole mechanism before it runs.

        Raises:
            BudgetExceeded: no order of the filter would stay under its limit; the refusal is in the log.
        """
        exact = state.rounded(mechanism)
        charge = self._accountant.charge(exact)
        with self._held() as db:
            epsilon, delta, rdp, _ = self._budget(db, dataset)
            version = self._registered(db, "dataset", dataset)["accountant"]
            if version != self._accountant.version:
                raise LedgerError(
                    f"dataset {dataset!r} is accounted for by {version}, not {self._accountant.version}",
                    stage="check",
                    hint="vectors of two accountants do not add up; use the release that registered it",
                )
            limits = self._accountant.limits(epsilon, delta)
            total = [a + b for a, b in zip(rdp, charge, strict=True)]
            facts = {"dataset": dataset, "limit_micro": epsilon, "delta_exp": delta} | state.mechanism_facts(exact)
            after = self._accountant.epsilon_micro(total, epsilon, delta)
            if not any(0 <= t <= limit for t, limit in zip(total, limits, strict=True)):
                now = self._accountant.epsilon_micro(rdp, epsilon, delta)
                self._do(db, "ledger.spend.reserve", "refused", facts | {"epsilon_micro": now, "asked_micro": after})
                raise BudgetExceeded(
                    f"refused: dataset {dataset!r} would stand at ε = {after / 1e6:.3f} of {epsilon / 1e6:.3f}",
                    hint=f"ε = {now / 1e6:.3f} is spent; fewer steps, more noise or a lower sampling rate may fit",
                )
            ident = secrets.token_hex(8)
            granted = {"reservation": ident, "charge_micro": list(charge), "epsilon_micro": after}
            self._do(db, "ledger.spend.reserve", "granted", facts | granted)
            return Reservation(ident, dataset, exact)

    def commit(self, reservation: str, steps: int) -> Spent:
        """Settle a reservation at the steps that ran; what did not run is free again."""
        with self._held() as db:
            row = db.execute("SELECT dataset, mechanism FROM held WHERE id = ?", (reservation,)).fetchone()
            if row is None:
                raise InputError("there is no such open reservation", hint="each is settled once")
            dataset, facts = row[0], json.loads(row[1])
            whole = state.mechanism_of(facts)
            if type(steps) is not int or not 0 <= steps <= whole.steps:
                raise InputError(f"a reservation of {whole.steps} steps settles at 0..{whole.steps}")
            charge = [0] * len(self._accountant.orders)
            if steps:
                charge = list(self._accountant.charge(state.mechanism_of(facts | {"steps": steps})))
            self._do(
                db,
                "ledger.spend.commit",
                "settled",
                {"dataset": dataset, "reservation": reservation, "steps": steps, "charge_micro": charge},
            )
        return self.spent(dataset)

    def spent(self, dataset: str) -> Spent:
        """Return what a dataset has spent, open reservations included in full."""
        with self._held() as db:
            epsilon, delta, rdp, reservations = self._budget(db, dataset)
        now = self._accountant.epsilon_micro(rdp, epsilon, delta) if any(rdp) else 0
        return Spent(dataset, now, epsilon, delta, tuple(rdp), reservations)

    # ── rebuilding ──────────────────────────────────────────────────────────────────────────────────

    @classmethod
    def rebuild(cls, path: Path, *, journal: Journal, accountant: Accountant) -> EmbeddedLedger:
        """Make the file anew from the log's operations, checking each state digest; log that it was done.

        Raises:
            LedgerError: stage ``rebuild``: an operation of the log does not follow from those before it.
        """
        ledger = cls.__new__(cls)
        ledger.path, ledger._journal, ledger._accountant = path, journal, accountant
        ledger._thread_lock, ledger._db, ledger._pid = threading.RLock(), None, os.getpid()
        ledger._inode = 0
        with held(path.with_suffix(".lock")):
            for suffix in ("", "-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
            db = ledger._connect()
            op = 0
            while written := journal.read(op_name(op + 1)):
                op += 1
                index, step = written[0]
                ledger._apply(db, step, index)
                lineage = db.execute("SELECT lineage FROM meta").fetchone()[0]
                if len(written) != 1 or ledger._digest(db, op, lineage) != step.facts.get("state"):
                    raise LedgerError(
                        f"operation {op} of the log does not follow from those before it",
                        stage="rebuild",
                        hint="trustplane log verify says where the log was changed",
                    )
        return ledger

    def close(self) -> None:
        """Release the file."""
        with self._thread_lock:
            if self._db is not None and self._pid == os.getpid():
                self._db.close()
            self._db = None
