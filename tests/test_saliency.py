from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny_model
from lesionlens.errors import BundleError, LesionLensError
from lesionlens.labels import Label
from lesionlens.records import Prediction, Quality
from lesionlens.runtime import Head, Model, Outputs, _float_constants
from lesionlens.saliency import (
    MAP_PX,
    evidence_maps,
    explain_outputs,
    feature_gradient,
    merge_views,
    rectify,
)
from lesionlens.views import make_views
from lesionlens.zooms import MAX_VIEWS, ZOOMS


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(tiny_model.build())


@pytest.fixture(scope="module")
def shipped(shipped_bundle: Path) -> Model:
    return Model(shipped_bundle / "model.tflite")


@pytest.fixture
def head(rng: np.random.Generator) -> Head:
    """A head as the network's, smaller: 12 features, 8 hidden units, 5 logits."""
    sizes = ((8, 12), (5, 8))
    weights = tuple(rng.normal(size=size).astype(np.float32) for size in sizes)
    return Head(weights, tuple(rng.normal(size=len(w)).astype(np.float32) for w in weights))


def prediction(label: Label = Label.BCC, views: int = 1) -> Prediction:
    return Prediction(
        file="-",
        label=label,
        probabilities={Label.BCC: 0.6, Label.SCC: 0.3, Label.NORMAL: 0.1},
        scope=0.9,
        prediction_set=(label,),
        verdict="confident",
        quality=Quality((), {}),
        policy="balanced",
        views=views,
        elapsed_ms=1.0,
    )


def spot(row: int, column: int, *, n_places: int = 7, side: int = 224) -> np.ndarray:
    """Return a black image with one of its 7 x 7 places red, (224, 224, 3) uint8."""
    image = np.zeros((side, side, 3), np.uint8)
    step = side // n_places
    image[row * step : (row + 1) * step, column * step : (column + 1) * step, 0] = 255
    return image


# ---------------------------------------------------------------- the head, out of the file


def test_the_head_of_the_shipped_float16_model_gives_its_logits(
    shipped: Model, rng: np.random.Generator
) -> None:
    outputs = shipped.run(rng.integers(0, 256, (5, 224, 224, 3), dtype=np.uint8))
    head = shipped.head()
    assert [weights.shape for weights in head.weights] == [
        (256, 576),
        (outputs.logits.shape[1], 256),
    ]
    assert np.abs(head.logits(outputs.features) - outputs.logits).max() < 1e-3
    assert all(weights.dtype == np.float32 for weights in (*head.weights, *head.biases))
    assert shipped.head() is head


def test_a_head_of_one_layer_is_found_too(model: Model) -> None:
    head = model.head()
    assert [weights.shape for weights in head.weights] == [(9, tiny_model.N_FEATURES)]
    assert head.weights[0][0, :3] == pytest.approx(tiny_model.STRENGTH * np.array([1, -0.5, -0.5]))


def test_a_constant_of_the_right_shape_and_wrong_numbers_is_not_believed(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = _float_constants(model._worker().interpreter)
    shape = (9, tiny_model.N_FEATURES)
    decoy = np.ones(shape, np.float32)
    monkeypatch.setattr(
        "lesionlens.runtime._float_constants",
        lambda _: [decoy, *(values for values in constants if values.shape != shape)],
    )
    odd = Model(tiny_model.build(), name="odd.tflite")
    with pytest.raises(BundleError, match=r"odd\.tflite: cannot be explained: no one or two dense"):
        odd.head()
    # The right one is found behind the decoy.
    monkeypatch.setattr("lesionlens.runtime._float_constants", lambda _: [decoy, *constants])
    assert not np.array_equal(odd.head().weights[0], decoy)


def test_features_that_are_not_the_mean_of_the_map_are_refused(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = Model(tiny_model.build(), name="max-pool.tflite")
    run = fresh.run

    def with_other_features(batch: np.ndarray, *, feature_map: bool = False) -> Outputs:
        outputs = run(batch, feature_map=feature_map)
        return Outputs(outputs.logits, outputs.features + 0.1, outputs.feature_map)

    monkeypatch.setattr(fresh, "run", with_other_features)
    with pytest.raises(BundleError, match="its features are not the mean of its feature map"):
        fresh.head()


def test_a_model_without_a_feature_map_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = Model(tiny_model.build(), name="old.tflite")
    outputs = fresh.run(np.zeros((1, 224, 224, 3), np.uint8))
    monkeypatch.setattr(fresh, "run", lambda *_, **__: outputs)
    with pytest.raises(BundleError, match=r"old\.tflite: .*does not give its last feature map"):
        fresh.head()


# ---------------------------------------------------------------- the derivative


def test_the_gradient_is_what_finite_differences_say(head: Head, rng: np.random.Generator) -> None:
    features = rng.normal(size=(3, 12)).astype(np.float64)
    for direction in (np.eye(5)[2], np.eye(5)[0] - np.eye(5)[4]):
        gradient = feature_gradient(head, features, direction)
        step = 1e-6
        for channel in range(12):
            moved = features.copy()
            moved[:, channel] += step
            slope = (head.logits(moved) - head.logits(features)) @ direction / step
            assert gradient[:, channel] == pytest.approx(slope, abs=1e-4)


def test_an_evidence_map_sums_to_the_linear_part_of_the_logit(
    shipped: Model, phantom_image: Image.Image
) -> None:
    rgb = np.asarray(phantom_image.resize((224, 224)))
    outputs = shipped.run(make_views(rgb, 3), feature_map=True)
    head = shipped.head()
    direction = np.eye(outputs.logits.shape[1], dtype=np.float32)[1]
    maps = evidence_maps(outputs, head, direction)
    assert maps.shape == (3, 7, 7)
    linear = (feature_gradient(head, outputs.features, direction) * outputs.features).sum(axis=1)
    assert maps.sum(axis=(1, 2)) == pytest.approx(linear, rel=1e-3)


def test_a_closed_form_map_takes_under_a_millisecond(shipped: Model) -> None:
    outputs = shipped.run(np.zeros((1, 224, 224, 3), np.uint8), feature_map=True)
    head = shipped.head()
    direction = np.eye(outputs.logits.shape[1], dtype=np.float32)[0]
    seconds = []
    for _ in range(20):
        started = time.thread_time()
        evidence_maps(outputs, head, direction)
        seconds.append(time.thread_time() - started)
    assert min(seconds) < 1e-3


@pytest.mark.train
def test_maps_agree_with_the_gradients_of_tensorflow(rng: np.random.Generator) -> None:
    """Grad-CAM as published, by a gradient tape on the Keras model, against ours from TFLite."""
    from lesionlens import phantoms
    from lesionlens.train.config import PRESETS
    from lesionlens.train.export import convert
    from lesionlens.train.network import build_network, import_tensorflow, with_inner_outputs

    import_tensorflow()
    import keras
    import tensorflow as tf

    keras_model = build_network(PRESETS["lens"], None)
    for layer in keras_model.layers:  # as after a training: nothing is left at 0 or 1
        if isinstance(layer, keras.layers.BatchNormalization):
            size = len(layer.get_weights()[0])
            layer.set_weights(
                [
                    rng.uniform(0.5, 1.5, size),
                    rng.normal(0, 0.2, size),
                    rng.normal(0, 0.1, size),
                    rng.uniform(0.5, 1.5, size),
                ]
            )
        elif isinstance(layer, keras.layers.Dense):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, rng.normal(0, 0.3, bias.shape)])
    images = np.stack(
        [
            np.asarray(phantoms.draw(kind, size_px=(224, 224), rng=rng))
            for kind in ("bcc", "scc", "nevus", "nonskin")
        ]
    )
    n_labels = keras_model.output.shape[-1]
    base = with_inner_outputs(keras_model)
    feature_map = base(images.astype(np.float32), training=False)["feature_map"]
    top = keras.Model(
        keras_model.get_layer("features").input, keras_model.output, name="top_of_network"
    )
    runtime = Model(convert(keras_model, "fp32"), num_threads=1)
    outputs = runtime.run(images, feature_map=True)
    for k in (0, 1, 2, n_labels - 1):
        with tf.GradientTape() as tape:
            tape.watch(feature_map)
            logit = top(feature_map, training=False)[:, k]
        gradient = tape.gradient(logit, feature_map)
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        theirs = tf.reduce_sum(weights * feature_map, axis=-1).numpy()
        ours = evidence_maps(outputs, runtime.head(), np.eye(n_labels, dtype=np.float32)[k])
        for index in range(len(images)):
            assert theirs[index].std() > 0
            assert np.corrcoef(theirs[index].ravel(), ours[index].ravel())[0, 1] > 0.9999
        # Not only the same up to a factor: the weights themselves.
        ours_weights = feature_gradient(
            runtime.head(), outputs.features, np.eye(n_labels, dtype=np.float32)[k]
        )
        assert ours_weights / 49 == pytest.approx(weights.numpy()[:, 0, 0], abs=1e-5)


# ---------------------------------------------------------------- views, put together


@pytest.mark.parametrize("n", [1, 5, MAX_VIEWS])
def test_maps_of_views_lie_as_the_image_lies(model: Model, n: int) -> None:
    """A red place off the centre is where the map says it is, however the views were turned."""
    image = spot(2, 4)
    outputs = model.run(make_views(image, n), feature_map=True)
    direction = np.eye(9, dtype=np.float32)[0]
    merged = merge_views(evidence_maps(outputs, model.head(), direction))
    assert merged.shape == (MAP_PX, MAP_PX)
    peak_row, peak_column = np.unravel_index(merged.argmax(), merged.shape)
    step = MAP_PX / 7
    assert 2 * step <= peak_row < 3 * step
    assert 4 * step <= peak_column < 5 * step


def test_a_zoomed_view_counts_where_it_looked_and_nowhere_else() -> None:
    zooms = (1.0, 0.5)
    maps = np.stack([np.ones((7, 7)), np.full((7, 7), 3.0)]).astype(np.float32)
    merged = merge_views(maps, zooms)
    assert merged[: MAP_PX // 4] == pytest.approx(1)
    assert merged[MAP_PX // 2, MAP_PX // 2] == pytest.approx(2)
    # It fades in: no step at the border of what it saw.
    assert np.abs(np.diff(merged, axis=0)).max() < 0.3


def test_a_place_that_no_view_saw_has_no_evidence() -> None:
    merged = merge_views(np.ones((1, 7, 7), np.float32), (0.5,))
    assert merged[0, 0] == 0
    assert merged[MAP_PX // 2, MAP_PX // 2] == pytest.approx(1)


def test_views_of_equal_maps_merge_to_that_map(rng: np.random.Generator) -> None:
    symmetric = np.ones((MAX_VIEWS, 7, 7), np.float32)
    assert merge_views(symmetric, ZOOMS) == pytest.approx(np.ones((MAP_PX, MAP_PX)))


def test_what_speaks_against_the_class_is_cut_off() -> None:
    scaled, peak = rectify(np.array([[-2.0, 0.0], [1.0, 4.0]], np.float32))
    assert peak == 4
    assert scaled.tolist() == [[0, 0], [0.25, 1]]
    scaled, peak = rectify(np.array([[-2.0, -1.0]], np.float32))
    assert peak == 0
    assert not scaled.any()


# ---------------------------------------------------------------- explanations


def test_the_answered_class_is_explained_unless_another_is_asked_for(model: Model) -> None:
    outputs = model.run(make_views(spot(1, 1), 1), feature_map=True)
    found = explain_outputs(outputs, model.head(), tiny_model.LABELS, prediction())
    assert (found.label, found.against) == (Label.BCC, None)
    assert found.map.max() == 1
    assert found.map.dtype == np.float32
    assert found.map[24, 24] > 0.9
    assert not found.is_empty
    assert found.peak == pytest.approx(tiny_model.STRENGTH / 49, rel=0.1)


def test_nothing_speaks_for_green_in_a_red_image(model: Model) -> None:
    outputs = model.run(make_views(spot(1, 1), 1), feature_map=True)
    found = explain_outputs(outputs, model.head(), tiny_model.LABELS, prediction(), label="SCC")
    assert found.is_empty
    assert not found.map.any()
    assert found.peak == 0


def test_a_difference_of_classes_shows_what_tells_them_apart(model: Model) -> None:
    image = spot(1, 1)
    image[160:192, 160:192, 1] = 255  # green: speaks for SCC, and against BCC
    outputs = model.run(make_views(image, 1), feature_map=True)

    def explain(label: str, against: str) -> np.ndarray:
        return explain_outputs(
            outputs, model.head(), tiny_model.LABELS, prediction(), label=label, against=against
        ).map

    red, green = (24, 24), (88, 88)
    assert explain("BCC", "SCC")[red] > 0.9
    assert explain("BCC", "SCC")[green] == 0
    assert explain("SCC", "BCC")[green] > 0.9
    assert explain("SCC", "BCC")[red] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "Carpet"}, "Carpet: is no output of this model; it knows BCC, SCC, Normal"),
        ({"against": "UNK"}, "UNK: is no output of this model"),
        ({"label": "SCC", "against": "SCC"}, "SCC: cannot be weighed against itself"),
        ({"against": "BCC"}, "BCC: cannot be weighed against itself"),
    ],
)
def test_classes_that_cannot_be_explained_are_named(
    model: Model, options: dict[str, str], message: str
) -> None:
    outputs = model.run(make_views(spot(1, 1), 1), feature_map=True)
    with pytest.raises(LesionLensError, match=message):
        explain_outputs(outputs, model.head(), tiny_model.LABELS, prediction(), **options)  # type: ignore[arg-type]


def test_outputs_without_a_feature_map_cannot_be_explained(model: Model) -> None:
    outputs = model.run(make_views(spot(1, 1), 1))
    with pytest.raises(ValueError, match="feature_map=True"):
        explain_outputs(outputs, model.head(), tiny_model.LABELS, prediction())
