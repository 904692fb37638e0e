"""The peer of the proxy's benches: LiteLLM's proxy with its own regex guardrail, in its own environment, offline."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

VERSION = "1.106.2"
FOLDER = Path(__file__).parent.parent / ".cache" / f"litellm-{VERSION}"
KEY = "sk-local-7f3a9b2c8d1e4f60a5b7c3d2"
"""Master key: it refuses weak ones."""
PATTERNS = (
    "email", "us_phone", "us_ssn", "credit_card", "visa", "mastercard", "amex", "discover", "iban", "ipv4",
    "aws_access_key", "aws_secret_key", "github_token", "slack_token", "generic_api_key",
)  # fmt: skip
"""Its prebuilt patterns for personal data and secrets that fit the fixture values."""


class Peer(NamedTuple):
    """A running LiteLLM proxy."""

    origin: str
    key: str
    pid: int


def python() -> Path:
    """Return the interpreter of the peer's environment, which is made where it is absent (about 600 MB)."""
    found = FOLDER / "bin" / "python"
    if not (FOLDER / ".installed").exists():
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([str(uv), "venv", "--quiet", "--clear", str(FOLDER)], check=True)
        subprocess.run(
            [str(uv), "pip", "install", "--quiet", "--python", str(found), f"litellm[proxy]=={VERSION}"], check=True
        )
        (FOLDER / ".installed").touch()
    return found


@contextlib.contextmanager
def litellm(upstream: str, folder: Path, *, guarded: bool = True) -> Iterator[Peer]:
    """Run one worker before ``upstream`` (an origin), with every pattern masked in requests and replies."""
    patterns = "".join(
        f"        - {{pattern_type: prebuilt, pattern_name: {name}, action: MASK}}\n" for name in PATTERNS
    )
    guardrails = (
        "guardrails:\n  - guardrail_name: patterns\n    litellm_params:\n"
        "      guardrail: litellm_content_filter\n      mode: [pre_call, post_call]\n      default_on: true\n"
        f"      patterns:\n{patterns}"
    )
    config = folder / "litellm.yaml"
    config.write_text(
        'model_list:\n  - model_name: "*"\n    litellm_params:\n      model: "openai/*"\n'
        f"      api_base: {upstream}/v1\n      api_key: sk-standin\n"
        f"{guardrails if guarded else ''}general_settings:\n  master_key: {KEY}\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(python().with_name("litellm")), "--config", str(config), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--num_workers", "1", "--telemetry", "False"]
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "NO_PROXY": "*"}
    with (folder / "litellm.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
    origin = f"http://127.0.0.1:{port}"
    try:
        _wait(f"{origin}/health/liveliness", process)
        yield Peer(origin, KEY, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        if process.poll() is not None:
            raise SystemExit("LiteLLM did not start; its log lies beside its configuration")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.5)
    raise SystemExit("LiteLLM did not start in two minutes")
