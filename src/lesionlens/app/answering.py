"""What becomes of a fresh answer: its heat map, the history, a page to hand on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import lesionlens
from lesionlens.app.engine import Answer
from lesionlens.app.handling import guarded
from lesionlens.app.keeping import in_thread
from lesionlens.app.state import Result
from lesionlens.app.wording import headline
from lesionlens.errors import HistoryError, LesionLensError
from lesionlens.verdicts import CONFIDENT, OUT_OF_SCOPE, POOR_IMAGE, UNCERTAIN

if TYPE_CHECKING:
    from lesionlens.app.pdf_report import Report
    from lesionlens.app.session import Session

#: How strongly the heat map lies over the picture when it comes: seen, and seen through. Where the
#: verdict names nothing, what spoke for a name is there for who asks.
FIRST_OPACITY = {CONFIDENT: 0.5, UNCERTAIN: 0.5, OUT_OF_SCOPE: 0.0, POOR_IMAGE: 0.0}


class Answering:
    """The result on the screen."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @guarded
    async def finish(self, result: Result) -> None:
        """Do what the verdict need not wait for: say it, draw the map, keep the scan.

        Kept it is even where the next verdict comes first.
        """
        session, answer = self.session, result.answer
        texts, prediction = session.texts, answer.prediction
        await session.device.announce(
            f"{headline(prediction, texts)}. {texts('common.not_a_diagnosis')}"
        )
        try:
            overlay: bytes | None = await session.engine.draw_overlay(answer)
        except LesionLensError:  # a model that cannot be explained still answers
            overlay = None
        if self._is_shown(answer):
            self._change(overlay=overlay, overlay_opacity=FIRST_OPACITY[prediction.verdict])
        if session.state.preferences.keeps_scans:
            await self._save(replace(result, overlay=overlay))
        if self._is_shown(answer):
            self._change(is_finishing=False)
        await session.keeping.reload()  # who was faster looks into the history already

    @guarded
    async def set_opacity(self, event: Any) -> None:
        """Let the heat map lie over the picture as strongly as the slider says."""
        if self.session.state.result is not None:
            self._change(overlay_opacity=float(event.control.value))

    @guarded
    async def save(self) -> None:
        """Put the scan into the history."""
        result = self.session.state.result
        if result is not None and result.scan_id is None:
            await self._save(result)

    @guarded
    async def remove(self) -> None:
        """Take the scan out of the history; the answer stays on the screen."""
        result = self.session.state.result
        if result is None or result.scan_id is None:
            return
        scan_id = result.scan_id
        await in_thread(self.session, lambda history: history.delete(scan_id))
        self._change(scan_id=None)

    @guarded
    async def annotate(self) -> None:
        """Open the saved scan, where notes and the place on the body are written."""
        result = self.session.state.result
        if result is not None and result.scan_id is not None:
            self.session.navigation.go(f"/history/scans/{result.scan_id}")

    @guarded
    async def share_report(self) -> None:
        """Hand out the answer as one page."""
        session = self.session
        result = session.state.result
        if result is None:
            return
        session.state.busy = session.texts("result.making_report")
        report = self._report(result, await session.device.describe())
        name, data = await asyncio.to_thread(self._print, report)
        session.state.busy = None
        if await session.device.share(name, data, "application/pdf"):
            session.say(session.texts("history.exported", name=name))

    @property
    def would_be_lost(self) -> bool:
        """Whether an answer on the screen is in no history; a poor photo's is no loss."""
        result = self.session.state.result
        return (
            result is not None
            and result.scan_id is None
            and not result.is_finishing
            and result.answer.prediction.verdict != POOR_IMAGE
        )

    async def _save(self, result: Result) -> None:
        answer, spec = result.answer, self.session.engine.spec
        try:
            scan = await in_thread(
                self.session,
                lambda history: history.add(
                    answer.prediction,
                    photo=answer.picture,
                    thumbnail=answer.thumbnail,
                    overlay=result.overlay,
                    milliseconds=answer.milliseconds,
                    model=f"{spec.name} {spec.version}",
                    model_sha256=spec.sha256,
                    used_anyway=result.used_anyway,
                ),
            )
        except HistoryError as error:  # the answer stays, with the reason why it is not kept
            if self._is_shown(answer):
                self._change(save_error=str(error))
            else:
                self.session.say(str(error), is_error=True)
            return
        if self._is_shown(answer):
            self._change(scan_id=scan.id, save_error=None)

    def _report(self, result: Result, device: dict[str, str]) -> Report:
        from lesionlens.app.pdf_report import Report

        spec = self.session.engine.spec
        return Report(
            photo=result.answer.picture,
            overlay=result.overlay,
            prediction=result.answer.prediction,
            taken_at=datetime.now(UTC),
            model_name=spec.name,
            model_version=spec.version,
            model_sha256=spec.sha256,
            milliseconds=result.answer.total_ms,
            app_version=lesionlens.__version__,
            device=" ".join(
                part for part in (device["model"], device["system"], device["version"]) if part
            ),
        )

    def _print(self, report: Report) -> tuple[str, bytes]:
        from lesionlens.app.pdf_report import make_report, report_name

        return report_name(report), make_report(report, self.session.texts)

    def _is_shown(self, answer: Answer) -> bool:
        """Whether this is still the answer on the screen, and not the next one's."""
        result = self.session.state.result
        return result is not None and result.answer is answer

    def _change(self, **changes: Any) -> None:
        assert self.session.state.result is not None
        self.session.state.result = replace(self.session.state.result, **changes)
