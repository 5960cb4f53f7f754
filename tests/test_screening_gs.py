"""Images in Google Cloud Storage: from an emulator of its JSON API, on its bad days, too.

The emulator knows neither pages nor refusals, so both are given here, in front of it, as the API
gives them (https://cloud.google.com/storage/docs/json_api/v1/objects/list).
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

import tiny_model
from archive_server import jpeg
from lesionlens.errors import ImageError, LesionLensError
from lesionlens.screening import remote, services
from lesionlens.screening.items import Item
from lesionlens.screening.reading import read_item
from lesionlens.screening.sources import ImageSource, SourceOptions
from screening_kit import errors_of, rows_of, write_photos, zipped

pytest.importorskip("gcsfs")
emulator = pytest.importorskip("gcp_storage_emulator.server")
from gcp_storage_emulator.handlers import buckets, objects  # noqa: E402


class Store:
    """An emulator in this process with one bucket, ``photos``."""

    def __init__(self) -> None:
        self.faults: dict[str, list[int]] = {}  # statuses by bucket or object, one an answer
        self.asked: list[str] = []  # buckets that were listed and objects that were read
        self.page = 1000
        self.files = emulator.Storage(use_memory_fs=True)
        store = self

        class Handler(_Handler):
            server_store = store

        server = emulator.server.HTTPServer
        self._server = server(("127.0.0.1", 0), lambda *given: Handler(self.files, *given))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = emulator.threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        buckets.create_bucket("photos", self.files)

    def put(self, name: str, content: bytes) -> None:
        made = objects._make_object_resource(
            self.url, "photos", name, "image/jpeg", str(len(content))
        )
        self.files.create_file("photos", name, content, objects._checksums(content, made))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(emulator.RequestHandler):
    server_store: Store

    def do_GET(self) -> None:
        store, url = self.server_store, urlsplit(self.path)
        bucket, _, name = url.path.rpartition("/b/")[2].partition("/o")
        name = unquote(name.removeprefix("/"))
        store.asked.append(name or bucket)
        faults = store.faults.get(name or bucket)
        if faults:
            status = faults.pop(0)
            self._answer(status, {"error": {"code": status, "message": "not now, or not you"}})
        elif url.path.endswith("/o") and bucket in store.files.buckets:
            self._list(bucket, {key: value[0] for key, value in parse_qs(url.query).items()})
        else:
            super().do_GET()

    def _list(self, bucket: str, asked: dict[str, str]) -> None:
        found, prefixes = self.server_store.files.get_file_list(
            bucket, asked.get("prefix"), asked.get("delimiter")
        )
        found.sort(key=lambda thing: thing["name"].encode())
        first = int(asked.get("pageToken", 0))
        last = first + self.server_store.page
        page = {"kind": "storage#objects", "prefixes": prefixes, "items": found[first:last]}
        self._answer(200, page | ({"nextPageToken": str(last)} if last < len(found) else {}))

    def _answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    made = Store()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", made.url)
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # no time lost in looking for Google's machines
    monkeypatch.setattr(remote, "_BASE_S", 0.01)
    monkeypatch.setattr(remote, "_PATIENCE_S", 600.0)  # the store runs in this process, if let
    monkeypatch.setattr(services, "_READ_S", 60.0)
    monkeypatch.setattr(services, "_CONNECT_S", 60.0)
    yield made
    made.close()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def names(*sources: str) -> list[str]:
    return [item.uri for item in ImageSource(sources)]


# What is found ------------------------------------------------------------------------------------


def test_a_prefix_is_listed_a_page_at_a_time_and_read(store: Store) -> None:
    photos = {f"set/{n:02}-ä +%20?x=1#{n}.jpg": jpeg(n) for n in range(7)}
    for name, content in {**photos, "set/n.txt": b"?", "settled/8.jpg": b"", "set/": b""}.items():
        store.put(name, content)
    store.page = 3
    source = ImageSource(["gs://photos/set"])
    store.asked.clear()
    next(iter(source))
    assert store.asked == ["photos"]
    found = list(source)
    assert [item.uri for item in found] == [name.removeprefix("set/") for name in photos]
    assert [read_item(item).sha256 for item in found] == [sha256(c) for c in photos.values()]
    assert source.count() == 7
    assert names("gs://photos") == sorted([*photos, "settled/8.jpg"])


def test_one_request_reads_an_image_that_was_listed(store: Store) -> None:
    store.put("set/1.jpg", jpeg(1))
    (item,) = ImageSource(["gs://photos/set/"])
    store.asked.clear()
    assert read_item(item).source == jpeg(1)
    assert store.asked == ["set/1.jpg"]


@pytest.mark.parametrize("name", ["a b.jpg", "a%20b.jpg", "a#1.jpg", "a?b.jpg", "ä[1].jpg"])
def test_one_object_is_taken_by_its_very_name(name: str, store: Store) -> None:
    store.put(f"set/{name}", jpeg(1))
    (item,) = ImageSource([f"gs://photos/set/{name}"])
    assert item.uri == name
    assert read_item(item).source == jpeg(1)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("set/*.jpg", ["1.jpg", "12.jpg"]),
        ("set/1?.jpg", ["12.jpg"]),
        ("set/[!1]*", ["a/3.jpg", "b/c/4.png"]),
        ("set/**/*.png", ["b/c/4.png"]),
        ("s*/1.jpg", ["set/1.jpg"]),
        ("set/x*", []),
    ],
)
def test_a_pattern_means_what_it_means_on_disk(
    pattern: str, found: list[str], store: Store, tmp_path: Path
) -> None:
    for name in ("set/1.jpg", "set/12.jpg", "set/a/3.jpg", "set/b/c/4.png", "other/1.jpg"):
        store.put(name, jpeg(1))
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(jpeg(1))
    assert names(f"gs://photos/{pattern}") == found
    assert names(str(tmp_path / pattern)) == found


def test_of_a_large_bucket_only_what_a_pattern_begins_with_is_listed(store: Store) -> None:
    for name in (*(f"2023/{n}.jpg" for n in range(20)), "2024-1/1.jpg", "2024-2/2.jpg"):
        store.put(name, jpeg(1))
    store.page = 2
    source = ImageSource(["gs://photos/2024-*/*.jpg"])
    store.asked.clear()
    assert [item.uri for item in source] == ["2024-1/1.jpg", "2024-2/2.jpg"]
    assert store.asked == ["photos"]


def test_no_pattern_stands_for_a_bucket(store: Store) -> None:
    with pytest.raises(LesionLensError, match="may not stand for a bucket"):
        ImageSource(["gs://photo*/set/1.jpg"])


def test_a_list_here_and_one_in_the_bucket_name_objects(store: Store, tmp_path: Path) -> None:
    for n in (1, 2, 3):
        store.put(f"set/{n}#.jpg", jpeg(n))
    (tmp_path / "all.txt").write_text("gs://photos/set/1#.jpg\ngs://photos/set/2#.jpg\n")
    found = list(ImageSource([str(tmp_path / "all.txt")]))
    assert [item.uri for item in found] == ["gs://photos/set/1#.jpg", "gs://photos/set/2#.jpg"]
    assert [read_item(item).source for item in found] == [jpeg(1), jpeg(2)]
    store.put(
        "lists/all.csv", b"path,who\n../set/1#.jpg,a\n/set/2#.jpg,b\ngs://photos/set/3#.jpg,c\n"
    )
    found = list(ImageSource(["gs://photos/lists/all.csv"], SourceOptions(keep=("who",))))
    assert [item.location for item in found] == [f"gs://photos/set/{n}#.jpg" for n in (1, 2, 3)]
    assert [item.extra["who"] for item in found] == ["a", "b", "c"]
    assert [read_item(item).source for item in found] == [jpeg(n) for n in (1, 2, 3)]


def test_an_archive_in_the_bucket_is_read_by_its_parts(store: Store) -> None:
    photos = {f"{n:03}.jpg": jpeg(n) for n in range(50)}
    store.put("archives/a.zip", zipped(photos))
    found = list(ImageSource(["gs://photos/archives"]))
    assert [item.uri for item in found] == [f"a.zip!/{name}" for name in photos]
    store.asked.clear()
    assert [read_item(item).sha256 for item in found[20:23]] == [
        sha256(photos[f"{n:03}.jpg"]) for n in (20, 21, 22)
    ]
    assert set(store.asked) <= {"archives/a.zip", "photos"}
    assert store.asked.count("archives/a.zip") <= 3 + 2  # one a member, and to open it


def test_an_archive_that_was_written_anew_is_told_of(store: Store) -> None:
    store.put("a.zip", zipped({"1.jpg": jpeg(1)}))
    (item,) = ImageSource(["gs://photos/a.zip"])
    store.put("a.zip", zipped({"1.jpg": jpeg(2)}))
    with pytest.raises(ImageError, match="has changed") as caught:
        read_item(item)
    assert caught.value.reason == "changed_while_read"


# What is not to be had ----------------------------------------------------------------------------


def fetched(name: str, *, size: int | None = None) -> bytes:
    return read_item(Item("photo", f"gs://photos/{name}", kind="remote", size=size)).source


@pytest.mark.parametrize(
    ("status", "reason"),
    [(401, "no_permission"), (403, "no_permission"), (400, "remote_error")],
)
def test_what_is_refused_is_one_failure_and_asked_for_once(
    status: int, reason: str, store: Store
) -> None:
    store.put("1.jpg", jpeg(1))
    store.faults["1.jpg"] = [status] * 99
    with pytest.raises(ImageError, match=r"^photo: ") as caught:
        fetched("1.jpg", size=9)
    assert caught.value.reason == reason
    assert store.asked == ["1.jpg"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_what_may_pass_is_asked_for_again_and_nothing_is_said(
    status: int, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    store.put("1.jpg", jpeg(1))
    store.faults["1.jpg"] = [status, status]
    assert fetched("1.jpg", size=9) == jpeg(1)
    assert store.asked == ["1.jpg"] * 3
    assert capfd.readouterr().err == ""


def test_a_service_that_stays_down_is_given_up_after_the_last_attempt(store: Store) -> None:
    store.put("1.jpg", jpeg(1))
    store.faults["1.jpg"] = [503] * 99
    with pytest.raises(ImageError, match="not now, or not you") as caught:
        fetched("1.jpg", size=9)
    assert caught.value.reason == "remote_error"
    assert store.asked == ["1.jpg"] * remote.ATTEMPTS


def test_what_is_not_there_is_told(store: Store) -> None:
    with pytest.raises(ImageError, match="no such file there") as caught:
        fetched("gone.jpg")
    assert caught.value.reason == "not_found"
    with pytest.raises(ImageError) as caught:
        fetched("gone.jpg", size=9)
    assert caught.value.reason == "not_found"
    with pytest.raises(LesionLensError, match=r"gs://no-such-bucket/x: nothing there"):
        names("gs://no-such-bucket/x")
    store.faults["photos"] = [403]
    with pytest.raises(LesionLensError, match=r"gs://photos/x: .*does not hand it out to us"):
        names("gs://photos/x")


def test_an_object_that_is_too_large_is_not_fetched(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "MAX_BYTES", 1000)
    store.put("1.jpg", bytes(2000))
    (item,) = ImageSource(["gs://photos/1.jpg"])
    with pytest.raises(ImageError) as caught:
        read_item(item)
    assert caught.value.reason == "too_large"


# A whole run --------------------------------------------------------------------------------------


def test_a_run_over_a_bucket_goes_on_where_it_was(store: Store, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 6)
    for path in photos.iterdir():
        store.put(f"set/{path.name}", path.read_bytes())
    store.put("set/more.zip", zipped({"z.jpg": (photos / "00000.jpg").read_bytes()}))
    store.put("set/text.jpg", b"not an image")
    out = tmp_path / "out"
    bundle = tiny_model.write(tmp_path / "bundle").directory
    command = [
        sys.executable, "-m", "lesionlens", "screen", "gs://photos/set", "gs://photos/gone.jpg",
        "-o", str(out), "--no-gate", "--workers", "2",
    ]  # fmt: skip

    def screen(*more: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "LESIONLENS_MODEL": str(bundle)}
        return subprocess.run(
            [*command, *more], env=environment, capture_output=True, text=True, check=False
        )

    done = screen("--limit", "3")
    assert done.returncode == 0, done.stderr
    assert len(rows_of(out)) == 3
    store.asked.clear()
    done = screen()
    assert done.returncode == 1, done.stderr
    assert "3 images are done already" in done.stderr
    assert [row["uri"] for row in rows_of(out)] == [
        *(f"gs://photos/set/0000{n}.jpg" for n in range(6)), "gs://photos/set/more.zip!/z.jpg",
    ]  # fmt: skip
    assert [line.split(",")[:2] for line in errors_of(out)] == [
        ["gs://photos/gone.jpg", "not_found"], ["gs://photos/set/text.jpg", "not_an_image"],
    ]  # fmt: skip
    assert "bucket type" not in done.stderr
    assert "Traceback" not in done.stderr
