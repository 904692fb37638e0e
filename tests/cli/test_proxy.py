"""``trustplane proxy`` as a process: it serves, hides, restores, logs, stops on a signal, refuses bad settings."""

import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
import uvicorn

from trustplane.guard.proxy.standin import build_standin

PROMPT = "I am Alice Johnson, card 4111 1111 1111 1111"
RUN = [sys.executable, "-m", "trustplane"]


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


def ask(address, text=PROMPT, **more):
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    headers = {"authorization": "Bearer k"}
    return httpx.post(f"{address}/v1/chat/completions", json=body, headers=headers, timeout=60, **more)


def begun(*arguments):
    """Start the proxy; return the process and its address."""
    process = subprocess.Popen(
        [*RUN, "proxy", "--listen", "127.0.0.1:0", *arguments],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("listening "):
            return process, line.split()[1]
    process.wait()
    raise AssertionError("".join(said))


def ended(process):
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in err and out == "", err


@pytest.mark.parametrize("workers", [1, 2])
def test_it_serves_until_a_signal_and_the_log_verifies(standin, tmp_path, workers):
    app, upstream = standin
    plane = str(tmp_path / "plane")
    process, address = begun("--upstream", f"openai={upstream}", "--plane", plane, "--workers", str(workers))
    try:
        assert address.startswith("http://127.0.0.1:")
        replies = [ask(address) for _ in range(4)]
        for reply in replies:
            assert reply.status_code == 200 and PROMPT in reply.json()["choices"][0]["message"]["content"]
            assert reply.headers["x-trustplane-receipt"]
        sent = app.state.received[0]
        assert b"4111" not in sent["raw"] and b"Alice" not in sent["raw"]
        assert sent["headers"]["authorization"] == "Bearer k"
        assert len({got["raw"] for got in app.state.received}) == 1  # every worker has the same key
    finally:
        ended(process)
    assert subprocess.run([*RUN, "log", "verify", "--plane", plane], capture_output=True).returncode == 0
    for reply in replies:
        request = reply.headers["x-trustplane-request-id"]
        shown = subprocess.run(
            [*RUN, "log", "export", request, "--plane", plane, "--json"], capture_output=True, text=True
        )
        assert shown.returncode == 0 and "Alice" not in shown.stdout
        for action in ("guard.proxy.received", "guard.text.hide", "guard.proxy.sent", "guard.proxy.replied"):
            assert action in shown.stdout
        if workers == 1:
            break


def test_access_metrics_and_tls(standin, tmp_path):
    app, upstream = standin
    key, cert = self_signed(tmp_path)
    digest = subprocess.run(
        [*RUN, "proxy", "--digest-key"], input="caller-key-of-a-test\n", capture_output=True, text=True
    )
    assert digest.returncode == 0 and digest.stdout.startswith("sha256:")
    access = tmp_path / "access.toml"
    access.write_text(
        f'[tenants.a]\nkeys = ["{digest.stdout.strip()}"]\nprovider_keys = {{ openai = "file:provider.key" }}\n'
    )
    (tmp_path / "provider.key").write_text("key-of-the-provider")
    plane = tmp_path / "plane"
    plane.mkdir()
    (plane / "plane.toml").write_text('[proxy]\nadmin_token_file = "admin.token"\nreceipt = "promise"\n')
    (plane / "admin.token").write_text("operators-token-000001\n")
    process, address = begun(
        "--upstream", f"openai={upstream}", "--plane", str(plane), "--access", str(access), "--workers", "2",
        "--tls-cert", str(cert), "--tls-key", str(key),
    )  # fmt: skip
    try:
        assert address.startswith("https://127.0.0.1:")
        with httpx.Client(verify=str(cert), base_url=address, timeout=60) as client:
            body = {"model": "m", "messages": [{"role": "user", "content": PROMPT}]}
            assert client.post("/v1/chat/completions", json=body).status_code == 401
            headers = {"authorization": "Bearer caller-key-of-a-test"}
            reply = client.post("/v1/chat/completions", json=body, headers=headers)
            assert reply.status_code == 200 and PROMPT in reply.json()["choices"][0]["message"]["content"]
            assert app.state.received[-1]["headers"]["authorization"] == "Bearer key-of-the-provider"
            operator = {"authorization": "Bearer operators-token-000001"}
            metrics = client.get("/trustplane/metrics", headers=operator).text
            assert 'outcome="denied"' in metrics and 'outcome="answered"' in metrics and "4111" not in metrics
            proof = client.get(f"/trustplane/receipts/{reply.headers['x-trustplane-request-id']}", headers=operator)
            assert proof.status_code == 200 and proof.text.startswith("c2sp.org/tlog-proof@v1")
    finally:
        ended(process)
    assert not any(b"caller-key" in path.read_bytes() for path in plane.rglob("*") if path.is_file())


def self_signed(folder: Path):
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
    made = builder.not_valid_after(now + datetime.timedelta(days=1)).add_extension(names, critical=False)
    cert = made.sign(key, hashes.SHA256())
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
    (folder / "cert.pem").write_bytes(cert.public_bytes(pem))
    return folder / "key.pem", folder / "cert.pem"


def checked(*arguments):
    done = subprocess.run([*RUN, "proxy", "--check", *arguments], capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_check_tries_the_whole_way(standin, tmp_path):
    app, upstream = standin
    plane = ["--plane", str(tmp_path / "plane")]
    done = checked("--upstream", f"openai={upstream}", "--upstream", f"anthropic={upstream}", *plane, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0 and found["policy"] == "proxy"
    for row in found["upstreams"]:
        assert row["result"] == "fine" and row["restored"] and row["receipt"] and row["status"] == 200
        assert row["masked"] == {"CREDIT_CARD": 1, "EMAIL_ADDRESS": 1}
    assert all(b"erika" not in got["raw"] and b"4111" not in got["raw"] for got in app.state.received)

    free = socket.create_server(("127.0.0.1", 0))
    closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    free.close()
    done = checked("--upstream", f"openai={closed}", *plane)
    assert done.returncode == 4 and "unavailable" in done.stdout
    done = checked("--upstream", f"openai={upstream}", "--policy", "strict", *plane)
    assert done.returncode == 3 and "refused" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--upstream", "openai=http://127.0.0.1:9/v1", "--listen", "127.0.0.1:0"], 2),  # not a bare origin
        (["--upstream", "openai", "--listen", "127.0.0.1:0"], 2),
        (["--upstream", "openai=http://127.0.0.1:9", "--listen", "0.0.0.0:0"], 3),  # not loopback, without --public
        (["--upstream", "openai=http://127.0.0.1:9", "--listen", "127.0.0.1:many"], 2),
        (["--listen", "127.0.0.1:0"], 2),
        (["--upstream", "openai=http://127.0.0.1:9", "--policy", "no-such-policy.toml"], 2),
        (["--upstream", "openai=http://127.0.0.1:9", "--access", "no-such-access.toml"], 2),
        (["--upstream", "openai=http://127.0.0.1:9", "--tls-cert", "cert.pem"], 2),
    ],
)
def test_bad_settings_end_before_anything_listens(tmp_path, arguments, code):
    done = subprocess.run(
        [*RUN, "proxy", "--plane", str(tmp_path / "plane"), *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    assert "listening" not in done.stderr
