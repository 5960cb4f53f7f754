from __future__ import annotations

import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import tiny_model
from lesionlens.errors import BundleError, LesionLensError
from lesionlens.runtime import Model, load_interpreter_class


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(tiny_model.build())


@pytest.fixture
def batch(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (5, 224, 224, 3), dtype=np.uint8)


def test_logits_are_what_the_weights_say(model: Model, batch: np.ndarray) -> None:
    means = batch.mean(axis=(1, 2)) / 255
    expected = tiny_model.STRENGTH * (1.5 * means - 0.5 * means.sum(axis=1, keepdims=True))
    outputs = model.run(batch)
    assert outputs.logits.shape == (5, 9)
    assert outputs.features.shape == (5, 12)
    assert outputs.logits[:, :3] == pytest.approx(expected, abs=1e-4)
    assert model.input_shape == (224, 224, 3)
    assert model.n_outputs == 9


def test_bytes_and_floats_of_the_same_pixels_agree(model: Model, batch: np.ndarray) -> None:
    as_float = model.run(batch.astype(np.float32))
    assert np.array_equal(model.run(batch).logits, as_float.logits)


def test_the_feature_map_comes_on_demand_and_averages_to_the_features(
    model: Model, batch: np.ndarray
) -> None:
    assert model.run(batch).feature_map is None
    outputs = model.run(batch, feature_map=True)
    assert outputs.feature_map is not None
    assert outputs.feature_map.shape == (5, 7, 7, 12)
    assert outputs.feature_map.mean(axis=(1, 2)) == pytest.approx(outputs.features, abs=1e-5)


def test_outputs_without_names_are_told_apart_by_their_shapes(
    model: Model, batch: np.ndarray
) -> None:
    nameless = Model(tiny_model.build(signature=False)).run(batch, feature_map=True)
    named = model.run(batch, feature_map=True)
    assert np.array_equal(nameless.logits, named.logits)
    assert np.array_equal(nameless.features, named.features)
    assert nameless.feature_map is not None


def test_results_outlive_the_next_run(model: Model, batch: np.ndarray) -> None:
    first = model.run(batch)
    kept = first.logits.copy()
    model.run(batch[::-1])
    assert np.array_equal(first.logits, kept)


def test_no_image_gives_no_row(model: Model, batch: np.ndarray) -> None:
    assert model.run(batch[:0]).logits.shape == (0, 9)


def test_many_threads_share_a_model_and_agree(model: Model, batch: np.ndarray) -> None:
    expected = model.run(batch).logits
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: model.run(batch).logits, range(64)))
    assert all(np.array_equal(result, expected) for result in results)


def test_a_path_serves_as_well_as_bytes(tmp_path: Path, batch: np.ndarray) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_model.build())
    assert Model(path).name == str(path)
    assert Model(path).run(batch).logits.shape == (5, 9)


def test_a_path_without_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"gone\.tflite: cannot be read"):
        Model(tmp_path / "gone.tflite")


@pytest.mark.parametrize("content", [b"", b"not a model" * 100])
def test_what_is_not_a_model_is_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match="mine: is not a TFLite model"):
        Model(content, name="mine")


def test_a_model_without_the_outputs_of_the_contract_is_refused() -> None:
    # 12 labels and 12 features and no names: which is which cannot be told.
    with pytest.raises(BundleError, match=r"logits .* are needed"):
        Model(tiny_model.build(tiny_model.N_FEATURES, signature=False))


@pytest.mark.parametrize("shape", [(224, 224, 3), (1, 112, 112, 3), (1, 224, 224, 4)])
def test_a_batch_of_another_shape_is_refused(model: Model, shape: tuple[int, ...]) -> None:
    with pytest.raises(LesionLensError, match="takes images of shape"):
        model.run(np.zeros(shape, np.uint8))


def test_a_batch_of_another_type_is_refused(model: Model) -> None:
    with pytest.raises(LesionLensError, match="float64"):
        model.run(np.zeros((1, 224, 224, 3)))


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_out_of_range_are_refused(threads: int) -> None:
    with pytest.raises(LesionLensError, match="1 or more"):
        Model(tiny_model.build(), num_threads=threads)


def test_without_a_runtime_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lesionlens.runtime.RUNTIMES", (("no-such-runtime", "no_such_runtime"),))
    with pytest.raises(LesionLensError, match="pip install ai-edge-litert"):
        load_interpreter_class()


def test_loading_says_nothing_on_stderr_but_keeps_what_others_say(tmp_path: Path) -> None:
    """In a process of its own, as LiteRT talks once per process and straight from C."""
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_model.build())
    code = f"""
        import os
        from lesionlens import quiet, runtime
        runtime.Model({str(path)!r})
        with quiet.without_lines([b"INFO:"]):
            os.write(2, b"INFO: chatter\\nERROR: matters\\n")
        os.write(2, b"after\\n")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert done.stderr == "ERROR: matters\nafter\n"


def test_loading_works_where_stderr_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_model.build())
    code = f"""
        import os
        os.close(2)
        from lesionlens.runtime import Model
        print(Model({str(path)!r}).n_outputs)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout == "9\n"
