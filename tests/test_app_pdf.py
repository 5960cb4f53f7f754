"""The one-page report: what stands on it, that it fits, and that it gives nothing away."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from lesionlens import phantoms
from lesionlens.errors import ImageError
from lesionlens.labels import Label
from lesionlens.quality import GATES
from lesionlens.records import Finding, Prediction, Quality
from lesionlens.verdicts import VERDICTS

pypdf = pytest.importorskip("pypdf", reason="reads PDF")
pytest.importorskip("reportlab", reason="the extra app")
pytest.importorskip("flet", reason="the extra app")

from lesionlens.app.pdf_blocks import HEIGHT, MARGIN_X, MARGIN_Y, PAGE, printable  # noqa: E402
from lesionlens.app.pdf_report import HASH_LENGTH, Report, make_report, report_name  # noqa: E402
from lesionlens.app.texts import LANGUAGES, Texts  # noqa: E402

LONG = "The spot has been there since spring. It bled twice after shaving. " * 60
SHA256 = "0123456789abcdef" * 4


@cache
def drawn(kind: str, size_px: tuple[int, int]) -> Image.Image:
    return phantoms.draw(kind, size_px=size_px, rng=np.random.default_rng(1))


def jpeg(kind: str = "bcc", size_px: tuple[int, int] = (320, 240), **options: object) -> bytes:
    stream = io.BytesIO()
    drawn(kind, size_px).save(stream, "JPEG", **options)
    return stream.getvalue()


def answer(verdict: str = "confident", **changes: object) -> Prediction:
    sets = {"confident": (Label.BCC,), "uncertain": (Label.BCC, Label.SCC), "out_of_scope": ()}
    names = ("too_dark", "blur") if verdict == "poor_image" else ()
    prediction = Prediction(
        file="-",
        label=Label.BCC,
        probabilities={Label.BCC: 0.871, Label.SCC: 0.127, Label.NORMAL: 0.002},
        scope=0.93,
        prediction_set=sets.get(verdict, (Label.BCC,)),
        verdict=verdict,
        quality=Quality(tuple(Finding(name, 1, 2, "unit", "advice") for name in names), {}),
        policy="balanced",
        views=10,
        elapsed_ms=187.0,
    )
    return replace(prediction, **changes)


def a_report(**changes: object) -> Report:
    report = Report(
        photo=jpeg(),
        overlay=jpeg("scc"),
        prediction=answer(),
        taken_at=datetime(2026, 11, 26, 14, 32).astimezone(),
        model_name="lens",
        model_version="0.2.0",
        model_sha256=SHA256,
        milliseconds=187.0,
        app_version="0.4.0",
        device="Pixel 8, Android 16",
        body_site="Left forearm",
        lesion="Spot by the elbow",
        notes="Itches a little.",
    )
    return replace(report, **changes)


def pages_of(pdf: bytes) -> list:
    return list(pypdf.PdfReader(io.BytesIO(pdf)).pages)


def text_of(pdf: bytes) -> str:
    return re.sub(r"\s+", " ", " ".join(page.extract_text() for page in pages_of(pdf)))


def in_words(words: str) -> str:
    return re.sub(r"\s+", " ", words)


def lines_of(pdf: bytes) -> list[tuple[float, str]]:
    """Every piece of text with how far above the page's bottom it stands, in points."""
    found: list[tuple[float, str]] = []

    def note(text: str, matrix: list, at: list, *_: object) -> None:
        if text.strip():
            found.append((matrix[5] + at[5] * matrix[3], text))

    pages_of(pdf)[0].extract_text(visitor_text=note)
    return found


def test_the_page_says_what_the_answer_is() -> None:
    text = text_of(make_report(a_report(), Texts("en")))
    for words in (
        "Looks most like basal cell carcinoma", "87%", "13%", "<1%", "about 87 really show",
        "Chance that it is one of the three: 93%", "May be: basal cell carcinoma",
        "no problem found".capitalize(), "Left forearm", "Spot by the elbow", "Itches a little.",
        "lens 0.2.0", SHA256[:HASH_LENGTH], "187 ms", "10 views", "Balanced", "LesionLens 0.4.0",
        "Pixel 8, Android 16", "Nov 26, 2026", "2:32 PM",
    ):  # fmt: skip
        assert words in text, words
    assert SHA256 not in text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_verdict_is_told_in_every_language(verdict: str, language: str) -> None:
    texts = Texts(language)
    pdf = make_report(a_report(prediction=answer(verdict)), texts)
    text = text_of(pdf)
    assert in_words(texts(f"verdict.{verdict}.means")) in text
    assert text.count(in_words(texts("common.not_a_diagnosis"))) == 2, "at top and bottom"
    assert pypdf.PdfReader(io.BytesIO(pdf)).trailer["/Root"]["/Lang"] == language


def test_numbers_that_say_nothing_are_not_explained_as_if_they_did() -> None:
    for verdict in ("out_of_scope", "poor_image"):
        text = text_of(make_report(a_report(prediction=answer(verdict)), Texts("en")))
        assert "Do not rely on these numbers" in text
        assert "really show" not in text
        assert "Looks most like" not in text
    assert "May be:" not in text, "a poor photo is not judged"
    assert "Too dark. Not sharp." in text


def test_no_answer_is_certain() -> None:
    sure = answer(probabilities={Label.BCC: 0.9999, Label.SCC: 0.0001, Label.NORMAL: 0.0})
    text = text_of(make_report(a_report(prediction=sure), Texts("en")))
    assert "about 99 really show" in text
    assert ">99%" in text
    assert "100%" not in text


def test_a_model_without_other_outputs_is_not_given_a_scope() -> None:
    text = text_of(make_report(a_report(prediction=answer(scope=None)), Texts("en")))
    assert "cannot tell whether the picture shows one of the three" in text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("has_overlay", [True, False])
@pytest.mark.parametrize("size_px", [(320, 240), (150, 400)])
def test_the_fullest_page_is_one_page_and_nothing_overlaps(
    language: str, has_overlay: bool, size_px: tuple[int, int]
) -> None:
    texts = Texts(language)
    every = tuple(Finding(gate.name, 1, 2, "unit", "advice") for gate in GATES)
    widest = answer(
        "uncertain",
        prediction_set=(Label.BCC, Label.SCC, Label.NORMAL),
        quality=Quality(every, {}),
    )
    report = a_report(
        photo=jpeg(size_px=size_px),
        overlay=jpeg(size_px=size_px) if has_overlay else None,
        prediction=widest,
        notes=LONG + "\N{CYRILLIC SMALL LETTER ZHE}",
        lesion="word " * 200,
        device="a device with a long name " * 3,
    )
    pdf = make_report(report, texts)
    assert len(pages_of(pdf)) == 1
    lines = lines_of(pdf)
    heights = {text.strip(): y for y, text in lines}
    cut = heights[texts("report.notes_cut")]
    lost = heights[texts("report.notes_lost")]
    foot = heights[texts("report.model")]
    notes = heights[texts("report.notes")]
    assert notes > cut > lost > foot + 7
    assert min(y for y, _ in lines) > MARGIN_Y
    assert max(y for y, _ in lines) < MARGIN_Y + HEIGHT
    assert (PAGE[1] - 792) / 2 + 18 < MARGIN_Y, "letter, 792 points high, loses nothing"
    assert MARGIN_X > 18


def test_long_notes_are_cut_with_a_sign_and_short_ones_are_whole() -> None:
    texts = Texts("en")
    sign = texts("report.notes_cut")
    assert sign not in text_of(make_report(a_report(notes="Itches.\nSeen Monday."), texts))
    assert "Notes" not in text_of(make_report(a_report(notes=" \n"), texts))
    for notes in (LONG, "x" * 9000, "one line\n" * 500):
        assert sign in text_of(make_report(a_report(notes=notes), texts))


def test_what_the_fonts_cannot_show_is_replaced_and_said() -> None:
    texts = Texts("en")
    said = texts("report.notes_lost")
    notes = "Déjà vu: “5 €” – ok? Ł < & <b>"
    text = text_of(make_report(a_report(notes=notes), texts))
    assert "Déjà vu: “5 €” – ok? ? < & <b>" in text
    assert said in text
    assert said not in text_of(
        make_report(a_report(notes="Really? Pełno?".replace("ł", "l")), texts)
    )
    assert printable("e\N{COMBINING ACUTE ACCENT} \u0101\tb\x00") == "é a b?"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_fonts_show_every_word_of_the_page(language: str) -> None:
    folder = files("lesionlens.app") / "i18n" / language
    for namespace in ("report", "verdict", "label", "quality", "policy", "unit", "common"):
        words = (folder / f"{namespace}.json").read_text(encoding="utf-8")
        flat = json.dumps(json.loads(words), ensure_ascii=False)
        assert printable(flat) == flat, namespace


def test_the_same_report_gives_the_same_bytes() -> None:
    assert make_report(a_report(), Texts("fr")) == make_report(a_report(), Texts("fr"))
    assert make_report(a_report(), Texts("fr")) != make_report(a_report(), Texts("en"))


def test_the_file_says_what_it_is_and_runs_nothing() -> None:
    pdf = make_report(a_report(), Texts("en"))
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    assert reader.metadata.title == "Skin picture report, Nov 26, 2026"
    assert reader.metadata.author == "LesionLens"
    assert reader.metadata.subject.startswith("Not a diagnosis")
    assert reader.metadata.creation_date.timetuple()[:5] == (2026, 11, 26, 14, 32)
    for forbidden in (b"/JavaScript", b"/JS", b"/AA", b"/OpenAction", b"/URI", b"/EmbeddedFile"):
        assert forbidden not in pdf
    size = reader.pages[0].mediabox
    assert (float(size.width), float(size.height)) == pytest.approx(PAGE, abs=0.01)


def test_nothing_of_the_photos_metadata_reaches_the_page() -> None:
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe, 12 Elm Street"
    exif[0x0112] = 6  # lies on its side
    pdf = make_report(a_report(photo=jpeg(exif=exif, comment=b"Jane Doe")), Texts("en"))
    images = pages_of(pdf)[0].images
    assert {image.image.size for image in images} == {(240, 320), (320, 240)}, "upright"
    for image in images:
        assert b"Jane" not in image.data
        assert b"Exif" not in image.data


def test_without_an_overlay_the_page_has_one_picture() -> None:
    pdf = make_report(a_report(overlay=None), Texts("en"))
    assert len(pages_of(pdf)[0].images) == 1
    assert Texts("en")("report.overlay") not in text_of(pdf)
    assert "Looks most like basal cell carcinoma" in text_of(pdf)


def test_large_pictures_make_no_large_file() -> None:
    large = jpeg(size_px=(2400, 1800), quality=98)
    assert len(make_report(a_report(photo=large, overlay=large), Texts("en"))) < 600_000


def test_a_damaged_picture_is_an_error_that_says_so() -> None:
    with pytest.raises(ImageError):
        make_report(a_report(photo=b"no picture"), Texts("en"))


def test_the_file_is_named_by_when_the_photo_was_taken() -> None:
    assert report_name(a_report()) == "lesionlens-2026-11-26-1432.pdf"
    utc = datetime(2026, 11, 26, 14, 32, tzinfo=UTC)
    local = utc.astimezone().strftime("%Y-%m-%d-%H%M")
    assert report_name(a_report(taken_at=utc)) == f"lesionlens-{local}.pdf"
