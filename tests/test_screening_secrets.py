"""What lets one into an address stays out of a run folder and of what is said of a run.

Every SOURCE and every line of a list carries a secret of its own here; all of them are looked for
in whatever a run writes.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

import tiny_model
from lesionlens.errors import LesionLensError
from lesionlens.screening.places import packing_of, path_of, public_url, without_secrets
from lesionlens.screening.sources import ImageSource
from screening_kit import errors_of, rows_of, write_photos
from web_site import Site

Run = Callable[..., SimpleNamespace]
#: What every secret here has in it; slashes and pluses, which libraries write in another way.
SECRET = "s3cr3t"
SIGNED = f"X-Amz-Credential=me%2F{SECRET}&X-Amz-Signature={SECRET}%2Fa%2Bb%3D"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    server = Site()
    photos = write_photos(tmp_path / "photos", 6)
    for path in photos.iterdir():
        server.files[f"/set/{path.name}"] = path.read_bytes()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("z.jpg", (photos / "00000.jpg").read_bytes())
    server.files["/all.zip"] = stream.getvalue()
    server.files["/broken.zip"] = b"PK, but no archive"
    server.files["/o'brien/1 1.jpg"] = (photos / "00001.jpg").read_bytes()
    yield server
    server.close()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_command: Run) -> Run:
    bundle = tiny_model.write(tmp_path / "bundle").directory
    monkeypatch.setenv("LESIONLENS_MODEL", str(bundle))

    def call(*arguments: object) -> SimpleNamespace:
        return run_command("screen", *arguments, "--no-gate", "--workers", 1, "--views", 1)

    return call


def written(out: Path) -> Iterator[tuple[str, str]]:
    """What is in a run folder, as text: its files, and the cells of its tables."""
    for path in out.rglob("*"):
        if path.suffix == ".parquet":
            yield path.name, repr(pq.read_table(path).to_pylist())
        elif path.is_file():
            yield path.name, path.read_bytes().decode(errors="replace")


def check_no_secret(out: Path, done: SimpleNamespace) -> None:
    for name, content in written(out):
        assert SECRET not in content, name
    assert SECRET not in done.err + done.out


def test_no_secret_is_in_a_run_folder_nor_said(site: Site, run: Run, tmp_path: Path) -> None:
    host = site.url.removeprefix("http://")
    entrance = f"http://{SECRET}:{SECRET}@{host}"
    site.files["/lists/all.csv"] = (
        "path,who\n"
        f"{entrance}/set/00000.jpg?{SIGNED},a\n"
        f"{site.url}/o'brien/1 1.jpg?{SIGNED},{site.url}/who?token={SECRET}&id=7\n"
        f"{site.url}/gone.jpg?{SIGNED},c\n"
        f"{site.url}/refused.jpg?{SIGNED},d\n"
        f"{site.url}/bad o'f.jpg?{SIGNED},d\n"
        f"{site.url}/moved.jpg?{SIGNED},e\n"
        f"http://[{host}/no-host.jpg?{SIGNED},f\n"
        f"other://{SECRET}@{host}/1.jpg?{SIGNED},g\n"
    ).encode()
    site.faults["/refused.jpg"] = ["403"] * 9
    site.faults["/bad o'f.jpg"] = ["400"] * 9
    site.faults["/moved.jpg"] = [f"to {site.url}/elsewhere.jpg?sig={SECRET}%2F"] * 9
    site.faults["/elsewhere.jpg"] = ["400"] * 9
    sources = [
        f"{entrance}/lists/all.csv?{SIGNED}",
        f"{site.url}/set/00001.jpg?sv=1&sig={SECRET}",
        f"{entrance}/set/?token={SECRET}",
        f"{site.url}/all.zip?{SIGNED}",
        f"{site.url}/broken.zip?{SIGNED}",
    ]
    out = tmp_path / "out"
    keep = ("--keep-columns", "who", "-o", out)
    done = run(*sources, *keep, "--format-extra", "fhir")
    assert done.code == 1, done.err
    check_no_secret(out, done)
    assert {row["uri"] for row in rows_of(out)} == {
        *(f"{site.url}/set/0000{n}.jpg" for n in range(6)),
        f"{site.url}/o'brien/1 1.jpg",
        f"{site.url}/all.zip!/z.jpg",
    }
    assert {row["who"] for row in rows_of(out)} == {None, "a", f"{site.url}/who?id=7"}
    reasons = {
        line.partition(",")[0].rpartition("/")[2]: line.split(",")[1] for line in errors_of(out)
    }
    assert reasons == {
        "gone.jpg": "not_found",
        "refused.jpg": "no_permission",
        "bad o'f.jpg": "remote_error",
        "moved.jpg": "remote_error",
        "no-host.jpg": "remote_error",
        "1.jpg": "remote_error",
        "broken.zip": "bad_archive",
    }
    assert json.loads((out / "job.json").read_text())["settings"]["sources"] == [
        f"{site.url}/lists/all.csv",
        f"{site.url}/set/00001.jpg",
        f"{site.url}/set/",
        f"{site.url}/all.zip",
        f"{site.url}/broken.zip",
    ]


def test_a_run_of_signed_addresses_goes_on_with_the_same_and_with_new_signatures(
    site: Site, run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    address = f"{site.url}/set/?size=2&token="
    assert run(f"{address}{SECRET}", "-o", out, "--limit", 2).code == 0
    assert len(rows_of(out)) == 2
    again = run(f"{address}{SECRET}", "-o", out, "--limit", 2)
    assert "2 images are done already" in again.err
    renewed = run(f"{address}{SECRET}-2", "-o", out)
    assert renewed.code == 0
    assert "4 images are done already" in renewed.err
    assert len(rows_of(out)) == 6
    check_no_secret(out, renewed)


@pytest.mark.parametrize("other", ["set/more/?size=2&", "set/?size=3&", "set/?"])
def test_another_address_is_not_mixed_in(other: str, site: Site, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(f"{site.url}/set/?size=2&token={SECRET}", "-o", out).code == 0
    before = rows_of(out)
    done = run(f"{site.url}/{other}token={SECRET}", "-o", out)
    assert done.code == 2
    assert "sources was " in done.err
    assert rows_of(out) == before
    check_no_secret(out, done)


def test_an_address_that_is_not_taken_is_told_without_its_secret() -> None:
    with pytest.raises(LesionLensError, match=r"other://host/a\.jpg: ") as caught:
        ImageSource([f"other://{SECRET}@host/a.jpg?sig={SECRET}"])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "query",
    [
        "X-Amz-Algorithm=x&X-Amz-Credential=x&X-Amz-Security-Token=x&X-Amz-Signature=x",
        "AWSAccessKeyId=x&Signature=x&Expires=1",
        "X-Goog-Algorithm=x&x-goog-credential=x&X-Goog-Signature=x",
        "GoogleAccessId=x&Expires=1&Signature=x",
        "sv=x&ss=x&srt=x&sp=x&se=x&st=x&spr=https&sip=x&sr=b&skoid=x&sktid=x&sig=x",
        "OSSAccessKeyId=x&security-token=x",
        "q-sign-algorithm=x&q-ak=x&q-key-time=x&q-signature=x",
        "Policy=x&Key-Pair-Id=x&Signature=x",
        "URLPrefix=x&KeyName=x&Signature=x",
        "access_token=x&client_secret=x&password=x&api_key=x&apikey=x&key=x&%74oken=x",
    ],
)
def test_what_services_call_their_secrets_is_left_out(query: str) -> None:
    assert public_url(f"https://h/a.jpg?size=1&{query}&page=2") == "https://h/a.jpg?size=1&page=2"


@pytest.mark.parametrize(
    "url",
    [
        "https://h/get?key=2024/1.jpg",  # says which image, and lets nobody in
        "https://h/get?id=a%2Fb&note=a+b&empty=&bare",
        "s3://bucket/a#1?b%20c.jpg",
        "gs://bucket/1 @ 2.jpg",
        "http://[::1]:80/1.jpg",
        "http://[broken/1.jpg",
    ],
)
def test_what_is_no_secret_stays_as_it_was_written(url: str) -> None:
    assert public_url(url) == url


def test_words_of_libraries_are_told_without_secrets() -> None:
    address = f"https://me:{SECRET}@h/o'brien/a.jpg?id=1&sig={SECRET}"
    words = f"400, url='{address}' (gs://b/k?token={SECRET})"
    assert SECRET not in without_secrets(words)
    assert "https://h/o'brien/a.jpg?id=1" in without_secrets(words)


def test_a_query_hides_no_name(tmp_path: Path) -> None:
    assert path_of("https://h/a%20b.tar.gz?sig=1#x") == "/a b.tar.gz"
    assert packing_of("https://h/a.tar.gz?sig=1") == "gzip"
    assert re.search("tar", packing_of("https://h/a.tar?x=.gz")) is None
