"""The demo: samples in, a table, pictures and a page that needs nothing else out."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import tiny_model
from lesionlens.bundle import default_directory
from lesionlens.cli.demo_page import DRAWN, Sample, write_page, write_picture
from lesionlens.cli.main import app
from lesionlens.cli.writers import Failure
from lesionlens.labels import Label
from lesionlens.records import Prediction, Quality

needs_model = pytest.mark.skipif(
    not (default_directory() / "model.tflite").is_file(),
    reason="no shipped model here; export one, or name a bundle in LESIONLENS_MODEL",
)


def run(*arguments: str, data: Path | None = None) -> tuple[int, str, str]:
    environment = {"LESIONLENS_DATA": str(data) if data else None}
    result = CliRunner().invoke(app, ["demo", *arguments], env=environment)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def answer_for(file: str, **changes: object) -> Prediction:
    values = {
        "file": file,
        "label": Label.SCC,
        "probabilities": {Label.BCC: 0.25, Label.SCC: 0.746, Label.NORMAL: 0.004},
        "scope": 0.9,
        "verdict": "uncertain",
        "prediction_set": (Label.BCC, Label.SCC),
        "quality": Quality((), {}),
        "policy": "balanced",
        "views": 10,
        "elapsed_ms": 12.0,
    }
    return Prediction(**(values | changes))  # type: ignore[arg-type]


class PageReader(HTMLParser):
    """Collects tags, attributes and text, and checks that tags nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.references += [value or "" for key, value in attributes if key in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def read_page(path: Path) -> PageReader:
    reader = PageReader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert not reader.open
    return reader


@pytest.fixture
def spec():
    return tiny_model.spec(name="lens", licence="research & education <only>")


@needs_model
def test_drawn_samples_are_classified_and_called_drawn(tmp_path: Path) -> None:
    code, table, talk = run("-o", str(tmp_path / "out"))
    assert code == 0
    page = read_page(tmp_path / "out" / "report.html")
    for kind in ("skin", "bcc", "scc", "nevus", "nonskin"):
        assert f"drawn-{kind}.jpg" in table
    assert page.text.count("Drawn: ") == 5
    assert "drawn, not photographed" in page.text
    assert "drawn, not photographed" in talk
    assert "Not a diagnosis" in page.text
    assert "Try next" in talk
    pictures = sorted((tmp_path / "out" / "pictures").glob("*.png"))
    assert [path.name for path in pictures][:2] == ["01-drawn-skin.png", "02-drawn-bcc.png"]
    for path in pictures:
        with Image.open(path) as image:
            image.load()
            assert image.width == 600
            assert image.height > 450  # the answer stands under the image, not on it


@needs_model
def test_the_page_needs_no_network(tmp_path: Path) -> None:
    run("-o", str(tmp_path))
    page = read_page(tmp_path / "report.html")
    assert len(page.references) == 5
    assert all(reference.startswith("data:image/jpeg;base64,") for reference in page.references)
    assert "http" not in re.sub(r"base64,[^\"]*", "", (tmp_path / "report.html").read_text())


@needs_model
def test_own_images_are_taken_and_a_bad_one_does_not_stop_the_others(
    phantom_jpeg: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    code, table, talk = run(str(empty), str(phantom_jpeg), "-o", str(tmp_path / "out"))
    assert code == 1
    assert "drawn-bcc.jpg" in table
    assert "empty.jpg: is empty" in talk
    page = read_page(tmp_path / "out" / "report.html")
    assert "No answer" in page.text
    assert "1 of 2 images answered" in page.text
    assert "Drawn:" not in page.text  # nobody said so


@needs_model
def test_an_archive_gives_real_samples_of_each_class(drawn_archive: Path, tmp_path: Path) -> None:
    code, _, talk = run("-o", str(tmp_path / "out"), data=drawn_archive)
    assert code == 0
    page = read_page(tmp_path / "out" / "report.html")
    for name in ("basal cell carcinoma", "squamous cell carcinoma", "healthy skin", "nevus"):
        assert page.text.count(f"Archive: {name}") == 2
    assert "it has seen these images" in talk


def test_an_output_that_is_a_file_is_refused(phantom_jpeg: Path) -> None:
    code, _, talk = run("-o", str(phantom_jpeg))
    assert code == 2
    assert "is a file; --output needs the name of a folder" in talk


def test_names_cannot_break_out_of_the_page(phantom_jpeg: Path, tmp_path: Path, spec) -> None:
    evil = phantom_jpeg.rename(phantom_jpeg.with_name('"><script>alert(1)<b>.jpg'))
    samples = [Sample(str(evil)), Sample("gone.jpg", "<i>caption</i>")]
    answers = [answer_for(str(evil)), Failure("gone.jpg", "gone.jpg: <no such file>")]
    write_page(tmp_path / "page.html", samples, answers, origin=DRAWN, spec=spec)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in text
    page = read_page(tmp_path / "page.html")
    assert "<i>caption</i>" in page.text
    assert "research & education <only>" in page.text


def test_the_page_shows_the_numbers_of_the_answer(phantom_jpeg: Path, tmp_path: Path, spec) -> None:
    file = str(phantom_jpeg)
    write_page(tmp_path / "page.html", [Sample(file)], [answer_for(file)], origin=DRAWN, spec=spec)
    page = read_page(tmp_path / "page.html")
    for words in ("Squamous cell carcinoma", "◐ uncertain", "25 %", "75 %", "<1 %", "90 %", "80 %"):
        assert words in page.text
    shown = base64.b64decode(page.references[0].split(",", 1)[1])
    with Image.open(io.BytesIO(shown)) as image:
        assert image.size == (600, 450)


def test_a_picture_of_a_small_image_has_room_for_the_answer(tmp_path: Path) -> None:
    file = tmp_path / "small.png"
    Image.new("RGB", (64, 64), (200, 150, 140)).save(file)
    write_picture(tmp_path / "card.png", Sample(str(file), "Drawn: grey"), answer_for(str(file)))
    with Image.open(tmp_path / "card.png") as card:
        assert card.width == 320
        assert card.height > 400
