"""``lesionlens serve`` as a process: who it lets in, how it ends, what it writes down."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the server: pip install -e '.[serve]'")

import httpx
import psutil

import tiny_model
from lesionlens.service.problems import PROBLEMS
from service_kit import PATIENT, TOKEN, Server, encoded

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
HEAD = "POST /v1/predictions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
PAGE = Path(__file__).parent.parent / "docs" / "serve.md"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("model") / "bundle").directory


class Half:
    """A request of which half of the body has been sent."""

    def __init__(self, server: Server) -> None:
        self.content = encoded()
        self.socket = socket.create_connection(server.address, timeout=60)
        self.socket.sendall(f"{HEAD}Content-Length: {len(self.content)}\r\n\r\n".encode())
        self.socket.sendall(self.content[:1000])
        wait_until(lambda: "lesionlens_requests_running 1.0" in ask(server, "/metrics").text)

    def finish(self) -> str:
        """Send the rest; returns the answer."""
        self.socket.sendall(self.content[1000:])
        return self.answer()

    def answer(self) -> str:
        """Return all that comes until the server closes, or the answer is whole."""
        received = b""
        while piece := self.socket.recv(65536):
            received += piece
            if received.endswith(b"}"):
                break
        self.socket.close()
        return received.decode()


def ask(server: Server, path: str, **options: Any) -> httpx.Response:
    return httpx.get(server.url + path, timeout=60, **options)


def send(server: Server, path: str = "/v1/predictions", **options: Any) -> httpx.Response:
    return httpx.post(server.url + path, timeout=60, **options)


def is_ready(server: Server) -> int:
    return ask(server, "/readyz").status_code


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_here_is_finished_and_what_is_new_refused(bundle: Path, number: int) -> None:
    with Server("--model", bundle, "--workers", 1) as server:
        half = Half(server)
        os.kill(server.process.pid, number)
        wait_until(lambda: is_ready(server) == 503)
        refused = send(server, content=encoded(), headers={"Content-Type": "image/png"})
        assert refused.status_code == 503
        assert refused.json()["reason"] == "ending"
        assert "retry-after" in refused.headers
        assert ask(server, "/healthz").status_code == 200
        assert server.process.poll() is None
        answer = half.finish()
        assert answer.startswith("HTTP/1.1 200"), answer
        assert '"label":"BCC"' in answer
        assert server.wait() == 0
    assert json.loads(server.log[-1])["event"] == "ended"
    assert not [line for line in server.log if "Traceback" in line]


def test_a_signal_to_all_processes_loses_no_answer(bundle: Path) -> None:
    with Server("--model", bundle, "--workers", 1) as server:
        half = Half(server)
        children = [child.pid for child in psutil.Process(server.process.pid).children()]
        assert children
        for pid in (*children, server.process.pid):  # as systemd does
            os.kill(pid, signal.SIGTERM)
        assert half.finish().startswith("HTTP/1.1 200")
        assert server.wait() == 0


def test_a_second_signal_ends_at_once_and_leaves_no_process(bundle: Path) -> None:
    # Who waited for the half would wait for longer than this test does for the end.
    with Server("--model", bundle, "--workers", 2, "--timeout", 600) as server:
        children = [child.pid for child in psutil.Process(server.process.pid).children()]
        half = Half(server)
        server.process.terminate()
        wait_until(lambda: is_ready(server) == 503)
        server.process.terminate()
        server.wait()
        half.socket.close()
    for pid in children:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_other_machines_get_in_with_a_token_only(
    run_command: Callable[..., SimpleNamespace], bundle: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("LESIONLENS_TOKEN", raising=False)
    done = run_command("serve", "--host", "0.0.0.0", "--model", bundle)
    assert done.code == 2
    assert "--token-file" in done.err
    assert "127.0.0.1" in done.err
    file = tmp_path / "tokens"
    file.write_text(TOKEN + "\n")
    arguments = ("--host", "0.0.0.0", "--model", bundle, "--workers", 1, "--token-file", file)
    with Server(*arguments) as server:
        assert ask(server, "/v1/model").status_code == 401
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert ask(server, "/v1/model", headers=headers).status_code == 200
        command = Path(f"/proc/{server.process.pid}/cmdline")
        if command.exists():
            assert TOKEN.encode() not in command.read_bytes()
    assert "unencrypted" in "\n".join(server.log)
    assert TOKEN not in "\n".join(server.log)


def test_a_proxy_speaks_for_its_clients_only_where_it_is_named(bundle: Path) -> None:
    for proxies, expected in (((), [200, 429]), (("--proxy", "127.0.0.1"), [200, 200])):
        arguments = ("--model", bundle, "--workers", 1, "--rate", 0.01, "--burst", 1, *proxies)
        with Server(*arguments) as server:
            statuses = [
                send(
                    server,
                    content=encoded(),
                    headers={"Content-Type": "image/png", "X-Forwarded-For": client},
                ).status_code
                for client in ("10.0.0.1", "10.0.0.2")
            ]
        assert statuses == expected


def test_what_is_no_request_is_refused_and_the_server_goes_on(bundle: Path) -> None:
    with Server("--model", bundle, "--workers", 1) as server:
        for nonsense in (
            b"\x16\x03\x01\x02\x00\x01\x00" + PATIENT.encode(),  # TLS, to a port without it
            f"GET /{PATIENT} HTTP/9.9\r\n\r\n".encode(),
            b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 200_000 + b"\r\n\r\n",
            f"{HEAD}Content-Length: {PATIENT}\r\n\r\n".encode(),
            f"{HEAD}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n".encode(),
        ):
            with socket.create_connection(server.address, timeout=60) as connection:
                answer = b""
                with suppress(ConnectionError):  # it may close before all was sent
                    connection.sendall(nonsense)
                    with suppress(OSError):  # or have closed already
                        connection.shutdown(socket.SHUT_WR)
                    while piece := connection.recv(65536):
                        answer += piece
                assert answer[9:10] in (b"4", b""), answer
        half = Half(server)
        half.socket.close()  # a client that leaves
        files = {"file": (f"{PATIENT}.png", encoded())}
        answer = send(server, "/v1/predictions?views=1", files=files)
        assert answer.status_code == 200
    log = "\n".join(server.log)
    assert PATIENT not in log
    assert "Traceback" not in log
    assert '"status": 499' in log


def test_a_body_too_large_is_told_before_it_has_been_sent(bundle: Path) -> None:
    with (
        Server("--model", bundle, "--workers", 1, "--max-mib", 1) as server,
        socket.create_connection(server.address, timeout=60) as connection,
    ):
        connection.sendall(f"{HEAD}Content-Length: 9000000000\r\n\r\n".encode())
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert received.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in received.lower()


def test_without_the_access_log_only_events_are_written(bundle: Path) -> None:
    with Server("--model", bundle, "--workers", 1, "--no-access-log") as server:
        assert is_ready(server) == 200
    assert [json.loads(line)["event"] for line in server.log if line.startswith("{")] == ["ended"]


def test_a_model_that_is_none_ends_before_anybody_is_let_in(
    run_command: Callable[..., SimpleNamespace], tmp_path: Path
) -> None:
    done = run_command("serve", "--model", tmp_path)
    assert done.code == 2
    assert "is missing from the bundle" in done.err


# ---------------------------------------------------------------- docs/serve.md


def test_the_example_of_the_page_prints_a_verdict(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "lesion.jpg").write_bytes(encoded(form="JPEG"))
    monkeypatch.chdir(tmp_path)
    with Server("--model", bundle, "--workers", 1) as server:
        assert "http://127.0.0.1:8000" in example
        exec(compile(example.replace("http://127.0.0.1:8000", server.url), PAGE.name, "exec"), {})
    assert re.fullmatch(r"lesion\.jpg (confident|uncertain|poor_image)\n", capsys.readouterr().out)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_curl_commands_of_the_page_are_answered(bundle: Path, tmp_path: Path) -> None:
    (block,) = re.findall(r"```sh\n(# an image.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    for name, form in (("lesion.jpg", "JPEG"), ("a.jpg", "JPEG"), ("b.png", "PNG")):
        (tmp_path / name).write_bytes(encoded(form=form))
    with Server("--model", bundle, "--workers", 1, token="") as server:
        script = block.replace("http://127.0.0.1:8000", server.url)
        script = script.replace("https://lens.example.org", server.url)
        done = subprocess.run(
            ["sh", "-e", "-c", script], cwd=tmp_path, env={**os.environ, "LESIONLENS_TOKEN": TOKEN},
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
    assert done.stdout.count('"verdict"') == 4


def test_the_page_explains_every_problem_with_its_status() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if "<a id=" in line]
    told = {
        (reason, status)
        for row in rows
        for status in row.split("|")[1].strip().split(", ")
        for reason in re.findall(r'<a id="(\w+)"></a>`\1`', row)
    }
    for reason, (status, _) in PROBLEMS.items():
        assert (reason, str(status)) in told, reason
    assert {reason for reason, _ in told} == set(PROBLEMS)
