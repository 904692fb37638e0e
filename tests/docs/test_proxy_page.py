"""The proxy's pages: their Python runs against a stand-in, and the table of rules is the one of the code."""

import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import uvicorn

from trustplane.guard.proxy.standin import build_standin

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "how-to" / name for name in ("proxy.md", "proxy.zh.md")]
CODE = ROOT / "trustplane" / "guard" / "proxy"
STEPS = {
    "cancelled", "held", "media_passed", "passed", "received", "refused", "replied", "reviewed", "sent", "store_passed",
    "store_turned_off",
}  # fmt: skip
"""Actions of steps, which share the prefix of the rules."""


@pytest.fixture(scope="module")
def standin():
    app = build_standin()
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield app, f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_python_of_the_page_runs(page, standin, tmp_path):
    app, address = standin
    app.state.received.clear()
    environ = os.environ | {"OPENAI_BASE_URL": f"{address}/v1", "OPENAI_API_KEY": "k", "OMP_NUM_THREADS": "1"}
    said = ""
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        done = subprocess.run(
            [sys.executable, "-c", block], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        said += done.stdout
    sent = str([received["body"] for received in app.state.received])
    for value in ("Alice Johnson", "alice@example.com") if page.name == "proxy.md" else ("张伟", "13800138000"):
        assert value in said and value not in sent


def test_the_table_names_every_rule():
    named = set()
    for line in PAGES[0].read_text().splitlines():
        if line.startswith("| `"):
            named |= set(re.findall(r"`(\w+)`", line.split("|")[1]))
    source = "".join(path.read_text() for path in CODE.rglob("*.py"))
    rules = set(re.findall(r'"guard\.proxy\.(\w+)"', source)) - STEPS - {"reply"}  # "reply" is a beginning of rules
    assert rules == named


def test_the_access_file_of_the_reference_loads(tmp_path):
    from trustplane.guard.proxy.faces.access import Access

    page = (ROOT / "docs" / "reference" / "access.md").read_text()
    path = tmp_path / "access.toml"
    path.write_text(re.search(r"```toml\n(.*?)```", page, re.DOTALL)[1])
    access = Access.load(path, key=bytes(32), environ={"OPENAI_API_KEY": "k" * 32})
    access.check(access.upstreams)
    assert access.upstreams["local"].models == ("llama-*", "qwen*")
