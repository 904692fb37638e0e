"""Settings of a plane: built-in defaults, then the TOML file, then TRUSTPLANE_* variables, then arguments."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from trustplane.errors import InputError

__all__ = ["Settings", "load"]

Mode = Literal["digest", "redacted", "sealed", "plain"]


class LogSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[log]: the name of the log, and how often it is checkpointed."""

    origin: str = ""
    checkpoint_seconds: int = 1
    queue_steps: int = 65_536
    post_quantum: bool = True


class ContentSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[content]: the content mode of requests, which others a request may ask for, and for how long.

    ``allow`` must name every mode but ``digest`` that is to be used, the default included.
    """

    mode: Mode = "digest"
    allow: tuple[Mode, ...] = ()
    ttl_seconds: int = 30 * 24 * 3600


class BudgetSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[budget]: the limit a dataset gets when its owner names none."""

    epsilon_micro: int = 2_000_000
    delta_exp: int = 5


class GuardSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[guard]: the languages and the threshold of the text guard.

    ``policy``: a policy file or the name of a preset, for the proxy; its languages and thresholds then count.
    """

    languages: tuple[str, ...] = ("en", "zh")
    threshold_milli: int = 400
    policy: str = ""


class ProxySettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[proxy]: where the proxy listens, what it takes, for how long it waits, what it shows.

    ``upstream_seconds``: until the upstream's first byte; ``idle_seconds``: between its bytes. ``receipt``: whether an
    answer waits for the ``proof`` that its decision is in the log, or carries the log's signed ``promise``. ``media``
    and ``store``: what happens to images, audio and files, and to ``store: true``. ``review``: whether a request that
    a person has to see is held, or answered with a ``ticket``. ``pass_through``: paths that go through unguarded.
    """

    listen: str = "127.0.0.1:8080"
    workers: int = 1
    max_body_bytes: int = 4 * 1024 * 1024
    max_reply_bytes: int = 32 * 1024 * 1024
    max_header_bytes: int = 32 * 1024
    max_headers: int = 100
    max_concurrent: int = 8192
    head_seconds: int = 10
    body_seconds: int = 30
    guard_seconds: int = 5
    connect_seconds: int = 10
    upstream_seconds: int = 120
    idle_seconds: int = 120
    drain_seconds: int = 30
    review: Literal["hold", "ticket"] = "hold"
    review_seconds: int = 300
    ticket_seconds: int = 86_400
    receipt: Literal["proof", "promise"] = "proof"
    media: Literal["refuse", "pass"] = "refuse"
    store: Literal["rewrite", "refuse", "pass"] = "rewrite"
    pass_through: tuple[str, ...] = ()
    access: str = ""
    admin_token_file: str = ""
    metrics_tenants: bool = False
    spans: bool = False


class ReportSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[report]: the operator's own declarations, a TOML file (see docs/how-to/report.md)."""

    register: str = ""


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """All settings of one plane; see docs/reference/settings.md."""

    log: LogSettings = LogSettings()
    content: ContentSettings = ContentSettings()
    budget: BudgetSettings = BudgetSettings()
    guard: GuardSettings = GuardSettings()
    proxy: ProxySettings = ProxySettings()
    report: ReportSettings = ReportSettings()


_BOUNDS: dict[tuple[str, str], tuple[int, int]] = {
    ("log", "checkpoint_seconds"): (1, 86_400),
    ("log", "queue_steps"): (16, 10_000_000),
    ("content", "ttl_seconds"): (1, 100 * 365 * 86_400),
    ("budget", "epsilon_micro"): (1, 1_000_000_000),
    ("budget", "delta_exp"): (1, 18),
    ("guard", "threshold_milli"): (0, 1000),
    ("proxy", "workers"): (1, 256),
    ("proxy", "max_body_bytes"): (1024, 1 << 30),
    ("proxy", "max_reply_bytes"): (1024, 1 << 30),
    ("proxy", "max_header_bytes"): (1024, 1 << 20),
    ("proxy", "max_headers"): (8, 10_000),
    ("proxy", "max_concurrent"): (1, 1_000_000),
    ("proxy", "head_seconds"): (1, 600),
    ("proxy", "body_seconds"): (1, 3600),
    ("proxy", "guard_seconds"): (1, 600),
    ("proxy", "connect_seconds"): (1, 600),
    ("proxy", "upstream_seconds"): (1, 3600),
    ("proxy", "ticket_seconds"): (60, 30 * 86_400),
    ("proxy", "idle_seconds"): (1, 3600),
    ("proxy", "drain_seconds"): (1, 3600),
    ("proxy", "review_seconds"): (1, 7 * 86_400),
}
_ENVIRONMENT_ONLY = {"TRUSTPLANE_PLANE"}
"""The variable that the command line reads itself."""


def _from_environment(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    sections = {f.name: f.type for f in msgspec.structs.fields(Settings)}
    for name in sorted(environ):
        if not name.startswith("TRUSTPLANE_") or name in _ENVIRONMENT_ONLY:
            continue
        section, _, key = name.removeprefix("TRUSTPLANE_").lower().partition("_")
        if section not in sections or key not in {f.name for f in msgspec.structs.fields(sections[section])}:
            raise InputError(f"{name} names no setting", hint="see docs/reference/settings.md")
        raw = environ[name]
        kind = next(f.type for f in msgspec.structs.fields(sections[section]) if f.name == key)
        value: Any = raw
        if "tuple" in str(kind):
            value = [item.strip() for item in raw.split(",") if item.strip()]
        found.setdefault(section, {})[key] = value
    return found


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for section, keys in over.items():
        if isinstance(keys, Mapping) and isinstance(base.get(section), dict):
            base[section].update(keys)
        else:
            base[section] = dict(keys) if isinstance(keys, Mapping) else keys


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    arguments: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """Put the settings together; later sources win key by key.

    ``path``: a TOML file with the sections above; a missing file counts as empty. ``environ``: variables
    ``TRUSTPLANE_<SECTION>_<KEY>``, by default the process's own. ``arguments``: section → key → value.

    Raises:
        InputError: an unknown section, key or variable, a value of the wrong type or out of range.
    """
    merged: dict[str, Any] = {}
    if path is not None and path.exists():
        try:
            _merge(merged, tomllib.loads(path.read_text("utf-8")))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path.name} is not valid TOML: {error}") from None
    _merge(merged, _from_environment(os.environ if environ is None else environ))
    _merge(merged, arguments or {})
    try:
        settings = msgspec.convert(merged, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise InputError(f"settings: {error}", hint="see docs/reference/settings.md") from None
    for (section, key), (low, high) in _BOUNDS.items():
        value = getattr(getattr(settings, section), key)
        if not low <= value <= high:
            raise InputError(f"settings: {section}.{key} is outside {low}..{high}")
    content = settings.content
    if content.mode != "digest" and content.mode not in content.allow:
        raise InputError(
            f"settings: content.mode {content.mode} is not in content.allow",
            hint=f'keeping content is a choice: set content.allow = ["{content.mode}"] as well',
        )
    return settings
