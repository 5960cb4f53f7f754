"""What the app says: complete in five languages, written as each of them is written, and true."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lesionlens
from lesionlens.app import texts as texts_module
from lesionlens.app import wording
from lesionlens.app.texts import FALLBACK, LANGUAGES, MANNERS, Texts, language_of
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.quality import GATES
from lesionlens.records import Finding, Prediction, Quality
from lesionlens.verdicts import POLICIES, VERDICTS

babel = pytest.importorskip("babel")
dates = pytest.importorskip("babel.dates")
lists = pytest.importorskip("babel.lists")
numbers = pytest.importorskip("babel.numbers")

APP = Path(lesionlens.__file__).parent / "app"
I18N = APP / "i18n"
CLDR = {**{code: code for code in LANGUAGES}, "pt": "pt_BR"}
PLACEHOLDER = re.compile(r"\{(\w+)\}")
EVERY_LANGUAGE = pytest.mark.parametrize("language", LANGUAGES)
TRANSLATIONS = pytest.mark.parametrize("language", [code for code in LANGUAGES if code != "en"])


def of_cldr(text: str) -> str:
    """The one departure: the app's font has no narrow no-break space."""
    return text.replace("\N{NARROW NO-BREAK SPACE}", "\N{NO-BREAK SPACE}")


def locale_of(language: str) -> Any:
    return babel.Locale.parse(CLDR[language])


def check_unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), [key for key in keys if keys.count(key) > 1]
    return dict(pairs)


def words_of(language: str) -> dict[str, str | dict[str, str]]:
    """Every entry of a language by its full key."""
    found = {}
    for file in sorted((I18N / language).glob("*.json")):
        entries = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=check_unique)
        found.update({f"{file.stem}.{key}": value for key, value in entries.items()})
    return found


def forms_of(value: str | dict[str, str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value.values())


WORDS = {language: words_of(language) for language in LANGUAGES}


# ---------------------------------------------------------------- as CLDR has it


@EVERY_LANGUAGE
def test_plurals_are_those_of_cldr(language: str) -> None:
    cldr = locale_of(language).plural_form
    counts = [*range(1201), 999_999, 1_000_000, 1_000_001, 2_000_000, 2_500_000]
    assert [MANNERS[language].plural(count) for count in counts] == [cldr(n) for n in counts]


@EVERY_LANGUAGE
@settings(deadline=None)  # Babel reads its locale with the first one
@given(
    value=st.decimals(-(10**9), 10**9, places=4, allow_nan=False).map(float),
    digits=st.integers(0, 3),
)
def test_numbers_are_written_as_cldr_has_it(language: str, value: float, digits: int) -> None:
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    rounded = numbers.format_decimal(Decimal(str(value)), pattern, locale=CLDR[language])
    expected = of_cldr(rounded)
    if not any(digit in "123456789" for digit in expected):
        expected = expected.removeprefix("-")  # nobody reads "-0"
    assert Texts(language).number(value, digits) == expected


@EVERY_LANGUAGE
@settings(deadline=None)  # Babel reads its locale with the first one
@given(share=st.integers(100, 9900).map(lambda n: n / 10_000))
def test_percentages_are_written_as_cldr_has_it(language: str, share: float) -> None:
    expected = of_cldr(numbers.format_percent(Decimal(str(share)), locale=CLDR[language]))
    assert Texts(language).percent(share) == expected


@EVERY_LANGUAGE
@settings(deadline=None)  # Babel reads its locale with the first one
@given(moment=st.datetimes(datetime(1990, 1, 1), datetime(2080, 1, 1)))
def test_dates_and_times_are_written_as_cldr_has_it(language: str, moment: datetime) -> None:
    texts, locale = Texts(language), CLDR[language]
    date = dates.format_date(moment, "medium", locale=locale)
    time_of_day = of_cldr(dates.format_time(moment, "short", locale=locale))
    assert texts.date(moment) == date
    assert texts.time(moment) == time_of_day
    both = dates.get_datetime_format("medium", locale=locale)
    assert texts.date_time(moment) == both.replace("{1}", date).replace("{0}", time_of_day)


@EVERY_LANGUAGE
@pytest.mark.parametrize("items", [["A"], ["A", "B"], ["A", "B", "C"], ["A", "B", "C", "D"]])
def test_alternatives_are_listed_as_cldr_has_it(language: str, items: list[str]) -> None:
    assert Texts(language).any_of(items) == lists.format_list(items, "or", locale=CLDR[language])


def test_languages_are_named_as_their_speakers_name_them() -> None:
    for language, name in LANGUAGES.items():
        assert babel.Locale.parse(language).display_name.lower() in name.lower()


# ---------------------------------------------------------------- what Texts does


@pytest.mark.parametrize(
    ("locales", "language"),
    [
        (("pt_BR",), "pt"), (("pt-PT",), "pt"), (("in_ID",), "id"), (("id",), "id"),
        (("es_419",), "es"), (("fr_FR.UTF-8",), "fr"), (("EN-us",), "en"), (("C",), "en"),
        (("",), "en"), ((None,), "en"), ((), "en"), (("de_DE",), "en"),
        (("de_DE", None, "es_MX", "fr_FR"), "es"), (("zh-Hant-TW",), "en"),
    ],
)  # fmt: skip
def test_a_devices_locale_finds_its_language(
    locales: tuple[str | None, ...], language: str
) -> None:
    assert language_of(*locales) == language


def test_what_is_asked_for_wrongly_raises() -> None:
    texts = Texts("id")
    with pytest.raises(KeyError, match="not one of en, id, es, pt, fr"):
        Texts("de")
    with pytest.raises(KeyError, match=r"i18n/id/common\.json has no entry 'nothing'"):
        texts("common.nothing")
    with pytest.raises(KeyError, match="no namespace 'nowhere'"):
        texts("nowhere.at_all")
    with pytest.raises(KeyError, match="no namespace"):
        texts("../en/common.ok")
    with pytest.raises(KeyError, match=r"needs a value for \{label\}"):
        texts("verdict.confident")
    with pytest.raises(TypeError, match="pass count="):
        Texts("en")("unit.byte")
    with pytest.raises(TypeError, match=r"number\(\), percent\(\)"):
        texts("verdict.scope", share=0.5)  # type: ignore[arg-type]
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="no number to show"):
            texts.number(wrong)
    for wrong in (-0.1, 1.01, float("nan")):
        with pytest.raises(ValueError, match=r"0\.\.1"):
            texts.percent(wrong)
    with pytest.raises(ValueError, match="at least one"):
        texts.any_of([])


def test_a_value_is_never_read_as_a_placeholder() -> None:
    said = Texts("en")("verdict.set", set="{label} {0} {set.__class__}")
    assert said == "May be: {label} {0} {set.__class__}"


def test_a_count_picks_the_form_and_is_written_as_the_language_writes_it() -> None:
    assert [Texts("en")("unit.byte", count=count) for count in (0, 1, 2)] == [
        "0 bytes",
        "1 byte",
        "2 bytes",
    ]
    assert Texts("pt")("unit.byte", count=0) == "0 byte"
    assert Texts("fr")("unit.byte", count=1_000_000) == "1\xa0000\xa0000 octets"
    assert Texts("id")("unit.byte", count=1) == "1 byte"


@pytest.mark.parametrize(
    ("share", "digits", "shown"),
    [
        (0, 0, "0%"), (1, 0, "100%"), (0.0001, 0, "<1%"), (0.005, 0, "<1%"), (0.0051, 0, "1%"),
        (0.995, 0, ">99%"), (0.9949, 0, "99%"), (1 - 1e-9, 0, ">99%"), (1e-300, 0, "<1%"),
        (0.5, 0, "50%"), (0.0004, 1, "<0.1%"), (0.9996, 1, ">99.9%"), (0.123, 1, "12.3%"),
    ],
)  # fmt: skip
def test_no_percentage_claims_certainty(share: float, digits: int, shown: str) -> None:
    assert Texts("en").percent(share, digits) == shown


def test_sizes_and_durations_take_the_unit_that_reads_well() -> None:
    texts = Texts("en")
    sizes = [999, 1000, 9949, 9950, 999_499, 999_500, 2_420_000, 1_000_000_000]
    assert [texts.size(n) for n in sizes] == [
        "999 bytes", "1.0 kB", "9.9 kB", "10 kB", "999 kB", "1.0 MB", "2.4 MB", "1.0 GB",
    ]  # fmt: skip
    spans = [0, 412.4, 999.4, 999.6, 1234, 59_940, 59_960, 125_000, 3_600_000]
    assert [texts.duration(ms) for ms in spans] == [
        "0 ms", "412 ms", "999 ms", "1.0 s", "1.2 s", "59.9 s", "1 min 0 s", "2 min 5 s",
        "60 min 0 s",
    ]  # fmt: skip
    assert Texts("fr").size(1500) == "1,5 ko"
    assert Texts("id").duration(1500) == "1,5 dtk"


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the device's zone cannot be set here")
def test_a_moment_is_shown_in_the_devices_own_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2026, 11, 26, 20, 30, tzinfo=UTC)
    monkeypatch.setenv("TZ", "WIB-7")
    time.tzset()
    try:
        assert Texts("id").date_time(moment) == "27 Nov 2026 03.30"
        assert Texts("id").date_time(moment.replace(tzinfo=None)) == "26 Nov 2026 20.30"
        assert Texts("en").time(moment + timedelta(hours=8)) == "11:30\xa0AM"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_one_language_is_read_and_only_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    load = texts_module._load

    def recorded(language: str, namespace: str) -> Any:
        read.append((language, namespace))
        return load(language, namespace)

    monkeypatch.setattr(texts_module, "_load", recorded)
    texts = Texts("es")
    assert read == []
    texts("common.close")
    texts("common.cancel")
    texts("label.BCC")
    assert read == [("es", "common"), ("es", "label")]


def test_texts_needs_nothing_but_the_standard_library() -> None:
    script = "import sys; import lesionlens.app.texts; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "lesionlens" in loaded
    assert not loaded & {"flet", "numpy", "PIL", "babel"}


# ---------------------------------------------------------------- what an answer says

GOOD = Quality(findings=(), measures={})


def answer(
    verdict: str, label: Label = Label.BCC, members: tuple[Label, ...] = (), quality: Quality = GOOD
) -> Prediction:
    return Prediction(
        file="-", label=label, probabilities=dict.fromkeys(IN_SCOPE, 1 / 3), scope=0.5,
        prediction_set=members, verdict=verdict, quality=quality, policy="balanced", views=10,
        elapsed_ms=1.0,
    )  # fmt: skip


def test_the_headline_names_only_what_the_verdict_lets_it_name() -> None:
    texts = Texts("en")
    both = (Label.BCC, Label.SCC)
    lines = [
        wording.headline(answer("confident", Label.NORMAL), texts),
        wording.headline(answer("uncertain", Label.BCC, both), texts),
        wording.headline(answer("uncertain", Label.BCC), texts),
        wording.headline(answer("out_of_scope", Label.BCC), texts),
        wording.headline(answer("poor_image", Label.NORMAL, both), texts),
    ]
    assert lines == [
        "Looks most like healthy skin",
        "Not sure: may be basal cell carcinoma or squamous cell carcinoma",
        "Not sure what this is",
        "Not one of the three",
        "Take another photo",
    ]


def test_a_possible_cancer_is_sent_to_a_doctor_and_nothing_is_an_all_clear() -> None:
    texts = Texts("en")
    for label in IN_SCOPE:
        for verdict in VERDICTS:
            for members in ((), (label,), IN_SCOPE):
                said = wording.next_step(answer(verdict, label, members), texts)
                assert "doctor" in said, (verdict, label)
    cancer = texts("verdict.next.uncertain.cancer")
    normal = (Label.NORMAL,)
    assert wording.next_step(answer("uncertain", Label.SCC), texts) == cancer
    assert wording.next_step(answer("uncertain", Label.NORMAL, (Label.SCC,)), texts) == cancer
    assert wording.next_step(answer("uncertain", Label.NORMAL, normal), texts) != cancer
    assert "no all-clear" in wording.meaning(answer("out_of_scope"), texts)


@EVERY_LANGUAGE
def test_every_verdict_label_policy_and_gate_has_words(language: str) -> None:
    texts = Texts(language)
    for verdict in VERDICTS:
        assert texts(f"verdict.{verdict}.name")
        assert wording.meaning(answer(verdict), texts)
        assert wording.headline(answer(verdict), texts)
    for label in Label:
        assert texts(f"label.{label}")
        assert texts(f"label.{label}.inside")
        assert len(texts(f"label.{label}.short")) <= 16
    for policy in POLICIES:
        assert texts(f"policy.{policy}")
        assert texts(f"policy.{policy}.means")
    findings = tuple(Finding(gate.name, 0, 0, gate.unit, gate.advice) for gate in GATES)
    said = wording.findings(answer("poor_image", quality=Quality(findings, {})), texts)
    assert len(set(said)) == len(GATES)
    keys = {f"quality.{gate.name}" for gate in GATES}
    mine = {key.removesuffix(".advice") for key in WORDS[language] if key.startswith("quality.")}
    assert mine == keys, "a gate that is gone needs no words"


# ---------------------------------------------------------------- the files


def test_every_language_has_a_folder_and_there_is_no_other() -> None:
    assert {folder.name for folder in I18N.iterdir() if folder.is_dir()} == set(LANGUAGES)
    assert FALLBACK in LANGUAGES


@TRANSLATIONS
def test_a_language_has_the_same_files_and_keys_as_english(language: str) -> None:
    names = {file.name for file in (I18N / language).iterdir()}
    assert names == {file.name for file in (I18N / "en").iterdir()}
    assert WORDS[language].keys() ^ WORDS["en"].keys() == set()


@TRANSLATIONS
def test_a_language_has_the_same_placeholders_as_english(language: str) -> None:
    for key, value in WORDS[language].items():
        there = {name for form in forms_of(value) for name in PLACEHOLDER.findall(form)}
        english = {
            name for form in forms_of(WORDS["en"][key]) for name in PLACEHOLDER.findall(form)
        }
        assert there == english, f"{language} {key}"


@EVERY_LANGUAGE
def test_plural_forms_are_those_the_language_has(language: str) -> None:
    expected = (locale_of(language).plural_form.tags | {"other"}) - {"many"}
    for key, value in WORDS[language].items():
        assert isinstance(value, dict) == isinstance(WORDS["en"][key], dict), f"{language} {key}"
        if isinstance(value, dict):
            assert set(value) == expected, f"{language} {key}: needs {expected}"
            known = set(PLACEHOLDER.findall(value["other"]))
            for form in value.values():
                assert set(PLACEHOLDER.findall(form)) <= known, f"{language} {key}"


@EVERY_LANGUAGE
def test_every_entry_is_tidy(language: str) -> None:
    for key, value in WORDS[language].items():
        assert key.split(".", 1)[1], key
        for form in forms_of(value):
            where = f"{language} {key}: {form!r}"
            assert form == form.strip(), where
            assert form, where
            assert "  " not in form, where
            assert not re.search(r"[{}]", PLACEHOLDER.sub("", form)), where
            assert not re.search(r"[!¡]", form), f"{where}: nobody is shouted at"
            assert "..." not in form, f"{where}: use the ellipsis"
            assert not re.search(r"\b(TODO|FIXME|XXX|[Ll]orem)\b", form), where


#: Words and names that are the same in several languages.
INTERNATIONAL = {"lesionlens", "melanoma", "dermatofibroma", "zoom", "byte", "bytes"}
#: Words that one language shares with English.
SHARED: dict[str, set[str]] = {
    "id": {"keratosis", "model", "program"},
    "fr": {"licence", "licences", "notes", "sources", "version"},
}


@TRANSLATIONS
def test_no_english_is_left_over(language: str) -> None:
    known = INTERNATIONAL | SHARED.get(language, set())
    left = []
    for key, value in WORDS[language].items():
        for form in set(forms_of(value)) & set(forms_of(WORDS["en"][key])):
            words = re.findall(r"[^\W\d_]{4,}", PLACEHOLDER.sub("", form))  # units are shorter
            if not {word.lower() for word in words} <= known:
                left.append(f"{key}: {form}")
    assert left == []


@EVERY_LANGUAGE
def test_the_apps_font_has_every_character(language: str) -> None:
    pytest.importorskip("brotli")
    fonts = pytest.importorskip("fontTools.ttLib")
    pytest.importorskip("flet_web")
    font = package_files("flet_web") / "web/assets/fonts/roboto.woff2"
    with font.open("rb") as file:
        known = set(fonts.TTFont(file).getBestCmap())
    shown = [form for value in WORDS[language].values() for form in forms_of(value)]
    texts, moment = Texts(language), datetime(2026, 1, 2, 3, 4)
    shown += [texts.date_time(moment.replace(month=month)) for month in range(1, 13)]
    shown += [texts.number(1234567.89, 2), texts.percent(0.001), *LANGUAGES.values()]
    for text in shown:
        missing = {character for character in text.replace("\n", "") if ord(character) not in known}
        assert not missing, f"{language}: {text!r} has {missing}, which Roboto has not"


#: What no screen may say: that somebody is healthy, or has something.
CLAIMS: dict[str, str] = {
    "en": r"\byou are (healthy|fine|safe)|you have (cancer|skin cancer|no cancer)|diagnosis: |"
    r"\bno (need|reason) to worry|is (benign|malignant)\b|all clear\b|guarantee",
    "id": r"\banda (sehat|aman)|\banda (terkena|menderita)|diagnosis: |"
    r"tidak perlu khawatir|dijamin",
    "es": r"est[aá]s (sano|sana|bien)|tienes (un )?c[aá]ncer|diagn[oó]stico: |no te preocupes|"
    r"garantiza",
    "pt": r"voc[eê] est[aá] (saud[aá]vel|bem)|voc[eê] tem (um )?c[aâ]ncer|diagn[oó]stico: |"
    r"n[aã]o se preocupe|garante",
    "fr": r"vous [eê]tes (sain|saine|en bonne)|vous avez (un |le )?cancer|diagnostic\s?: |"
    r"ne vous inqui[eé]tez pas|garanti",
}
#: Sentences that say the opposite and need the same words to say it.
DENIALS: dict[str, str] = {
    "en": r"does not mean that you are safe|no all-clear|not .{0,20}all-clear",
    "id": r"tidak berarti anda aman",
}


@EVERY_LANGUAGE
def test_nothing_claims_health_or_illness(language: str) -> None:
    for key, value in WORDS[language].items():
        for form in forms_of(value):
            said = re.sub(DENIALS.get(language, "(?!)"), "", form.lower())
            assert not re.search(CLAIMS[language], said), f"{language} {key}: {form}"


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("en", "Good news: you are healthy."), ("en", "Diagnosis: BCC"), ("id", "Anda sehat."),
        ("es", "Estás sano."), ("pt", "Você está bem."), ("fr", "Vous êtes en bonne santé."),
    ],
)  # fmt: skip
def test_a_claim_would_be_found(language: str, sentence: str) -> None:
    assert re.search(CLAIMS[language], sentence.lower())


#: One way to address the person, all through the app.
OTHER_ADDRESS = {
    "id": r"\b(kamu|kau|lu)\b",
    "es": r"\b(usted|ustedes|vos|vosotros)\b",
    "pt": r"\b(tu|teu|tua|vós|ficheiro|ecrã|telemóvel)\b",  # Brazilian, not European
    "fr": r"\b(tu|ton|ta|tes|toi)\b",
}


@pytest.mark.parametrize("language", OTHER_ADDRESS)
def test_a_language_addresses_the_person_in_one_way(language: str) -> None:
    for key, value in WORDS[language].items():
        for form in forms_of(value):
            assert not re.search(OTHER_ADDRESS[language], form.lower()), f"{key}: {form}"


def test_french_signs_are_not_left_alone_on_a_line() -> None:
    for key, value in WORDS["fr"].items():
        for form in forms_of(value):
            assert not re.search(r"[^\xa0][;?»](\s|$)|[^\xa0]:(\s|$)|«[^\xa0]", form), (
                f"{key}: {form}"
            )


def test_spanish_questions_open_with_their_sign() -> None:
    for key, value in WORDS["es"].items():
        for form in forms_of(value):
            assert form.count("?") == form.count("¿"), f"{key}: {form}"


# ---------------------------------------------------------------- no words in the code

#: Whatever is handed to these by one of these names, or first, is read by a person.
TAKES_WORDS = {
    "Text", "TextSpan", "words", "faint", "heading", "TextButton", "FilledButton",
    "FilledTonalButton", "OutlinedButton", "Button", "ElevatedButton", "Tab", "Chip", "Markdown",
    "say", "ask", "announce", "Message", "Question",
}  # fmt: skip
ARE_WORDS = {
    "label", "tooltip", "title", "subtitle", "text", "content", "hint_text", "helper", "error",
    "semantics_label", "value", "confirm_text", "action_text", "prefix_text", "suffix_text",
    "counter", "header", "hint", "on_tap_hint_text", "barrier_label", "message",
}  # fmt: skip
#: Names, the same in every language.
NAMES = {"LesionLens"}


def literals_of(node: ast.expr) -> Iterator[str]:
    """Yield the words written out in an expression that becomes words as it stands."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        for part in node.values:
            yield from literals_of(part)
    elif isinstance(node, ast.BinOp):
        yield from literals_of(node.left)
        yield from literals_of(node.right)
    elif isinstance(node, ast.IfExp):
        yield from literals_of(node.body)
        yield from literals_of(node.orelse)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from literals_of(value)


def spoken_in(source: str) -> list[tuple[int, str]]:
    """Return the words for people that a file has written out, with their lines."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else None
        called = node.func.id if isinstance(node.func, ast.Name) else called
        takes = called in TAKES_WORDS
        said = [argument for argument in node.args[:1] if takes]
        said += [keyword.value for keyword in node.keywords if keyword.arg in ARE_WORDS]
        for literal in (words for argument in said for words in literals_of(argument)):
            is_words = re.search(r"[^\W\d_]{2}", literal) and literal.strip() not in NAMES
            # One lower-case word is a key, an identifier, a unit; but not where words belong.
            if is_words and (takes or " " in literal.strip() or literal[:1].isupper()):
                found.append((node.lineno, literal))
    return found


@pytest.mark.parametrize(
    "file", sorted(APP.rglob("*.py")), ids=lambda file: str(file.relative_to(APP))
)
def test_no_words_for_people_are_in_the_code(file: Path) -> None:
    assert spoken_in(file.read_text(encoding="utf-8")) == []


def test_words_in_the_code_would_be_found() -> None:
    caught = {
        'ft.Text("Take a photo")', 'ft.Text("save")', 'ft.IconButton(icon, tooltip="Close")',
        'words(f"Scan {n}")', 'ft.Semantics(label="a picture")', 'session.say("Saved" if x else y)',
        'ft.TextField(label="Notes" + star)', 'Question("Delete?", text, "yes", go)',
    }  # fmt: skip
    assert all(spoken_in(line) for line in caught), [x for x in caught if not spoken_in(x)]
    free = {
        'ft.Text(texts("scan.take"))', 'ft.Text(f"{n} / {m}")', 'ft.Slider(label="{value}%")',
        'ft.Text("LesionLens")', 'ft.Container(key="a b")', 'ft.Dropdown(value="en")',
    }  # fmt: skip
    assert not any(spoken_in(line) for line in free), [x for x in free if spoken_in(x)]


# ---------------------------------------------------------------- code and files agree


@dataclass(frozen=True)
class Asked:
    """A call of ``texts(...)`` in the code."""

    where: str
    pattern: str  # of the keys it may ask for
    given: frozenset[str] | None  # names of the values it hands over; None: cannot be told
    has_count: bool


def pattern_of(node: ast.expr) -> str | None:
    """Return a pattern of the strings that an expression makes, None where nothing is known."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.escape(node.value)
    if isinstance(node, ast.JoinedStr):
        parts = (
            pattern_of(part) if isinstance(part, ast.Constant) else r"\w[\w.]*"
            for part in node.values
        )
        return "".join(part or "" for part in parts)
    return None


def asked_in(file: Path) -> Iterator[Asked]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else None
        name = node.func.id if isinstance(node.func, ast.Name) else name
        pattern = pattern_of(node.args[0])
        if name in ("texts", "_texts") and pattern:
            names = frozenset(keyword.arg for keyword in node.keywords if keyword.arg)
            is_known = all(keyword.arg for keyword in node.keywords)  # no **values
            where = f"{file.relative_to(APP)}:{node.lineno}"
            yield Asked(where, pattern, names if is_known else None, "count" in names)


ASKED = [asked for file in sorted(APP.rglob("*.py")) for asked in asked_in(file)]


def test_every_key_that_the_code_asks_for_exists() -> None:
    assert len(ASKED) > 100, "the code asks in another way by now: mend asked_in()"
    missing = [
        f"{asked.where}: {asked.pattern}"
        for asked in ASKED
        if not any(re.fullmatch(asked.pattern, key) for key in WORDS["en"])
    ]
    assert missing == []


def test_every_placeholder_is_given_a_value() -> None:
    for asked in ASKED:
        for key, value in WORDS["en"].items():
            if asked.given is None or asked.pattern != re.escape(key):
                continue
            needed = {name for form in forms_of(value) for name in PLACEHOLDER.findall(form)}
            assert needed <= asked.given, f"{asked.where}: {key} needs {needed - asked.given}"
            assert not isinstance(value, dict) or asked.has_count, f"{asked.where}: {key}: count="


def test_no_entry_is_there_for_nothing() -> None:
    """Keys that nothing in the code spells, whole or as a pattern such as ``f"body.{site}"``."""
    namespaces = {key.split(".")[0] for key in WORDS["en"]}
    patterns = set()
    for file in APP.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            pattern = pattern_of(node) if isinstance(node, ast.expr) else None
            if pattern and pattern.split("\\.")[0] in namespaces:
                patterns.add(pattern)
    known = re.compile("|".join(sorted(patterns)))
    assert [key for key in WORDS["en"] if not known.fullmatch(key)] == []
