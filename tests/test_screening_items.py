"""What travels through a bulk run: names, tables, and items judged."""

from __future__ import annotations

import hashlib
import pickle
import re
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny_model
from lesionlens.classifier import Classifier
from lesionlens.errors import IMAGE_REASONS, ImageError
from lesionlens.imaging import load_pixels
from lesionlens.phantoms import draw
from lesionlens.phantoms import save as save_image
from lesionlens.records import Prediction
from lesionlens.screening import items
from lesionlens.screening.items import TIMING_COLUMNS, Failure, Item, Record, Row
from lesionlens.screening.reading import Reading
from lesionlens.screening.worker import judge_items


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    bundle = tiny_model.write(tmp_path_factory.mktemp("model") / "bundle")
    return Classifier(bundle, threads=1, views=2)


def item_of(path: Path, **changes: object) -> Item:
    return replace(Item(path.name, str(path), extra={"patient": "p1"}), **changes)


NAMES = st.text(st.sampled_from("ab/\\xudcf80é\udcff\udc80"), max_size=12)


@given(NAMES, NAMES)
def test_two_names_are_never_spelled_alike(first: str, second: str) -> None:
    for name in (first, second):
        items.spelled(name).encode("utf-8")
    assert (items.spelled(first) == items.spelled(second)) == (first == second)


def test_a_plain_name_is_spelled_as_it_is() -> None:
    assert items.spelled("Läsion\\neu/1.jpg") == "Läsion\\neu/1.jpg"


def test_keys_are_the_same_on_every_machine() -> None:
    digest = hashlib.blake2b(b"a.jpg", digest_size=8).digest()
    assert items.key_of("a.jpg") == int.from_bytes(digest, "little")


def test_an_answer_is_that_of_predict(classifier: Classifier, phantom_jpeg: Path) -> None:
    [row] = judge_items([item_of(phantom_jpeg)], classifier)
    answer: Prediction = classifier.predict(phantom_jpeg)
    assert isinstance(row, Row)
    assert (row.verdict, row.label, row.scope) == (answer.verdict, answer.label, answer.scope)
    for label, probability in answer.probabilities.items():
        assert getattr(row, f"probability_{label}") == probability
    assert row.risk == pytest.approx(answer.scope * (1 - answer.probabilities["Normal"]))
    assert row.prediction_set == "|".join(answer.prediction_set)
    assert row.quality == "|".join(finding.name for finding in answer.quality.findings)
    assert (row.width_px, row.height_px, row.views) == (600, 450, 2)
    assert row.sha256 == hashlib.sha256(phantom_jpeg.read_bytes()).hexdigest()
    assert row.model_sha256 == classifier.spec.sha256
    assert 0 < row.read_ms + row.decode_ms + row.model_ms <= row.elapsed_ms
    assert row.extra == {"patient": "p1"}
    assert pickle.loads(pickle.dumps(row)) == row


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"not an image at all", "not_an_image"),
        (b"GIF89a" + bytes(40), "gif"),
        (None, "not_found"),
    ],
)
def test_a_bad_file_is_a_failure_that_names_it(
    classifier: Classifier, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "bad.jpg"
    if content is not None:
        path.write_bytes(content)
    [failure] = judge_items([item_of(path)], classifier)
    assert isinstance(failure, Failure)
    assert failure.reason == reason
    assert failure.error.startswith("bad.jpg: ")
    assert failure.extra == {"patient": "p1"}


def test_a_truncated_file_is_a_failure(classifier: Classifier, phantom_jpeg: Path) -> None:
    content = phantom_jpeg.read_bytes()
    phantom_jpeg.write_bytes(content[: len(content) // 2])
    [failure] = judge_items([item_of(phantom_jpeg)], classifier)
    assert isinstance(failure, Failure)
    assert failure.reason == "truncated"


def test_a_name_that_is_no_text_is_spelled_out(classifier: Classifier, phantom_jpeg: Path) -> None:
    name = phantom_jpeg.with_name("l\udcffsion.jpg")
    phantom_jpeg.rename(name)
    [row] = judge_items([Item(name.name, str(name))], classifier)
    assert isinstance(row, Row)
    assert row.uri == r"l\udcffsion.jpg"


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (MemoryError(), "out_of_memory"),
        (ImageError("x: has a password", reason="encrypted"), "encrypted"),
        (KeyError("odd"), "unexpected"),
        (RecursionError("deep"), "unexpected"),
        (ImageError("x: of odd\udcff name", reason="unreadable"), "unreadable"),
    ],
)
def test_whatever_a_reader_raises_is_one_row(
    classifier: Classifier, raised: Exception, reason: str
) -> None:
    def read(item: Item) -> Reading:
        raise raised

    [failure] = judge_items([Item("x", "/x")], classifier, read=read)
    assert isinstance(failure, Failure)
    assert failure.reason == reason
    assert failure.error.startswith("x: ")
    assert items.as_table([failure], 0).num_rows == 1


def test_a_few_items_at_a_time_get_the_records_of_one_at_a_time(
    classifier: Classifier, phantom_jpeg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [phantom_jpeg]
    for number, kind in enumerate(("bcc", "skin", "nevus"), start=1):
        image = draw(kind, size_px=(300 + number, 240), rng=np.random.default_rng(number))
        paths += [save_image(image, tmp_path / f"{kind}.png"), tmp_path / f"none-{number}.jpg"]
    some = [item_of(path) for path in paths]
    told: list[None] = []
    records = judge_items(some, classifier, tell=lambda: told.append(None))
    assert len(told) == len(some) + 1
    assert [record.uri for record in records] == [path.name for path in paths]
    alone = [record for item in some for record in judge_items([item], classifier)]
    assert [without_times(record) for record in records] == [without_times(one) for one in alone]

    run = classifier._model.run

    def stumble(batch: np.ndarray) -> object:
        if np.array_equal(batch[0], load_pixels(paths[1]).rgb):
            raise KeyError("odd")
        return run(batch)

    monkeypatch.setattr(classifier._model, "run", stumble)
    records = judge_items(some, classifier)
    assert isinstance(records[1], Failure)
    assert records[1].reason == "unexpected"
    others = [place for place in range(len(some)) if place != 1]
    assert [without_times(records[n]) for n in others] == [without_times(alone[n]) for n in others]


def without_times(record: Record) -> dict[str, object]:
    return {name: value for name, value in asdict(record).items() if name not in TIMING_COLUMNS}


def test_memory_that_runs_out_while_decoding_is_said_so(
    classifier: Classifier, phantom_jpeg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import ImageFile

    def load(self: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    [failure] = judge_items([item_of(phantom_jpeg)], classifier)
    assert isinstance(failure, Failure)
    assert failure.reason == "out_of_memory"


def test_reasons_hold_those_of_imaging_each_once() -> None:
    assert set(IMAGE_REASONS) < set(items.REASONS)
    assert len(set(items.REASONS)) == len(items.REASONS)


def test_a_table_has_rows_and_failures_side_by_side(
    classifier: Classifier, phantom_jpeg: Path
) -> None:
    [row] = judge_items([item_of(phantom_jpeg)], classifier)
    [failure] = judge_items([item_of(phantom_jpeg.with_name("none.jpg"))], classifier)
    table = items.as_table([row, failure], 7, keep=("patient", "site"))
    assert table.schema == items.chunk_schema(("patient", "site"))
    assert table.column_names[:-2] == list(items.column_names(("patient", "site")))
    good, bad = table.to_pylist()
    for field in fields(Row):
        if field.name not in ("uri", "extra"):
            assert good[field.name] == getattr(row, field.name)
            assert bad[field.name] is None
    assert (good["chunk"], good["patient"], good["site"], good["reason"]) == (7, "p1", None, None)
    assert (bad["uri"], bad["patient"], bad["reason"]) == ("none.jpg", "p1", "not_found")
    results = items.results_schema(("patient",))
    assert results.names == list(items.column_names(("patient",)))
    assert {results.field(f"probability_{label}").type for label in ("BCC", "SCC", "Normal")} == {
        pa.float64()
    }


def test_every_reason_and_column_is_in_the_docs() -> None:
    page = (Path(__file__).parent.parent / "docs" / "screen.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(\w+)`", page))
    # The part of an image is what the app asks for, not this.
    assert set(items.REASONS) - {"part_too_small"} <= told
    assert set(items.column_names()) <= told
