"""``trustplane proxy`` as a process: it serves, hides, restores, logs, stops on a signal, refuses bad settings."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest
import uvicorn

from trustplane.guard.proxy.standin import build_standin

PROMPT = "I am Alice Johnson, card 4111 1111 1111 1111"


@pytest.fixture
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


def test_it_serves_until_a_signal_and_the_log_verifies(standin, tmp_path):
    app, upstream = standin
    plane = str(tmp_path / "plane")
    process = subprocess.Popen(
        [sys.executable, "-m", "trustplane", "proxy", "--upstream", f"openai={upstream}", "--listen", "127.0.0.1:0",
         "--plane", plane], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        address = ""
        for line in process.stderr:
            if line.startswith("listening "):
                address = line.split()[1]
                break
        assert address.startswith("http://127.0.0.1:")
        body = {"model": "m", "messages": [{"role": "user", "content": PROMPT}]}
        reply = httpx.post(
            f"{address}/v1/chat/completions", json=body, headers={"authorization": "Bearer k"}, timeout=60
        )
        assert reply.status_code == 200 and PROMPT in reply.json()["choices"][0]["message"]["content"]
        sent = app.state.received[0]
        assert b"4111" not in sent["raw"] and b"Alice" not in sent["raw"]
        assert sent["headers"]["authorization"] == "Bearer k"
        assert reply.headers["x-trustplane-receipt"]
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in err and out == ""
    request = reply.headers["x-trustplane-request-id"]
    run = [sys.executable, "-m", "trustplane", "log"]
    assert subprocess.run([*run, "verify", "--plane", plane], capture_output=True).returncode == 0
    exported = subprocess.run([*run, "export", request, "--plane", plane, "--json"], capture_output=True, text=True)
    assert exported.returncode == 0 and "Alice" not in exported.stdout
    actions = json.dumps(json.loads(exported.stdout))
    for action in ("guard.proxy.received", "guard.text.hide", "guard.proxy.sent", "guard.proxy.replied"):
        assert action in actions


@pytest.mark.parametrize(
    "arguments",
    [
        ["--upstream", "openai=http://127.0.0.1:9/v1", "--listen", "127.0.0.1:0"],  # not a bare origin
        ["--upstream", "openai", "--listen", "127.0.0.1:0"],
        ["--upstream", "openai=http://127.0.0.1:9", "--listen", "0.0.0.0:0"],  # not loopback, without --public
        ["--upstream", "openai=http://127.0.0.1:9", "--listen", "127.0.0.1:many"],
        ["--listen", "127.0.0.1:0"],
    ],
)
def test_bad_settings_end_before_anything_listens(tmp_path, arguments):
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "trustplane", "proxy", "--plane", str(tmp_path / "plane"), *arguments],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == (3 if "0.0.0.0:0" in arguments else 2) and "Traceback" not in done.stderr, done.stderr
    assert time.monotonic() - began < 100
