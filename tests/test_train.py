"""Training, conversion and what holds them together, on drawn images with TensorFlow."""

from __future__ import annotations

import dataclasses
import errno
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesionlens.classifier import Classifier
from lesionlens.data.duplicates import find_in_cache
from lesionlens.data.manifest import load_archive
from lesionlens.data.prepare import load_cache, prepare_cache
from lesionlens.data.splits import Splits, group_frames, make_splits
from lesionlens.errors import LeakageError, LesionLensError, TrainingError
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.prediction_table import load_predictions
from lesionlens.train.config import LENS, PAPER, Stage, TrainConfig

pytestmark = [pytest.mark.train, pytest.mark.slow]

SMALL = dataclasses.replace(
    LENS,
    stages=(
        Stage("frozen", 1, 1e-3, 0),
        Stage("fine-tune", 2, 1e-4, -1, schedule="cosine"),
    ),
    epoch_size=48,
    batch_size=16,
    validation_share=0.34,
    views=2,
)


@pytest.fixture(scope="module")
def material(drawn_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from lesionlens.train.runs import Material

    frames = load_archive(drawn_archive).frames
    folder = tmp_path_factory.mktemp("material")
    prepare_cache(frames, folder)
    cache = load_cache(folder)
    pairs = [(pair.first_id, pair.second_id) for pair in find_in_cache(cache, frames)]
    splits = make_splits(frames, group_frames(frames, pairs), seed=0, fractions=(0.5, 0.25, 0.25))
    return Material({frame.image_id: frame for frame in frames}, cache, splits)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the base, as a file: the tests ask how it trains, not how well."""
    import keras

    keras.utils.set_random_seed(0)
    base = keras.applications.MobileNetV3Small(
        input_shape=(224, 224, 3), include_top=False, weights=None
    )
    path = tmp_path_factory.mktemp("weights") / "base.weights.h5"
    base.save_weights(path)
    return path


@pytest.fixture(scope="module")
def run(material: Any, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from lesionlens.train.runs import train_run

    directory = tmp_path_factory.mktemp("run")
    train_run(SMALL, material, directory, weights=weights)
    return directory


def train_part(
    config: TrainConfig, material: Any, directory: Path, weights: Path | None, **hooks: Any
) -> Any:
    from lesionlens.train.stages import train_network

    parts = material.splits.parts
    return train_network(
        config,
        material.cache.images,
        material.examples(parts["train"], config.labels),
        material.examples(parts["validation"], config.labels),
        directory,
        weights=weights,
        **hooks,
    )


def norm_statistics(model: Any) -> list[np.ndarray]:
    import keras

    from lesionlens.train.network import FEATURES

    base = model.layers[: [layer.name for layer in model.layers].index(FEATURES)]
    norms = [layer for layer in base if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 34
    return [
        v.numpy()
        for layer in norms
        for v in (layer.moving_mean, layer.moving_variance, layer.gamma)
    ]


@pytest.mark.parametrize("learn", [False, True])
def test_the_statistics_of_the_base_move_only_when_they_are_let(
    material: Any, weights: Path, tmp_path: Path, *, learn: bool
) -> None:
    from lesionlens.train.network import build_network

    config = dataclasses.replace(
        SMALL,
        stages=(Stage("fine-tune", 1, 1e-4, -1),),
        average_decay=0.0,
        base_statistics_learn=learn,
    )
    before = norm_statistics(build_network(config, weights))
    after = norm_statistics(train_part(config, material, tmp_path / "run", weights))
    same = [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert not any(same) if learn else all(same)


def test_fine_tuning_moves_the_free_layers_and_no_other(
    material: Any, weights: Path, tmp_path: Path
) -> None:
    from lesionlens.train.network import build_network

    config = dataclasses.replace(
        PAPER, stages=(Stage("fine-tune", 1, 1e-3, 60),), batch_size=8, views=1
    )
    before = build_network(config, weights)
    after = train_part(config, material, tmp_path / "run", weights)
    moved = {
        layer.name
        for layer, other in zip(before.layers, after.layers, strict=True)
        if any(
            not np.array_equal(a, b)
            for a, b in zip(layer.get_weights(), other.get_weights(), strict=True)
        )
    }
    n_base = [layer.name for layer in after.layers].index("features")
    free = {layer.name for layer in after.layers[n_base - 60 :]}
    assert moved <= free
    convolutions = {n for n in free if "conv" in n and "bn" not in n}
    assert {n for n in convolutions if after.get_layer(n).get_weights()} <= moved


def test_a_killed_run_ends_where_an_uninterrupted_one_does(
    material: Any, weights: Path, run: Path, tmp_path: Path
) -> None:
    import keras

    class KilledError(Exception):
        pass

    def kill_in_epoch_3(epoch: int, done: int, _: int) -> None:
        if (epoch, done) == (3, 2):
            raise KilledError

    directory = tmp_path / "killed"
    with pytest.raises(KilledError):
        train_part(SMALL, material, directory, weights, on_batch=kill_in_epoch_3)
    epochs: list[int] = []
    train_part(SMALL, material, directory, weights, on_batch=lambda epoch, *_: epochs.append(epoch))
    assert set(epochs) == {3}
    one, other = (keras.saving.load_model(d / "best.keras") for d in (directory, run))
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)

    def without_times(path: Path) -> list[list[str]]:
        return [line.split(",")[:-2] for line in (path / "log.csv").read_text().splitlines()]

    assert without_times(directory) == without_times(run)
    assert not list(directory.glob(".*"))


def test_another_seed_gives_another_model(
    material: Any, weights: Path, run: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(SMALL, seed=1, stages=SMALL.stages[:1])
    first = train_part(config, material, tmp_path / "a", weights)
    log = (run / "log.csv").read_text().splitlines()[1].split(",")
    other = (tmp_path / "a" / "log.csv").read_text().splitlines()[1].split(",")
    assert log[3] != other[3]
    assert first.output_shape == (None, len(config.labels))


def test_a_folder_of_another_run_is_refused(material: Any, weights: Path, run: Path) -> None:
    config = dataclasses.replace(SMALL, label_smoothing=0.3)
    with pytest.raises(TrainingError, match="another configuration"):
        train_part(config, material, run, weights)


def test_a_worse_later_stage_does_not_overwrite_a_better_warm_up(
    material: Any, weights: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(
        SMALL,
        stages=(Stage("frozen", 1, 1e-3, 0), Stage("wreck", 1, 10.0, -1)),
        average_decay=0.0,
        gradient_clip=0.0,
    )
    rows: list[Any] = []
    # A loss that is no number ends the run; a large one does not.
    with suppress(TrainingError):
        train_part(config, material, tmp_path / "run", weights, on_epoch=rows.append)
    assert rows[0].is_best
    assert not any(row.is_best for row in rows[1:])
    from lesionlens.train.stages import load_best, predict_logits, score

    validation = material.examples(material.splits.parts["validation"], config.labels)
    logits = predict_logits(
        load_best(tmp_path / "run"), iter([material.cache.images[validation.rows]])
    )
    assert score(logits, validation)[0] == pytest.approx(rows[0].validation_loss, rel=1e-4)


def test_a_leaking_split_stops_training(material: Any, weights: Path, tmp_path: Path) -> None:
    from lesionlens.train.runs import train_run

    parts = {name: list(ids) for name, ids in material.splits.parts.items()}
    groups = material.splits.groups
    shared = next(
        image_id
        for image_id in parts["train"]
        if sum(groups[other] == groups[image_id] for other in parts["train"]) > 1
    )
    parts["train"].remove(shared)
    parts["test"].append(shared)
    leaking = dataclasses.replace(
        material, splits=dataclasses.replace(material.splits, parts=parts)
    )
    with pytest.raises(LeakageError, match="both sides"):
        train_run(SMALL, leaking, tmp_path / "run", weights=weights)
    assert not (tmp_path / "run" / "log.csv").exists()


def test_missing_weights_say_where_to_get_them(material: Any, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--weights"):
        train_part(SMALL, material, tmp_path / "run", tmp_path / "no-such.weights.h5")


@pytest.fixture
def keras_download(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A server in place of Keras' own; gives the folder that it serves."""
    import threading
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    from keras.src.applications import mobilenet_v3
    from keras.src.backend import config

    folder = tmp_path / "served" / "v"
    folder.mkdir(parents=True)
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder.parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/v/"
    monkeypatch.setattr(mobilenet_v3, "BASE_WEIGHT_PATH", address)
    monkeypatch.setattr(config, "_KERAS_DIR", str(tmp_path / "keras"))
    yield folder
    server.shutdown()
    server.server_close()


def test_without_a_file_keras_downloads_its_weights(
    weights: Path, keras_download: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    import h5py
    import keras
    from keras.src.applications import mobilenet_v3
    from keras.src.legacy.saving import legacy_h5_format

    from lesionlens.train.network import build_network

    base = keras.applications.MobileNetV3Small(
        input_shape=(224, 224, 3), include_top=False, weights=None
    )
    base.load_weights(weights)
    served = keras_download / "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5"
    with h5py.File(served, "w") as file:  # the layout of the files that Keras serves
        legacy_h5_format.save_weights_to_hdf5_group(file, base)
    digest = hashlib.md5(served.read_bytes()).hexdigest()
    monkeypatch.setitem(mobilenet_v3.WEIGHTS_HASHES, "small_224_1.0_float", ("", digest))
    found = build_network(SMALL, "imagenet")
    for layer, loaded in zip(base.layers, found.layers, strict=False):  # found has a head, too
        for one, other in zip(layer.get_weights(), loaded.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_failed_download_of_the_weights_says_what_else_to_do(keras_download: Path) -> None:
    from lesionlens.train.network import build_network

    with pytest.raises(TrainingError, match="--weights"):
        build_network(SMALL, "imagenet")  # nothing is served: 404


def test_a_full_disk_is_said_and_the_run_goes_on_afterwards(
    material: Any, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "run"

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    config = dataclasses.replace(SMALL, stages=SMALL.stages[:1])
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        with pytest.raises(LesionLensError, match="No space left"):
            train_part(config, material, directory, weights)
    assert not [path for path in directory.iterdir() if "part" in path.name]
    train_part(config, material, directory, weights)
    assert (directory / "best.keras").is_file()


def test_ctrl_c_stops_training_cleanly_and_the_same_command_goes_on(
    make_archive: Callable[..., Path], weights: Path, tmp_path: Path
) -> None:
    import subprocess
    import sys

    archive = make_archive(n_per_class=9)
    shared = ["--cache", str(tmp_path / "cache")]
    lesionlens = [sys.executable, "-m", "lesionlens"]
    split = [*lesionlens, "data", "split", str(archive), "-o", str(tmp_path / "s.json"), *shared]
    subprocess.run(split, check=True, capture_output=True)
    command = [
        "train", str(archive), "--splits", str(tmp_path / "s.json"), *shared,
        "--preset", "paper", "--weights", str(weights), "--epochs", "3,1", "-o",
        str(tmp_path / "run"),
    ]  # fmt: skip
    # It gets its Ctrl-C from itself, once the line of an epoch is out: from here it may come when
    # a small training is done.
    program = (
        "import os, signal, sys\nfrom lesionlens.cli.main import main\nwrite = sys.stderr.write\n"
        "def write_and_stop(text):\n    n = write(text)\n"
        "    if 'epoch  1/4' in text:\n        os.kill(os.getpid(), signal.SIGINT)\n    return n\n"
        "sys.stderr.write = write_and_stop\nmain()\n"
    )
    stopped = subprocess.run(
        [sys.executable, "-c", program, *command], stderr=subprocess.PIPE, text=True, check=False
    )
    said = stopped.stderr
    assert stopped.returncode == 130, said
    assert said.count("epoch  ") == 1
    assert "run the same command again" in said
    assert "Traceback" not in said
    assert not [path for path in (tmp_path / "run").iterdir() if "part" in path.name]
    again = subprocess.run([*lesionlens, *command], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("epoch  1/4") == 1
    assert (tmp_path / "run" / "predictions-test.csv").is_file()


def test_a_finished_run_holds_everything_that_is_promised(run: Path, material: Any) -> None:
    config = json.loads((run / "config.json").read_text())
    assert config["augmentation"]["window"] == [0.45, 1.1]
    assert (run / "curves.png").stat().st_size > 10_000
    table = load_predictions(run / "predictions-test.csv")
    assert set(table.image_ids) == set(material.splits.parts["test"])
    assert Label.NV in table.y_true
    calibration = json.loads((run / "calibration.json").read_text())
    assert set(calibration["temperature"]) == {"1", "2"}


def test_folds_predict_every_image_once_by_a_model_that_never_saw_it(
    material: Any, weights: Path, tmp_path: Path
) -> None:
    from lesionlens.train import runs

    frames = list(material.frames.values())
    folds = make_splits(frames, material.splits.groups, seed=0, folds=2)
    config = dataclasses.replace(SMALL, stages=SMALL.stages[:1], validation_share=0.5)
    seen: list[str] = []
    table = runs.train_run(
        config,
        dataclasses.replace(material, splits=folds),
        tmp_path,
        weights=weights,
        hooks=runs.Hooks(on_part=seen.append),
    )
    assert seen == ["fold 1 of 2", "fold 2 of 2", "final fit on all folds"]
    assert sorted(load_predictions(table).image_ids) == sorted(material.frames)
    part = folds.parts["fold0"]
    rest, validation = runs.cut_validation(folds.parts["fold1"], material, config)
    groups = [{folds.groups[i] for i in ids} for ids in (part, rest, validation)]
    assert len(set.union(*groups)) == sum(len(members) for members in groups)
    assert (tmp_path / "final" / "best.keras").is_file()
    assert runs.read_run(tmp_path)["images"]["BCC"] == 8


@pytest.fixture(scope="module")
def exported(run: Path, material: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from lesionlens.cli.export import export_run

    return export_run(
        run, material, tmp_path_factory.mktemp("bundle"), precision="fp16", name=None, licence="-"
    )


def test_the_converted_model_gives_the_answers_of_keras(exported: Any) -> None:
    by_precision = {parity.precision: parity for parity in exported.parities}
    assert by_precision["fp32"].max_difference <= 1e-5
    assert by_precision["fp16"].max_difference <= 5e-3
    assert by_precision["fp32"].n_flips_not_ties == by_precision["fp16"].n_flips_not_ties == 0
    sizes = [by_precision[name].size_bytes for name in ("fp32", "fp16", "int8")]
    assert sizes == sorted(sizes, reverse=True)
    assert by_precision["fp16"].size_bytes < 2.5e6
    assert by_precision["int8"].max_difference > by_precision["fp16"].max_difference


def test_the_first_layers_stay_exact_in_the_float16_model(run: Path) -> None:
    import tensorflow as tf

    from lesionlens.runtime import load_interpreter_class
    from lesionlens.train import export, network, stages
    from lesionlens.train.float16 import keep_first_layers

    model = stages.load_best(run)
    converter = tf.lite.TFLiteConverter.from_keras_model(network.with_inner_outputs(model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    plain = converter.convert()
    ours = keep_first_layers(plain, export.convert(model, "fp32"), 110_000)
    assert 100_000 < len(ours) - len(plain) < 250_000

    def constants(content: bytes) -> dict[str, np.ndarray]:
        interpreter = load_interpreter_class()[0](model_content=content)
        interpreter.allocate_tensors()
        details = interpreter.get_tensor_details()
        found = {}
        for detail in details:
            if "depthwise" in detail["name"] and len(detail["shape"]) == 4:
                with suppress(ValueError):
                    found[detail["name"]] = interpreter.get_tensor(detail["index"])
        return found

    kept = [array for array in constants(ours).values() if array.shape[:3] == (1, 3, 3)]
    assert kept
    assert all(array.dtype == np.float32 for array in kept)
    assert any(not np.array_equal(array, array.astype(np.float16)) for array in kept)
    rounded = constants(plain).values()
    assert not any(array.dtype == np.float32 and array.shape[:3] == (1, 3, 3) for array in rounded)


def test_the_classifier_answers_as_the_run_did(exported: Any, run: Path, material: Any) -> None:
    classifier = Classifier(exported.bundle.directory)
    assert classifier.spec.views == 2
    assert classifier.spec.metrics["accuracy"]["n"] > 0
    table = load_predictions(run / "predictions-test.csv")
    fold_temperature = json.loads((run / "calibration.json").read_text())["temperature"]["2"]
    assert classifier.spec.temperature[2] == pytest.approx(fold_temperature)
    rows = zip(table.image_ids, table.conditional, table.verdicts, strict=True)
    for image_id, expected, verdict in rows:
        answer = classifier.predict(material.frames[image_id].path)
        found = [answer.probabilities[label] for label in IN_SCOPE]
        np.testing.assert_allclose(found, expected, atol=5e-3)
        assert answer.verdict == verdict


def test_a_bundle_that_differs_from_keras_is_not_written(
    run: Path, material: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lesionlens.cli.export import export_run
    from lesionlens.train import export, network, stages

    genuine = export.convert

    other = network.build_network(SMALL, None)
    # Two networks that have learned next to nothing answer alike; this one is sure of its own.
    other.get_layer(network.LOGITS).bias.assign([4.0] + [0.0] * (len(SMALL.labels) - 1))

    content = genuine(other, "fp16")  # once, for every precision

    def convert_another(model: Any, precision: str, calibration: np.ndarray | None = None) -> bytes:
        return content

    monkeypatch.setattr(export, "convert", convert_another)
    assert stages.load_best(run)
    with pytest.raises(TrainingError, match="differs from Keras"):
        export_run(run, material, tmp_path / "b", precision="fp16", name=None, licence="-")
    assert not (tmp_path / "b").exists()


def test_a_conversion_without_weights_is_noticed(
    material: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    from lesionlens.train import export, network

    monkeypatch.setattr(tf.lite.TFLiteConverter, "convert", lambda _: b"TFL3" * 1000)
    genuine = tf.lite.TFLiteConverter.from_keras_model

    def from_keras_model(model: Any) -> Any:
        converter = genuine(model)
        converter.convert = lambda: b"TFL3" * 1000
        return converter

    monkeypatch.setattr(tf.lite.TFLiteConverter, "from_keras_model", from_keras_model)
    with pytest.raises(TrainingError, match="too few"):
        export.convert(network.build_network(SMALL, None), "fp16", material.cache.images[:2])


def test_reproduce_goes_from_an_archive_to_a_report_and_resumes(
    make_archive: Callable[..., Path],
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from typer.testing import CliRunner

    from lesionlens.cli.main import app

    archive = make_archive(n_per_class=12)
    command = [
        "reproduce", str(archive), "-o", str(tmp_path / "out"), "--folds", "0",
        "--preset", "paper", "--weights", str(weights), "--epochs", "1,1",
    ]  # fmt: skip
    first = CliRunner().invoke(app, command, catch_exceptions=False)
    assert first.exit_code == 0, first.output
    report = Path(first.stdout.strip().splitlines()[-1])
    assert "93.75" in report.read_text() or "93.8" in report.read_text()  # the paper's, beside ours
    assert (
        Classifier(tmp_path / "out" / "bundle")
        .predict(next((archive / "images").glob("*.jpg")))
        .label
        in IN_SCOPE
    )
    state = (tmp_path / "out" / "run" / "state.npz").stat().st_mtime_ns
    again = CliRunner().invoke(app, command, catch_exceptions=False)
    assert again.exit_code == 0
    assert (tmp_path / "out" / "run" / "state.npz").stat().st_mtime_ns == state
    assert Splits.load(tmp_path / "out" / "splits.json").kind == "holdout"
