"""How fast the app is here: a run of scans, its figures, and how long real scans took."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import flet as ft

from lesionlens.app.components.blocks import Style, card, faint, heading, words
from lesionlens.app.components.choices import Choice, pills
from lesionlens.app.screen import Screen
from lesionlens.app.session import Session
from lesionlens.app.texts import Texts
from lesionlens.app.theme import GAP, HALF_GAP
from lesionlens.app.trial import LENGTHS, STAGES, Setting, Spread, Trial, paper_ms, spread_of

_BAR_PX = 10
_COLUMNS_PX = 72  # height of the chart of every scan
_OUTSIDE = ("open", "overlay")  # not part of the answer's time
_HASH_LENGTH = 12


def performance_screen(session: Session) -> Screen:
    """Return the screen of the performance run."""
    texts, trial = session.texts, session.timing.trial
    body: list[ft.Control] = [words(texts("performance.intro"), Style.BODY_LARGE)]
    body += _progress(session, trial) if trial.is_going_on else _choice(session, trial)
    if trial.scans:
        body.append(_answer_time(trial, texts))
    # While it runs, as little as possible is drawn: that takes time from what is timed.
    if trial.scans and trial.setting is not None and not trial.is_going_on:
        body += [_stages(trial, texts), _memory(trial, texts), _facts(trial.setting, texts)]
        body.append(_exports(session))
    if not trial.is_going_on:
        body.append(_recent(session, trial))
    return Screen(title=texts("performance.title"), body=body)


def _choice(session: Session, trial: Trial) -> list[ft.Control]:
    texts, timing = session.texts, session.timing

    def choose(n: int) -> Callable[[Any], Awaitable[None]]:
        async def handle(_event: Any) -> None:
            timing.choose(n)

        return handle

    async def start(_event: Any) -> None:
        await timing.start()

    async def start_own(_event: Any) -> None:
        await timing.start(own_photo=True)

    lengths = [Choice(texts.number(n), n == trial.n, choose(n)) for n in LENGTHS]
    how_many = texts("performance.how_many")
    parts = [
        heading(how_many),
        pills(lengths, label=how_many, chosen=texts("settings.chosen")),
        _button(ft.FilledButton, texts("performance.start"), ft.Icons.PLAY_ARROW, start),
        _button(ft.OutlinedButton, texts("performance.start_own"), ft.Icons.IMAGE, start_own),
    ]
    if trial.status == "stopped":
        parts.append(words(texts("performance.stopped", count=len(trial.scans))))
    return [card(parts, spacing=GAP)]


def _progress(session: Session, trial: Trial) -> list[ft.Control]:
    texts = session.texts
    is_running = trial.status == "running"
    done = len(trial.scans)
    said = texts("performance.preparing")
    if is_running:
        said = texts("performance.progress", done=min(done + 1, trial.n), n=trial.n)

    def stop(_event: Any) -> None:
        session.timing.stop()

    return [
        card(
            [
                words(said, Style.TITLE_SMALL),
                ft.ProgressBar(
                    value=done / trial.n if is_running else None,
                    bar_height=_BAR_PX,
                    border_radius=_BAR_PX / 2,
                    semantics_label=texts("performance.title"),
                ),
                _button(ft.OutlinedButton, texts("performance.stop"), ft.Icons.STOP, stop),
            ],
            spacing=GAP,
        )
    ]


def _answer_time(trial: Trial, texts: Texts) -> ft.Control:
    """Return the time of the whole, and a column for every scan: what slows down shows."""
    total = trial.spread("total")
    spoken = texts(
        "performance.each_range", low=texts.duration(total.low), high=texts.duration(total.high)
    )
    columns: list[ft.Control] = [
        ft.Container(
            height=max(1.0, _COLUMNS_PX * scan.milliseconds["total"] / total.high),
            bgcolor=ft.Colors.PRIMARY,
            expand=1,
        )
        for scan in trial.scans
    ]
    room = trial.n - len(columns)
    if room > 0:
        columns.append(ft.Container(height=1, expand=room))
    chart = ft.Row(
        columns,
        spacing=1 if trial.n <= 30 else 0,
        height=_COLUMNS_PX,
        vertical_alignment=ft.CrossAxisAlignment.END,
    )
    return card(
        [
            heading(texts("performance.result")),
            words(
                texts(
                    "performance.summary",
                    p50=texts.duration(total.p50),
                    p95=texts.duration(total.p95),
                ),
                Style.BODY_LARGE,
            ),
            faint(texts("performance.paper", duration=texts.duration(paper_ms()))),
            words(texts("performance.each"), Style.TITLE_SMALL),
            ft.Semantics(content=chart, label=spoken, container=True, exclude_semantics=True),
            faint(spoken),
        ],
        spacing=12,
    )


def _stages(trial: Trial, texts: Texts) -> ft.Control:
    spreads = {stage: trial.spread(stage) for stage in STAGES}
    longest = max(spread.p95 for spread in spreads.values())
    inside = [stage for stage in STAGES if stage not in _OUTSIDE]
    return card(
        [
            heading(texts("performance.stages")),
            *(_stage(stage, spreads[stage], longest, texts) for stage in inside),
            faint(texts("performance.outside")),
            *(_stage(stage, spreads[stage], longest, texts) for stage in _OUTSIDE),
            faint(texts("performance.legend")),
        ],
        spacing=12,
    )


def _stage(stage: str, spread: Spread, longest: float, texts: Texts) -> ft.Control:
    """Return a stage's name, two times, and a bar: strong to the one, faint to the other."""
    name = texts(f"performance.stage.{stage}")
    p50, p95 = _short(spread.p50, texts), _short(spread.p95, texts)
    style = Style.LABEL_LARGE if stage == "total" else Style.BODY_MEDIUM
    parts = _parts_of_1000(spread, longest)
    pale = ft.Colors.with_opacity(0.4, ft.Colors.PRIMARY)
    colours = (ft.Colors.PRIMARY, pale, ft.Colors.SURFACE_CONTAINER_HIGHEST)
    bar = ft.Row(
        [
            ft.Container(height=_BAR_PX, bgcolor=colour, expand=part)
            for part, colour in zip(parts, colours, strict=True)
            if part
        ],
        spacing=0,
    )
    return ft.Semantics(
        content=ft.Column(
            [
                ft.Row(
                    [words(name, style), words(f"{p50} · {p95}", style)],
                    wrap=True,  # large letters: one below the other
                    alignment=ft.MainAxisAlignment.SPACE_BETWEEN,
                    run_spacing=0,
                ),
                bar,
            ],
            spacing=4,
        ),
        label=f"{name}: {p50}, {p95}",
        container=True,
        exclude_semantics=True,
    )


def _parts_of_1000(spread: Spread, longest: float) -> tuple[int, int, int]:
    """Return the lengths of a bar: to the median, on to the 95th percentile, and what is left."""
    dark = round(1000 * spread.p50 / longest)
    both = round(1000 * spread.p95 / longest)
    return dark, both - dark, 1000 - both


def _short(milliseconds: float, texts: Texts) -> str:
    """Return a duration, with a digit more where there is little of it."""
    if milliseconds < 9.95:
        return texts("unit.millisecond", amount=texts.number(milliseconds, 1))
    return texts.duration(milliseconds)


def _memory(trial: Trial, texts: Texts) -> ft.Control:
    lines = []
    now, growth = trial.scans[-1].memory_bytes, trial.growth_bytes
    if now is not None:
        lines.append(texts("performance.memory_now", size=texts.size(now)))
    if growth is not None:
        key = "performance.memory_more" if growth >= 0 else "performance.memory_less"
        lines.append(texts(key, size=texts.size(abs(growth))))
    if trial.peak_bytes is not None and trial.setting is not None:
        ever = "" if trial.setting.peak_is_of_run else "_ever"
        size = texts.size(trial.peak_bytes)
        lines.append(texts(f"performance.memory_peak{ever}", size=size))
    if not lines:
        lines.append(texts("performance.memory_unknown"))
    return card([heading(texts("performance.memory")), *(words(line) for line in lines)])


def _facts(setting: Setting, texts: Texts) -> ft.Control:
    photo = setting.photos[0]
    megapixels = texts.number(photo.width_px * photo.height_px / 1e6, 1)
    if setting.source == "drawn":
        count = len(setting.photos)
        photos = texts("performance.drawn", count=count, megapixels=megapixels)
    else:
        photos = texts("performance.given", megapixels=megapixels)
    device = [setting.device_model, f"{setting.system} {setting.system_version}", setting.machine]
    rows = {
        "app": f"LesionLens {setting.app_version}",
        "model": f"{setting.model_name} {setting.model_version}, {setting.model_precision}, "
        f"{texts.size(setting.model_bytes)}, {setting.model_sha256[:_HASH_LENGTH]}",
        "rule": f"{texts('performance.views', count=setting.views)}, "
        + texts(f"policy.{setting.policy}"),
        "device": ", ".join(part for part in device if part.strip()),
        "runtime": f"{setting.runtime}, {texts('performance.threads', count=setting.threads)}",
        "photos": photos,
    }
    return card(
        [
            heading(texts("performance.facts")),
            *(
                ft.Column(
                    [faint(texts(f"performance.fact.{name}")), words(value, selectable=True)],
                    spacing=0,
                )
                for name, value in rows.items()
            ),
        ]
    )


def _exports(session: Session) -> ft.Control:
    texts, timing = session.texts, session.timing

    def handler(work: Callable[[], Any]) -> Callable[[Any], Any]:
        async def handle(_event: Any) -> None:
            await work()

        return handle

    buttons = (
        (texts("performance.save_json"), ft.Icons.SAVE_ALT, timing.save_json),
        (texts("performance.save_csv"), ft.Icons.TABLE_CHART, timing.save_csv),
        (texts("common.copy"), ft.Icons.COPY, timing.copy),
    )
    return ft.Row(
        [_button(ft.OutlinedButton, text, icon, handler(work)) for text, icon, work in buttons],
        wrap=True,
        spacing=HALF_GAP,
        run_spacing=HALF_GAP,
    )


def _recent(session: Session, trial: Trial) -> ft.Control:
    texts = session.texts
    parts: list[ft.Control] = [heading(texts("performance.recent"))]
    if trial.recent_ms is None:

        async def look_back(_event: Any) -> None:
            await session.timing.look_back()

        parts.append(
            _button(
                ft.OutlinedButton, texts("performance.recent_show"), ft.Icons.HISTORY, look_back
            )
        )
    elif not trial.recent_ms:
        parts.append(words(texts("performance.recent_none")))
    else:
        spread = spread_of(trial.recent_ms)
        parts.append(
            words(
                texts(
                    "performance.recent_summary",
                    count=len(trial.recent_ms),
                    p50=texts.duration(spread.p50),
                    p95=texts.duration(spread.p95),
                )
            )
        )
    return card(parts)


def _button(
    kind: type[ft.FilledButton] | type[ft.OutlinedButton],
    text: str,
    icon: ft.IconData,
    on_click: Callable[[Any], Any],
) -> ft.Control:
    """Return a button that is no lower than a finger needs, and higher for large letters."""
    style = ft.ButtonStyle(padding=ft.Padding.symmetric(horizontal=GAP, vertical=14))
    return kind(text, icon=icon, on_click=on_click, style=style)
