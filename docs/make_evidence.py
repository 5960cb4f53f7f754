"""Write the figures of docs/evidence.md anew, from the folders that `lesionlens audit-model` wrote.

    python docs/make_evidence.py audit-lens --beside paper=audit-paper

What stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` is replaced by tables of the
audits, and docs/images/ gets the figures of the first, which show no picture of any archive, and
a contact sheet of the changes, made to a drawn lesion.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lesionlens import phantoms
from lesionlens.evidence.perturbations import draw_contact_sheet
from lesionlens.files import read_json
from lesionlens.imaging import load_pixels
from lesionlens.intervals import Metric
from lesionlens.reporting import format_interval

PAGE = Path(__file__).with_name("evidence.md")
IMAGES = Path(__file__).with_name("images")
FIGURES = ("shortcuts", "robustness", "confident_errors", "subgroups", "views")

Audit = Mapping[str, Any]


def main() -> None:
    """Read the audits, write the page and its images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("audit", type=Path, help="folder that audit-model wrote")
    parser.add_argument("--name", default="lens", help="what to call its model")
    parser.add_argument("--beside", default="", metavar="NAME=DIR", help="another to set beside")
    args = parser.parse_args()
    audits = {args.name: read_json(args.audit / "audit.json")}
    if args.beside:
        name, _, folder = args.beside.partition("=")
        audits[name] = read_json(Path(folder) / "audit.json")
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), blocks(audits)), encoding="utf-8")
    IMAGES.mkdir(exist_ok=True)
    for name in FIGURES:
        source = args.audit / "figures" / f"{name}.png"
        if source.is_file():
            with Image.open(source) as figure:  # few colours: a third of the bytes
                small = figure.convert("RGB").quantize(128, dither=Image.Dither.NONE)
                small.save(IMAGES / f"evidence-{name.replace('_', '-')}.png", optimize=True)
    draw_sheet(IMAGES / "perturbations.jpg")


def filled(page: str, found: Mapping[str, str]) -> str:
    """Return a page with the text between its marks replaced.

    Raises:
        ValueError: a block has no place in the page.
    """
    for name, text in found.items():
        place = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        if not place.search(page):
            raise ValueError(f"{PAGE}: has no place for {name}")
        page = place.sub(lambda match, text=text: f"{match[1]}\n{text}\n\n{match[2]}", page)
    return page


def blocks(audits: Mapping[str, Audit]) -> dict[str, str]:
    """Return the Markdown of every block that the audits have something for."""
    makers: dict[str, tuple[str, Callable[[Mapping[str, Audit]], str]]] = {
        "magnification": ("shortcuts", magnification),
        "background": ("shortcuts", background),
        "robustness": ("robustness", robustness),
        "subgroups": ("subgroups", subgroups),
        "views": ("views", views),
        "failures": ("failures", failures),
    }
    found = {}
    for name, (section, make) in makers.items():
        having = {key: audit for key, audit in audits.items() if section in audit["sections"]}
        if having:
            found[name] = make(having)
    return found


def magnification(audits: Mapping[str, Audit]) -> str:
    """Return who is called Normal at which distance, by model."""
    rows = []
    for row in _table(next(iter(audits.values())), "shortcuts", "magnification"):
        if row["metrics"]["called_normal"]["value"] is None:
            continue
        truth = row["block"].split(",")[0]
        source = row["block"].removeprefix(truth).strip(", ")
        cells = [f"{truth} {f'({source})' if source else ''}".strip(), row["name"]]
        cells.append(str(row["n_images"]))
        for audit in audits.values():
            same = _same(_table(audit, "shortcuts", "magnification"), row)
            metrics = same["metrics"] if same else {}
            cells += [_cell(metrics.get(key)) for key in ("called_normal", "called_truth")]
        rows.append(cells)
    heads = ["truth", "shown", "n"]
    heads += [f"{words}, `{name}`" for name in audits for words in ("Normal", "rightly")]
    return _markdown(heads, rows)


def background(audits: Mapping[str, Audit]) -> str:
    """Return what is left without the lesion, and of the lesion alone, by model."""
    columns = {
        "balanced_accuracy": "balanced accuracy",
        "above_chance": "above chance",
        "kept": "kept",
        "pair_roc_auc": "BCC against SCC, ROC-AUC",
    }
    rows = [
        [f"`{name}`", row["name"], str(row["n_images"])]
        + [_cell(row["metrics"].get(key), signed=key == "above_chance") for key in columns]
        for name, audit in audits.items()
        for row in _table(audit, "shortcuts", "background")
    ]
    return _markdown(["model", "shown", "n", *columns.values()], rows)


def robustness(audits: Mapping[str, Audit]) -> str:
    """Return, for each change at its middle and strongest, what it does, by model."""
    columns = {
        "accuracy": "accuracy",
        "accuracy_difference": "difference",
        "mean_confidence": "mean confidence",
        "confident_and_wrong": "confident and wrong",
        "stopped": "stopped by the gate",
    }
    rows = []
    for name, audit in audits.items():
        tables = audit["sections"]["robustness"]["tables"]
        first = next(iter(tables.values()))["rows"][0]
        rows.append([f"`{name}`", "untouched", "", *_cells(first["metrics"], columns)])
        for table in tables.values():
            title, _, unit = table["caption"].partition(": ")
            for row in (table["rows"][3], table["rows"][-1]):
                strength = f"{row['name']} ({unit})"
                rows.append([f"`{name}`", title, strength, *_cells(row["metrics"], columns)])
    return _markdown(["model", "change", "strength", *columns.values()], rows)


def subgroups(audits: Mapping[str, Audit]) -> str:
    """Return every subgroup of the first model."""
    columns = {
        "accuracy": "accuracy",
        "accuracy_difference": "against all others, same mix of classes",
        "recall_BCC": "sensitivity BCC",
        "recall_SCC": "sensitivity SCC",
        "expected_calibration_error": "ECE",
        "others_confident": "other lesions called confident",
    }
    rows = []
    for table in next(iter(audits.values()))["sections"]["subgroups"]["tables"].values():
        rows.append([f"**{table['caption']}**", "", "", *[""] * len(columns)])
        rows += [
            [
                row["name"],
                str(row["n_images"]),
                str(row["n_groups"]),
                *_cells(row["metrics"], columns),
            ]
            for row in table["rows"]
        ]
    return _markdown(["", "images", "lesions", *columns.values()], rows)


def views(audits: Mapping[str, Audit]) -> str:
    """Return what views buy and cost, by model."""
    columns = {
        "accuracy": "accuracy",
        "accuracy_difference": "against 1",
        "macro_f1": "macro F1",
        "expected_calibration_error": "ECE",
        "open_macro_roc_auc": "ROC-AUC, other lesions too",
        "open_macro_roc_auc_difference": "against 1",
    }
    rows = [
        [
            f"`{name}`",
            row["name"],
            *_cells(row["metrics"], columns),
            f"{row['metrics']['elapsed']['value']:.1f}",
        ]
        for name, audit in audits.items()
        for row in _table(audit, "views", "views")
    ]
    return _markdown(["model", "", *columns.values(), "ms per image"], rows)


def failures(audits: Mapping[str, Audit]) -> str:
    """Return confident and wrong answers by diagnosis and model."""
    columns = {
        "wrong": "named wrongly",
        "confident": "called confident",
        "confident_and_wrong": "confident and wrong",
    }
    rows = [
        [f"`{name}`", row["name"], str(row["n_images"]), *_cells(row["metrics"], columns)]
        for name, audit in audits.items()
        for row in _table(audit, "failures", "diagnoses")
    ]
    return _markdown(["model", "truth", "n", *columns.values()], rows)


def draw_sheet(path: Path) -> None:
    """Draw every change at every strength, on a drawn lesion, at half size."""
    rgb = load_pixels(phantoms.draw("bcc", rng=np.random.default_rng(1))).rgb
    sheet = draw_contact_sheet(rgb)
    sheet = sheet.resize((sheet.width // 2, sheet.height // 2))
    sheet.info["comment"] = phantoms.NOTE
    phantoms.save(sheet, path)


def _table(audit: Audit, section: str, key: str) -> Sequence[Mapping[str, Any]]:
    table = audit["sections"][section]["tables"].get(key)
    return table["rows"] if table else []


def _same(rows: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any]) -> Mapping[str, Any] | None:
    names = ("block", "name")
    return next((r for r in rows if all(r.get(n) == wanted.get(n) for n in names)), None)


def _cells(metrics: Mapping[str, Any], columns: Mapping[str, str]) -> list[str]:
    return [_cell(metrics.get(key), signed=key.endswith("_difference")) for key in columns]


def _cell(plain: Mapping[str, Any] | None, *, signed: bool = False) -> str:
    if plain is None:
        return ""
    metric = Metric(**plain)
    if metric.value is None:
        return "too few" if "few" in metric.note else "–"
    if not signed:
        interval = format_interval(metric)
        return f"{metric.value:.3f} ({interval})" if interval else f"{metric.value:.3f}"
    if metric.low is None or metric.high is None:
        return f"{metric.value:+.3f}"
    return f"{metric.value:+.3f} ({metric.low:+.3f} to {metric.high:+.3f})"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(re.sub(r"\|  (?=\|)", "| ", f"| {' | '.join(cells)} |") for cells in lines)


if __name__ == "__main__":
    main()
