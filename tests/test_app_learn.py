"""Learn: complete in every language, easy to read, drawn by us, and true to its sources."""

from __future__ import annotations

import io
import json
import re
import runpy
from pathlib import Path
from typing import Any

import flet as ft
import numpy as np
import pytest
from PIL import Image

import lesionlens
from app_kit import controls_of, find, make_session, screen_of, tap, texts_of
from lesionlens import phantoms
from lesionlens.app.learning import TOPICS, Topic, blocks_of, find_topic
from lesionlens.app.texts import LANGUAGES, Texts

ROOT = Path(__file__).parent.parent
APP = Path(lesionlens.__file__).parent / "app"
PICTURES = APP / "assets/learn"
WORDS: dict[str, dict[str, str]] = {
    language: json.loads((APP / "i18n" / language / "learn.json").read_text(encoding="utf-8"))
    for language in LANGUAGES
}
FIGURES = {name for topic in TOPICS for section in topic.sections for name in section.figures}
EVERY_LANGUAGE = pytest.mark.parametrize("language", LANGUAGES)
EVERY_TOPIC = pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)


def page_of(topic: Topic, language: str = "en") -> Any:
    session = make_session(language=language, engine=object())
    session.navigation.go(f"/learn/{topic.name}")
    return screen_of(session)


# ---------------------------------------------------------------- words


@EVERY_LANGUAGE
@EVERY_TOPIC
def test_a_page_shows_all_its_words_in_every_language(topic: Topic, language: str) -> None:
    shown = texts_of(page_of(topic, language)).split("\n")
    mine = [f"{topic.name}.{section.name}" for section in topic.sections]
    said = [block.text for key in mine for block in blocks_of(WORDS[language][key])]
    said += [WORDS[language][f"section.{section.name}"] for section in topic.sections]
    for figure in (name for section in topic.sections for name in section.figures):
        said += [WORDS[language][f"figure.{figure}"], WORDS[language][f"figure.{figure}.caption"]]
    assert [text for text in said if text not in shown] == []
    assert Texts(language)("common.not_a_diagnosis") in shown


@EVERY_LANGUAGE
def test_no_word_is_there_for_nothing(language: str) -> None:
    used = {"title", "intro", "drawn", "sources", "sources.none", "sources.open", "sources.hint"}
    used |= {"reviewed", "reviewed.own"} | {f"figure.{name}" for name in FIGURES}
    used |= {f"figure.{name}.caption" for name in FIGURES}
    for topic in TOPICS:
        used |= {f"{topic.name}.title", f"{topic.name}.summary"}
        used |= {f"{topic.name}.{section.name}" for section in topic.sections}
        used |= {f"section.{section.name}" for section in topic.sections}
    assert used == WORDS[language].keys()


@EVERY_LANGUAGE
def test_a_translation_has_the_paragraphs_and_lists_of_the_english(language: str) -> None:
    for key, english in WORDS["en"].items():
        shape = [block.is_item for block in blocks_of(english)]
        assert [block.is_item for block in blocks_of(WORDS[language][key])] == shape, key


def sentences_of(text: str) -> list[str]:
    """Split into sentences; an item of a list is one, as it stands on a line of its own."""
    return [part for part in re.split(r"[.!?]+(?:\s|$)|\n", text) if part.strip()]


def syllables_of(word: str) -> int:
    """Count groups of vowels, a silent e at the end aside: within one of what is spoken."""
    letters = re.sub(r"[^a-z]", "", word.lower())
    n_groups = len(re.findall(r"[aeiouy]+", letters))
    if re.search(r"[^aeiouyl]e$", letters) and n_groups > 1:
        n_groups -= 1
    return max(1, n_groups)


def grade_of(text: str) -> float:
    """Return the school grade of Flesch and Kincaid, https://apps.dtic.mil/sti/citations/ADA006655."""
    words = re.findall(r"[A-Za-z’]+", text)
    n_syllables = sum(map(syllables_of, words))
    return 0.39 * len(words) / len(sentences_of(text)) + 11.8 * n_syllables / len(words) - 15.59


def test_the_grade_is_that_of_known_texts() -> None:
    easy = "The cat sat on the mat. The dog ran to the cat."
    hard = "Immunohistochemical differentiation of keratinocytic neoplasms necessitates expertise."
    assert grade_of(easy) == pytest.approx(0.39 * 6 + 11.8 - 15.59)  # all of one syllable
    assert grade_of(hard) > 20
    assert [syllables_of(word) for word in ("skin", "doctor", "melanoma", "tissue", "people")] == [
        1, 2, 4, 2, 2,
    ]  # fmt: skip


@EVERY_TOPIC
def test_english_can_be_read_at_twelve(topic: Topic) -> None:
    for section in topic.sections:
        text = WORDS["en"][f"{topic.name}.{section.name}"]
        assert grade_of(text) <= 7, f"{topic.name}.{section.name}: grade {grade_of(text):.1f}"


@EVERY_LANGUAGE
@EVERY_TOPIC
def test_sentences_are_short_in_every_language(topic: Topic, language: str) -> None:
    text = "\n".join(WORDS[language][f"{topic.name}.{section.name}"] for section in topic.sections)
    lengths = [len(sentence.split()) for sentence in sentences_of(text)]
    assert np.mean(lengths) <= 14, f"{np.mean(lengths):.1f} words a sentence"
    longest = max(sentences_of(text), key=lambda sentence: len(sentence.split()))
    assert max(lengths) <= 32, longest


# ---------------------------------------------------------------- truth


def number_in(pattern: str, file: str) -> float:
    found = re.search(pattern, (ROOT / file).read_text(encoding="utf-8"))
    assert found, f"{file} does not say {pattern}"
    return float(found[1].replace(",", ""))


def test_what_the_app_says_of_itself_is_what_was_measured() -> None:
    """The figures of the words, against the model card: whoever retrains looks here."""
    n_images = number_in(r"\n([\d,]+) dermoscopic images", "MODEL_CARD.md")
    kept = number_in(r"either as label or in the set \| ([\d.]+) %", "docs/verdicts.md")
    melanoma = number_in(r"melanoma called confident \|[^|]*\| ([\d.]+) %", "MODEL_CARD.md")
    table = (ROOT / "docs/verdicts.md").read_text(encoding="utf-8")
    wrong = float(re.findall(r"\| wrong among them \| ([\d.]+) %", table)[-1])  # half of others
    assert round(n_images, -2) == 11_500
    assert round(100 - kept) == 3
    assert round(melanoma) == 6
    assert 7.5 < wrong < 12.5  # "about one in ten"
    for language in LANGUAGES:
        words, texts = WORDS[language], Texts(language)
        assert texts.number(11_500) in words["app.how"]
        assert re.search(r"\b3\b.*\b100\b|\b100\b.*\b3\b", words["app.limits"].split("\n")[0])
        assert re.search(r"\b6\b.*\b100\b", words["other.unknown"])
        assert words["app.numbers"].count(texts.percent(0.87)) == 1


@EVERY_LANGUAGE
@EVERY_TOPIC
def test_every_page_names_its_sources_and_who_did_not_review_it(
    topic: Topic, language: str
) -> None:
    shown = texts_of(page_of(topic, language)).split("\n")
    if topic.sources:
        assert len(topic.sources) >= 2
        assert WORDS[language]["reviewed"] in shown
        assert [source.title for source in topic.sources if source.title not in shown] == []
    else:
        assert topic.name == "app", "only about itself the app may speak without a source"
        assert WORDS[language]["reviewed.own"] in shown


#: Whose word counts, and whose addresses last.
HOSTS = {
    "www.nhs.uk", "www.nice.org.uk", "www.aad.org", "dermnetnz.org", "www.cancerresearchuk.org",
    "www.who.int", "www.iarc.who.int", "academy.dermoscopedia.org", "doi.org",
}  # fmt: skip


@EVERY_TOPIC
def test_sources_are_addresses_of_those_whose_word_counts(topic: Topic) -> None:
    urls = [source.url for source in topic.sources]
    assert len(set(urls)) == len(urls)
    for url in urls:
        assert re.fullmatch(r"https://([\w.]+)/\S+", url)[1] in HOSTS, url  # type: ignore[index]


# ---------------------------------------------------------------- pictures

DRAWING = runpy.run_path(str(ROOT / "docs/draw_learn.py"))


def test_every_picture_is_drawn_by_the_script_and_shown() -> None:
    files = {file.name for file in PICTURES.iterdir()}
    assert files == {f"{name}.jpg" for name in DRAWING["FIGURES"]}
    assert set(DRAWING["FIGURES"]) == FIGURES
    assert {topic.picture for topic in TOPICS} <= FIGURES


@pytest.mark.parametrize("name", sorted(DRAWING["FIGURES"]))
def test_a_picture_is_small_and_says_that_it_is_drawn(name: str) -> None:
    data = (PICTURES / f"{name}.jpg").read_bytes()
    assert len(data) < 45_000
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == DRAWING["SIZE_PX"]
        assert image.info["comment"].decode() == phantoms.NOTE


@pytest.mark.parametrize(
    "name",
    [
        name
        if name in ("dermatoscope", "bcc_nests")
        else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted(DRAWING["FIGURES"])
    ],
)
def test_the_script_draws_the_same_picture_again(name: str) -> None:
    drawn = np.asarray(DRAWING["draw"](name), dtype=float)
    with Image.open(PICTURES / f"{name}.jpg") as image:
        kept = np.asarray(image.convert("RGB"), dtype=float)
    assert abs(drawn - kept).mean() < 3  # what JPEG loses


# ---------------------------------------------------------------- screens


def test_the_list_leads_to_every_page_and_back() -> None:
    session = make_session(engine=object())
    for topic in TOPICS:
        session.navigation.go("/learn")
        tap(session, WORDS["en"][f"{topic.name}.title"])
        assert session.state.route == f"/learn/{topic.name}"
        assert WORDS["en"][f"{topic.name}.title"] in texts_of(screen_of(session)).split("\n")
        session.navigation.back()
        assert session.state.route == "/learn"


def test_large_text_stands_below_the_picture_on_a_small_phone() -> None:
    session = make_session(engine=object(), size_px=(360, 740))
    for scale, container in ((1.0, ft.Row), (2.0, ft.Column)):
        session.set_preferences(text_scale=scale)
        session.navigation.go("/learn")
        entry = find(screen_of(session), WORDS["en"]["bcc.title"])
        assert isinstance(entry.content, container)


def test_a_source_opens_in_the_browser_and_says_so_before() -> None:
    session = make_session(engine=object())
    device: Any = session.device
    for topic in TOPICS:
        session.navigation.go("/learn")
        session.navigation.go(f"/learn/{topic.name}")
        for source in topic.sources:
            assert "opens the browser" in str(find(screen_of(session), source.title).tooltip)
            tap(session, source.title)
    assert device.links == [source.url for topic in TOPICS for source in topic.sources]


def test_an_address_that_names_no_page_shows_the_list() -> None:
    session = make_session(engine=object())
    session.navigation.go("/learn/nothing_of_the_kind")
    assert WORDS["en"]["intro"] in texts_of(screen_of(session))
    assert find_topic("nothing_of_the_kind") is None


@EVERY_TOPIC
def test_every_drawing_is_called_drawn(topic: Topic) -> None:
    screen = page_of(topic)
    pictures = [control for control in controls_of(screen) if isinstance(control, ft.Image)]
    assert texts_of(screen).split("\n").count(WORDS["en"]["drawn"]) == len(pictures)
    for picture in pictures:
        assert (APP / "assets" / str(picture.src)).is_file()


def test_when_to_see_a_doctor_now_comes_first() -> None:
    assert TOPICS[0].name == "other"
    assert TOPICS[0].sections[0].name == "now"


def test_paragraphs_and_items_are_told_apart() -> None:
    blocks = blocks_of("Look for:\n- a lump\n- a sore - open\nThen go.")
    assert [(block.text, block.is_item) for block in blocks] == [
        ("Look for:", False), ("a lump", True), ("a sore - open", True), ("Then go.", False),
    ]  # fmt: skip
