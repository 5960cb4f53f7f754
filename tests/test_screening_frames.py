"""DICOM of several frames in archives and at addresses: the rows of the file on the disk."""

from __future__ import annotations

import io
import shutil
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit

import tiny_model
from archive_server import jpeg
from dicom_kit import PATIENT, encoded, make, of_jpeg
from lesionlens.bundle import Bundle
from lesionlens.errors import ImageError
from lesionlens.screening import dividing, remote, services
from lesionlens.screening.dicom import PATIENT_COLUMNS
from lesionlens.screening.items import Item
from lesionlens.screening.job import Job
from lesionlens.screening.reading import read_item
from lesionlens.screening.settings import make_settings
from lesionlens.screening.sources import ImageSource, SourceOptions
from screening_kit import errors_of, rows_of, run
from test_screening_archives import write_tar, write_zip
from test_screening_remote import Site

MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.7.4"
METHODS = {
    "stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED, "bzip2": zipfile.ZIP_BZIP2
}  # fmt: skip
ARCHIVES = [*METHODS, "tar", "tar.gz", "tar.zst"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_model.write(tmp_path_factory.mktemp("model") / "bundle")


def of_frames(path: Path, n: int, **more: Any) -> Path:
    """Write a DICOM file of ``n`` JPEGs, each of another colour."""
    frames = [encoded(Image.new("RGB", (64, 48), (9 * i % 256, 90, 200))) for i in range(n)]
    return make(
        path, frames, syntax=JPEGBaseline8Bit, storage=MULTI_FRAME,
        PhotometricInterpretation="YBR_FULL_422", **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of each kind: JPEGs, pixels as they are, packed as a whole, one frame, no DICOM."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "sub").mkdir()
    of_frames(folder / "a.dcm", 12)
    pixels = np.zeros((3, 40, 50, 3), np.uint8)
    pixels[:] = np.array([10, 120, 230], np.uint8)[:, None, None, None]
    make(folder / "sub" / "b.dcm", pixels, NumberOfFrames=3)
    make(folder / "c.dcm", pixels, NumberOfFrames=3, syntax=DeflatedExplicitVRLittleEndian)
    of_jpeg(folder / "one.dcm", encoded(Image.new("RGB", (64, 48), "tan")))
    (folder / "photo.jpg").write_bytes(jpeg(5))
    (folder / "words.dcm").write_text("no image")
    return folder


def packed(kind: str, folder: Path, photos: Path) -> Path:
    """Put the photos into an archive."""
    contents = {
        str(path.relative_to(photos)): path.read_bytes()
        for path in sorted(photos.rglob("*"))
        if path.is_file()
    }
    if kind in METHODS:
        return write_zip(folder / "all.zip", contents, METHODS[kind])
    return write_tar(folder / f"all.{kind}", contents)


def judged(out: Path, archive: str = "") -> list[dict[str, Any]]:
    """The rows of a run, named below the archive, and then its errors."""
    rows = [{**row, "uri": row["uri"].removeprefix(f"{archive}!/")} for row in rows_of(out)]
    errors = [{"error": line.replace(f"{archive}!/", "")} for line in errors_of(out)]
    return [*sorted(rows, key=lambda row: row["uri"]), *errors]


@pytest.fixture(scope="module")
def wanted(
    photos: Path, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """The rows of the folder."""
    out = tmp_path_factory.mktemp("runs") / "out"
    run(out, bundle, ImageSource([str(photos)]))
    found = judged(out)
    names = [row["uri"] for row in found if "uri" in row]
    frames = [f"a.dcm#{n}" for n in range(1, 13)] + [f"c.dcm#{n}" for n in range(1, 4)]
    assert names == sorted([*frames, *(f"sub/b.dcm#{n}" for n in range(1, 4)), "one.dcm",
                            "photo.jpg"])  # fmt: skip
    assert len(found) == len(names) + 1  # words.dcm
    return found


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_gives_the_rows_of_the_folder(
    kind: str, tmp_path: Path, photos: Path, bundle: Bundle, wanted: list[dict[str, Any]]
) -> None:
    path = packed(kind, tmp_path, photos)
    source = ImageSource([str(path)])
    run(tmp_path / "out", bundle, source)
    assert judged(tmp_path / "out", path.name) == wanted
    assert source.count() in (None, len(wanted))


def test_addresses_give_the_rows_of_the_folder(
    site: Site, tmp_path: Path, photos: Path, bundle: Bundle, wanted: list[dict[str, Any]]
) -> None:
    for path in photos.rglob("*.*"):
        site.files[f"/set/{path.relative_to(photos)}"] = path.read_bytes()
    for site.sends_parts in (True, False):
        out = tmp_path / f"out-{site.sends_parts}"
        run(out, bundle, ImageSource([f"{site.url}/set/"]))
        assert judged(out) == wanted


def test_an_archive_at_an_address_gives_the_rows_of_the_folder(
    site: Site, tmp_path: Path, photos: Path, bundle: Bundle, wanted: list[dict[str, Any]]
) -> None:
    path = packed("deflated", tmp_path, photos)
    site.files["/all.zip"] = path.read_bytes()
    run(tmp_path / "out", bundle, ImageSource([f"{site.url}/all.zip"]))
    assert judged(tmp_path / "out", "all.zip") == wanted


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(remote, "_PATIENCE_S", 600.0)  # the server runs in this process, if let
    monkeypatch.setattr(services, "_READ_S", 60.0)
    monkeypatch.setattr(services, "_CONNECT_S", 60.0)
    server = Site()
    yield server
    server.close()


def test_a_run_that_was_stopped_among_frames_goes_on_with_the_rest(
    tmp_path: Path, photos: Path, bundle: Bundle, wanted: list[dict[str, Any]]
) -> None:
    path = packed("tar.gz", tmp_path, photos)
    items = list(ImageSource([str(path)]))
    assert [item.uri for item in items[4:6]] == ["all.tar.gz!/a.dcm#5", "all.tar.gz!/a.dcm#6"]
    run(tmp_path / "out", bundle, items[:5])
    assert len(rows_of(tmp_path / "out")) == 5
    settings = make_settings(bundle, ["photos"], policy="balanced", gate=False, views=1)
    with Job(tmp_path / "out", settings) as job:
        left = list(job.pending(ImageSource([str(path)])))
    assert [item.uri for item in left] == [item.uri for item in items[5:]]
    run(tmp_path / "out", bundle, ImageSource([str(path)]))
    assert judged(tmp_path / "out", path.name) == wanted


def test_frames_that_could_not_be_told_apart_are_judged_when_it_is_tried_again(
    site: Site, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "ATTEMPTS", 1)
    site.files["/set/a.dcm"] = of_frames(tmp_path / "a.dcm", 3).read_bytes()
    site.faults["/set/a.dcm"] = ["500"]
    source = ImageSource([f"{site.url}/set/"])
    items = list(source)
    assert [item.uri for item in items] == ["a.dcm"]
    totals = run(tmp_path / "out", bundle, items)
    assert dict(totals.reasons) == {"animated": 1}
    assert "try again (--retry)" in errors_of(tmp_path / "out")[0]
    settings = make_settings(bundle, ["photos"], policy="balanced", gate=False, views=1)
    Job(tmp_path / "out", settings, retry=True).lock.release()
    run(tmp_path / "out", bundle, source)  # what failed is not remembered
    names = [row["uri"] for row in rows_of(tmp_path / "out")]
    assert (names, errors_of(tmp_path / "out")) == ([f"a.dcm#{n}" for n in (1, 2, 3)], [])


@pytest.mark.parametrize("kind", ["deflated", "tar", "tar.zst"])
def test_attributes_are_carried_along_out_of_archives(
    kind: str, tmp_path: Path, photos: Path
) -> None:
    path = packed(kind, tmp_path, photos)
    here, there = (
        {
            item.uri.removeprefix(f"{path.name}!/"): item.extra
            for item in ImageSource([str(place)], SourceOptions(keep_dicom=PATIENT_COLUMNS))
        }
        for place in (photos, path)
    )
    assert here == there
    assert there["a.dcm#7"]["PatientID"] == there["one.dcm"]["PatientID"] == PATIENT["PatientID"]
    assert there["photo.jpg"] == {}


def test_a_store_gives_frames(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    files.pipe("memory://frames/a.dcm", of_frames(tmp_path / "a.dcm", 3).read_bytes())
    files.pipe("memory://frames/b.dcm", of_jpeg(tmp_path / "b.dcm", jpeg(1)).read_bytes())
    try:
        items = list(ImageSource(["memory://frames"]))
        assert [item.uri for item in items] == ["a.dcm#1", "a.dcm#2", "a.dcm#3", "b.dcm"]
        assert len({read_item(item).sha256 for item in items}) == 4
    finally:
        files.rm("memory://frames", recursive=True)


def test_a_header_at_an_address_is_asked_for_once_and_no_photo_is(
    site: Site, tmp_path: Path
) -> None:
    path = of_jpeg(tmp_path / "x.dcm", encoded(Image.effect_noise((900, 900), 90).convert("RGB")))
    content = path.read_bytes()
    assert len(content) > 20 * (1 << 14)
    names = [f"/set/{n:03}.dcm" for n in range(80)]
    site.files |= dict.fromkeys(names, content) | {"/set/photo.jpg": jpeg(1)}
    source = ImageSource([f"{site.url}/set/"], SourceOptions(keep_dicom=("PatientID",)))
    for _ in range(3):  # for the run, for its count, for the page
        found = list(source)
        assert [item.uri for item in found] == [*(name[5:] for name in names), "photo.jpg"]
        assert found[33].extra == {"PatientID": PATIENT["PatientID"]}
    assert [site.asked[name] for name in names] == [1] * 80
    assert site.asked["/set/photo.jpg"] == 0


def test_an_address_without_a_suffix_may_be_dicom(site: Site, tmp_path: Path) -> None:
    site.files["/instances/7/file"] = of_frames(tmp_path / "a.dcm", 2).read_bytes()
    site.files["/instances/8/file"] = jpeg(1)
    addresses = [f"{site.url}/instances/{n}/file" for n in (7, 8, 9)]
    (tmp_path / "all.txt").write_text("\n".join(addresses))
    items = list(ImageSource([str(tmp_path / "all.txt")]))
    assert [item.uri for item in items] == [
        f"{addresses[0]}#1", f"{addresses[0]}#2", *addresses[1:],
    ]  # fmt: skip
    assert read_item(items[2]).source == jpeg(1)
    with pytest.raises(ImageError) as caught:
        read_item(items[3])
    assert caught.value.reason == "not_found"


def test_frames_of_a_file_that_a_list_names_without_a_suffix(tmp_path: Path) -> None:
    of_frames(tmp_path / "IM0001", 2)
    (tmp_path / "all.txt").write_text("IM0001\n")
    found = [item.uri for item in ImageSource([str(tmp_path / "all.txt")])]
    assert found == ["IM0001#1", "IM0001#2"]


def test_a_file_is_fetched_once_for_its_frames(site: Site, tmp_path: Path) -> None:
    site.files["/a.dcm"] = of_frames(tmp_path / "a.dcm", 40).read_bytes()
    items = list(ImageSource([f"{site.url}/a.dcm"]))
    site.asked.clear()
    reds = [np.asarray(Image.open(io.BytesIO(read_item(item).source)))[0, 0, 0] for item in items]
    assert len(reds) == 40
    assert all(abs(int(red) - 9 * n % 256) < 9 for n, red in enumerate(reds))
    assert site.asked["/a.dcm"] == 1


def test_a_header_may_be_long(tmp_path: Path) -> None:
    profile = bytes(np.random.default_rng(0).integers(0, 256, 300_000, np.uint8))
    of_frames(tmp_path / "a.dcm", 3, ICCProfile=profile)
    (tmp_path / "photos").mkdir()
    for kind in ("deflated", "tar", "tar.gz"):
        contents = {"a.dcm": (tmp_path / "a.dcm").read_bytes()}
        path = tmp_path / "photos" / f"a.{'zip' if kind == 'deflated' else kind}"
        (write_zip if kind == "deflated" else write_tar)(path, contents)
        items = list(ImageSource([str(path)]))
        assert [item.uri for item in items] == [f"{path.name}!/a.dcm#{n}" for n in (1, 2, 3)]


def test_members_without_a_suffix_have_frames_if_asked(tmp_path: Path) -> None:
    contents = {
        "IM1": of_frames(tmp_path / "a.dcm", 2).read_bytes(),
        "IM1#2": of_jpeg(tmp_path / "b.dcm", jpeg(1)).read_bytes(),  # as if it were a frame
        "photo": jpeg(2),
        "DICOMDIR": make(tmp_path / "dir", np.zeros((9, 9, 3), np.uint8),
                         storage="1.2.840.10008.1.3.10").read_bytes(),
    }  # fmt: skip
    for suffix, write in (("zip", write_zip), ("tar", write_tar), ("tar.xz", write_tar)):
        path = write(tmp_path / f"all.{suffix}", contents)
        found = list(ImageSource([str(path)], SourceOptions(all_files=True)))
        names = [item.uri.removeprefix(f"{path.name}!/") for item in found]
        assert names == ["IM1#1", "IM1#2", "IM1%232", "photo"]
        assert len({read_item(item).sha256 for item in found}) == 4


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_frames_of_members_of_one_name_are_all_judged(tmp_path: Path) -> None:
    content = of_frames(tmp_path / "a.dcm", 2).read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for _ in range(2):
            archive.writestr("a.dcm", content)
    found = [item.uri for item in ImageSource([str(tmp_path / "a.zip")])]
    assert found == [f"a.zip!/a.dcm{again}#{n}" for again in ("", "~2") for n in (1, 2)]


@pytest.mark.parametrize("kind", ["deflated", "tar.gz"])
def test_each_of_500_frames_in_an_archive_is_read_in_flat_memory(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (500, 100, 100, 3), np.uint8)
    content = make(tmp_path / "a.dcm", frames, NumberOfFrames=500).read_bytes()
    assert len(content) > 15_000_000
    name = "a.zip" if kind == "deflated" else f"a.{kind}"
    path = (write_zip if kind == "deflated" else write_tar)(tmp_path / name, {"a.dcm": content})
    del content
    tracemalloc.start()
    items = list(ImageSource([str(path)]))
    _, listed = tracemalloc.get_traced_memory()
    assert len(items) == 500
    assert listed < 4_000_000  # not the file, which is 15 MB
    read_item(items[0])
    tracemalloc.reset_peak()
    for index in (0, 1, 250, 499, 3):
        assert np.array_equal(read_item(items[index]).source, frames[index])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000


def test_a_lie_about_frames_in_an_archive_gives_few_more_than_it_can_hold(tmp_path: Path) -> None:
    content = make(
        tmp_path / "a.dcm", np.zeros((64, 64, 3), np.uint8), NumberOfFrames=2_000_000_000
    ).read_bytes()
    path = write_zip(tmp_path / "a.zip", {"a.dcm": content})
    assert len(list(ImageSource([str(path)]))) == 2


def test_an_archive_that_changes_among_frames_is_not_mixed_up(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.dcm": of_frames(tmp_path / "a.dcm", 3).read_bytes()})
    before = list(ImageSource([str(path)]))
    first = read_item(before[0])
    other = make(tmp_path / "b.dcm", np.zeros((3, 40, 50, 3), np.uint8), NumberOfFrames=3)
    path.unlink()
    write_zip(path, {"a.dcm": other.read_bytes()})
    after = list(ImageSource([str(path)]))
    assert read_item(before[0]) == first  # of the copy that was made
    assert read_item(after[0]).sha256 != first.sha256
    with pytest.raises(ImageError) as caught:
        read_item(before[1])
    assert caught.value.reason == "changed_while_read"


def test_no_room_for_a_copy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.dcm": of_frames(tmp_path / "a.dcm", 3).read_bytes()})
    items = list(ImageSource([str(path)]))

    def full(*_: Any, **__: Any) -> io.FileIO:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(ImageError, match=r"No space left on device.*set TMPDIR"):
        read_item(items[0])


def test_a_damaged_archive_gives_what_stood_before(site: Site, tmp_path: Path) -> None:
    contents = {f"{n}.dcm": of_frames(tmp_path / "a.dcm", 2).read_bytes() for n in range(5)}
    whole = write_tar(tmp_path / "a.tar", contents).read_bytes()
    site.files["/a.tar"] = whole[: len(whole) // 2]
    (tmp_path / "a.tar").write_bytes(whole[: len(whole) // 2])
    for place in (tmp_path / "a.tar", f"{site.url}/a.tar"):
        found = [item.uri for item in ImageSource([str(place)])]
        assert found[:3] == ["a.tar!/0.dcm#1", "a.tar!/0.dcm#2", "a.tar!/1.dcm#1"]
        assert found[-1] == "a.tar"


def test_what_is_remembered_of_headers_is_bounded(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dividing, "_REMEMBERED", 8)
    content = of_frames(tmp_path / "a.dcm", 2).read_bytes()
    site.files |= {f"/set/{n:02}.dcm": content for n in range(30)}
    source = ImageSource([f"{site.url}/set/"])
    assert len(list(source)) == len(list(source)) == 60
    assert len(source._divider._looks) == 8


def test_a_member_with_no_pixels_is_read_to_its_end_and_refused(tmp_path: Path) -> None:
    none = make(tmp_path / "a.dcm", np.zeros((9, 9, 3), np.uint8), PixelData=None)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(none, "a.dcm")
    (tmp_path / "a.tar").write_bytes(stream.getvalue())
    (item,) = ImageSource([str(tmp_path / "a.tar")])
    with pytest.raises(ImageError) as caught:
        read_item(item)
    assert caught.value.reason == "no_pixels"


@pytest.mark.ray
@pytest.mark.slow
def test_ray_gives_the_rows_of_the_folder(
    tmp_path: Path,
    photos: Path,
    bundle: Bundle,
    wanted: list[dict[str, Any]],
) -> None:
    pytest.importorskip("ray.data")
    from test_screening_ray import run_by_ray

    path = packed("tar.gz", tmp_path, photos)
    run_by_ray(tmp_path / "out", bundle, ImageSource([str(path)]))
    assert judged(tmp_path / "out", path.name) == wanted


def test_frames_are_given_anew_to_every_engine(tmp_path: Path, photos: Path) -> None:
    """Items cross processes: what reads them has nothing but what they carry."""
    import pickle

    path = packed("tar.gz", tmp_path, photos)
    items: list[Item] = list(ImageSource([str(path)]))  # and with the source its spool is gone
    shutil.rmtree(Path(items[0].spool).parent, ignore_errors=True)  # type: ignore[attr-defined]
    for item in (items[2], items[11]):
        plain = Item("a.dcm", str(photos / "a.dcm"), frame=item.frame, kind="dicom")
        assert read_item(pickle.loads(pickle.dumps(item))) == read_item(plain)
