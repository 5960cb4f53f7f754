"""DICOM in: every encoding gives the picture's pixels, and what is no photo is told so."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.fileset import FileSet

import tiny_model
from dicom_kit import DERMOSCOPIC, PATIENT, PHOTOGRAPHIC, encoded, make, of_jpeg, of_jpeg2000
from jpeg_kit import lossless_jpeg
from lesionlens.bundle import Bundle
from lesionlens.errors import ImageError, LesionLensError
from lesionlens.imaging import load_pixels
from lesionlens.screening import dicom
from lesionlens.screening.items import TIMING_COLUMNS, Item
from lesionlens.screening.jpegs import with_colour_marker
from lesionlens.screening.reading import Reading, read_item
from lesionlens.screening.sources import ImageSource, SourceOptions
from screening_kit import rows_of, run


def read(path: Path) -> Reading:
    return read_item(Item(path.name, str(path), kind="dicom"))


def difference(path: Path, wanted: Any) -> int:
    """Grey levels of 255 by which a file's input to the model differs from that of ``wanted``."""
    found = load_pixels(read(path).source).rgb.astype(int)
    return int(np.abs(found - load_pixels(wanted).rgb).max())


def reason_of(path: Path) -> str:
    try:
        load_pixels(read(path).source)
    except ImageError as error:
        return error.reason
    return ""


@pytest.fixture(scope="module")
def pixels(phantom_image: Image.Image) -> np.ndarray:
    return np.asarray(phantom_image)


def test_a_dicom_of_a_jpeg_gives_the_rows_of_the_jpeg_bit_for_bit(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, phantom_image: Image.Image
) -> None:
    bundle = tiny_model.write(tmp_path_factory.mktemp("model") / "bundle")
    large = phantom_image.resize((2400, 1800))  # decoded at a reduced scale
    files, dicoms = tmp_path / "files", tmp_path / "dicoms"
    files.mkdir()
    dicoms.mkdir()
    pictures = {
        "small": encoded(phantom_image, quality=90),
        "large": encoded(large, quality=92),
        "odd": encoded(large, quality=92) + b"",
        "progressive": encoded(phantom_image, quality=80, progressive=True),
    }
    # One whose length is odd is padded in DICOM, and must have the same hash all the same.
    quality = next(q for q in range(50, 95) if len(encoded(phantom_image, quality=q)) % 2)
    pictures["odd"] = encoded(phantom_image, quality=quality)
    for name, jpeg in pictures.items():
        (files / f"{name}.jpg").write_bytes(jpeg)
        for storage in (DERMOSCOPIC, PHOTOGRAPHIC):
            of_jpeg(dicoms / f"{name}-{storage[-1]}.dcm", jpeg, storage=storage)
    for folder in (files, dicoms):
        run(tmp_path / f"{folder.name}-out", bundle, ImageSource([str(folder)]))
    wanted = {row.pop("uri")[:-4]: row for row in rows_of(tmp_path / "files-out")}
    found = {row.pop("uri")[:-4]: row for row in rows_of(tmp_path / "dicoms-out")}
    assert found == {f"{name}-{kind}": row for name, row in wanted.items() for kind in "47"}
    assert len(found) == 8


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
    ],
    ids=lambda syntax: syntax.name,
)
def test_uncompressed_pixels_are_taken_as_they_are(
    syntax: uid.UID, tmp_path: Path, pixels: np.ndarray
) -> None:
    path = make(tmp_path / "8.dcm", pixels, syntax=syntax)
    assert difference(path, pixels) == 0
    assert read(path).sha256 == hashlib.sha256(pixels.tobytes()).hexdigest()
    assert (
        difference(make(tmp_path / "16.dcm", pixels * np.uint16(257), syntax=syntax), pixels) == 0
    )


def test_planes_and_pixels_are_told_apart(tmp_path: Path, pixels: np.ndarray) -> None:
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    size_px = pixels.shape[1], pixels.shape[0]
    path = make(tmp_path / "a.dcm", planes, size_px=size_px, PlanarConfiguration=1)
    assert difference(path, pixels) == 0


def test_twelve_of_sixteen_bits_are_scaled_to_all(tmp_path: Path, pixels: np.ndarray) -> None:
    twelve = (pixels.astype(np.uint32) * 4095 // 255).astype(np.uint16)
    path = make(tmp_path / "a.dcm", twelve, BitsStored=12, HighBit=11)
    assert difference(path, pixels) <= 1


def test_brightness_and_colour_differences_become_rgb(
    tmp_path: Path, phantom_image: Image.Image, pixels: np.ndarray
) -> None:
    ybr = np.asarray(phantom_image.convert("YCbCr"))
    path = make(tmp_path / "full.dcm", ybr, PhotometricInterpretation="YBR_FULL")
    assert difference(path, pixels) <= 4
    halved = np.stack([ybr[:, 0::2, 0], ybr[:, 1::2, 0], ybr[:, 0::2, 1], ybr[:, 0::2, 2]], axis=-1)
    path = make(
        tmp_path / "422.dcm", halved, size_px=phantom_image.size,
        PhotometricInterpretation="YBR_FULL_422",
    )  # fmt: skip
    assert difference(path, pixels) <= 10


def test_jpeg_2000_gives_the_pixels(tmp_path: Path, phantom_image: Image.Image) -> None:
    assert difference(of_jpeg2000(tmp_path / "rct.dcm", phantom_image), phantom_image) == 0
    lossy = of_jpeg2000(tmp_path / "ict.dcm", phantom_image, syntax=uid.JPEG2000)
    assert difference(lossy, phantom_image) <= 8


def test_run_lengths_give_the_pixels(tmp_path: Path, pixels: np.ndarray) -> None:
    path = make(tmp_path / "a.dcm", pixels)
    dataset = pydicom.dcmread(path)
    dataset.compress(uid.RLELossless)
    dataset.save_as(path)
    assert difference(path, pixels) == 0


def test_a_lossless_jpeg_gives_its_pixels_in_full() -> None:
    path = Path(get_testdata_file("SC_rgb_jpeg_gdcm.dcm"))
    colours = load_pixels(read(path).source, size_px=100).rgb[5::10, 50]
    assert colours.tolist() == [
        [255, 0, 0], [255, 128, 128], [0, 255, 0], [128, 255, 128], [0, 0, 255],
        [128, 128, 255], [0, 0, 0], [64, 64, 64], [192, 192, 192], [255, 255, 255],
    ]  # fmt: skip


def test_a_lossless_jpeg_in_either_kind_of_colours_gives_the_pixels(
    tmp_path: Path, phantom_image: Image.Image
) -> None:
    ycbcr = phantom_image.convert("YCbCr")
    for image, colours in ((phantom_image, "RGB"), (ycbcr, "YBR_FULL")):
        path = make(
            tmp_path / f"{colours}.dcm", [lossless_jpeg(np.asarray(image))],
            syntax=uid.JPEGLosslessSV1, PhotometricInterpretation=colours,
        )  # fmt: skip
        assert difference(path, ycbcr.convert("RGB") if colours != "RGB" else image) == 0


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_is_looked_up(bits: int, tmp_path: Path, phantom_image: Image.Image) -> None:
    indexed = phantom_image.quantize(200)
    table = np.array(indexed.getpalette()[:600], np.uint16).reshape(-1, 3)
    table = table * 257 if bits == 16 else table.astype(np.uint8)
    palette: dict[str, Any] = {}
    for column, name in enumerate(("Red", "Green", "Blue")):
        palette[f"{name}PaletteColorLookupTableData"] = table[:, column].tobytes()
        palette[f"{name}PaletteColorLookupTableDescriptor"] = [200, 0, bits]
    path = make(
        tmp_path / "a.dcm", np.asarray(indexed)[..., None],
        PhotometricInterpretation="PALETTE COLOR", SamplesPerPixel=1, PlanarConfiguration=None,
        **palette,
    )  # fmt: skip
    assert difference(path, indexed.convert("RGB")) == 0


#: Files of other makers, that come with pydicom, whose decoding by it is what ours must equal.
OTHERS = [
    "SC_jpeg_no_color_transform.dcm",
    "SC_jpeg_no_color_transform_2.dcm",
    "SC_rgb_dcmtk_+eb+cr.dcm",
    "SC_rgb_dcmtk_+eb+cy+n1.dcm",
    "SC_rgb_dcmtk_+eb+cy+np.dcm",
    "SC_rgb_dcmtk_+eb+cy+s4.dcm",
    "SC_rgb_gdcm_KY.dcm",
    "SC_rgb_jpeg_app14_dcmd.dcm",
    "SC_rgb_jpeg_lossy_gdcm.dcm",
    "SC_rgb_rle.dcm",
    "SC_rgb_rle_16bit.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
]


@pytest.mark.parametrize("name", OTHERS)
def test_files_of_other_makers_have_the_colours_that_pydicom_sees(name: str) -> None:
    path = Path(get_testdata_file(name))
    assert difference(path, pydicom.pixels.pixel_array(path)) <= 1


def test_a_jpeg_without_a_word_on_its_colours_is_believed_what_the_header_says(
    phantom_image: Image.Image, tmp_path: Path
) -> None:
    marked = encoded(phantom_image, quality=95)
    jfif_end = 4 + int.from_bytes(marked[4:6], "big")
    bare = marked[:2] + marked[jfif_end:]  # YCbCr, and nothing says so
    assert with_colour_marker(bare, is_rgb=False) == bare
    assert with_colour_marker(marked, is_rgb=True) == marked  # JFIF is YCbCr whatever DICOM says
    as_said = of_jpeg(tmp_path / "a.dcm", bare)
    assert difference(as_said, marked) == 0
    # The same samples taken for RGB are another picture: that of Y, Cb and Cr as R, G and B.
    as_rgb = of_jpeg(tmp_path / "b.dcm", bare, PhotometricInterpretation="RGB")
    assert difference(as_rgb, np.asarray(phantom_image.convert("YCbCr"))) <= 12
    assert difference(as_rgb, phantom_image) > 50


def test_each_of_500_frames_is_an_item_of_its_own_in_flat_memory(tmp_path: Path) -> None:
    frames = [
        encoded(Image.new("RGB", (640, 480), (n % 256, n // 256, 90)), quality=60)
        + bytes(20_000)  # what follows a JPEG's end is no part of it
        for n in range(500)
    ]
    path = make(
        tmp_path / "a.dcm", frames, syntax=uid.JPEGBaseline8Bit,
        PhotometricInterpretation="YBR_FULL_422", size_px=(640, 480),
    )  # fmt: skip
    items = list(ImageSource([str(tmp_path)]))
    assert [item.uri for item in items] == [f"a.dcm#{n}" for n in range(1, 501)]
    assert ImageSource([str(path)]).count() == 500
    read_item(items[0])  # what pydicom sets aside once
    tracemalloc.start()
    for index in (1, 2, 3, 250, 498, 499):
        red, green, _ = load_pixels(read_item(items[index]).source).rgb.mean(axis=(0, 1))
        assert abs(red - index % 256) < 3
        assert abs(green - index // 256) < 3
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 12_000_000
    assert peak < 2_000_000


def test_frames_without_compression_lie_one_after_the_other(tmp_path: Path) -> None:
    frames = np.zeros((3, 40, 50, 3), np.uint8)
    frames[:] = np.array([10, 120, 230], np.uint8)[:, None, None, None]
    path = make(tmp_path / "a.dcm", frames, NumberOfFrames=3)
    items = list(dicom.frames_of(Item("a.dcm", str(path), kind="dicom")))
    means = [float(np.mean(read_item(item).source)) for item in items]
    assert means == [10, 120, 230]
    with pytest.raises(ImageError, match="3 frames") as refused:
        dicom.read_content("a.dcm", path.read_bytes())
    assert refused.value.reason == "animated"


def test_what_no_photo_of_skin_is_or_cannot_be_read_is_refused_by_reason(
    tmp_path: Path, pixels: np.ndarray
) -> None:
    grey = pixels[..., :1].copy()
    none = make(tmp_path / "none.dcm", pixels, PixelData=None)
    cases = {
        "unsupported_dicom": [
            make(tmp_path / "m2.dcm", grey, PhotometricInterpretation="MONOCHROME2",
                 SamplesPerPixel=1),
            make(tmp_path / "m1.dcm", grey, PhotometricInterpretation="MONOCHROME1",
                 SamplesPerPixel=1),
            make(tmp_path / "ct.dcm", pixels, storage="1.2.840.10008.5.1.4.1.1.2"),
            make(tmp_path / "32.dcm", pixels.astype(np.uint32)),
            make(tmp_path / "signed.dcm", pixels, PixelRepresentation=1),
            Path(get_testdata_file("SC_rgb_jls_lossy_line.dcm")),  # JPEG-LS
            make(tmp_path / "hsv.dcm", pixels, PhotometricInterpretation="HSV"),
            make(tmp_path / "video.dcm", [b"\0" * 999], syntax=uid.MPEG2MPML, size_px=(99, 99)),
            make(tmp_path / "mixed.dcm", pixels, PhotometricInterpretation="PALETTE COLOR",
                 SamplesPerPixel=1),
        ],
        "no_pixels": [none],
        "too_large": [make(tmp_path / "huge.dcm", pixels, Rows=65535, Columns=65535)],
        "too_small": [make(tmp_path / "tiny.dcm", np.zeros((8, 8, 3), np.uint8))],
        "truncated": [make(tmp_path / "more.dcm", pixels, Rows=900)],
    }  # fmt: skip
    found = {path.name: reason_of(path) for paths in cases.values() for path in paths}
    assert found == {path.name: reason for reason, paths in cases.items() for path in paths}
    with pytest.raises(ImageError, match=r"m2\.dcm: is greyscale \(MONOCHROME2\)"):
        read(tmp_path / "m2.dcm")
    with pytest.raises(ImageError, match="is no photo of skin but CT Image"):
        read(tmp_path / "ct.dcm")


def test_a_stream_of_another_size_than_announced_is_refused(
    tmp_path: Path, phantom_image: Image.Image
) -> None:
    path = of_jpeg2000(tmp_path / "a.dcm", phantom_image, size_px=(300, 200))
    with pytest.raises(ImageError, match="announces 300 x 200 pixels and holds 600 x 450"):
        read(path)


@pytest.mark.parametrize("syntax", ["raw", "deflated", "jpeg", "jpeg2000", "rle"], ids=str)
def test_damaged_files_are_failures_and_take_no_memory(
    syntax: str, tmp_path: Path, phantom_image: Image.Image, rng: np.random.Generator
) -> None:
    small = phantom_image.resize((120, 90))
    path = tmp_path / "a.dcm"
    match syntax:
        case "raw":
            make(path, np.asarray(small))
        case "deflated":
            make(path, np.asarray(small), syntax=uid.DeflatedExplicitVRLittleEndian)
        case "jpeg":
            of_jpeg(path, encoded(small))
        case "jpeg2000":
            of_jpeg2000(path, small)
        case _:
            dataset = pydicom.dcmread(make(path, np.asarray(small)))
            dataset.compress(uid.RLELossless)
            dataset.save_as(path)
    whole = path.read_bytes()
    item = Item("a.dcm", str(path), kind="dicom")
    messages = []
    tracemalloc.start()
    for n in range(120):
        content = bytearray(whole)
        if n % 3 == 0:
            del content[int(rng.integers(132, len(whole))) :]
        else:  # the header, above all
            last = 1200 if n % 3 == 1 else len(content)
            for place in rng.integers(132, last, 6):
                content[place] = rng.integers(256)
        path.write_bytes(content)
        for found in dicom.frames_of(item):
            if found.frame is not None and found.frame > 3:
                break
            try:
                load_pixels(read_item(found).source)
            except ImageError as error:
                messages.append(str(error))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64_000_000
    assert len(messages) > 40
    assert all(message.startswith(("a.dcm", "-: ")) for message in messages)


def test_lengths_that_lie_set_no_memory_aside(tmp_path: Path, pixels: np.ndarray) -> None:
    path = of_jpeg(tmp_path / "a.dcm", encoded(Image.fromarray(pixels)))
    content = path.read_bytes()
    item_at = content.rindex(b"\xfe\xff\x00\xe0")  # of the only fragment
    path.write_bytes(
        content[: item_at + 4] + struct.pack("<L", 0xFFFFFFF0) + content[item_at + 8 :]
    )
    frames = make(tmp_path / "b.dcm", pixels, NumberOfFrames=2_000_000_000)
    items = list(dicom.frames_of(Item("b.dcm", str(frames), kind="dicom")))
    assert [item.uri for item in items] == ["b.dcm#1", "b.dcm#2"]
    tracemalloc.start()
    load_pixels(read(path).source)  # the picture is there all the same
    assert len(load_pixels(read_item(items[0]).source).rgb)
    with pytest.raises(ImageError, match="frame 2 of the 2000000000 that it announces") as lie:
        read_item(items[1])
    assert lie.value.reason == "truncated"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


def test_what_unpacks_without_end_is_refused(
    tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "a.dcm", pixels, syntax=uid.DeflatedExplicitVRLittleEndian)
    head = path.read_bytes()
    meta_end = 144 + int.from_bytes(head[140:144], "little")
    packing = zlib.compressobj(9, wbits=-15)
    bomb = b"".join(packing.compress(bytes(1 << 20)) for _ in range(64)) + packing.flush()
    path.write_bytes(head[:meta_end] + bomb)
    monkeypatch.setattr("lesionlens.screening.dicom_headers.MAX_BYTES", 1 << 24)
    tracemalloc.start()
    assert reason_of(path) == "too_large"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 26


def test_a_file_is_dicom_by_its_content_and_not_by_its_name(
    tmp_path: Path, phantom_image: Image.Image
) -> None:
    jpeg = encoded(phantom_image)
    photos = tmp_path / "photos"
    photos.mkdir()
    of_jpeg(photos / "IM0001", jpeg)
    of_jpeg(photos / "named.jpg", jpeg)
    (photos / "photo.dcm").write_bytes(jpeg)
    (photos / "words.dcm").write_text("no image")
    found = {}
    for item in ImageSource([str(photos)], SourceOptions(all_files=True)):
        try:
            found[item.uri] = len(load_pixels(read_item(item).source).rgb)
        except ImageError as error:
            found[item.uri] = error.reason
    assert found == {"IM0001": 224, "named.jpg": 224, "photo.dcm": 224, "words.dcm": "not_an_image"}


def test_a_disc_is_read_by_its_dicomdir(tmp_path: Path, phantom_image: Image.Image) -> None:
    files = FileSet()
    for n in range(3):
        files.add(of_jpeg(tmp_path / f"{n}.dcm", encoded(phantom_image, quality=60 + n)))
    disc = tmp_path / "disc"
    files.write(disc)
    listed = sorted(str(path.relative_to(disc)) for path in disc.rglob("*") if path.is_file())
    listed.remove("DICOMDIR")
    assert len(listed) == 3
    for source in (disc, disc / "DICOMDIR"):
        assert sorted(item.uri for item in ImageSource([str(source)])) == listed
    everything = ImageSource([str(disc)], SourceOptions(all_files=True))
    assert sorted(item.uri for item in everything) == listed  # once, and not the list itself
    # A list that leads out of the disc leads nowhere.
    content = (disc / "DICOMDIR").read_bytes()
    name = listed[0].split(os.sep)[0].encode()
    outward = content.replace(name, b"..".ljust(len(name)))
    assert outward != content
    (disc / "DICOMDIR").write_bytes(outward)
    assert all(path.startswith(str(disc)) for path in dicom.listed_in(str(disc / "DICOMDIR")))
    (disc / "DICOMDIR").write_bytes(b"rubbish")
    assert list(ImageSource([str(disc)])) == []
    shutil.rmtree(disc)
    assert dicom.listed_in(str(disc / "DICOMDIR")) == []


def test_attributes_are_carried_along_only_where_they_are_named(
    tmp_path: Path, phantom_image: Image.Image
) -> None:
    of_jpeg(tmp_path / "a.dcm", encoded(phantom_image), BurnedInAnnotation="YES")
    (plain,) = ImageSource([str(tmp_path)])
    assert plain.extra == {}
    keep = ("BurnedInAnnotation", "PatientID", "BodyPartExamined")
    (kept,) = ImageSource([str(tmp_path)], SourceOptions(keep_dicom=keep))
    assert kept.extra == {
        "BurnedInAnnotation": "YES",
        "PatientID": PATIENT["PatientID"],
        "BodyPartExamined": "",
    }
    dicom.check_keywords(keep)
    with pytest.raises(LesionLensError, match="'PatientsShoe': is no keyword"):
        dicom.check_keywords(["PatientsShoe"])


def test_no_patient_stands_in_any_output(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    phantom_image: Image.Image,
    capfd: pytest.CaptureFixture[str],
) -> None:
    bundle: Bundle = tiny_model.write(tmp_path_factory.mktemp("model") / "bundle")
    folder = tmp_path / "photos"
    folder.mkdir()
    whole = of_jpeg(folder / "a.dcm", encoded(phantom_image)).read_bytes()
    for n, end in enumerate((300, 900, len(whole) - 5000)):
        (folder / f"cut-{n}.dcm").write_bytes(whole[:end])
    # Where a name stands in the way of numbers, messages are tempted to show it.
    of_jpeg(folder / "odd.dcm", encoded(phantom_image), PatientBirthDate="Qwertina")
    make(folder / "grey.dcm", np.zeros((64, 64, 1), np.uint8),
         PhotometricInterpretation="MONOCHROME2", SamplesPerPixel=1)  # fmt: skip
    totals = run(tmp_path / "out", bundle, ImageSource([str(folder)]))
    assert (totals.n_judged, totals.n_failed) == (2, 4)
    outputs = b"".join(
        path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()
    )
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "out" / "results.parquet")
    said = outputs + str(table.to_pylist()).encode() + "".join(capfd.readouterr()).encode()
    for word in (*PATIENT.values(), "Qwertina", "Zyx"):
        assert word.encode() not in said
    assert set(TIMING_COLUMNS) < set(table.column_names)


def test_without_pydicom_a_file_says_what_to_install(
    tmp_path: Path, phantom_image: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from lesionlens.screening.dicom_headers import library

    path = of_jpeg(tmp_path / "a.dcm", encoded(phantom_image))
    library.cache_clear()
    monkeypatch.setitem(sys.modules, "pydicom", None)
    (item,) = ImageSource([str(path)])
    with pytest.raises(ImageError, match=r"a\.dcm: is DICOM.*pip install 'lesionlens\[dicom\]'"):
        read_item(item)
    library.cache_clear()


def test_a_frame_in_several_fragments_is_put_together(
    tmp_path: Path, phantom_image: Image.Image
) -> None:
    jpeg = encoded(phantom_image)
    path = of_jpeg(tmp_path / "a.dcm", jpeg)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([jpeg], fragments_per_frame=4)
    dataset.save_as(path)
    assert read(path).source == jpeg


def test_offset_tables_lead_to_frames(tmp_path: Path) -> None:
    frames = [encoded(Image.new("RGB", (64, 64), (40 * n, 0, 0))) for n in range(5)]
    path = make(tmp_path / "a.dcm", frames, syntax=uid.JPEGBaseline8Bit,
                PhotometricInterpretation="YBR_FULL_422")  # fmt: skip
    dataset = pydicom.dcmread(path)
    from pydicom.encaps import encapsulate_extended

    encapsulated = encapsulate_extended(frames)
    for has_table, content in (
        (False, encapsulate(frames, has_bot=False)),
        (True, encapsulated[0]),
    ):
        dataset.PixelData = content
        if has_table:
            dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulated[1:]
        dataset.save_as(path)
        items = list(dicom.frames_of(Item("a.dcm", str(path), kind="dicom")))
        sources = [read_item(item).source for item in items]
        assert [np.asarray(Image.open(io.BytesIO(s)))[0, 0, 0] // 40 for s in sources] == [
            *range(5)
        ]


def test_a_header_value_of_an_unknown_kind_does_not_end_the_listing(
    tmp_path: Path, phantom_image: Image.Image
) -> None:
    path = make(tmp_path / "a.dcm", np.asarray(phantom_image.resize((120, 90))))
    content = path.read_bytes()
    place = content.index(b"\x08\x00\x16\x00UI")  # the SOP class, whose kind becomes none there is
    path.write_bytes(content[: place + 4] + b"QQ" + content[place + 6 :])
    item = Item("a.dcm", str(path), kind="dicom")
    assert [found.uri for found in dicom.frames_of(item)] == ["a.dcm"]
