"""The report: an evaluation as a page that a person can read, print and pass on.

``write_report`` writes ``metrics.json``, the figures as PNG, and ``report.html``, one file
that carries its figures within itself and asks the network for nothing.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lesionlens import __version__, charts, figures
from lesionlens.errors import DataError
from lesionlens.files import atomic_write, write_json
from lesionlens.imaging import SUFFIXES
from lesionlens.intervals import Metric, proportion
from lesionlens.judging import Verdicts
from lesionlens.labels import FULL_NAMES, IN_SCOPE, Label
from lesionlens.metrics import Evaluation, paired_differences
from lesionlens.verdicts import CONFIDENT, OUT_OF_SCOPE, POOR_IMAGE, UNCERTAIN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Names of the published results that ship with LesionLens.
REFERENCES = ("paper",)
#: Dots per inch of the figures as PNG: sharp in print at column width.
FIGURE_DPI = 200

#: What to call the metrics of the closed set as a whole, in the order of every table.
OVERALL_NAMES: dict[str, str] = {
    "accuracy": "Accuracy",
    "accuracy_by_group": "Accuracy, interval by group",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "F1, macro",
    "macro_roc_auc": "ROC-AUC, macro",
    "macro_average_precision": "Average precision, macro",
    "brier": "Brier score (0 best, 2 worst)",
    "log_loss": "Log loss",
    "expected_calibration_error": "Expected calibration error",
}
#: What to call the metrics of one class.
CLASS_NAMES: dict[str, str] = {
    "precision": "Precision",
    "recall": "Recall (sensitivity)",
    "specificity": "Specificity",
    "f1": "F1",
    "roc_auc": "ROC-AUC",
    "average_precision": "Average precision",
}
#: What to call the verdicts.
VERDICT_NAMES: dict[str, str] = {
    CONFIDENT: "Confident",
    UNCERTAIN: "Uncertain",
    OUT_OF_SCOPE: "Out of scope",
    POOR_IMAGE: "Poor image",
}
#: What to call what verdicts and sets come to, in the order of a comparison.
JUDGED_NAMES: dict[str, str] = {
    "confident_in_scope": "Confident, the three classes",
    "confident_error": "Confident and wrong, of these",
    "confident_other_lesions": "Confident, other lesions",
    "confident_MEL": "Confident, melanoma",
    "confident_NotSkin": "Confident, not skin",
    "half_confident_error": "Confident and wrong, half other lesions",
    "kept_cancer": "BCC and SCC that keep the right answer",
    "sensitivity_cancer": "BCC and SCC that point to either",
    **{f"coverage_{label}": f"Coverage of the sets, {label}" for label in IN_SCOPE},
    "mean_set_size": "Labels in a set, the three classes",
    "empty_sets_other_lesions": "Empty sets, other lesions",
}


@dataclass(frozen=True)
class Reference:
    """A published result to set beside ours: what is known of it and nothing else."""

    name: str
    title: str
    model: str
    data: str
    n_by_class: dict[Label, int]  # test images
    n_right: int  # of them
    views: int  # of test-time augmentation
    seconds_per_image_on_a_phone: float
    remarks: tuple[str, ...]

    @property
    def n(self) -> int:
        """How many test images there are."""
        return sum(self.n_by_class.values())

    @property
    def accuracy(self) -> Metric:
        """Share of right answers with Wilson's interval, worked out from the counts."""
        return proportion(self.n_right, self.n)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "n_images": self.n,
            "accuracy": self.accuracy.to_json(),
            "remarks": list(self.remarks),
        }


def load_reference(name: str) -> Reference:
    """Return a published result by its name, one of ``REFERENCES``.

    Raises:
        DataError: there is no such reference.
    """
    import json

    if name not in REFERENCES:
        raise DataError(f"{name}: is no reference; there is {', '.join(REFERENCES)}")
    path = files("lesionlens") / "references" / f"{name}.json"
    plain = json.loads(path.read_text(encoding="utf-8"))
    return Reference(
        name=plain["name"],
        title=plain["title"],
        model=plain["model"],
        data=plain["data"],
        n_by_class={Label(label): n for label, n in plain["n_by_class"].items()},
        n_right=plain["n_right"],
        views=plain["views"],
        seconds_per_image_on_a_phone=plain["seconds_per_image_on_a_phone"],
        remarks=tuple(plain["remarks"]),
    )


def format_interval(metric: Metric) -> str:
    """Return the interval as text, ``0.80–0.91``; empty where there is none.

    Two digits, or three where two would hide what an interval is for: one narrower than 0.02.
    """
    if metric.low is None or metric.high is None:
        return ""
    digits = 3 if metric.high - metric.low < 0.02 else 2
    return f"{metric.low:.{digits}f}–{metric.high:.{digits}f}"


def format_metric(metric: Metric) -> str:
    """Return a metric as text: ``0.861 (0.80–0.91)``, or why there is none."""
    if metric.value is None:
        return f"– ({metric.note})" if metric.note else "–"
    return f"{metric.value:.3f} ({format_interval(metric) or 'no interval'})"


def summarise(evaluation: Evaluation) -> list[str]:
    """Return what the numbers come to, as a few sentences in plain words."""
    accuracy = evaluation.overall["accuracy"]
    if accuracy.value is None or accuracy.low is None or accuracy.high is None:
        return ["No image of this table is BCC, SCC or healthy skin: nothing can be told apart."]
    right = int(np.trace(evaluation.confusion))
    sentences = [
        f"Of {evaluation.n:,} images of BCC, SCC and healthy skin, from {evaluation.n_groups:,} "
        f"lesions or patients, the model names {right:,} rightly: an accuracy of "
        f"{_percent(accuracy.value)}, and with 95 % confidence between "
        f"{_percent(accuracy.low)} and {_percent(accuracy.high)}."
    ]
    recalls = {label: evaluation.by_class[label]["recall"] for label in IN_SCOPE}
    known = {label: metric for label, metric in recalls.items() if metric.value is not None}
    weakest = min(known, key=lambda label: known[label].value or 0.0)
    off_diagonal = evaluation.confusion * (1 - np.eye(len(IN_SCOPE), dtype=int))
    if off_diagonal.any():
        truth, answer = np.unravel_index(off_diagonal.argmax(), off_diagonal.shape)
        sentences.append(
            f"{FULL_NAMES[weakest]} is recognised least often "
            f"({_percent(known[weakest].value or 0.0, 0)} of {known[weakest].n:,}); "
            f"the commonest error takes {IN_SCOPE[truth]} for {IN_SCOPE[answer]} "
            f"({off_diagonal[truth, answer]:,} of {evaluation.confusion[truth].sum():,})."
        )
    error = evaluation.overall["expected_calibration_error"].value
    if error is not None:
        sentences.append(
            f"The probability it gives its answer is off by {100 * error:.1f} percentage points "
            "on average."
        )
    if evaluation.open_set is not None and evaluation.open_set.n_out_of_scope:
        scope = evaluation.open_set.scope_roc_auc
        others = f"{evaluation.open_set.n_out_of_scope:,} images of other lesions"
        sentences.append(
            f"It has no way to say that the further {others} are none of the three."
            if scope.value is None
            else f"Shown one image of the three classes and one of the further {others}, it tells "
            f"which is which {_percent(scope.value, 0)} of the time."
        )
    if evaluation.judgement.verdicts is not None:
        sentences.append(_summarise_verdicts(evaluation.judgement.verdicts))
    return sentences


def _summarise_verdicts(verdicts: Verdicts) -> str:
    rows = {
        "the three classes": verdicts.in_scope,
        "other lesions": verdicts.other_lesions,
        "melanoma": verdicts.by_label.get(Label.MEL),
        "what is not skin": verdicts.by_label.get(Label.NOT_SKIN),
    }
    told = [
        f"{_percent(row.shares[CONFIDENT].value or 0.0)} of the images of {name}"
        for name, row in rows.items()
        if row is not None and row.n
    ]
    kept = verdicts.kept_cancer.value
    tail = "" if kept is None else (
        f" Of the images of BCC and SCC {_percent(kept)} keep the right answer, as the label or "
        "in the prediction set."
    )  # fmt: skip
    return f"It answers with confidence about {', '.join(told)}.{tail}"


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def find_images(directory: str | os.PathLike[str], image_ids: Sequence[str]) -> dict[str, Path]:
    """Find image files by name without suffix, in a folder and all folders below it.

    Args:
        directory: where to look.
        image_ids: the names wanted.

    Returns:
        Path by image id, of those found.

    Raises:
        DataError: there is no such folder.
    """
    root = Path(directory)
    if not root.is_dir():
        raise DataError(f"{directory}: is not a folder; --images wants the folder of the images")
    wanted = set(image_ids)
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*")):
        if path.stem in wanted and path.suffix.lower() in SUFFIXES:
            found.setdefault(path.stem, path)
    return found


def write_report(
    evaluation: Evaluation,
    directory: str | os.PathLike[str],
    *,
    title: str,
    images: Mapping[str, Path] | None = None,
    reference: Reference | None = None,
    comparison: Sequence[tuple[str, Evaluation]] = (),
    before: Evaluation | None = None,
) -> Path:
    """Write ``metrics.json``, ``figures/*.png`` and ``report.html``; existing ones are replaced.

    Args:
        evaluation: what to report.
        directory: where to; made if need be.
        title: of the page.
        images: image id to file, to show the worst errors; the caller has the right to show
            them, the report carries them within itself.
        reference: a published result to set beside ours.
        comparison: other tables, by name, to set beside this one.
        before: the same images before calibration, for the picture of reliability.

    Returns:
        Path of ``report.html``.

    Raises:
        DataError: ``before`` is of other images.
        LesionLensError: the folder cannot be written.
    """
    if before is not None and set(before.table.image_ids) != set(evaluation.table.image_ids):
        raise DataError("before: holds other images; a table of the same images is needed")
    target = Path(directory)
    differences = [
        (name, found)
        for name, other in comparison
        if (found := paired_differences(evaluation, other)) is not None
    ]
    write_json(
        target / "metrics.json",
        {
            "format": 1,
            "title": title,
            "lesionlens": __version__,
            **evaluation.to_json(),
            "reference": reference and reference.to_json(),
            "before": before and before.to_json(),
            "comparison": {name: other.to_json() for name, other in comparison},
            "differences": {
                name: {key: metric.to_json() for key, metric in found.items()}
                for name, found in differences
            },
        },
    )
    errors = figures.worst_errors(evaluation)
    drawn: dict[str, Figure | None] = {}
    if evaluation.n:
        drawn = {
            "confusion": figures.draw_confusion(evaluation),
            "roc": figures.draw_roc(evaluation),
            "precision_recall": figures.draw_precision_recall(evaluation),
            "reliability": figures.draw_reliability(evaluation, before),
            "risk_coverage": charts.draw_risk_coverage(evaluation, comparison),
            "worst_errors": figures.draw_worst_errors(errors, images or {}),
        }
    drawn["scope_reliability"] = charts.draw_scope_reliability(evaluation)
    verdicts = evaluation.judgement.verdicts
    drawn["verdicts"] = None if verdicts is None else charts.draw_verdicts(verdicts)
    if comparison:
        drawn["comparison"] = figures.draw_comparison([(title, evaluation), *comparison])
    embedded = {}
    for name, figure in drawn.items():
        stale = target / "figures" / f"{name}.png"
        if figure is None:
            stale.unlink(missing_ok=True)
            continue
        with atomic_write(stale, "wb") as file:
            file.write(render(figure, "png", dpi=FIGURE_DPI))
        embedded[name] = data_uri(figure, is_photo=name == "worst_errors")
    today = datetime.now(UTC)
    page = make_template("report.html.j2").render(
        title=title,
        evaluation=evaluation,
        summary=summarise(evaluation),
        figures=embedded,
        errors=errors,
        has_images=bool(images),
        reference=reference,
        entries=[(title, evaluation), *comparison],
        summaries=[found.summary() for found in (evaluation, *(e for _, e in comparison))],
        differences=differences,
        version=__version__,
        written=f"{today.day} {today:%B %Y}",
    )
    report = target / "report.html"
    with atomic_write(report) as file:
        file.write(page)
    return report


def make_template(name: str) -> Any:
    """Return a template of the package, with the filters and names that its pages share."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("lesionlens", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["interval"] = format_interval
    environment.globals.update(
        labels=IN_SCOPE,
        full_names=FULL_NAMES,
        verdict_names=VERDICT_NAMES,
        judged_names=JUDGED_NAMES,
        overall_names=OVERALL_NAMES,
        class_names=CLASS_NAMES,
    )
    return environment.get_template(name)


def render(figure: Figure, kind: str, **options: Any) -> bytes:
    """Return a figure as the bytes of a file of ``kind``; an SVG without its date."""
    stream = io.BytesIO()
    if kind == "svg":
        options["metadata"] = {"Date": None}
    figure.savefig(stream, format=kind, **options)
    return stream.getvalue()


def data_uri(figure: Figure, *, is_photo: bool) -> str:
    """Return a figure as a data URI: drawings as SVG, sharp at any size; photos as JPEG."""
    if is_photo:
        data, kind = render(figure, "jpeg", dpi=150, pil_kwargs={"quality": 85}), "jpeg"
    else:
        data, kind = render(figure, "svg"), "svg+xml"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
