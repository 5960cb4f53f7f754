"""What decides whether a bundle is written, held without TensorFlow.

A model built in code stands for every conversion, and its own logits, moved a little, for
those of Keras. That real conversions pass is held by test_train.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tiny_model
from lesionlens.bundle import load_bundle
from lesionlens.errors import LesionLensError, TrainingError
from lesionlens.runtime import Model
from lesionlens.train import export
from lesionlens.train.export import Export, export_bundle, measure_parity, spread

Exporter = Callable[..., Export]


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    colours = rng.integers(0, 256, (6, 1, 1, 3), dtype=np.uint8)
    return np.broadcast_to(colours, (6, 224, 224, 3)).copy()


@pytest.fixture
def logits(images: np.ndarray) -> np.ndarray:
    return Model(tiny_model.build(), num_threads=1).run(images).logits


@pytest.fixture
def exporter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: np.ndarray, logits: np.ndarray
) -> Exporter:
    """A function that exports a model for which Keras gives ``keras_logits``."""

    def call(keras_logits: np.ndarray = logits, precision: str = "fp32") -> Export:
        monkeypatch.setattr(export, "_TIMED_PASSES", 3)
        monkeypatch.setattr(export, "convert", lambda *_: tiny_model.build())
        monkeypatch.setattr(export, "keep_first_layers", lambda half, *_: half)
        monkeypatch.setattr("lesionlens.train.stages.predict_logits", lambda *_: keras_logits)
        spec = tiny_model.spec(precision=precision)
        folder = tmp_path / "bundle"
        return export_bundle(None, spec, folder, images=images, calibration=images)  # type: ignore[arg-type]

    return call


def test_a_faithful_conversion_is_written_with_its_parity(
    exporter: Exporter, tmp_path: Path
) -> None:
    result = exporter()
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.tflite == tiny_model.build()
    written = {row["precision"]: row for row in bundle.spec.training["parity"]}
    assert set(written) == {"fp16", "fp32", "int8"}
    assert written["fp32"]["max_difference"] == 0
    assert written["fp32"]["n_images"] == 6
    assert written["fp32"]["size_bytes"] == len(bundle.tflite)
    assert [parity.precision for parity in result.parities] == ["fp16", "fp32", "int8"]
    assert all(parity.milliseconds > 0 for parity in result.parities)


@pytest.mark.parametrize(
    ("precision", "moved_by", "is_written"),
    [
        ("fp32", 2e-6, True),
        ("fp32", 1e-3, False),
        ("fp16", 1e-3, True),
        ("fp16", 0.2, False),
        ("int8", 0.2, True),  # reported, held to no promise
    ],
)
def test_each_precision_is_held_to_its_own_tolerance(
    exporter: Exporter,
    logits: np.ndarray,
    tmp_path: Path,
    *,
    precision: str,
    moved_by: float,
    is_written: bool,
) -> None:
    moved = logits + moved_by * np.eye(logits.shape[1])[logits.argmax(axis=1)]
    if is_written:
        exporter(moved, precision)
        assert load_bundle(tmp_path / "bundle").spec.precision == precision
        return
    with pytest.raises(TrainingError, match=rf"bundle: not written: .*the {precision} model"):
        exporter(moved, precision)
    assert not (tmp_path / "bundle").exists()


def test_another_answer_is_refused_unless_it_was_a_tie(images: np.ndarray) -> None:
    def parity_of(gap: float) -> tuple[int, int]:
        found = Model(tiny_model.build(), num_threads=1).run(images).logits
        keras = found.copy()
        first, second = np.argsort(found[0])[::-1][:2]
        # Keras has the second ahead by a hair or by much, the conversion the first.
        keras[0, second] = keras[0, first] + gap
        parity = measure_parity(keras, tiny_model.build(), "fp16", images)
        return parity.n_flips, parity.n_flips_not_ties

    assert parity_of(1e-3) == (1, 0)
    assert parity_of(1.0) == (1, 1)


def test_without_images_there_is_no_parity_to_show(tmp_path: Path, images: np.ndarray) -> None:
    none = images[:0]
    for compared, calibration in ((none, images), (images, none)):
        with pytest.raises(TrainingError, match="needs real images to compare on"):
            export_bundle(
                None,  # type: ignore[arg-type]
                tiny_model.spec(),
                tmp_path / "bundle",
                images=compared,
                calibration=calibration,
            )


def test_a_full_disk_is_told_and_leaves_the_older_bundle_whole(
    exporter: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = tiny_model.write(tmp_path / "bundle", version="0.0.1")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("lesionlens.files.os.fsync", full)
        with pytest.raises(LesionLensError, match=r"model\.tflite: cannot be written \(No space"):
            exporter()
    assert load_bundle(tmp_path / "bundle").spec == older.spec
    assert sorted(path.name for path in (tmp_path / "bundle").iterdir()) == [
        "model.json",
        "model.tflite",
    ]
    exporter()
    assert json.loads((tmp_path / "bundle" / "model.json").read_text())["version"] == "1.2.3"


def test_too_little_room_is_noticed_before_converting(
    exporter: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> bytes:
        raise AssertionError("converted all the same")

    exporter()  # sets the stand-ins, of which this test replaces one
    monkeypatch.setattr(export, "convert", never)
    monkeypatch.setattr(
        "lesionlens.files.shutil.disk_usage", lambda _: SimpleNamespace(free=1_000_000)
    )
    images = np.zeros((1, 224, 224, 3), np.uint8)
    with pytest.raises(LesionLensError, match="needs 20 MB, the disk has 1 MB left"):
        export_bundle(
            None,  # type: ignore[arg-type]
            tiny_model.spec(),
            tmp_path / "bundle",
            images=images,
            calibration=images,
        )


def test_images_to_compare_on_are_evenly_chosen() -> None:
    assert spread(list(range(5)), 10) == [0, 1, 2, 3, 4]
    assert spread(list(range(101)), 3) == [0, 50, 100]
