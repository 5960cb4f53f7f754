from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lesionlens
import tiny_model
from lesionlens.bundle import write_bundle
from lesionlens.classifier import Classifier
from lesionlens.confidence import combine, softmax
from lesionlens.errors import BundleError, ImageError, LesionLensError
from lesionlens.labels import IN_SCOPE, Label

RED, GREEN, BLUE, GREY = (250, 10, 10), (10, 250, 10), (10, 10, 250), (90, 90, 90)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    # Images of one colour are no photos to be proud of: they are judged all the same.
    return Classifier(tiny_model.write(tmp_path_factory.mktemp("bundle")), gate=False)


@pytest.mark.parametrize(
    ("colour", "label"), [(RED, Label.BCC), (GREEN, Label.SCC), (BLUE, Label.NORMAL)]
)
def test_the_answer_is_the_class_the_pixels_speak_for(
    classifier: Classifier, colour: tuple[int, int, int], label: Label
) -> None:
    answer = classifier.predict(tiny_model.colour(*colour))
    assert answer.label is label
    assert answer.verdict == "confident"
    assert answer.probability == max(answer.probabilities.values()) > 0.99
    assert answer.scope is not None
    assert answer.scope > 0.95
    assert answer.views == 10
    assert answer.elapsed_ms > 0
    assert answer.file == "-"


def test_an_image_that_speaks_for_nothing_is_uncertain(classifier: Classifier) -> None:
    answer = classifier.predict(tiny_model.colour(*GREY))
    assert answer.verdict == "uncertain"
    assert answer.scope == pytest.approx(1 / 3, abs=1e-3)
    assert list(answer.probabilities) == list(IN_SCOPE)
    assert sum(answer.probabilities.values()) == pytest.approx(1)


def _as_path(image: Image.Image, folder: Path) -> Path:
    image.save(folder / "image.png")
    return folder / "image.png"


def _as_bytes(image: Image.Image, _folder: Path) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    "wrap",
    [
        _as_path,
        lambda image, folder: str(_as_path(image, folder)),
        _as_bytes,
        lambda image, folder: bytearray(_as_bytes(image, folder)),
        lambda image, folder: memoryview(_as_bytes(image, folder)),
        lambda image, folder: io.BytesIO(_as_bytes(image, folder)),
        lambda image, _: image,
        lambda image, _: np.asarray(image),
    ],
    ids=["path", "str", "bytes", "bytearray", "memoryview", "file", "PIL", "array"],
)
def test_every_kind_of_input_gives_the_same_answer(
    classifier: Classifier,
    phantom_image: Image.Image,
    tmp_path: Path,
    wrap: Callable[[Image.Image, Path], object],
) -> None:
    expected = classifier.predict(phantom_image)
    source = wrap(phantom_image, tmp_path)
    answer = classifier.predict(source)  # type: ignore[call-overload]
    assert answer.probabilities == expected.probabilities
    assert answer.scope == expected.scope
    if isinstance(source, str | Path):
        assert answer.file == str(source)


def test_a_list_gives_a_list_in_order_and_a_tuple_too(classifier: Classifier) -> None:
    images = [tiny_model.colour(*colour) for colour in (GREEN, RED, BLUE)]
    expected = [Label.SCC, Label.BCC, Label.NORMAL]
    assert [answer.label for answer in classifier.predict(images)] == expected
    assert [answer.label for answer in classifier.predict(tuple(images))] == expected
    assert classifier.predict([]) == []


def test_views_of_the_call_beat_those_of_the_classifier_beat_the_bundles(tmp_path: Path) -> None:
    bundle = tiny_model.write(tmp_path, views=4)
    image = tiny_model.colour(*RED)
    assert Classifier(bundle).predict(image).views == 4
    assert Classifier(bundle, views=2).predict(image).views == 2
    assert Classifier(bundle, views=2).predict(image, views=7).views == 7


def test_probabilities_are_the_tempered_mean_of_the_logits(
    classifier: Classifier, phantom_image: Image.Image
) -> None:
    logits = classifier.logits(phantom_image, views=10)
    assert logits.shape == (10, 9)
    joint = classifier.joint(phantom_image, views=10)
    assert joint == pytest.approx(combine(logits, 0.8))
    one = classifier.joint(phantom_image, views=1)
    assert one == pytest.approx(softmax(classifier.logits(phantom_image, views=1)[0]))
    answer = classifier.predict(phantom_image, views=10)
    assert [answer.probabilities[label] for label in IN_SCOPE] == pytest.approx(
        joint[:3] / joint[:3].sum()
    )
    assert answer.scope == pytest.approx(joint[:3].sum())


def test_a_turned_photo_gives_the_answer_of_the_upright_one(
    classifier: Classifier, phantom_image: Image.Image
) -> None:
    plain = classifier.predict(phantom_image, views=8)
    turned = classifier.predict(phantom_image.rotate(90, expand=True), views=8)
    assert list(turned.probabilities.values()) == pytest.approx(
        list(plain.probabilities.values()), abs=1e-3
    )


def test_the_same_image_always_gives_the_same_answer_from_any_thread(
    classifier: Classifier, phantom_image: Image.Image
) -> None:
    expected = classifier.predict(phantom_image).probabilities
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(classifier.predict, [phantom_image.copy() for _ in range(16)]))
    assert all(answer.probabilities == expected for answer in answers)


def test_a_model_of_three_outputs_answers_without_a_scope(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, tiny_model.build(3), tiny_model.spec(labels=IN_SCOPE))
    answer = Classifier(bundle).predict(tiny_model.colour(*RED))
    assert answer.label is Label.BCC
    assert answer.scope is None


def test_a_folder_serves_as_the_bundle_and_so_does_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_model.write(tmp_path)
    assert Classifier(str(tmp_path)).spec.name == "tiny"
    monkeypatch.setenv("LESIONLENS_MODEL", str(tmp_path))
    assert lesionlens.Classifier().spec.name == "tiny"


def test_a_model_that_disagrees_with_its_labels_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, tiny_model.build(5), tiny_model.spec())
    with pytest.raises(BundleError, match=r"gives 5 logits, its model\.json names 9 labels"):
        Classifier(bundle)


def test_a_model_of_another_input_size_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, tiny_model.build(side=192), tiny_model.spec())
    with pytest.raises(BundleError, match=r"takes \(192, 192, 3\)"):
        Classifier(bundle)


def test_a_bad_image_is_named(classifier: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("not an image")
    with pytest.raises(ImageError, match=r"notes\.jpg: is not an image"):
        classifier.predict(path)


@pytest.mark.parametrize("source", [None, 7, {"a": 1}, (image for image in ())])
def test_what_can_be_no_image_is_refused_with_what_can(
    classifier: Classifier, source: object
) -> None:
    with pytest.raises(ImageError, match="a path, bytes, a binary file object"):
        classifier.predict(source)  # type: ignore[call-overload]


@pytest.mark.parametrize("views", [0, 11])
def test_views_out_of_range_are_refused(classifier: Classifier, views: int) -> None:
    with pytest.raises(LesionLensError, match="from 1 to 10"):
        classifier.predict(tiny_model.colour(*RED), views=views)


def test_neither_import_nor_answering_loads_a_heavy_package(tmp_path: Path) -> None:
    tiny_model.write(tmp_path)
    code = (
        "import sys, numpy, lesionlens\n"
        "assert 'lesionlens.classifier' not in sys.modules\n"
        f"lesionlens.Classifier({str(tmp_path)!r}).predict(numpy.zeros((64, 64, 3), 'uint8'))\n"
        "heavy = 'tensorflow keras ray pandas scipy matplotlib sklearn skimage httpx'.split()\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert done.stderr == ""


def test_the_shipped_model_answers(phantom_image: Image.Image) -> None:
    """The bundle in the package, whatever its weights: whole, and giving sane numbers."""
    shipped = Path(lesionlens.__file__).parent / "models" / "lens"
    if not shipped.is_dir():
        pytest.skip("no model is shipped in this working copy")
    classifier = Classifier(shipped)
    answer = classifier.predict(phantom_image)
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert answer.views == classifier.spec.views
    assert (shipped / "model.tflite").stat().st_size < 2_500_000


@pytest.mark.slow
def test_the_shipped_model_tells_real_cancers_from_healthy_skin(data_dir: Path) -> None:
    shipped = Path(lesionlens.__file__).parent / "models" / "lens"
    if not shipped.is_dir():
        pytest.skip("no model is shipped in this working copy")
    from lesionlens.data.manifest import load_archive

    frames = [f for f in load_archive(data_dir).frames if f.label in IN_SCOPE]
    chosen = np.random.default_rng(0).permutation(len(frames))[:150]
    classifier = Classifier(shipped, views=1)
    answers = [classifier.predict(frames[i].path) for i in chosen]
    right = [a.label is frames[i].label for a, i in zip(answers, chosen, strict=True)]
    # It was trained on these; a pixel path or a label order gone wrong falls to a third.
    assert np.mean(right) > 0.8
