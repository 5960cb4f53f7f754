"""The model card: what it learned from, how well it does, where it fails, by its own bundle."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import flet as ft

from lesionlens.app.components.blocks import Style, card, faint, heading, words
from lesionlens.app.components.interval_bar import interval_bar
from lesionlens.app.screen import Screen
from lesionlens.app.session import Session
from lesionlens.app.texts import Texts
from lesionlens.app.theme import HALF_GAP
from lesionlens.labels import Label

#: Metrics by what they tell, in the order in which they are read. The last part of a name may be a
#: label's.
_GROUPS: dict[str, tuple[str, ...]] = {
    "naming": ("accuracy", "balanced_accuracy", "macro_f1", "recall", "specificity"),
    "telling": ("roc_auc", "open_roc_auc", "open_scope_roc_auc", "open_not_skin_roc_auc"),
    "verdicts": (
        "confident_in_scope", "confident_error", "confident_other_lesions", "confident",
        "kept_cancer", "sensitivity_cancer", "coverage", "mean_set_size",
        "expected_calibration_error",
    ),
}  # fmt: skip
#: Metrics that are not shares of a hundred.
_SCORES = ("macro_f1", "roc_auc", "open_roc_auc", "open_scope_roc_auc", "open_not_skin_roc_auc")
_NEARLY_ONE = 0.9995  # would be rounded to 1
_LIMITS = ("melanoma", "dermatoscope", "skin_tone", "hospital", "normal", "itself")


def model_card_screen(session: Session) -> Screen:
    """Return the screen that says what is known of the model, each number with its interval."""
    texts, spec = session.texts, session.engine.spec
    body: list[ft.Control] = [_identity(session), _limits(texts)]
    if spec.metrics:
        body.append(faint(texts("model.how"), Style.BODY_MEDIUM))
        body += [_group(name, members, spec.metrics, texts) for name, members in _GROUPS.items()]
    if spec.training:
        body.append(_training(spec.training, texts))
    return Screen(texts("settings.model"), body)


def _identity(session: Session) -> ft.Control:
    texts, spec = session.texts, session.engine.spec
    rows = [
        (texts("model.name"), f"{spec.name} {spec.version}"),
        (texts("model.hash"), spec.sha256[:12]),
        (texts("model.size"), texts.size(session.engine.model_bytes)),
        (texts("model.views"), texts("settings.views.count", count=spec.views)),
        (texts("model.licence"), spec.licence),
    ]
    return card([_pair(name, value) for name, value in rows], spacing=12)


def _pair(name: str, value: str) -> ft.Control:
    """Return a name and what it has, side by side where both have room."""
    return ft.Row(
        [faint(name, Style.BODY_MEDIUM), words(value, Style.LABEL_LARGE)],
        wrap=True,
        spacing=HALF_GAP,
        run_spacing=0,
        alignment=ft.MainAxisAlignment.SPACE_BETWEEN,
    )


def _limits(texts: Texts) -> ft.Control:
    lines = [
        ft.Row(
            [
                ft.Icon(ft.Icons.REMOVE, size=18, color=ft.Colors.ON_SURFACE_VARIANT),
                words(texts(f"model.limit.{name}"), expand=True),
            ],
            spacing=HALF_GAP,
            vertical_alignment=ft.CrossAxisAlignment.START,
        )
        for name in _LIMITS
    ]
    return card([heading(texts("model.limits")), *lines])


def _group(
    group: str, members: tuple[str, ...], metrics: Mapping[str, Any], texts: Texts
) -> ft.Control:
    rows = [
        _metric(member, metric, metrics[metric], texts)
        for member in members
        for metric in _named(member, metrics)
    ]
    head = ft.Column(
        [heading(texts(f"model.{group}")), faint(texts(f"model.{group}.means"), Style.BODY_MEDIUM)],
        spacing=4,
    )
    return card([head, *rows], spacing=20)


def _named(member: str, metrics: Mapping[str, Any]) -> list[str]:
    """Return the metrics of a kind that there are: itself, or one for each label."""
    names = [member, *(f"{member}_{label}" for label in Label)]
    return [name for name in names if name in metrics]


def _metric(member: str, name: str, metric: Mapping[str, Any], texts: Texts) -> ft.Control:
    label = name.removeprefix(member).removeprefix("_")
    values: dict[str, Any] = {}
    if label:
        values = {"name": texts(f"label.{label}"), "label": texts(f"label.{label}.inside")}
    title = texts(f"model.metric.{member}", **values)
    value, low, high = (_written(member, metric[key], texts) for key in ("value", "low", "high"))
    interval = texts("model.interval", low=low, high=high, n=int(metric["n"]))
    lines: list[ft.Control] = [
        ft.Row(
            [words(title, expand=True), words(value, Style.TITLE_MEDIUM)],
            spacing=HALF_GAP,
            vertical_alignment=ft.CrossAxisAlignment.START,
        ),
        faint(interval),
    ]
    if metric["high"] <= 1:
        lines.insert(1, interval_bar(metric["value"], metric["low"], metric["high"]))
    return ft.Column(lines, spacing=6)


def _written(member: str, value: float, texts: Texts) -> str:
    if member == "mean_set_size":
        return texts.number(value, 2)
    if member not in _SCORES:
        return texts.percent(value, 1)
    if _NEARLY_ONE <= value < 1:  # never perfect where it is not
        return ">" + texts.number(0.999, 3)
    return texts.number(value, 3)


def _training(training: Mapping[str, Any], texts: Texts) -> ft.Control:
    images, groups = training.get("images", {}), training.get("groups", {})
    by_size = sorted(images, key=lambda label: -images[label])
    rows = [
        _pair(
            texts(f"label.{label}"),
            texts("model.images_of", images=images[label], groups=groups.get(label, 0)),
        )
        for label in by_size
    ]
    sources = training.get("sources", {})
    lines: list[ft.Control] = [
        heading(texts("model.training")),
        faint(texts("model.training.means"), Style.BODY_MEDIUM),
        *rows,
        ft.Divider(),
        *(_pair(source, texts.number(n)) for source, n in sources.items()),
    ]
    if "date" in training:
        day = texts.date(datetime.fromisoformat(training["date"]))
        lines += [ft.Divider(), _pair(texts("model.date"), day)]
    return card(lines, spacing=12)
