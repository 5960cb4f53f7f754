"""``lesionlens predict``: run in this process where that tests the same, else in its own."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

import tiny_model
from lesionlens.cli.inputs import find_images
from lesionlens.cli.writers import COLUMNS, DISCLAIMER, answer_words, percent, set_words
from lesionlens.errors import LesionLensError
from lesionlens.labels import Label
from lesionlens.records import Prediction, Quality
from lesionlens.verdicts import VERDICTS

Run = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("bundle")).directory


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a red, a green and a blue image, text, and one more image further down."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for name, colour in (("a-red.png", (250, 0, 0)), ("b-green.jpg", (0, 250, 0))):
        Image.fromarray(tiny_model.colour(*colour)).save(folder / name, quality=95)
    Image.fromarray(tiny_model.colour(0, 0, 250)).save(folder / "c-blue.PNG")
    Image.fromarray(tiny_model.colour(0, 0, 250)).save(folder / "below" / "d.webp")
    Image.fromarray(tiny_model.colour(0, 0, 250)).save(folder / ".hidden.png")
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture
def run(bundle_dir: Path, monkeypatch: pytest.MonkeyPatch, run_command: Run) -> Run:
    """Run ``lesionlens predict ARGUMENTS``; gives code, out and err.

    Images of one colour are no photos to be proud of: the gate stays open unless asked for.
    """
    monkeypatch.setenv("LESIONLENS_MODEL", str(bundle_dir))

    def call(*arguments: object, verb: str = "predict") -> SimpleNamespace:
        gate = ["--no-gate"] if verb == "predict" and "--gate" not in arguments else []
        return run_command(verb, *gate, *arguments)

    return call


def test_the_table_shows_names_verdicts_and_that_it_is_no_diagnosis(run: Run, photos: Path) -> None:
    done = run(photos)
    assert done.code == 0
    assert "Basal cell carcinoma" in done.out
    assert "Healthy skin" in done.out
    assert "● confident" in done.out
    assert DISCLAIMER in done.out
    assert done.err == ""
    assert [line.split()[0] for line in done.out.splitlines() if "● confident" in line] == [
        "a-red.png",
        "b-green.jpg",
        "c-blue.PNG",
    ]


def test_json_is_a_list_of_objects_with_everything(run: Run, photos: Path) -> None:
    done = run(photos / "a-red.png", "--format", "json", "--views", "3")
    (answer,) = json.loads(done.out)
    assert list(answer) == [
        "file",
        "label",
        "probabilities",
        "scope",
        "verdict",
        "prediction_set",
        "quality",
        "policy",
        "views",
        "elapsed_ms",
    ]
    assert answer["file"] == str(photos / "a-red.png")
    assert answer["label"] == "BCC"
    assert list(answer["probabilities"]) == ["BCC", "SCC", "Normal"]
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert answer["verdict"] == "confident"
    assert answer["prediction_set"] == ["BCC"]
    assert answer["policy"] == "balanced"
    assert answer["views"] == 3
    assert set(answer["quality"]) == {"is_good", "findings", "measures"}
    for finding in answer["quality"]["findings"]:
        assert set(finding) == {"name", "value", "threshold", "unit", "advice"}


def test_a_poor_photo_is_told_so_with_what_to_do_unless_asked_to_go_on(
    run: Run, photos: Path
) -> None:
    red = photos / "a-red.png"
    (answer,) = json.loads(run(red, "--gate", "--format", "json").out)
    assert answer["verdict"] == "poor_image"
    assert not answer["quality"]["is_good"]
    names = [finding["name"] for finding in answer["quality"]["findings"]]
    (row,) = csv.DictReader(io.StringIO(run(red, "--gate", "--format", "csv").out))
    assert row["quality"].split("|") == names
    table = run(red, "--gate").out
    assert "✕ poor image" in table
    assert all(finding["advice"] in table for finding in answer["quality"]["findings"])
    (again,) = json.loads(run(red, "--format", "json").out)
    assert again["verdict"] == "confident"
    assert again["quality"] == answer["quality"]


def test_a_policy_and_a_coverage_change_what_an_image_may_be(run: Run, tmp_path: Path) -> None:
    image = tmp_path / "brownish.png"
    Image.fromarray(tiny_model.colour(180, 90, 60)).save(image)
    sets = [
        json.loads(run(image, "--format", "json", *options).out)[0]["prediction_set"]
        for options in (
            ("--coverage", "0.5"),
            (),
            ("--policy", "sensitive"),
            ("--coverage", "0.99"),
        )
    ]
    assert [len(members) for members in sets] == sorted(len(members) for members in sets)
    assert len(sets[0]) < len(sets[-1])


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--policy", "bold"), "policy 'bold': is not one of balanced, sensitive"),
        (("--coverage", "1"), "coverage: must be above 0 and below 1"),
    ],
)
def test_a_policy_or_a_coverage_that_cannot_be_is_refused(
    run: Run, photos: Path, option: tuple[str, str], words: str
) -> None:
    done = run(photos, *option)
    assert done.code == 2
    assert words in done.err


def test_csv_has_its_columns_and_reads_back(run: Run, photos: Path) -> None:
    done = run(photos, "--format", "csv", "--recursive")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert tuple(rows[0]) == COLUMNS
    assert COLUMNS[:3] == ("file", "label", "verdict")
    assert [row["label"] for row in rows] == ["BCC", "SCC", "Normal", "Normal"]
    for row in rows:
        total = sum(float(row[f"probability_{label}"]) for label in ("BCC", "SCC", "Normal"))
        assert total == pytest.approx(1)
        assert row["error"] == ""


def test_json_lines_are_the_json_list_line_by_line(run: Run, photos: Path) -> None:
    whole = json.loads(run(photos, "--format", "json").out)
    lines = [json.loads(line) for line in run(photos, "--format", "jsonl").out.splitlines()]
    for record in (*whole, *lines):
        record.pop("elapsed_ms")
    assert lines == whole


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "table"])
def test_one_bad_file_among_many_costs_nobody_else_the_answer(
    run: Run, photos: Path, form: str
) -> None:
    bad = photos / "b-text.jpg"
    bad.write_text("only text")
    done = run(photos, "--format", form)
    assert done.code == 1
    assert f"{bad}: is not an image, whatever its name says" in done.err
    assert "1 of 4 images could not be answered" in done.err
    if form == "table":
        assert done.out.count("confident") == 3
        return
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(done.out)))
    elif form == "json":
        rows = json.loads(done.out)
    else:
        rows = [json.loads(line) for line in done.out.splitlines()]
    assert [Path(row["file"]).name for row in rows] == [
        "a-red.png",
        "b-green.jpg",
        "b-text.jpg",
        "c-blue.PNG",
    ]
    assert "is not an image" in rows[2]["error"]
    assert not rows[2].get("label")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", r"is empty (0 bytes)"), (b"text", "is not an image"), (None, "no such file")],
)
def test_a_single_bad_file_exits_1_with_the_reason(
    run: Run, tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "one.jpg"
    if content is not None:
        path.write_bytes(content)
    done = run(path)
    assert done.code == 1
    assert done.out == ""
    assert done.err.startswith(f"lesionlens: {path}: ")
    assert words in done.err
    assert len(done.err.splitlines()) == 1


def test_a_truncated_jpeg_is_not_used_and_said_so(run: Run, photos: Path) -> None:
    path = photos / "b-green.jpg"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 200])
    done = run(path, "--format", "json")
    assert done.code == 1
    assert "truncated" in json.loads(done.out)[0]["error"]


def test_a_folder_without_images_exits_2_and_says_what_it_looked_for(
    run: Run, tmp_path: Path
) -> None:
    done = run(tmp_path)
    assert done.code == 2
    assert f"{tmp_path}: no image in this folder" in done.err
    assert ".jpg" in done.err
    assert "--recursive" in done.err


def test_a_pattern_without_a_match_exits_2(run: Run, photos: Path) -> None:
    done = run(photos / "*.tif")
    assert done.code == 2
    assert "*.tif: no image matches this pattern" in done.err


def test_patterns_find_images_only_and_each_once(photos: Path) -> None:
    pattern = str(photos / "*")
    found = find_images([str(photos / "b-green.jpg"), pattern, str(photos)])
    names = [Path(name).name for name in found]
    assert names == ["b-green.jpg", "a-red.png", "c-blue.PNG"]
    deep = find_images([str(photos / "**" / "*.webp")])
    assert [Path(name).name for name in deep] == ["d.webp"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(photos: Path) -> None:
    path = photos / "lesion[1].png"
    (photos / "a-red.png").rename(path)
    assert find_images([str(path)]) == [str(path)]


def test_no_image_is_looked_at_when_one_argument_matches_nothing(photos: Path) -> None:
    (photos / "empty").mkdir()
    with pytest.raises(LesionLensError, match="no image in this folder"):
        find_images([str(photos), str(photos / "empty")])


def test_output_is_written_whole_and_its_suffix_chooses_the_format(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out" / "answers.csv"
    done = run(photos, "-o", target)
    assert done.code == 0
    assert done.out == ""
    assert "3 answered" in done.err
    assert len(target.read_text().splitlines()) == 4
    assert [path.name for path in target.parent.iterdir()] == ["answers.csv"]
    run(photos, "-o", tmp_path / "answers.json")
    assert len(json.loads((tmp_path / "answers.json").read_text())) == 3
    run(photos, "-o", tmp_path / "answers.txt")
    assert DISCLAIMER in (tmp_path / "answers.txt").read_text()


def test_a_folder_as_output_is_refused(run: Run, photos: Path) -> None:
    done = run(photos, "-o", photos)
    assert done.code == 2
    assert "is a folder" in done.err


def test_answers_do_not_depend_on_the_number_of_threads(run: Run, photos: Path) -> None:
    answers = []
    for threads in (1, 2, 5):
        records = json.loads(run(photos, "-r", "-f", "json", "--threads", threads).out)
        answers.append([(r["file"], r["probabilities"]) for r in records])
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize(
    "option", [("--views", "0"), ("--views", "11"), ("--threads", "0"), ("--format", "xml")]
)
def test_bad_options_exit_2(run: Run, photos: Path, option: tuple[str, str]) -> None:
    assert run(photos, *option).code == 2


def test_a_bundle_that_is_not_there_exits_2(run: Run, photos: Path, tmp_path: Path) -> None:
    done = run(photos, "--model", tmp_path / "nowhere")
    assert done.code == 2
    assert "nowhere: no such folder" in done.err


def test_percentages_never_claim_certainty() -> None:
    shown = [percent(value) for value in (0.0, 0.001, 0.126, 0.996, 1.0)]
    assert shown == ["0 %", "<1 %", "13 %", ">99 %", "100 %"]


def _process(bundle_dir: Path, *arguments: object) -> list[str]:
    code = "from lesionlens.cli.main import main; main()"
    return [sys.executable, "-c", code, "predict", *map(str, arguments), "--model", str(bundle_dir)]


def test_a_dash_reads_the_image_from_standard_input(bundle_dir: Path, photos: Path) -> None:
    done = subprocess.run(
        _process(bundle_dir, "-", "--format", "jsonl"),
        input=(photos / "a-red.png").read_bytes(),
        capture_output=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer["file"] == "-"
    assert answer["label"] == "BCC"
    assert done.stderr == b""


def test_nothing_on_standard_input_is_an_empty_image(bundle_dir: Path) -> None:
    done = subprocess.run(
        _process(bundle_dir, "-"), input=b"", capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert b"-: is empty (0 bytes)" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of another kind there")
def test_ctrl_c_leaves_whole_rows_on_stdout_and_no_half_file(
    bundle_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    Image.fromarray(tiny_model.colour(250, 0, 0, side=1500)).save(folder / "0.png")
    for n in range(1, 3000):
        os.link(folder / "0.png", folder / f"{n}.png")
    target = tmp_path / "answers.csv"
    streamed = subprocess.Popen(
        _process(bundle_dir, folder, "--format", "jsonl"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # what readline took too much of, communicate would not have
    )
    assert streamed.stdout is not None
    first = streamed.stdout.readline()
    streamed.send_signal(signal.SIGINT)
    out, err = streamed.communicate(timeout=300)
    assert streamed.returncode == 130
    assert b"Traceback" not in err
    rows = [json.loads(line) for line in (first + out).splitlines()]
    assert 1 <= len(rows) < 3000

    to_file = subprocess.Popen(_process(bundle_dir, folder, "-o", target), stderr=subprocess.PIPE)
    waiting_until = time.monotonic() + 60
    while not list(tmp_path.glob(".answers.csv.*")) and time.monotonic() < waiting_until:
        time.sleep(0.02)
    to_file.send_signal(signal.SIGINT)
    _, stderr = to_file.communicate(timeout=300)
    assert to_file.returncode == 130
    assert b"Traceback" not in stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many"]


def test_help_teaches_with_examples(run: Run) -> None:
    done = run("--help")
    assert done.code == 0
    assert "lesionlens predict lesion.jpg" in done.out


@pytest.mark.parametrize(
    ("members", "verdict", "words"),
    [
        ((Label.BCC, Label.SCC), "uncertain", "BCC or SCC"),
        ((), "out_of_scope", "none"),
        ((), "confident", "Normal"),  # sure of an easy class, among the lowest tenth of it
    ],
)
def test_a_set_is_put_into_words(members: tuple[Label, ...], verdict: str, words: str) -> None:
    answer = Prediction(
        file="a.jpg",
        label=Label.NORMAL,
        probabilities={Label.BCC: 0.02, Label.SCC: 0.02, Label.NORMAL: 0.96},
        scope=0.95,
        prediction_set=members,
        verdict=verdict,
        quality=Quality((), {}),
        policy="balanced",
        views=10,
        elapsed_ms=1.0,
    )
    assert set_words(answer) == words


@pytest.mark.parametrize("verdict", VERDICTS)
def test_what_may_not_be_read_is_not_named(verdict: str) -> None:
    answer = Prediction(
        file="a.jpg",
        label=Label.NORMAL,
        probabilities={Label.BCC: 0.3, Label.SCC: 0.2, Label.NORMAL: 0.5},
        scope=0.04,
        prediction_set=(),
        verdict=verdict,
        quality=Quality((), {}),
        policy="balanced",
        views=10,
        elapsed_ms=1.0,
    )
    is_named = answer_words(answer) == "Healthy skin"
    assert is_named == (verdict in ("confident", "uncertain"))
