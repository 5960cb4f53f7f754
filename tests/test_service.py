"""The server's routes: answers that are predict's, problems that teach, and who gets in."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the server: pip install -e '.[serve]'")

import httpx
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

import service_kit as kit
import tiny_model
from lesionlens.bundle import load_bundle
from lesionlens.classifier import Classifier
from lesionlens.service import pool as pools
from lesionlens.service.application import Service
from lesionlens.service.meters import Meters
from lesionlens.service.pool import Pool, Question
from lesionlens.service.problems import PROBLEMS
from lesionlens.service.wall import PREDICTIONS
from service_kit import PATIENT, TOKEN, encoded

PNG = {"Content-Type": "image/png"}
OK = 200


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("model") / "bundle").directory


@pytest.fixture(scope="module")
def pool(bundle: Path) -> Iterator[Pool]:
    pool = Pool(load_bundle(bundle), n_workers=1)
    yield pool
    pool.close()


@pytest.fixture
def fragile(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Pool, Meters]]:
    """A pool of one worker that does to itself what an image says, and its meters."""
    monkeypatch.setattr(pools, "start_child", kit.start_fragile_child)
    meters = Meters(load_bundle(bundle).spec)
    pool = Pool(load_bundle(bundle), n_workers=1, on_restart=meters.restarts.inc)
    yield pool, meters
    pool.close()


@pytest.fixture
def lines() -> list[str]:
    """The journal."""
    return []


@pytest.fixture
def client(pool: Pool, bundle: Path, lines: list[str]) -> TestClient:
    return client_of(kit.make_service(pool, bundle, lines=lines))


def client_of(service: Service, **options: Any) -> TestClient:
    return TestClient(service, base_url="http://127.0.0.1:8000", **options)


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    """Check what every problem has, and return it."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    status, title = PROBLEMS[problem["reason"]]
    assert (answer.status_code, problem["status"], problem["title"]) == (status, status, title)
    assert problem["type"].endswith(f"docs/serve.md#{problem['reason']}")
    assert problem["detail"].endswith(".")
    return problem


def without_times(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "elapsed_ms"}


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize(
    "asked", [{}, {"views": 1}, {"policy": "sensitive"}, {"views": 3, "policy": "balanced"}]
)
def test_an_answer_is_that_of_predict(
    client: TestClient, bundle: Path, form: str, asked: dict[str, Any]
) -> None:
    content = encoded(form=form)
    answer = client.post(
        PREDICTIONS,
        content=content,
        params=asked,
        headers={"Content-Type": f"image/{form.lower()}"},
    )
    assert answer.status_code == OK, answer.text
    classifier = Classifier(bundle, policy=asked.get("policy", "balanced"))
    expected = classifier.predict(content, views=asked.get("views"))
    (record,) = answer.json()["predictions"]
    assert without_times(record) == without_times(expected.as_json())
    spec = load_bundle(bundle).spec
    assert answer.json()["model"]["sha256"] == spec.sha256
    assert "Not a diagnosis" in answer.json()["notice"]


def test_files_of_a_form_are_answered_in_order_with_the_bad_ones_in_their_places(
    client: TestClient, bundle: Path
) -> None:
    red, green = encoded((220, 40, 40)), encoded((40, 220, 40))
    files = [
        ("file", ("red.png", red)),
        ("file", ("notes.txt", b"no image")),
        ("file", ("green.png", green)),
        ("file", ("half.png", red[: len(red) // 2])),
    ]
    answer = client.post(PREDICTIONS, files=files)
    assert answer.status_code == OK
    first, second, third, fourth = answer.json()["predictions"]
    assert (first["file"], first["label"]) == ("red.png", "BCC")
    assert (third["file"], third["label"]) == ("green.png", "SCC")
    assert second == {
        "file": "notes.txt",
        "error": "notes.txt: is not an image, whatever its name says; "
        "JPEG, PNG, WebP, TIFF and BMP are accepted",
        "reason": "not_an_image",
    }
    assert fourth["reason"] == "truncated"
    assert fourth["error"].startswith("half.png: is truncated")


def test_where_no_image_can_be_judged_the_answer_is_a_problem_with_each_reason(
    client: TestClient,
) -> None:
    files = [("file", ("a.gif", b"GIF89a....")), ("file", ("b.jpg", b""))]
    problem = problem_of(client.post(PREDICTIONS, files=files))
    assert problem["reason"] == "unusable_image"
    assert [image["reason"] for image in problem["images"]] == ["gif", "empty"]
    assert "a.gif: is a GIF" in problem["detail"]


def test_the_model_says_who_it_is(client: TestClient, bundle: Path) -> None:
    content = client.get("/v1/model").json()
    spec = load_bundle(bundle).spec
    assert content["sha256"] == spec.sha256
    assert content["labels"] == [label.value for label in spec.labels]
    assert "conformal" not in content


def test_nothing_of_a_form_touches_the_disk(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rollover(_: object) -> None:
        raise AssertionError("written to the disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", rollover)
    content = encoded(form="PNG")
    padded = content + bytes(5_000_000)  # what follows the end of a PNG is no part of it
    answer = client.post(PREDICTIONS, files={"file": ("large.png", padded)})
    assert answer.json()["predictions"][0]["label"] == "BCC"


# ---------------------------------------------------------------- problems


def chunks(n_bytes: int) -> Iterator[bytes]:
    for _ in range(n_bytes // 65536 + 1):
        yield bytes(65536)


@pytest.mark.parametrize(
    ("request_", "reason", "words"),
    [
        ({"content": b"", "headers": PNG}, "malformed", "curl"),
        ({"content": b"x"}, "wrong_type", "multipart/form-data or one of image/jpeg"),
        ({"content": b"x", "headers": {"Content-Type": "text/html"}}, "wrong_type", "is taken"),
        ({"files": {"image": ("a.png", b"x")}}, "malformed", "another name than `file`"),
        ({"files": {"file": (None, "text")}}, "malformed", "Too many fields"),
        ({"files": [("file", ("a", b"x"))] * 17}, "malformed", "up to 16 files"),
        (
            {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
            "malformed",
            "Missing boundary",
        ),
        (
            {"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
            "malformed",
            "The form",
        ),
        ({"content": bytes(2_000_000), "headers": PNG}, "too_large", "1 MiB"),
        ({"content": chunks(2_000_000), "headers": PNG}, "too_large", "1 MiB"),
        ({"files": {"file": ("a", bytes(2_000_000))}}, "too_large", "1 MiB"),
        ({"params": {"view": 1}}, "invalid", "view: is no parameter here"),
        ({"params": {"views": 0}}, "invalid", "views: .*greater than or equal to 1"),
        ({"params": {"views": "many"}}, "invalid", "views: .*integer"),
        ({"params": {"policy": "bold"}}, "invalid", "policy: .*balanced.sensitive"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_answered_is_told_what_to_do(
    pool: Pool, bundle: Path, request_: dict[str, Any], reason: str, words: str
) -> None:
    client = client_of(kit.make_service(pool, bundle, max_bytes=1024 * 1024))
    problem = problem_of(client.post(PREDICTIONS, **request_))
    assert problem["reason"] == reason
    assert re.search(words, problem["detail"]), problem["detail"]


def test_what_is_not_there_and_what_cannot_be_done_are_told_apart(client: TestClient) -> None:
    assert "/v1/predictions" in problem_of(client.get("/v2/predictions"))["detail"]
    for method, path, allowed in (
        ("GET", PREDICTIONS, "POST"), ("DELETE", "/v1/model", "GET"), ("OPTIONS", "/metrics", "GET")
    ):  # fmt: skip
        answer = client.request(method, path)
        assert problem_of(answer)["reason"] == "wrong_method"
        assert answer.headers["allow"] == allowed


def test_every_answer_says_that_it_is_no_page_and_not_to_be_kept(client: TestClient) -> None:
    for answer in (
        client.get("/healthz"), client.get("/nothing"), client.get("/openapi.json"),
        client.get("/v1/model", headers={"Host": "evil.example"}),
        client.post(PREDICTIONS, content=encoded(), headers=PNG),
    ):  # fmt: skip
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["cache-control"] == "no-store"
        assert not [name for name in answer.headers if name.startswith("access-control")]


# ---------------------------------------------------------------- who gets in


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8000", "Authorization": f"Bearer {TOKEN}"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_without_tokens_pages_and_rebound_names_get_nothing(
    client: TestClient, headers: dict[str, str]
) -> None:
    for answer in (
        client.post(PREDICTIONS, content=encoded(), headers={**PNG, **headers}),
        client.get("/v1/model", headers=headers),
        client.get("/metrics", headers=headers),
    ):
        assert problem_of(answer)["reason"] == "foreign"


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (None, "no_token"),
        ("Bearer", "no_token"),
        (f"Basic {TOKEN}", "no_token"),
        (f"Bearer {TOKEN[:-1]}", "wrong_token"),
        (f"Bearer {TOKEN}x", "wrong_token"),
        ("Bearer ünïcode", "wrong_token"),
    ],
)
def test_with_tokens_nobody_without_one_gets_in(
    pool: Pool, bundle: Path, authorization: str | None, reason: str
) -> None:
    service = kit.make_service(pool, bundle, host="0.0.0.0", tokens=(TOKEN, TOKEN + "-new"))
    client = client_of(service)
    headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
    for path in ("/v1/model", "/metrics", "/openapi.json", "/nothing"):
        answer = client.get(path, headers=headers)
        assert problem_of(answer)["reason"] == reason
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert TOKEN not in answer.text
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == OK


@pytest.mark.parametrize("token", [TOKEN, TOKEN + "-new"])
def test_with_a_token_any_name_and_any_program_is_answered(
    pool: Pool, bundle: Path, token: str
) -> None:
    service = kit.make_service(pool, bundle, host="0.0.0.0", tokens=(TOKEN, TOKEN + "-new"))
    headers = {"Authorization": f"bearer {token}", "Host": "lens.hospital.example"}
    assert client_of(service).get("/v1/model", headers=headers).status_code == OK


# ---------------------------------------------------------------- how much


def test_a_client_that_sends_too_much_is_told_when_to_come_back(pool: Pool, bundle: Path) -> None:
    service = kit.make_service(pool, bundle, rate_per_s=0.001, burst=4)
    one, other = client_of(service, client=("10.0.0.1", 1)), client_of(service)
    several = [("file", ("a.png", encoded()))] * 4
    assert one.post(PREDICTIONS, files=several[:1]).status_code == OK
    assert one.post(PREDICTIONS, files=several).status_code == OK  # into debt
    answer = one.post(PREDICTIONS, files=several[:1])
    assert problem_of(answer)["reason"] == "rate_exceeded"
    assert 1900 <= int(answer.headers["retry-after"]) <= 2000  # 100 s for the way here
    assert one.get("/healthz").status_code == OK
    assert other.post(PREDICTIONS, files=several[:1]).status_code == OK


def test_whoever_guesses_tokens_is_slowed_down(pool: Pool, bundle: Path) -> None:
    service = kit.make_service(pool, bundle, tokens=(TOKEN,), rate_per_s=0.001, burst=3)
    client = client_of(service)
    guesses = [
        client.get("/v1/model", headers={"Authorization": f"Bearer guess{n}"}) for n in range(4)
    ]
    reasons = [problem_of(answer)["reason"] for answer in guesses]
    assert reasons == ["wrong_token"] * 3 + ["rate_exceeded"]


async def post(service: Service, content: bytes, **options: Any) -> httpx.Response:
    transport = httpx.ASGITransport(service)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return await client.post(PREDICTIONS, content=content, headers=PNG, **options)


async def until_busy(pool: Pool) -> None:
    """Wait until the only worker has been asked."""
    async with asyncio.timeout(60):
        while not pool._workers[0].is_busy:
            await asyncio.sleep(0.01)


def assert_judges(pool: Pool, bundle: Path) -> None:
    """Have an image judged, by a server that waits until a worker that was lost is back."""
    client = client_of(kit.make_service(pool, bundle))
    assert client.post(PREDICTIONS, content=encoded(), headers=PNG).status_code == OK


def test_what_finds_no_place_is_told_when_to_come_back(
    fragile: tuple[Pool, Meters], bundle: Path
) -> None:
    service = kit.make_service(fragile[0], bundle, max_waiting=1, timeout_s=1.5)

    async def crowd() -> list[httpx.Response]:
        # All in one turn of the loop, so that none is out of time before the last is here.
        contents = (kit.HANG, encoded(), encoded(), encoded())
        return await asyncio.gather(*(post(service, content) for content in contents))

    answers = asyncio.run(crowd())
    # One is being judged, one waits behind it until both are out of time, two find no place.
    assert [answer.status_code for answer in answers] == [504, 504, 503, 503]
    assert problem_of(answers[-1])["reason"] == "queue_full"
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert_judges(fragile[0], bundle)


def test_bodies_that_together_are_too_large_are_not_held(pool: Pool, bundle: Path) -> None:
    service = kit.make_service(pool, bundle, max_bytes=1000)

    async def crowd() -> list[httpx.Response]:
        begun, ended = asyncio.Barrier(6), asyncio.Event()
        n_sent = 0

        async def slow() -> Any:
            nonlocal n_sent
            yield bytes(600)
            await begun.wait()  # 3,600 of the 4,000 bytes that are held are here
            n_sent += 1
            if n_sent == 6:
                ended.set()
            yield bytes(300)
            await ended.wait()  # none is answered, which gives back, before all have been sent

        return await asyncio.gather(*(post(service, slow()) for _ in range(6)))  # type: ignore[arg-type]

    reasons = [problem_of(answer)["reason"] for answer in asyncio.run(crowd())]
    assert "queue_full" in reasons
    assert reasons.count("unusable_image") == 4
    metrics = client_of(service).get("/metrics").text
    assert "lesionlens_held_bytes 0.0" in metrics


def test_a_body_that_does_not_come_is_not_waited_for(pool: Pool, bundle: Path) -> None:
    service = kit.make_service(pool, bundle, timeout_s=0.3)

    async def stalled() -> Any:
        yield b"\x89PNG"
        await asyncio.sleep(5)

    problem = problem_of(asyncio.run(post(service, stalled())))  # type: ignore[arg-type]
    assert problem["reason"] == "too_slow"


# ---------------------------------------------------------------- what goes wrong


def test_an_image_that_takes_too_long_is_given_up_and_the_next_is_judged(
    fragile: tuple[Pool, Meters], bundle: Path
) -> None:
    pool, meters = fragile
    client = client_of(kit.make_service(pool, bundle, timeout_s=1.0, meters=meters))
    while "lesionlens_worker_restarts_total 0.0" in client.get("/metrics").text:
        # Again where a pause took the whole second before the worker had been asked.
        assert problem_of(client.post(PREDICTIONS, content=kit.HANG, headers=PNG))["status"] == 504
        assert_judges(pool, bundle)
    assert "lesionlens_worker_restarts_total 1.0" in client.get("/metrics").text


def test_an_image_that_kills_its_worker_twice_is_named_and_others_are_judged(
    fragile: tuple[Pool, Meters], bundle: Path
) -> None:
    client = client_of(kit.make_service(fragile[0], bundle))
    files = [("file", ("a.png", encoded())), ("file", ("bad.png", kit.CRASH)),
             ("file", ("b.png", encoded()))]  # fmt: skip
    first, bad, last = client.post(PREDICTIONS, files=files).json()["predictions"]
    assert first["label"] == last["label"] == "BCC"
    assert bad["reason"] == "crashed"
    assert bad["error"].startswith("bad.png: the process that read it crashed")


def test_memory_that_runs_out_is_a_reason(fragile: tuple[Pool, Meters], bundle: Path) -> None:
    client = client_of(kit.make_service(fragile[0], bundle))
    problem = problem_of(client.post(PREDICTIONS, content=kit.MEMORY, headers=PNG))
    assert problem["images"][0]["reason"] == "out_of_memory"


def test_a_fault_of_ours_is_told_as_such_and_where_but_not_what_it_said(
    fragile: tuple[Pool, Meters], bundle: Path, lines: list[str]
) -> None:
    client = client_of(kit.make_service(fragile[0], bundle, lines=lines))
    answer = client.post(PREDICTIONS, content=kit.FAULT, headers=PNG)
    assert problem_of(answer)["reason"] == "fault"
    fault, request = map(json.loads, lines)
    assert (fault["event"], fault["type"]) == ("fault", "RuntimeError")
    assert fault["at"].startswith("service_kit.py:")
    assert request["status"] == 500
    assert PATIENT not in answer.text + "".join(lines)


def test_a_fault_in_the_server_itself_is_answered_too(
    client: TestClient, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> bytes:
        raise KeyError(PATIENT)

    monkeypatch.setattr(Meters, "exposition", fails)
    answer = client.get("/metrics")
    assert problem_of(answer)["reason"] == "fault"
    assert json.loads(lines[0])["type"] == "KeyError"
    assert PATIENT not in answer.text + "".join(lines)


def test_a_client_that_leaves_takes_its_question_out_of_the_line(
    fragile: tuple[Pool, Meters], bundle: Path, lines: list[str]
) -> None:
    service = kit.make_service(fragile[0], bundle, lines=lines)
    scope = {
        "type": "http", "method": "POST", "path": PREDICTIONS, "query_string": b"",
        "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"image/png")],
    }  # fmt: skip
    messages = [{"type": "http.request", "body": encoded(), "more_body": False}]

    async def receive() -> dict[str, Any]:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        pass  # nobody is there

    async def leave() -> None:
        hanging = asyncio.create_task(post(service, kit.HANG))
        await until_busy(fragile[0])
        await service(scope, receive, send)
        assert not hanging.done()
        hanging.cancel()

    asyncio.run(leave())
    assert json.loads(lines[0])["status"] == 499


def test_a_pool_that_is_closed_waits_for_nobody(bundle: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(pools, "start_child", kit.start_fragile_child)
    pool = Pool(load_bundle(bundle), n_workers=1)

    async def close() -> None:
        until = time.monotonic() + 50  # less than the worker hangs
        hanging, waiting = (
            pool.ask(Question(content, "balanced", None), until=until)
            for content in (kit.HANG, encoded())
        )
        await until_busy(pool)
        await asyncio.to_thread(pool.close)
        assert time.monotonic() < until
        with pytest.raises(TimeoutError):
            await hanging
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(close())


def test_a_worker_that_is_started_while_its_pool_is_closed_is_waited_for_by_nobody(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "start_child", kit.start_fragile_child)
    killed = threading.Event()

    def close_meanwhile() -> None:  # in the worker's thread, which close waits for
        closing.start()
        assert killed.wait(60)

    pool = Pool(load_bundle(bundle), n_workers=1, on_restart=close_meanwhile)
    closing, kill = threading.Thread(target=pool.close), pool._workers[0].kill

    def kill_and_tell() -> None:
        kill()
        killed.set()

    def start_idler(_: str) -> Any:
        command = [sys.executable, "-c", "import time; time.sleep(60)"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(pool._workers[0], "kill", kill_and_tell)
    monkeypatch.setattr(pools, "start_child", start_idler)
    until = time.monotonic() + 50  # less than what is started would take

    async def crash() -> None:
        with pytest.raises(TimeoutError):
            await pool.ask(Question(kit.CRASH, "balanced", None), until=until)

    asyncio.run(crash())
    closing.join(60)
    assert time.monotonic() < until


# ---------------------------------------------------------------- what is told of it


def test_no_name_no_query_and_nothing_of_an_image_is_written_down(
    client: TestClient, lines: list[str]
) -> None:
    files = [("file", (f"{PATIENT}.png", encoded())), ("file", (f"{PATIENT}.txt", b"text"))]
    client.post(PREDICTIONS, files=files)
    client.post(PREDICTIONS, files=files[1:])
    client.post(PREDICTIONS, params={PATIENT: PATIENT}, files=files)
    client.post(f"/v1/{PATIENT}", content=PATIENT.encode(), headers={"X-Name": PATIENT})
    client.request(PATIENT.upper(), "/v1/model")
    client.get("/v1/model", headers={"Host": PATIENT})
    assert [json.loads(line)["status"] for line in lines] == [200, 422, 422, 404, 405, 403]
    text = "".join(lines)
    assert PATIENT.lower() not in text.lower()
    first = json.loads(lines[0])
    assert set(first) == {
        "time", "event", "method", "route", "status", "ms", "bytes_in", "bytes_out"
    }  # fmt: skip
    assert (first["method"], first["route"]) == ("POST", PREDICTIONS)
    assert first["bytes_in"] > len(encoded())
    assert [json.loads(line)["method"] for line in lines][4] == "OTHER"
    assert client.get("/metrics").text.lower().count(PATIENT.lower()) == 0


def test_the_meters_count_what_happened(pool: Pool, bundle: Path) -> None:
    client = client_of(kit.make_service(pool, bundle))
    files = [("file", ("a.png", encoded())), ("file", ("b.txt", b"text"))]
    for _ in range(3):
        client.post(PREDICTIONS, files=files)
    client.get("/nothing")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["lesionlens_http_requests_total", "POST", PREDICTIONS, "200"] == 3
    assert samples["lesionlens_http_requests_total", "GET", "-", "404"] == 1
    assert samples["lesionlens_images_refused_total", "not_an_image"] == 3
    judged = sum(value for key, value in samples.items() if key[0] == "lesionlens_images_total")
    assert judged == 3
    assert samples["lesionlens_requests_running",] == 0
    assert samples["lesionlens_held_bytes",] == 0


def test_a_server_that_ends_takes_nothing_new_and_still_says_that_it_lives(
    pool: Pool, bundle: Path
) -> None:
    service = kit.make_service(pool, bundle)
    client = client_of(service)
    assert client.get("/readyz").json() == {"status": "ok"}
    service.presence.is_ending = True
    for answer in (client.post(PREDICTIONS, content=encoded(), headers=PNG), client.get("/readyz")):
        assert problem_of(answer)["reason"] == "ending"
    assert client.get("/healthz").status_code == OK
