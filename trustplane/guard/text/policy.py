"""Policy: what happens to each kind of finding, by direction, tenant and purpose; typed, with a digest."""

from __future__ import annotations

import difflib
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from trustplane.canon import digest, dumps
from trustplane.errors import InputError
from trustplane.guard.text.allow import Allowed, plain
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.overlay import lay, restyled
from trustplane.guard.text.policy_file import (
    Action,
    Allow,
    ContentActions,
    Defaults,
    InjectionActions,
    Overlay,
    PolicyFile,
    RuleActions,
    parse,
)
from trustplane.step import Ref

__all__ = ["PRESETS", "Action", "Direction", "Policy", "check_direction"]

Direction = Literal["in", "out"]
"""``out``: towards someone else (a prompt that leaves). ``in``: towards us (a reply, a tool's result)."""

_DIRECTIONS: tuple[Direction, ...] = get_args(Direction)

PRESETS: Mapping[str, str] = MappingProxyType(
    {
        "strict": "secrets and card numbers block, personal data is masked, injected instructions block",
        "gdpr": "personal data becomes pseudonyms on its way out, secrets block",
        "secrets-only": "secrets block, personal data passes",
        "proxy": "all that is found becomes pseudonyms on its way out and is masked in replies; nothing blocks",
    }
)
"""Names of the policies that come with the package, and what each does in a sentence."""

THRESHOLD = 0.4
"""Lowest score that counts where the policy names none."""
RULINGS = 1024
"""Rules, with entity and kind, whose tables a policy remembers."""
_FOLDER = Path(__file__).with_name("presets")
_SCRYPT_N = 2**14
"""Cost of the slow hash of listed names and values (RFC 7914): about 50 ms a guess."""


def check_direction(given: object) -> Direction:
    """Return a direction, or say which there are.

    Raises:
        InputError: neither ``in`` nor ``out``.
    """
    for known in _DIRECTIONS:
        if given == known:
            return known
    raise InputError("there is no such direction", hint="out (what leaves) or in (what comes back)")


class _Ruling(NamedTuple):
    """What a policy says about findings of one rule: whether it looks at them, from which score on, both actions."""

    wanted: bool
    threshold: float
    out: Action
    in_: Action


class Policy:
    """What happens to a finding. Immutable; made by :meth:`load`, :meth:`parse`, :meth:`preset`, :meth:`default`.

    The action of a finding is looked up in this order, per direction: ``[rules."<rule id>"]``,
    ``[rules.<ENTITY>]``, ``[kinds.secret]`` or ``[kinds.personal]``, ``[defaults]``, then ``mask``. Tables of a
    purpose, then of a tenant, are laid over those of the file key by key, so for the same key the order is
    file < purpose < tenant. A tenant that changes ``[defaults]`` does not loosen an entity that the file names:
    it has to name it too. Allow lists and ``judges.content.lists`` add up. A tenant or purpose that the policy
    does not name gets the file's tables.
    """

    def __init__(self, file: PolicyFile, folder: Path | None = None, sources: Mapping[str, str] | None = None) -> None:
        self._file, self._folder = file, folder or Path()
        self._sources = _sources(file, self._folder) if sources is None else dict(sources)
        self.allowed = Allowed(file.allow)
        for overlay in (*file.tenants.values(), *file.purposes.values()):
            Allowed(overlay.allow)  # a bad pattern of a tenant is an error now, not at the tenant's first text

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """Read a policy file; word lists and YAML recognisers are named relative to it.

        Raises:
            InputError: not readable, not TOML, an unknown key, a value out of range, a list that is absent.
        """
        path = Path(path)
        try:
            text = path.read_bytes().decode()
        except OSError as error:
            raise InputError(f"the policy cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise InputError(f"the policy is not UTF-8 at byte {error.start}") from None
        return cls.parse(text, folder=path.parent)

    @classmethod
    def parse(cls, text: str, *, folder: Path | None = None) -> Policy:
        """Return the policy written in ``text`` (TOML); ``folder`` is where relative paths begin."""
        return cls(parse(text), folder)

    @classmethod
    def preset(cls, name: str) -> Policy:
        """Return one of :data:`PRESETS`."""
        if name not in PRESETS:
            raise InputError("there is no such preset", hint=f"one of {', '.join(PRESETS)}")
        return cls.load(_FOLDER / f"{name}.toml")

    @classmethod
    def default(cls) -> Policy:
        """Return the policy without a file: everything found is masked."""
        return cls(PolicyFile(name="default"))

    def __repr__(self) -> str:
        return f"Policy({self.name!r}, {self.digest!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Policy) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def name(self) -> str:
        """What people call the policy."""
        return self._file.name or "policy"

    @property
    def file(self) -> PolicyFile:
        """The tables as they were read."""
        return self._file

    def path(self, name: str) -> Path:
        """Return where a file lies that the policy names."""
        return self._folder / name

    @property
    def tenants(self) -> tuple[str, ...]:
        """Tenants with tables of their own."""
        return tuple(self._file.tenants)

    @property
    def purposes(self) -> tuple[str, ...]:
        """Purposes with tables of their own."""
        return tuple(self._file.purposes)

    def with_(self, **changes: Any) -> Policy:
        """Return the policy with top-level keys replaced, such as ``languages=("zh",)``; for command lines."""
        return Policy(msgspec.structs.replace(self._file, **changes), self._folder)

    def restyled(self, action: Action) -> Policy:
        """Return the policy with every action that redacts replaced by ``action``; the others stay."""
        return Policy(restyled(self._file, action), self._folder, self._sources)

    def for_(self, tenant: str = "", purpose: str = "", *, strict: bool = False) -> Policy:
        """Return the policy in force for a tenant and a purpose, without overlays of its own.

        Raises:
            InputError: ``strict``, and the name is not among those that the policy has tables for, if it has any.
        """
        if strict:
            _check_known("tenant", tenant, self.tenants)
            _check_known("purpose", purpose, self.purposes)
        return self._merged.get((tenant, purpose)) or self._merge(tenant, purpose)

    def action(self, hit: Hit, direction: Direction, kind: str = "personal") -> Action:
        """Return what the tables say about a finding of a rule of this ``kind`` (``personal`` or ``secret``).

        Allow lists and thresholds are not looked at here.

        Raises:
            InputError: the direction is neither ``in`` nor ``out``.
        """
        check_direction(direction)
        ruling = self._ruling(hit.rule, hit.entity, kind)
        return ruling.out if direction == "out" else ruling.in_

    def actions(self, direction: Direction) -> frozenset[Action]:
        """Return every action that a finding may meet in this direction, overlays not looked at."""
        keys = ("", *self._file.rules)
        return frozenset(
            self.action(Hit(key, 0, 0, 0.0, key), direction, kind) for key in keys for kind in ("secret", "personal")
        )

    def threshold(self, hit: Hit, kind: str = "personal") -> float:
        """Return the lowest score at which this finding counts, 0..1."""
        return self._ruling(hit.rule, hit.entity, kind).threshold

    def counts(self, hit: Hit, kind: str = "personal") -> bool:
        """Whether a finding is of a sort that this policy looks at, with a score that is high enough."""
        ruling = self._ruling(hit.rule, hit.entity, kind)
        return ruling.wanted and hit.score >= ruling.threshold

    @functools.cached_property
    def _rulings(self) -> dict[tuple[str, str, str], _Ruling]:
        return {}

    def _ruling(self, rule: str, entity: str, kind: str) -> _Ruling:
        """Return what the tables say of findings of ``rule``; remembered, since the tables do not change."""
        known = self._rulings.get((rule, entity, kind))
        if known is not None:
            return known
        file = self._file
        rows = [file.rules[key] for key in (rule, entity) if key in file.rules]
        rows.append(file.kinds.secret if kind == "secret" else file.kinds.personal)
        threshold = next((row.threshold for row in rows if row.threshold is not None), file.threshold)
        tables: list[RuleActions | Defaults] = [*rows, file.defaults]
        made = _Ruling(
            not file.entities or entity in file.entities or rule in file.entities,
            THRESHOLD if threshold is None else threshold,
            next((table.out for table in tables if table.out), "mask"),
            next((table.in_ for table in tables if table.in_), "mask"),
        )
        if len(self._rulings) >= RULINGS:  # a recogniser of the user's may name entities as it likes
            self._rulings.clear()
        self._rulings[rule, entity, kind] = made
        return made

    @property
    def lowest_threshold(self) -> float:
        """The lowest threshold that any table names: what the guard has to report."""
        overlays = self._overlays
        tables = [r for o in overlays for r in (*o.rules.values(), o.kinds.personal, o.kinds.secret)]
        named = [t.threshold for t in (*overlays, *tables) if t.threshold is not None]
        return min(named if self._file.threshold is not None else [*named, THRESHOLD])

    @property
    def _overlays(self) -> list[PolicyFile | Overlay]:
        return [self._file, *self._file.tenants.values(), *self._file.purposes.values()]

    @property
    def rule_keys(self) -> frozenset[str]:
        """Every entity and rule id that any table names."""
        return frozenset(k for o in self._overlays for k in (*o.rules, *o.entities))

    @property
    def judges(self) -> dict[str, InjectionActions | ContentActions]:
        """The judges that are turned on, by name; one whose outcomes are all allowed is off."""
        tables = {"injection": self._file.judges.injection, "content": self._file.judges.content}
        return {name: t for name, t in tables.items() if t is not None and not t.hit == t.unknown == "allow"}

    @property
    def variants(self) -> list[Policy]:
        """This policy as it is for everyone, and for each tenant, purpose and pair of them that it names."""
        return [self.for_(t, p) for t in ("", *self.tenants) for p in ("", *self.purposes)]

    @functools.cached_property
    def digest(self) -> str:
        """``sha256:<hex>`` over everything that changes a decision, lists and recognisers' files included.

        Names and allowed values enter through a slow hash (scrypt), since they can be guessed.
        """
        return digest(self._described)

    @property
    def ref(self) -> Ref:
        """The policy as an agent of a step."""
        return Ref(digest=self.digest, kind="policy", name=self.name, version=self._file.version)

    def explain(self) -> dict[str, Any]:
        """Return what the policy does, as plain data: who is looked for, which action, for whom; no listed value."""
        file = self._file
        named = sorted(file.rules)
        return {
            "name": self.name,
            "version": file.version,
            "digest": self.digest,
            "languages": list(file.languages),
            "locales": list(file.locales),
            "threshold": THRESHOLD if file.threshold is None else file.threshold,
            "entities": list(file.entities),
            "names": len(file.names),
            "recognizers": list(file.recognizers),
            "allow": {f: len(getattr(file.allow, f)) for f in file.allow.__struct_fields__},
            "actions": {
                "(secrets)": {d: self.action(Hit("", 0, 0, 0.0), d, "secret") for d in get_args(Direction)},
                "(others)": {d: self.action(Hit("", 0, 0, 0.0), d) for d in get_args(Direction)},
                **{key: {d: self.action(Hit(key, 0, 0, 0.0, key), d) for d in get_args(Direction)} for key in named},
            },
            "judges": {
                name: {"hit": t.hit or "block", "unknown": t.unknown or "block"} for name, t in self.judges.items()
            },
            "tenants": {t: self.for_(t).explain() for t in self.tenants},
            "purposes": {p: self.for_(purpose=p).explain() for p in self.purposes},
        }

    # ── merging ─────────────────────────────────────────────────────────────────────────────────────

    @functools.cached_property
    def _merged(self) -> dict[tuple[str, str], Policy]:
        return {}

    def _merge(self, tenant: str, purpose: str) -> Policy:
        overlays = [self._file.purposes.get(purpose), self._file.tenants.get(tenant)]
        known = (tenant if overlays[1] else "", purpose if overlays[0] else "")
        if known not in self._merged:  # unknown names share one entry, so that callers cannot fill the table
            file: PolicyFile = msgspec.structs.replace(self._file, tenants={}, purposes={})
            for overlay in overlays:
                file = file if overlay is None else lay(file, overlay)
            self._merged[known] = Policy(file, self._folder, self._sources)
        return self._merged[known]

    @property
    def _described(self) -> dict[str, Any]:
        file = self._file
        return {
            "form": "trustplane/policy/1",
            "languages": list(file.languages),
            "locales": sorted(file.locales),
            "names": _slow(file.names),
            "recognizers": list(file.recognizers),
            "sources": self._sources,
            **_tables(file),
            "purposes": {name: _tables(table) for name, table in file.purposes.items()},
            "tenants": {name: _tables(table) for name, table in file.tenants.items()},
        }


def _check_known(what: str, given: str, known: tuple[str, ...]) -> None:
    if given and known and given not in known:
        close = difflib.get_close_matches(given, known, 1, 0.6)
        listed = ", ".join(sorted(known))[:200]
        raise InputError(
            f"the policy has tables for {what}s, none for this one",
            hint=f"did you mean {close[0]}?" if close else f"it has: {listed}; an empty [{what}s.NAME] adds one",
        )


def _tables(table: PolicyFile | Overlay) -> dict[str, Any]:
    """Return what a file or an overlay decides, without floats and listed values."""
    return {
        "threshold_milli": None if table.threshold is None else round(table.threshold * 1000),
        "entities": sorted(table.entities),
        "allow": {f: _slow(getattr(table.allow, f)) for f in Allow.__struct_fields__},
        "defaults": [table.defaults.out, table.defaults.in_],
        "kinds": {"personal": _row(table.kinds.personal), "secret": _row(table.kinds.secret)},
        "rules": {key: _row(r) for key, r in table.rules.items()},
        "judges": {
            name: None if judge is None else msgspec.to_builtins(judge)
            for name, judge in (("injection", table.judges.injection), ("content", table.judges.content))
        },
    }


def _row(r: RuleActions) -> list[Any]:
    return [r.out, r.in_, None if r.threshold is None else round(r.threshold * 1000)]


@functools.lru_cache(maxsize=64)
def _slow(values: tuple[str, ...]) -> str:
    listing = dumps(sorted({plain(value) for value in values}))
    if listing == b"[]":
        return ""
    return "scrypt:" + hashlib.scrypt(listing, salt=b"trustplane/policy/values", n=_SCRYPT_N, r=8, p=1).hex()


def _sources(file: PolicyFile, folder: Path) -> dict[str, str]:
    """Return the digest of each file that the policy names."""
    overlays: tuple[PolicyFile | Overlay, ...] = (file, *file.tenants.values(), *file.purposes.values())
    named = [name for o in overlays if o.judges.content for name in o.judges.content.lists]
    named += [name for name in file.recognizers if name.endswith((".yaml", ".yml"))]
    found = {}
    for name in named:
        try:
            found[name] = "sha256:" + hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as error:
            raise InputError(f"policy: a file that it names cannot be read: {error.strerror}") from None
    return found
