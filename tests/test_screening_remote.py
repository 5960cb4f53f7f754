"""Images behind an address: from a real web server and an S3 of our own, on their bad days, too."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archive_server import jpeg
from lesionlens.errors import ImageError, LesionLensError, MissingExtraError
from lesionlens.screening import places, remote, services
from lesionlens.screening.items import Item
from lesionlens.screening.reading import read_item
from lesionlens.screening.sources import ImageSource, SourceOptions
from screening_kit import zipped
from web_site import Site

fsspec = pytest.importorskip("fsspec")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait milliseconds between two attempts, and minutes for a server that is not let run."""
    monkeypatch.setattr(remote, "_BASE_S", 0.01)
    monkeypatch.setattr(remote, "_PATIENCE_S", 600.0)
    monkeypatch.setattr(services, "_READ_S", 60.0)
    monkeypatch.setattr(services, "_CONNECT_S", 60.0)
    fsspec.filesystem("http").clear_instance_cache()


def fetched(url: str) -> bytes:
    return remote.fetch(url, uri="photo")


# One file ----------------------------------------------------------------------------------------


def test_an_address_of_a_file_is_read(site: Site) -> None:
    site.files["/a/lesion 1.jpg"] = jpeg(1)
    (item,) = ImageSource([f"{site.url}/a/lesion%201.jpg?size=full"])
    assert (item.uri, item.kind) == ("lesion 1.jpg", "remote")
    assert read_item(item).sha256 == sha256(jpeg(1))


@pytest.mark.parametrize("fault", ["500", "503", "429", "drop", "half"])
def test_what_may_pass_is_asked_for_again(fault: str, site: Site) -> None:
    site.files["/1.jpg"] = jpeg(1)
    site.faults["/1.jpg"] = [fault, fault]
    assert fetched(f"{site.url}/1.jpg") == jpeg(1)
    assert site.asked["/1.jpg"] == 3


def test_a_server_that_stalls_is_asked_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_READ_S", 1.0)
    monkeypatch.setattr(remote, "ATTEMPTS", 20)
    site.files["/1.jpg"] = jpeg(1)
    site.faults["/1.jpg"] = ["stall", "stall"]
    assert fetched(f"{site.url}/1.jpg") == jpeg(1)
    assert site.asked["/1.jpg"] >= 3  # more where it is not let run for a second


@pytest.mark.parametrize(
    ("fault", "reason", "n_asked"),
    [
        ("404", "not_found", 1),
        ("410", "not_found", 1),
        ("401", "no_permission", 1),
        ("403", "no_permission", 1),
        ("400", "remote_error", 1),
        ("500", "remote_error", remote.ATTEMPTS),
        ("half", "remote_error", remote.ATTEMPTS),
        ("drop", "remote_error", remote.ATTEMPTS),
    ],
)
def test_what_is_not_to_be_had_is_one_failure(
    fault: str, reason: str, n_asked: int, site: Site
) -> None:
    site.files["/1.jpg"] = jpeg(1)
    site.faults["/1.jpg"] = [fault] * 99
    with pytest.raises(ImageError, match=r"^photo: ") as caught:
        fetched(f"{site.url}/1.jpg")
    assert caught.value.reason == reason
    # The library asks once more by itself where a connection breaks off.
    assert site.asked["/1.jpg"] in (n_asked, n_asked * 2 if fault == "drop" else n_asked)


def test_a_server_that_says_nothing_is_given_up_in_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_PATIENCE_S", 1.5)
    monkeypatch.setattr(services, "_READ_S", 1.0)
    site.files["/1.jpg"] = jpeg(1)
    site.faults["/1.jpg"] = ["stall"] * 99
    with pytest.raises(ImageError) as caught:
        fetched(f"{site.url}/1.jpg")
    assert caught.value.reason == "timed_out"
    assert site.asked["/1.jpg"] <= 2 < remote.ATTEMPTS  # each takes a second at least


def test_nobody_there_is_one_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # so that nobody else listens there
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ImageError) as caught:
            fetched(f"http://127.0.0.1:{port}/1.jpg")
    assert caught.value.reason == "remote_error"


@pytest.mark.parametrize("how", ["announced", "endless"])
def test_no_server_can_make_us_take_more_than_an_image(
    how: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "MAX_BYTES", 1 << 20)
    site.files["/1.jpg"] = bytes(3 << 20)
    site.faults["/1.jpg"] = ["endless"] if how == "endless" else []
    with pytest.raises(ImageError, match="not fetched to its end") as caught:
        fetched(f"{site.url}/1.jpg")
    assert caught.value.reason == "too_large"
    assert site.asked["/1.jpg"] == 1


def test_no_secret_of_an_address_is_in_an_error(site: Site) -> None:
    with pytest.raises(ImageError) as caught:
        fetched(f"{site.url}/gone.jpg?X-Amz-Signature=s3cret")
    assert "s3cret" not in str(caught.value)
    site.faults["/1.jpg"] = ["400"]
    with pytest.raises(ImageError) as caught:
        fetched(f"{site.url}/1.jpg?X-Amz-Signature=s3cret")
    assert "s3cret" not in str(caught.value)


# Many files --------------------------------------------------------------------------------------


def test_an_index_of_a_web_server_is_followed(site: Site) -> None:
    for name in ("/set/b/2.jpg", "/set/a b/1.png", "/set/3.jpg", "/set/n.txt", "/other/4.jpg"):
        site.files[name] = jpeg(len(name))
    found = list(ImageSource([f"{site.url}/set/"]))
    assert [item.uri for item in found] == ["3.jpg", "a b/1.png", "b/2.jpg"]
    assert [read_item(item).sha256 for item in found] == [
        sha256(site.files[f"/set/{item.uri}"]) for item in found
    ]


def test_a_list_of_addresses_is_read_from_an_address(site: Site) -> None:
    site.files |= {"/set/1.jpg": jpeg(1), "/2.jpg": jpeg(2), "/3 3.jpg": jpeg(3)}
    site.files["/set/all.csv"] = f"path,who\n1.jpg,a\n{site.url}/2.jpg,b\n../3 3.jpg,c\n".encode()
    source = ImageSource([f"{site.url}/set/all.csv"], SourceOptions(keep=("who",)))
    found = list(source)
    assert [item.uri for item in found] == [
        f"{site.url}/set/1.jpg", f"{site.url}/2.jpg", f"{site.url}/3%203.jpg",
    ]  # fmt: skip
    assert [item.extra["who"] for item in found] == ["a", "b", "c"]
    assert [read_item(item).sha256 for item in found] == [sha256(jpeg(n)) for n in (1, 2, 3)]


def test_a_list_here_may_have_addresses(site: Site, tmp_path: Path) -> None:
    site.files["/1.jpg"] = jpeg(1)
    (tmp_path / "2.jpg").write_bytes(jpeg(2))
    (tmp_path / "all.txt").write_text(f"{site.url}/1.jpg\n2.jpg\n{site.url}/gone.jpg\n")
    first, second, gone = ImageSource([str(tmp_path / "all.txt")])
    assert (first.uri, second.uri) == (f"{site.url}/1.jpg", "2.jpg")
    assert [read_item(item).source for item in (first, second)] == [jpeg(1), jpeg(2)]
    with pytest.raises(ImageError) as caught:
        read_item(gone)
    assert caught.value.reason == "not_found"


def test_an_archive_behind_an_address_is_read_by_its_parts(site: Site) -> None:
    photos = {f"{n:03}.jpg": jpeg(n) for n in range(200)}
    site.files["/all.zip"] = zipped(photos)
    found = list(ImageSource([f"{site.url}/all.zip"]))
    assert [item.uri for item in found] == [f"all.zip!/{name}" for name in photos]
    site.asked.clear()
    for item in found[50:53]:
        assert read_item(item).sha256 == sha256(photos[item.member])
    assert site.asked["/all.zip"] <= 3 + 2  # one a member, and to open it


def test_a_server_that_sends_no_parts_is_told_of(site: Site) -> None:
    site.files["/all.zip"] = zipped({"1.jpg": jpeg(1)})
    site.sends_parts = False
    (item,) = ImageSource([f"{site.url}/all.zip"])
    with pytest.raises(ImageError, match="download the archive"):
        read_item(item)


def test_a_server_without_an_index_is_told_of(site: Site) -> None:
    with pytest.raises(LesionLensError, match="nothing there; without an index page"):
        list(ImageSource([f"{site.url}/nothing/"]))


# Stores of objects -------------------------------------------------------------------------------


@pytest.fixture
def memory() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    yield files
    files.store.clear()


def test_a_store_is_listed_and_read(memory: Any) -> None:
    photos = {
        "b/2.jpg": jpeg(2),
        "a/1.jpg": jpeg(1),
        "3.png": jpeg(3),
        "n.txt": b"?",
        ".x.jpg": b"",
    }
    for name, content in photos.items():
        memory.pipe(f"memory://set/{name}", content)
    memory.pipe("memory://set/z.zip", zipped({"4.jpg": jpeg(4)}))
    found = list(ImageSource(["memory://set"]))
    assert [item.uri for item in found] == ["3.png", "a/1.jpg", "b/2.jpg", "z.zip!/4.jpg"]
    assert [read_item(item).sha256 for item in found] == [sha256(jpeg(n)) for n in (3, 1, 2, 4)]
    assert found[0].size == len(jpeg(3))


def test_an_object_that_is_too_large_is_not_fetched(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("memory://set/1.jpg", bytes(2 << 20))
    monkeypatch.setattr(remote, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(type(memory), "cat_file", lambda *_: pytest.fail("it was fetched"))
    for item in (*ImageSource(["memory://set"]), Item("1", "memory://set/1.jpg", kind="remote")):
        with pytest.raises(ImageError) as caught:
            read_item(item)
        assert caught.value.reason == "too_large"


@pytest.mark.parametrize(("scheme", "package"), [("gs", "gcsfs"), ("s3", "s3fs")])
def test_a_service_whose_package_is_missing_is_told_in_one_line(
    scheme: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str, **_: object) -> None:
        raise ImportError(f"Install {package} to access {name}")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    monkeypatch.setattr(services, "_google_storage", lambda: missing("gcsfs"))
    with pytest.raises(MissingExtraError) as caught:
        ImageSource([f"{scheme}://bucket/set"])
    assert str(caught.value) == (
        f"reading {scheme}:// needs {package}, which is not installed: "
        f"pip install 'lesionlens[{scheme}]'"
    )


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    patch = pytest.MonkeyPatch()
    host, port = server.get_host_and_port()
    patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(name, "testing")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    files = fsspec.filesystem("s3", use_listings_cache=False)
    files.mkdir("photos")
    yield files
    patch.undo()
    server.stop()


def test_s3_is_listed_a_page_at_a_time_and_read(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = {f"set/{n:02}-ä +.jpg": jpeg(n) for n in range(7)}
    for name, content in {**photos, "set/n.txt": b"?", "settled/8.jpg": b""}.items():
        bucket.pipe(f"photos/{name}", content)
    pages = []
    call = type(bucket).call_s3

    def three_a_page(self: Any, method: str, *args: Any, **options: Any) -> Any:
        pages.append(method)
        return call(self, method, *args, MaxKeys=3, **options)

    monkeypatch.setattr(type(bucket), "call_s3", three_a_page)
    source = ImageSource(["s3://photos/set"])
    listed = iter(source)
    next(listed)
    assert len(pages) == 1
    found = list(source)
    assert [item.uri for item in found] == [name.removeprefix("set/") for name in photos]
    assert [read_item(item).sha256 for item in found] == [sha256(c) for c in photos.values()]
    assert source.count() == 7


def test_s3_takes_patterns_very_names_and_paths_from_a_list_in_it(bucket: Any) -> None:
    for n, name in enumerate(("odd/1#.jpg", "odd/a/2?.jpg", "odd/a/3%20.jpg", "odd/n.txt")):
        bucket.pipe(f"photos/{name}", jpeg(n))
    found = list(ImageSource(["s3://photos/odd/*/*.jpg"]))
    assert [item.uri for item in found] == ["a/2?.jpg", "a/3%20.jpg"]
    found += ImageSource(["s3://photos/odd/1#.jpg"])
    assert found[-1].uri == "1#.jpg"
    bucket.pipe("photos/lists/all.txt", b"../odd/1#.jpg\n/odd/a/2?.jpg\n")
    found += ImageSource(["s3://photos/lists/all.txt"])
    assert [item.uri for item in found[-2:]] == [
        "s3://photos/odd/1#.jpg",
        "s3://photos/odd/a/2?.jpg",
    ]
    assert [read_item(item).source for item in found] == [jpeg(n) for n in (1, 2, 0, 0, 1)]


def test_an_archive_in_s3_is_read_by_its_parts(bucket: Any) -> None:
    bucket.pipe("photos/archives/a.zip", zipped({"1.jpg": jpeg(1), "2.jpg": jpeg(2)}))
    found = list(ImageSource(["s3://photos/archives/"]))
    assert [item.uri for item in found] == ["a.zip!/1.jpg", "a.zip!/2.jpg"]
    assert [read_item(item).source for item in found] == [jpeg(1), jpeg(2)]


def test_what_s3_has_not_is_told(bucket: Any) -> None:
    with pytest.raises(ImageError) as caught:
        read_item(Item("gone", "s3://photos/gone.jpg", kind="remote"))
    assert caught.value.reason == "not_found"
    with pytest.raises(LesionLensError, match="s3://no-such-bucket/x"):
        list(ImageSource(["s3://no-such-bucket/x"]))


def test_the_limit_of_an_image_is_one_for_all() -> None:
    assert remote.MAX_BYTES == places.MAX_BYTES
