"""The history taken elsewhere and back: table, ZIP, one page as PDF."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import lesionlens
from lesionlens.app.browsing import OpenScan, kind_of
from lesionlens.app.handling import guarded
from lesionlens.app.keeping import in_thread
from lesionlens.app.texts import Texts
from lesionlens.errors import HistoryError
from lesionlens.history.store import History

if TYPE_CHECKING:
    from lesionlens.app.pdf_report import Report
    from lesionlens.app.session import Session


class Transfers:
    """Hands out what the history holds, and takes in what another one handed out."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @guarded
    async def export_csv(self) -> None:
        """Hand out a table of all scans, for a spreadsheet."""

        def write(history: History) -> bytes:
            stream = io.StringIO(newline="")
            history.export_csv(stream)
            return stream.getvalue().encode("utf-8-sig")  # so that spreadsheets see it is UTF-8

        await self._hand_out(await in_thread(self.session, write), "csv", "text/csv")

    @guarded
    async def export_zip(self) -> None:
        """Hand out everything, pictures too, as a ZIP that can be read in again."""
        tell = self._progress("history.exporting")

        def write(history: History) -> bytes:
            stream = io.BytesIO()
            history.export_zip(stream, progress=tell)
            return stream.getvalue()

        await self._hand_out(await in_thread(self.session, write), "zip", "application/zip")

    async def _hand_out(self, data: bytes, suffix: str, mime_type: str) -> None:
        session = self.session
        session.state.busy = None  # while the person says where it goes
        name = f"lesionlens-history-{datetime.now():%Y-%m-%d}.{suffix}"
        if await session.device.share(name, data, mime_type):
            session.say(session.texts("history.exported", name=name))

    @guarded
    async def import_zip(self) -> None:
        """Take in a ZIP that a history handed out, and say what came of it."""
        session = self.session
        picked = await session.device.pick_file(["zip"])
        if picked is None:
            return
        if picked.data is None:  # more than any history of ours has
            session.say(session.texts("history.error_not_an_export"), is_error=True)
            return
        tell = self._progress("history.importing")
        try:
            summary = await asyncio.to_thread(
                session.history.import_zip, io.BytesIO(picked.data), progress=tell
            )
        except HistoryError as error:
            kind = kind_of(error)
            known = "not_an_export" if kind in ("missing", "disk") else kind
            session.say(session.texts(f"history.error_{known}"), is_error=True)
            return
        finally:  # what was taken in before it failed is there
            await session.keeping.reload()
        if session.state.browse is not None:
            session.state.browse = replace(session.state.browse, summary=summary)

    @guarded
    async def share_report(self, scan_id: int) -> None:
        """Hand out a saved scan as one page."""
        session = self.session
        opened = session.state.opened.scans.get(scan_id)
        if opened is None:
            return
        session.state.busy = session.texts("history.making_report")
        device = await session.device.describe()
        name, data = await asyncio.to_thread(_make_report, opened, device, session.texts)
        session.state.busy = None
        if await session.device.share(name, data, "application/pdf"):
            session.say(session.texts("history.exported", name=name))

    def _progress(self, key: str) -> Callable[[int, int], None]:
        """Return what a thread tells how far it is; a hundred times at most."""
        session, loop = self.session, asyncio.get_running_loop()

        def show(done: int, whole: int) -> None:
            session.state.busy = session.texts(key, done=done, whole=whole)

        def tell(done: int, whole: int) -> None:
            if done == whole or done % max(1, whole // 100) == 0:
                loop.call_soon_threadsafe(show, done, whole)

        return tell


def report_of(opened: OpenScan, device: dict[str, str], texts: Texts) -> Report:
    """Return what stands on the page of a saved scan.

    Args:
        opened: the scan.
        device: as ``Device.describe`` gives it.
        texts: in the language of the page.
    """
    from lesionlens.app.pdf_report import Report

    scan = opened.scan
    model_name, _, model_version = scan.model.rpartition(" ")
    return Report(
        photo=opened.photo,
        overlay=opened.overlay,
        prediction=scan.prediction,
        taken_at=scan.taken_at,
        model_name=model_name or scan.model,
        model_version=model_version,
        model_sha256=scan.model_sha256,
        milliseconds=scan.milliseconds.get("total", scan.prediction.elapsed_ms),
        app_version=lesionlens.__version__,
        device=" ".join(
            part for part in (device["model"], device["system"], device["version"]) if part
        ),
        body_site=None if scan.body_site is None else texts(f"body.{scan.body_site}"),
        lesion=None if opened.lesion is None else opened.lesion.name,
        notes=opened.notes,
    )


def _make_report(opened: OpenScan, device: dict[str, str], texts: Texts) -> tuple[str, bytes]:
    from lesionlens.app.pdf_report import make_report, report_name

    report = report_of(opened, device, texts)
    return report_name(report), make_report(report, texts)
