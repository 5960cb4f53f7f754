"""The performance run: what it measures, that it can be stopped, and what it gives away."""

from __future__ import annotations

import asyncio
import csv
import dataclasses
import io
import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
import pytest

ft = pytest.importorskip("flet", reason="the extra app")

# ruff: noqa: E402 - what needs flet comes after
from app_kit import FakeDevice, controls_of, find, jpeg_of, make_session, screen_of, tap, texts_of
from lesionlens.app import timing, trial
from lesionlens.app.device import Picked
from lesionlens.app.screens import performance
from lesionlens.app.session import Session
from lesionlens.app.texts import LANGUAGES
from lesionlens.app.trial import (
    STAGES,
    Memory,
    PhotoFacts,
    ScanTime,
    Setting,
    Trial,
    as_csv,
    as_json,
    read_memory,
    spread_of,
    time_scan,
)
from memory_kit import alone

ROOT = Path(__file__).parent.parent
ANSWERED = {
    "decode": 25.0, "views": 3.0, "model": 26.0, "judge": 4.0, "pictures": 17.0, "total": 76.0,
}  # fmt: skip
SETTING = Setting(
    app_version="0.4.0", model_name="lens", model_version="0.2.0", model_sha256="ab" * 32,
    model_precision="fp16", model_bytes=2_420_788, views=10, policy="balanced", threads=4, cores=8,
    runtime="tflite-runtime", python="3.12.1", system="Android", system_version="16 (API 36)",
    device_model="Pixel 8", machine="aarch64", source="drawn",
    photos=(PhotoFacts("drawn-bcc.jpg", 4000, 3000, 1_600_000),),
    started_at=datetime(2026, 11, 26, 14, 32, tzinfo=UTC), peak_is_of_run=True,
)  # fmt: skip


def a_scan(total_ms: float, memory_bytes: int | None = 100_000_000) -> ScanTime:
    answered = {name: value * total_ms / 76.0 for name, value in ANSWERED.items()}
    return time_scan(0, answered, open_ms=90.0, overlay_ms=27.0, memory_bytes=memory_bytes)


def a_trial(*totals_ms: float, **changes: object) -> Trial:
    scans = tuple(
        a_scan(total, 100_000_000 + 1000 * index) for index, total in enumerate(totals_ms)
    )
    values = {"n": len(scans), "status": "done", "setting": SETTING, "scans": scans}
    return Trial(**values | {"peak_bytes": 123_000_000} | changes)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    """A session whose run is short: small pictures, three scans."""
    monkeypatch.setattr(timing, "DRAWN_PX", (400, 300))
    monkeypatch.setattr(timing, "_PAUSE_S", 0.0)
    session = make_session()
    session.state.stack = ("/settings", "/settings/performance")
    session.state.trial = Trial(n=3)
    return session


def ready(session: Session) -> str:
    return session.texts("performance.start")


# ---------------------------------------------------------------- figures


def test_what_no_other_stage_takes_of_the_total_is_the_explanation() -> None:
    scan = time_scan(2, ANSWERED, open_ms=90.0, overlay_ms=27.0, memory_bytes=5)
    assert scan.milliseconds["explain"] == pytest.approx(1.0)
    assert scan.milliseconds["open"] == 90.0
    assert scan.milliseconds["overlay"] == 27.0
    assert tuple(scan.milliseconds) == STAGES
    assert (scan.photo, scan.memory_bytes) == (2, 5)
    inside = set(STAGES) - {"open", "overlay", "total"}
    assert sum(scan.milliseconds[stage] for stage in inside) == pytest.approx(76.0)


def test_a_spread_is_numpys() -> None:
    values = np.random.default_rng(1).gamma(3, 20, 37)
    spread = spread_of(list(values))
    assert dataclasses.astuple(spread) == pytest.approx(np.percentile(values, [0, 50, 95, 100]))
    assert dataclasses.astuple(spread_of([7.0])) == (7.0, 7.0, 7.0, 7.0)
    with pytest.raises(ValueError, match="nothing was measured"):
        spread_of([])


def test_memory_is_what_the_system_says_of_this_process() -> None:
    memory, rss = alone(memory_and_rss)
    if memory.now_bytes is None:
        pytest.skip("this system does not say")
    assert memory.now_bytes == pytest.approx(rss, rel=0.1)
    assert memory.peak_bytes >= memory.now_bytes * 0.9


def memory_and_rss() -> tuple[Memory, int]:
    return read_memory(), psutil.Process().memory_info().rss


def test_a_peak_that_is_forgotten_begins_anew() -> None:
    before, after = alone(peaks_around_forgetting)
    if after is None:
        pytest.skip("this system does not let it")
    assert after < before - 20_000_000


def peaks_around_forgetting() -> tuple[int, int | None]:
    block = np.ones(40_000_000, np.uint8)
    high = read_memory().peak_bytes
    del block
    return high, read_memory().peak_bytes if trial.forget_peak() else None


def test_memory_is_none_where_the_system_says_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(trial, "_STATUS", tmp_path / "status")
    assert read_memory().now_bytes is None
    monkeypatch.setattr(trial, "_CLEAR", tmp_path / "no" / "clear_refs")
    assert not trial.forget_peak()


def test_growth_is_from_the_first_scan_to_the_last() -> None:
    assert a_trial(70, 80, 90).growth_bytes == 2000
    assert a_trial(70).growth_bytes is None
    assert Trial().growth_bytes is None
    silent = a_trial(70, scans=(a_scan(70, None), a_scan(70, None)))
    assert silent.growth_bytes is None


def test_json_says_all_that_a_comparison_needs() -> None:
    content = json.loads(as_json(a_trial(70, 80, 90, 400)))
    assert content["format"] == trial.FORMAT
    assert content["is_complete"] is True
    assert content["started_at"] == "2026-11-26T14:32:00+00:00"
    assert content["model"]["sha256"] == "ab" * 32
    assert content["run"]["n"] == 4
    assert content["milliseconds"]["total"]["p50"] == pytest.approx(85.0)
    assert content["milliseconds"]["total"]["high"] == pytest.approx(400.0)
    assert content["memory_bytes"] == {
        "first": 100_000_000, "last": 100_003_000, "growth": 3000, "peak": 123_000_000,
        "peak_is_of_run": True,
    }  # fmt: skip
    assert [scan["milliseconds"]["total"] for scan in content["scans"]] == [70, 80, 90, 400]
    assert json.loads(as_json(a_trial(70, status="stopped")))["is_complete"] is False


def test_every_field_of_the_files_is_documented() -> None:
    words = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    known = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", words))))

    def names(value: object) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(names, value.values()))
        return set().union(*map(names, value)) if isinstance(value, list) else set()

    fields = names(json.loads(as_json(a_trial(70, 80))))
    assert fields <= known, f"not in docs/performance.md: {sorted(fields - known)}"
    header = as_csv(a_trial(70)).splitlines()[0].split(",")
    assert set(header) <= known


def test_csv_has_a_row_for_each_scan() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(a_trial(70, 80, scans=(a_scan(70, None),))))))
    assert len(rows) == 1
    assert rows[0]["scan"] == "1"
    assert rows[0]["total_ms"] == "70.000"
    assert rows[0]["memory_bytes"] == ""
    assert rows[0]["width_px"] == "4000"


def test_what_was_not_measured_is_not_exported() -> None:
    for export in (as_json, as_csv, lambda run: trial.file_name(run, "json")):
        with pytest.raises(ValueError, match="nothing was measured"):
            export(Trial())


def test_the_paper_is_quoted_from_where_its_numbers_stand() -> None:
    assert trial.paper_ms() == pytest.approx(200.0)


# ---------------------------------------------------------------- the run


def test_a_run_times_every_scan_and_keeps_none(session: Session) -> None:
    started = time.perf_counter()
    tap(session, ready(session))
    wall_ms = (time.perf_counter() - started) * 1e3
    run = session.timing.trial
    assert run.status == "done"
    assert len(run.scans) == 3
    assert [scan.photo for scan in run.scans] == [0, 1, 2], "the pictures take turns"
    assert 0 < sum(scan.milliseconds["total"] for scan in run.scans) < wall_ms
    for scan in run.scans:
        assert all(value >= 0 for value in scan.milliseconds.values())
        assert scan.milliseconds["model"] > 0
    assert run.setting.model_sha256 == session.engine.spec.sha256
    assert run.setting.model_bytes == session.engine.model_bytes
    assert run.setting.views == session.state.preferences.views
    assert {(photo.width_px, photo.height_px) for photo in run.setting.photos} == {(400, 300)}
    assert session.history.count() == 0
    assert not session.device.saved
    assert session.state.result is None
    assert session.state.busy is None


def test_a_run_shows_how_far_it_is(session: Session) -> None:
    seen = []
    show = session.timing._show

    def note(run: Trial) -> None:
        show(run)
        said = texts_of(screen_of(session))
        seen.append((run.status, re.findall(r"Scan (\d) of 3", said), "Stop" in said))

    session.timing._show = note
    tap(session, ready(session))
    assert seen == [
        ("preparing", [], True),
        ("running", ["1"], True),
        ("running", ["2"], True),
        ("running", ["3"], True),
        ("running", ["3"], True),
        ("done", [], False),
    ]


def test_a_run_can_be_stopped_and_keeps_what_it_has(session: Session) -> None:
    session.state.trial = Trial(n=100)

    async def run_and_stop() -> None:
        running = asyncio.create_task(session.timing.start())
        while len(session.timing.trial.scans) < 2:
            await asyncio.sleep(0.001)
        find(screen_of(session), "Stop").on_click(None)
        await session.timing.start()  # one at a time: this does nothing
        await running

    asyncio.run(run_and_stop())
    run = session.timing.trial
    assert run.status == "stopped"
    assert 2 <= len(run.scans) <= 3
    assert f"Stopped after {len(run.scans)} scans." in texts_of(screen_of(session))
    tap(session, "Save as JSON")
    assert json.loads(session.device.saved[0][1])["is_complete"] is False


def test_a_run_that_is_stopped_while_pictures_are_drawn_leaves_what_was_there(
    session: Session,
) -> None:
    before = session.state.trial = a_trial(70, 80)

    async def run_and_stop() -> None:
        running = asyncio.create_task(session.timing.start())
        await asyncio.sleep(0)
        session.timing.stop()
        await running

    asyncio.run(run_and_stop())
    assert session.timing.trial == before


def test_ones_own_picture_is_scanned_and_not_named(session: Session) -> None:
    session.device.photo = Picked("jane-doe.jpg", jpeg_of("scc", size_px=(640, 480)))
    tap(session, session.texts("performance.start_own"))
    run = session.timing.trial
    assert run.setting.source == "given"
    assert [(photo.name, photo.width_px) for photo in run.setting.photos] == [("", 640)]
    assert "jane" not in as_json(run) + as_csv(run) + texts_of(screen_of(session))


def test_choosing_no_picture_leaves_what_was_there(session: Session) -> None:
    before = session.state.trial = a_trial(70, 80)
    tap(session, session.texts("performance.start_own"))
    assert session.timing.trial == before


def test_a_picture_that_cannot_be_read_ends_the_run_with_a_word(session: Session) -> None:
    session.device.photo = Picked("notes.jpg", b"no picture at all")
    tap(session, session.texts("performance.start_own"))
    assert session.state.message.is_error
    assert session.timing.trial.status == "stopped"
    assert find(screen_of(session), ready(session)), "and it can be started again"


def test_the_length_is_chosen_before_a_run_and_not_during_one(session: Session) -> None:
    tap(session, "100")
    assert session.timing.trial.n == 100
    session.state.trial = Trial(n=10, status="running")
    session.timing.choose(30)
    assert session.timing.trial.n == 10


def test_drawn_pictures_are_large_and_the_same_each_time() -> None:
    assert np.prod(timing.DRAWN_PX) == 12_000_000
    first, second = (timing.draw_photo("bcc", (200, 150)) for _ in range(2))
    assert first == second
    assert first != timing.draw_photo("skin", (200, 150))


# ---------------------------------------------------------------- the screen


def test_the_figures_are_saved_and_copied(session: Session) -> None:
    session.state.trial = a_trial(70, 80, 90)
    tap(session, "Save as JSON")
    tap(session, "Save as CSV")
    tap(session, "Copy")
    (json_name, json_bytes), (csv_name, csv_bytes) = session.device.saved
    assert json_name == "lesionlens-performance-2026-11-26-1432.json"
    assert csv_name == "lesionlens-performance-2026-11-26-1432.csv"
    assert json_bytes.decode() == as_json(session.timing.trial)
    assert csv_bytes.decode() == as_csv(session.timing.trial)
    assert session.device.copied == [json_bytes.decode()]
    assert session.state.message.text == session.texts("performance.copied")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_screen_shows_all_figures_in_every_language(language: str) -> None:
    session = make_session(language=language)
    session.state.stack = ("/settings/performance",)
    session.state.trial = a_trial(70, 80, 90, recent_ms=(60.0, 70.0, 300.0))
    texts, said = session.texts, texts_of(screen_of(session))
    for stage in STAGES:
        assert texts(f"performance.stage.{stage}") in said
    assert texts("performance.summary", p50=texts.duration(80), p95=texts.duration(89)) in said
    assert texts("performance.paper", duration=texts.duration(200)) in said
    assert "Pixel 8" in said
    assert SETTING.model_sha256[:12] in said
    assert SETTING.model_sha256 not in said
    assert texts("performance.memory_peak", size=texts.size(123_000_000)) in said
    assert (
        texts("performance.recent_summary", count=3, p50="70 ms", p95=texts.duration(277)) in said
    )


def test_before_a_run_there_are_no_figures_and_nothing_to_save(session: Session) -> None:
    said = texts_of(screen_of(session))
    assert session.texts("performance.stages") not in said
    with pytest.raises(AssertionError, match="nothing with on_click"):
        find(screen_of(session), "Save as JSON")


def test_a_system_that_says_nothing_of_memory_is_told_so(session: Session) -> None:
    setting = dataclasses.replace(SETTING, peak_is_of_run=False)
    scans = (a_scan(70, None),)
    session.state.trial = a_trial(70, scans=scans, peak_bytes=None, setting=setting)
    assert session.texts("performance.memory_unknown") in texts_of(screen_of(session))
    session.state.trial = a_trial(70, setting=setting)
    assert "since the app was started: 123 MB" in texts_of(screen_of(session))


def test_bars_fill_their_row_and_end_at_the_percentiles(session: Session) -> None:
    session.state.trial = a_trial(70, 80, 90)
    bars = [
        [part.expand for part in control.controls]
        for control in controls_of(screen_of(session))
        if isinstance(control, ft.Row)
        and all(getattr(part, "height", None) == performance._BAR_PX for part in control.controls)
    ]
    assert len(bars) == len(STAGES)
    assert all(sum(parts) == 1000 for parts in bars)
    at = [stage for stage in STAGES if stage not in ("open", "overlay")].index("total")
    assert bars[at][0] == pytest.approx(1000 * 80 / 90, abs=2), "the longest is open, 90 ms"


def test_real_scans_are_looked_back_at(session: Session) -> None:
    from lesionlens.app.engine import WHOLE

    tap(session, session.texts("performance.recent_show"))
    assert session.texts("performance.recent_none") in texts_of(screen_of(session))

    async def judge():
        photo = await session.engine.open(jpeg_of("skin"))
        return await session.engine.judge(photo, WHOLE, views=1, policy="balanced")

    answer = asyncio.run(judge())
    session.history.add(
        answer.prediction,
        photo=answer.picture,
        thumbnail=answer.thumbnail,
        milliseconds=answer.milliseconds,
        model="lens 0.2.0",
        model_sha256="ab" * 32,
    )
    session.state.trial = Trial()
    tap(session, session.texts("performance.recent_show"))
    said = session.texts.duration(answer.milliseconds["total"])
    assert f"The last scan took {said}." in texts_of(screen_of(session))


def test_everything_that_acts_says_what_it_does() -> None:
    session = make_session(device=FakeDevice())
    session.state.stack = ("/settings/performance",)
    for run in (Trial(), Trial(status="running"), a_trial(70, 80)):
        session.state.trial = run
        for control in controls_of(screen_of(session)):
            if getattr(control, "on_click", None):
                assert texts_of(control).strip()
