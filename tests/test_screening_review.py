"""The page of a run: what is packed into it, where its pictures are, what it may reach."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zipfile
import zlib
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import review_kit
import screening_kit
import tiny_model
from lesionlens.bundle import Bundle
from lesionlens.classifier import Classifier
from lesionlens.screening import review
from lesionlens.screening.items import Item
from lesionlens.screening.review_pictures import (
    IN_PACKED_TAR,
    IN_ZIP,
    MAP_PX,
    NOT_BY_BROWSERS,
    SHOWN,
    UNKNOWN,
    Pictures,
    Places,
)
from lesionlens.screening.sources import ImageSource

HOSTILE = '"><img src=x onerror=alert(1)></script><script>alert(2)</script>.jpg'


class Scripts(HTMLParser):
    """The scripts and styles of a page, and every tag that it begins."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: dict[str, str] = {}
        self.meta: dict[str, str] = {}
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        if tag == "meta" and found.get("http-equiv"):
            self.meta[str(found["http-equiv"])] = str(found["content"])
        self._inside = str(found.get("id", tag)) if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[self._inside] = self.texts.get(self._inside, "") + data


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_model.write(tmp_path_factory.mktemp("model") / "bundle")


def unpacked(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the page's own script makes of a packed block."""
    content = zlib.decompress(base64.b64decode(text))
    length = int.from_bytes(content[:4], "little")
    head = json.loads(content[4 : 4 + length])
    kinds = {"u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "f32": np.float32}
    columns: dict[str, Any] = {}
    for column in head["columns"]:
        start = 4 + length + column["start"]
        data = content[start : start + column["bytes"]]
        if column["kind"] == "text":
            columns[column["name"]] = data.decode().split("\0")
        else:
            columns[column["name"]] = np.frombuffer(data, kinds[column["kind"]])
    return head["meta"], columns


def test_the_page_has_every_row_and_what_was_said_of_it(tmp_path: Path) -> None:
    names = [HOSTILE, "b/ü.jpg", "a.jpg", *(f"{n}.jpg" for n in range(200))]
    run = review_kit.write_run(tmp_path / "run", names)
    page = Scripts(review.write_review(run).read_text())
    meta, columns = unpacked(page.texts["data"])
    rows = {row["uri"]: row for row in screening_kit.rows_of(run)}
    assert columns["uri"] == sorted(names, key=str.encode)
    assert (meta["n"], meta["n_all"], meta["failed"]) == (203, 203, 3)
    for place, name in enumerate(columns["uri"]):
        row = rows[name]
        assert meta["verdicts"][columns["verdict"][place]] == row["verdict"]
        assert meta["labels"][columns["label"][place]] == row["label"]
        assert columns["risk"][place] == np.float32(row["risk"])
        assert columns["bcc"][place] == np.float32(row["probability_BCC"])
        members = [x for bit, x in enumerate(meta["labels"]) if columns["set"][place] >> bit & 1]
        assert "|".join(members) == row["prediction_set"]
        found = [
            x for bit, x in enumerate(meta["findings"]) if columns["quality"][place] >> bit & 1
        ]
        assert set(found) == set(filter(None, row["quality"].split("|")))


def test_names_are_no_markup_of_the_page_and_the_policy_lets_only_its_own_script_run(
    tmp_path: Path,
) -> None:
    run = review_kit.write_run(tmp_path / "run", [HOSTILE])
    text = review.write_review(run).read_text()
    page = Scripts(text)
    assert "onerror" not in text
    assert "img" not in page.tags
    assert page.tags.count("script") == 3  # data, maps, the script
    policy = dict(part.split(" ", 1) for part in page.meta["Content-Security-Policy"].split("; "))
    for kind, source in (("script-src", "script"), ("style-src", "style")):
        digest = hashlib.sha256(page.texts[source].encode()).digest()
        assert policy[kind] == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert policy["default-src"] == "'none'"
    assert policy["img-src"] == "'self' file:"
    assert set(re.findall(r"https?://[^'\" ]+", text)) == {"http://www.w3.org/2000/svg"}


def test_of_more_rows_than_a_page_holds_those_of_highest_risk_are_shown(tmp_path: Path) -> None:
    run = review_kit.write_run(tmp_path / "run", [f"{n:05}.jpg" for n in range(9000)])
    shown = review.read_rows(run / "results.parquet", limit=100)
    risks = sorted((row["risk"] for row in screening_kit.rows_of(run)), reverse=True)
    assert sorted(shown.numbers("risk"), reverse=True) == risks[:100]
    assert shown.names == sorted(shown.names)
    assert shown.n_all == 9000


def test_the_foremost_are_the_riskiest_and_the_least_certain_in_turns(tmp_path: Path) -> None:
    run = review_kit.write_run(tmp_path / "run", [f"{n}.jpg" for n in range(500)])
    rows = review.read_rows(run / "results.parquet")
    foremost = rows.foremost(20)
    assert len(set(foremost)) == 20
    assert foremost[0] == int(rows.numbers("risk").argmax())
    assert foremost[1] == int(rows.uncertainty().argmax())
    assert sorted(rows.foremost(10_000)) == list(range(500))


def test_uncertainty_is_none_of_what_is_sure_and_whole_of_two_alike(tmp_path: Path) -> None:
    import pyarrow as pa

    table = pa.table({
        "scope": [1.0, 1.0, 0.5, None], "probability_BCC": [1.0, 0.5, 1.0, 0.0],
        "probability_SCC": [0.0, 0.5, 0.0, 0.0],
    })  # fmt: skip
    assert review.Rows(table, 4).uncertainty() == pytest.approx([0, 1, 1, 0])


def test_places_say_which_files_a_browser_can_open_and_why_not_the_others() -> None:
    items = [
        Item("a b#.jpg", "/photos/a b#.jpg"),
        Item("b.tif", "/photos/b.tif"),
        Item("c.dcm#2", "/photos/c.dcm", kind="dicom", frame=2),
        Item("bad\udcff.jpg", "/photos/bad\udcff.jpg"),
        Item("elsewhere.png", "/other/x.png"),
        Item("not judged.jpg", "/photos/not judged.jpg"),
    ]
    names = [item.name for item in items[:5]] + ["all.tar.gz!/x.jpg", "gone.jpg"]
    places = Places(names, items)
    assert [int(code) for code in places.codes[[0, 1, 3, 4, 5, 6]]] == [
        SHOWN, NOT_BY_BROWSERS, SHOWN, SHOWN, IN_PACKED_TAR, UNKNOWN,
    ]  # fmt: skip
    assert places.root == "/photos/"
    assert places.paths[0] == ""  # as root and name say
    assert places.paths[3] == "file:///photos/bad%FF.jpg"
    assert places.paths[4] == "file:///other/x.png"
    assert places.roots_from(Path("/runs/run")) == ["../../photos/", "file:///photos/"]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder of a small photo, a large one, a TIFF, a ZIP and a packed TAR."""
    folder = screening_kit.write_photos(tmp_path / "photos", 2)
    red = np.zeros((48, 64, 3), np.uint8)
    red[:, 32:, 0] = 255  # evidence for BCC, on the right
    Image.fromarray(red).save(folder / "half.png")
    Image.fromarray(red).save(folder / "tiff.tif")
    Image.fromarray(red).resize((2000, 1500)).save(folder / "large.jpg")
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.write(folder / "00000.jpg", "in.jpg")
    import tarfile

    with tarfile.open(folder / "b.tar.gz", "w:gz") as packed:
        packed.add(folder / "00001.jpg", "in.jpg")
    return folder


def test_maps_and_previews_are_made_of_what_was_judged(
    mixed: Path, tmp_path: Path, bundle: Bundle
) -> None:
    source = ImageSource([str(mixed)])
    screening_kit.run(tmp_path / "run", bundle, source)
    (mixed / "00001.jpg").unlink()
    Image.new("RGB", (64, 48), (9, 9, 9)).save(mixed / "00000.jpg")  # another one: no map of it
    pictures = Pictures(Classifier(bundle, views=1, threads=1, gate=False), 100, workers=2)
    page = review.write_review(
        tmp_path / "run", places=lambda names: Places(names, source.quickly()), pictures=pictures
    )
    texts = Scripts(page.read_text()).texts
    meta, columns = unpacked(texts["data"])
    names = columns["uri"]
    codes = dict(zip(names, columns["place"].tolist(), strict=True))
    assert codes["a.zip!/in.jpg"] == IN_ZIP
    assert codes["b.tar.gz!/in.jpg"] == IN_PACKED_TAR
    assert codes["tiff.tif"] == NOT_BY_BROWSERS
    assert codes["00001.jpg"] == UNKNOWN
    mapped = [names[row] for row in columns["map_rows"]]
    assert set(mapped) == {"a.zip!/in.jpg", "half.png", "tiff.tif", "large.jpg"}
    assert meta["maps"] == 4
    maps = unpacked(texts["maps"])[1]["maps"].reshape(-1, MAP_PX, MAP_PX)
    half = maps[mapped.index("half.png")]
    assert half[:, 10:].min() > 250
    assert half[:, :3].max() < 5
    previewed = [names[row] for row in columns["preview_rows"]]
    assert set(previewed) == {"a.zip!/in.jpg", "tiff.tif", "large.jpg"}
    files = [name.tobytes().hex() for name in columns["preview_names"].reshape(-1, 8)]
    sizes = {
        name: Image.open(tmp_path / "run" / "review-images" / f"{file}.jpg").size
        for name, file in zip(previewed, files, strict=True)
    }
    assert sizes["large.jpg"] == (400, 300)
    assert sizes["a.zip!/in.jpg"] == (64, 48)


def test_previews_that_a_page_has_no_use_for_are_removed(
    mixed: Path, tmp_path: Path, bundle: Bundle
) -> None:
    source = ImageSource([str(mixed)])
    run = tmp_path / "run"
    screening_kit.run(run, bundle, source)
    classifier = Classifier(bundle, views=1, threads=1)
    for n, left in ((100, 3), (0, 0)):
        review.write_review(
            run,
            places=lambda names: Places(names, source.quickly()),
            pictures=Pictures(classifier, n),
        )
        assert len(list((run / "review-images").glob("*.jpg"))) == left


def test_screen_writes_the_page_unless_told_and_keeps_one_that_nothing_changed(
    run_command: Any, tmp_path: Path, bundle: Bundle
) -> None:
    photos = screening_kit.write_photos(tmp_path / "photos", 3)
    model = bundle.directory

    def screen(*more: object) -> SimpleNamespace:
        arguments = [photos, "-o", tmp_path / "run", "--model", model, "--workers", 1, "-q"]
        done: SimpleNamespace = run_command("screen", *arguments, *more)
        assert done.code == 0, done.err
        return done

    page = tmp_path / "run" / "review.html"
    screen("--no-review")
    assert not page.exists()
    assert str(page) in screen("--maps", 2).err
    assert unpacked(Scripts(page.read_text()).texts["data"])[0]["maps"] == 2
    stamp = page.stat().st_mtime_ns
    screen()
    assert page.stat().st_mtime_ns == stamp
    screening_kit.write_photos(photos / "more", 1)
    screen()
    assert unpacked(Scripts(page.read_text()).texts["data"])[0]["n"] == 4
