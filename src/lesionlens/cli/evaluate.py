"""``lesionlens evaluate``: score a prediction table and write the report."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionlens.cli import console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from lesionlens.judging import Sets, Verdicts
    from lesionlens.metrics import Evaluation
    from lesionlens.selective import Selective


class EvaluationFormat(StrEnum):
    """What is printed on stdout."""

    TABLE = "table"
    JSON = "json"


class ReferenceName(StrEnum):
    """Published results that can be set beside ours."""

    PAPER = "paper"


def evaluate(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS.csv",
            help="Prediction table: image_id, group_id, source, y_true, probability_BCC, "
            "probability_SCC, probability_Normal and any other output of the model. "
            "Or, with --truth, what `lesionlens predict --format csv` wrote.",
        ),
    ],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where the report goes.")
    ] = Path("report"),
    report: Annotated[
        bool, typer.Option(help="Write report.html, figures/ and metrics.json, or just print.")
    ] = True,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="The truth, where the predictions do not hold it: file (or image_id), y_true, "
            "and perhaps group_id and source. Matched by path, else by file name.",
        ),
    ] = None,
    reference: Annotated[
        ReferenceName | None, typer.Option(help="Set a published result beside ours.")
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE.csv",
            help="Another prediction table to set beside this one; may be given several times.",
        ),
    ] = None,
    before: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="The same images before calibration (temperature 1), to show in the picture of "
            "reliability what calibration did.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Folder of the images, to show the worst errors. The report then holds copies.",
        ),
    ] = None,
    title: Annotated[str, typer.Option(help="Title of the report.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    bootstrap: Annotated[
        int, typer.Option(min=100, metavar="N", help="Bootstrap replicates.")
    ] = 2000,
    format_: Annotated[
        EvaluationFormat, typer.Option("--format", help="What to print on stdout.")
    ] = EvaluationFormat.TABLE,
) -> None:
    """Score a prediction table: every metric with its 95 % interval, figures, report.html.

    Proportions carry Wilson's interval, all else a bootstrap that draws whole lesions or
    patients. The report is one file that needs no network and prints on A4.

    **Examples**

        lesionlens evaluate runs/paper-0/predictions-test.csv --images archive/images

        lesionlens evaluate answers.csv --truth truth.csv --format json --no-report

        lesionlens evaluate lens.csv --compare paper=paper.csv --reference paper

        lesionlens evaluate balanced.csv --compare sensitive=sensitive.csv --before raw.csv
    """
    from lesionlens.metrics import evaluate as score
    from lesionlens.prediction_table import load_predictions

    others = [_split_name(text) for text in compare or []]
    if report:
        console.require("evaluate (without --no-report)", "report", "matplotlib", "jinja2")
    table = load_predictions(predictions, truth=truth)
    tables = [(name, load_predictions(path)) for name, path in others]
    table_before = None if before is None else load_predictions(before)
    evaluation = score(table, seed=seed, n_bootstrap=bootstrap)
    comparison = [(name, score(other, seed=seed, n_bootstrap=bootstrap)) for name, other in tables]
    raw = None if table_before is None else score(table_before, seed=seed, n_bootstrap=bootstrap)
    talk = console.stderr()
    for remark in table.remarks:
        talk.print(f"{predictions}: {remark}", soft_wrap=True, markup=False)
    written = None
    if report:
        from lesionlens import figures, reporting

        wanted = [error.image_id for error in figures.worst_errors(evaluation)]
        written = reporting.write_report(
            evaluation,
            output,
            title=title or predictions.stem,
            images=None if images is None else reporting.find_images(images, wanted),
            reference=None if reference is None else reporting.load_reference(reference.value),
            comparison=comparison,
            before=raw,
        )
    if format_ is EvaluationFormat.JSON:
        import json

        typer.echo(json.dumps(evaluation.to_json(), indent=2, ensure_ascii=False))
    else:
        _print_tables(evaluation, title or predictions.stem, comparison)
    if written is not None:
        talk.print(f"Report: {written}", soft_wrap=True, markup=False)


def _split_name(text: str) -> tuple[str, Path]:
    name, found, path = text.partition("=")
    if not (name and found and path):
        raise typer.BadParameter(
            f"{text!r} is not NAME=FILE.csv, such as paper=runs/paper/predictions-test.csv",
            param_hint="--compare",
        )
    return name, Path(path)


def _print_tables(
    evaluation: Evaluation, title: str, comparison: list[tuple[str, Evaluation]]
) -> None:
    """Print the numbers as text, aligned, with their intervals."""
    from rich.console import Console

    from lesionlens.labels import IN_SCOPE
    from lesionlens.reporting import CLASS_NAMES, JUDGED_NAMES, OVERALL_NAMES, format_metric

    # A pipe or a file gets whole lines, however long; a terminal gets what fits.
    out = Console(highlight=False)
    if not out.is_terminal:
        out = Console(highlight=False, width=160)
    out.print(
        f"{evaluation.n:,} images of BCC, SCC and healthy skin, "
        f"{evaluation.n_groups:,} lesions or patients",
        markup=False,
    )
    entries = [(title, evaluation), *comparison]
    overall = _new_table("", *(name if comparison else "value (95 %)" for name, _ in entries))
    for key, words in OVERALL_NAMES.items():
        if key in evaluation.overall:
            found = (other.overall.get(key) for _, other in entries)
            overall.add_row(words, *("" if m is None else format_metric(m) for m in found))
    if evaluation.open_set is not None:
        for name, words in (
            ("open_macro_roc_auc", "ROC-AUC, macro, other lesions too"),
            ("open_scope_roc_auc", "ROC-AUC, in or out of scope"),
        ):
            found = (other.summary().get(name) for _, other in entries)
            overall.add_row(words, *("" if m is None else format_metric(m) for m in found))
    if comparison:
        summaries = [other.summary() for _, other in entries]
        for key, words in JUDGED_NAMES.items():
            if any(key in summary for summary in summaries):
                told = (format_metric(s[key]) if key in s else "" for s in summaries)
                overall.add_row(words, *told)
    out.print(overall)
    by_class = _new_table("", *(label.value for label in IN_SCOPE))
    for key, words in CLASS_NAMES.items():
        by_class.add_row(
            words, *(format_metric(evaluation.by_class[label][key]) for label in IN_SCOPE)
        )
    out.print(by_class)
    confusion = _new_table("truth \\ answer", *(label.value for label in IN_SCOPE))
    for label, counts in zip(IN_SCOPE, evaluation.confusion, strict=True):
        confusion.add_row(label.value, *(f"{count:,}" for count in counts))
    out.print(confusion)
    if evaluation.judgement.verdicts is not None:
        _print_verdicts(out, evaluation.judgement.verdicts, evaluation.selective)
    if evaluation.judgement.sets is not None:
        _print_sets(out, evaluation.judgement.sets)


def _print_verdicts(out: Console, verdicts: Verdicts, selective: Selective) -> None:
    from lesionlens.reporting import VERDICT_NAMES, format_metric

    table = _new_table("truth \\ verdict", "images", *VERDICT_NAMES.values(), "right if confident")
    rows = {label.value: row for label, row in verdicts.by_label.items()}
    rows |= {"the three": verdicts.in_scope, "other lesions": verdicts.other_lesions}
    for name, row in rows.items():
        if row.n:
            shares = (format_metric(row.shares[verdict]) for verdict in VERDICT_NAMES)
            right = f"{round((row.confident_right.value or 0) * row.n):,} of "
            table.add_row(name, f"{row.n:,}", *shares, f"{right}{row.counts['confident']:,}")
    out.print(table)
    prices = _new_table("", "share (95 %)")
    prices.add_row("BCC and SCC that keep the right answer", format_metric(verdicts.kept_cancer))
    prices.add_row(
        "BCC and SCC that point to either (sensitivity)", format_metric(verdicts.sensitivity_cancer)
    )
    for label, metric in verdicts.specificity_cancer.items():
        prices.add_row(f"{label} that points to neither (specificity)", format_metric(metric))
    for words, curve in (("the three", selective.closed), ("half other lesions", selective.half)):
        if curve is not None and curve.confident is not None and curve.confident_error is not None:
            prices.add_row(f"answered with confidence, {words}", format_metric(curve.confident))
            prices.add_row("  of these, wrong", format_metric(curve.confident_error))
    out.print(prices)


def _print_sets(out: Console, sets: Sets) -> None:
    from lesionlens.reporting import format_metric

    table = _new_table("sets of", "coverage", "labels in a set", "empty", "one label")
    rows = {label.value: row for label, row in sets.by_label.items()}
    rows |= {"the three": sets.in_scope, "other lesions": sets.other_lesions}
    for name, row in rows.items():
        if row.n:
            coverage = "–" if row.coverage is None else format_metric(row.coverage)
            others = (row.mean_size, row.empty, row.single)
            table.add_row(name, coverage, *(format_metric(metric) for metric in others))
    out.print(table)


def _new_table(first: str, *others: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(first)
    for name in others:
        table.add_column(Text(name), justify="right")  # a name may hold what looks like markup
    return table
