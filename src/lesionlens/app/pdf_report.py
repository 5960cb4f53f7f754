"""A scan as one printable page: PDF, made on the device, for a doctor or one's own folder.

Always one page, A4 with margins so wide that it prints whole on US letter too. Everything on it
is drawn by ReportLab, pure Python that runs on a phone. What the page may say is bound by
what the fonts that every PDF reader brings can show (Helvetica, in the encoding WinAnsi):
the five languages of the app fit; a note in another script is shown with question marks, and
the page says so.

The same report gives the same bytes. There is no script, no link and no code to scan in it, and
no metadata of the photo: pictures are decoded and encoded anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from math import cos, radians, sin
from typing import TYPE_CHECKING, Any

from lesionlens.app.pdf_blocks import (
    FAINT,
    HEIGHT,
    INK,
    LEADING,
    MARGIN_X,
    MARGIN_Y,
    PAGE,
    WIDTH,
    Block,
    beside,
    facts,
    paragraph,
    picture,
    printable,
    stack,
)
from lesionlens.app.theme import look_of
from lesionlens.app.wording import findings, headline, meaning, next_step
from lesionlens.records import Prediction
from lesionlens.verdicts import CONFIDENT, OUT_OF_SCOPE, POOR_IMAGE, UNCERTAIN

if TYPE_CHECKING:
    from lesionlens.app.texts import Texts

#: How many characters of the model's SHA-256 the page shows.
HASH_LENGTH = 12

_GAP = 10.0  # between the parts of the page
# With captions: where notes are shown in the fewest lines, where they are long, at most.
_PICTURE_HEIGHTS = (90.0, 170.0, 270.0)
_NOTES_LINES = 3  # that are shown of the notes however full the page is
_BARS_LEFT, _BARS_RIGHT = 150.0, 52.0  # beside the bars: names, numbers
# Of a bar: one that counts, one that does not (far paler in grey, too), its frame.
_STRONG, _PALE, _LINE = "#00696D", "#C3C7CB", "#73787E"


@dataclass(frozen=True)
class Report:
    """What stands on the page, in plain values; words are in the language of the page."""

    photo: bytes  # JPEG or PNG
    overlay: bytes | None  # the photo with the evidence laid over it, JPEG or PNG
    prediction: Prediction
    taken_at: datetime  # aware; shown by the device's clock
    model_name: str
    model_version: str
    model_sha256: str
    milliseconds: float  # from the photo's bytes to the answer
    app_version: str
    device: str  # what it ran on, e.g. "Pixel 8, Android 16"
    body_site: str | None = None  # where on the body, as it is to be read
    lesion: str | None = None  # name of the spot it belongs to
    notes: str = ""


def report_name(report: Report) -> str:
    """Return a name for the file, e.g. ``lesionlens-2026-11-26-1432.pdf``."""
    return f"lesionlens-{_local(report):%Y-%m-%d-%H%M}.pdf"


def _local(report: Report) -> datetime:
    """Return when the picture was taken by the device's clock, as ``Texts`` writes it."""
    return report.taken_at.astimezone()


def make_report(report: Report, texts: Texts) -> bytes:
    """Set a scan on one A4 page.

    Args:
        report: what to show.
        texts: the words, in the language of the page.

    Returns:
        The PDF: the same bytes for the same report and language.

    Raises:
        ImageError: a picture cannot be read; says why.
    """
    from reportlab.pdfgen.canvas import Canvas

    stream = BytesIO()
    canvas = Canvas(stream, pagesize=PAGE, invariant=1, pageCompression=1, lang=texts.language)
    canvas.setTitle(f"{texts('report.title')}, {texts.date(report.taken_at)}")
    canvas.setAuthor("LesionLens")
    canvas.setCreator(f"LesionLens {report.app_version}")
    canvas.setSubject(texts("common.not_a_diagnosis"))
    canvas.setDateFormatter(lambda *_: f"D:{_local(report):%Y%m%d%H%M%S}")
    canvas.setViewerPreference("DisplayDocTitle", "true")
    _lay_out(report, texts).draw(canvas, MARGIN_X, PAGE[1] - MARGIN_Y)
    canvas.showPage()
    canvas.save()
    return stream.getvalue()


def _lay_out(report: Report, texts: Texts) -> Block:
    """Return the whole page: pictures and notes share the height that the rest leaves."""
    above = [
        _header(report, texts),
        _caution(texts("common.not_a_diagnosis"), texts("report.caution")),
    ]
    below = [
        _probabilities(report.prediction, texts),
        stack([paragraph(line, size=9.5) for line in _remarks(report.prediction, texts)], gap=2),
    ]
    foot = [
        facts(_technical_rows(report, texts), size=7.5),
        _caution(texts("common.not_a_diagnosis"), texts("report.caution_foot")),
    ]
    if report.overlay is not None:
        below.insert(0, _verdict(report.prediction, texts, WIDTH))
    room = HEIGHT - sum(block.height + _GAP for block in (*above, *below, *foot))
    least, enough, most = _PICTURE_HEIGHTS
    notes = _notes(report.notes, texts, room - enough - _GAP)
    left = room - (notes.height + _GAP if notes else 0)
    pictures = _pictures(report, texts, min(most, max(least, left)))
    top = stack([*above, pictures, *below, *([notes] if notes else [])], gap=_GAP)
    bottom = stack(foot, gap=_GAP)

    def draw(canvas: Any, x: float, y: float) -> None:
        top.draw(canvas, x, y)
        bottom.draw(canvas, x, MARGIN_Y + bottom.height)

    return Block(HEIGHT, draw)


# ---------------------------------------------------------------- parts of the page


def _header(report: Report, texts: Texts) -> Block:
    where = [texts.date_time(report.taken_at)]
    where += [words for words in (report.body_site, report.lesion) if words]
    return stack(
        [
            paragraph(texts("report.title"), size=17, bold=True),
            paragraph("  ·  ".join(where), size=10, colour=FAINT, max_lines=2),
        ],
        gap=3,
    )


def _caution(title: str, words: str) -> Block:
    """Return the box that says what the page is not: black on white, in a strong frame."""
    inside = paragraph(words, lead=title, size=9.5, width=WIDTH - 20)

    def draw(canvas: Any, x: float, y: float) -> None:
        canvas.setStrokeColor(INK)
        canvas.setLineWidth(1.4)
        canvas.roundRect(x, y - inside.height - 12, WIDTH, inside.height + 12, 4, fill=0)
        inside.draw(canvas, x + 10, y - 5)

    return Block(inside.height + 12, draw)


def _pictures(report: Report, texts: Texts, height: float) -> Block:
    """Return the photo, and beside it the overlay or, where there is none, the verdict."""
    width = (WIDTH - _GAP) / 2
    shown = [(report.photo, texts("report.photo"))]
    if report.overlay is not None:
        shown.append((report.overlay, texts("report.overlay")))
    captions = [paragraph(words, size=8.5, colour=FAINT, width=width) for _, words in shown]
    height -= max(caption.height for caption in captions) + 2
    panels = [
        stack([picture(content, width, height), caption], gap=2)
        for (content, _), caption in zip(shown, captions, strict=True)
    ]
    second = panels[1] if panels[1:] else _verdict(report.prediction, texts, width)
    return beside(panels[0], second, width + _GAP)


def _verdict(prediction: Prediction, texts: Texts, width: float) -> Block:
    """Return the verdict as the app shows it: a shape, what it is in words, what that means."""
    look, inner = look_of(prediction), width - 46
    words = stack(
        [
            paragraph(headline(prediction, texts), size=14, bold=True, width=inner),
            paragraph(meaning(prediction, texts), size=9.5, width=inner),
            paragraph(
                next_step(prediction, texts),
                lead=f"{texts('verdict.next')}.",
                size=9.5,
                width=inner,
            ),
        ],
        gap=3,
    )

    def draw(canvas: Any, x: float, y: float) -> None:
        canvas.setFillColor(look.ground(is_dark=False))
        canvas.roundRect(x, y - words.height - 14, width, words.height + 14, 6, stroke=0, fill=1)
        canvas.setFillColor(look.ink(is_dark=False))
        canvas.setStrokeColor(look.ink(is_dark=False))
        canvas.setLineWidth(2)
        _draw_sign(canvas, look.name, x + 18, y - 16)
        words.draw(canvas, x + 36, y - 7)

    return Block(words.height + 14, draw)


def _draw_sign(canvas: Any, name: str, x: float, y: float) -> None:
    """Draw the shape of a look of the theme around a point, as its icon has it."""
    if name == "normal":
        canvas.circle(x, y, 8, stroke=0, fill=1)
    elif name == "poor_image":  # a picture, struck out
        canvas.rect(x - 8, y - 6, 16, 12, stroke=1, fill=0)
        canvas.line(x - 10, y + 9, x + 10, y - 9)
    else:
        first, n_corners = {"cancer": (0, 6), "uncertain": (90, 3), "out_of_scope": (45, 4)}[name]
        path = canvas.beginPath()
        for corner in range(n_corners):
            angle = radians(first + corner * 360 / n_corners)
            step = path.lineTo if corner else path.moveTo
            step(x + 9 * cos(angle), y + 9 * sin(angle))
        path.close()
        canvas.drawPath(path, stroke=1, fill=int(name == "cancer"))


def _probabilities(prediction: Prediction, texts: Texts) -> Block:
    """Return a bar for each class, in order of probability, and what the numbers mean."""
    counts = prediction.verdict in (CONFIDENT, UNCERTAIN)  # else the numbers say nothing
    bars = [
        _bar(texts(f"label.{label}"), share, texts, colour=_STRONG if counts else _PALE)
        for label, share in sorted(prediction.probabilities.items(), key=lambda item: -item[1])
    ]
    return stack(
        [
            paragraph(texts("verdict.likely"), size=10, bold=True),
            *bars,
            paragraph(_of_100(prediction, texts), size=8.5, colour=FAINT),
        ],
        gap=3,
    )


def _of_100(prediction: Prediction, texts: Texts) -> str:
    """Return what the probability of the answer says, or that it says nothing."""
    if prediction.verdict in (POOR_IMAGE, OUT_OF_SCOPE):
        return texts(f"report.meaning_{prediction.verdict}")
    n = min(99, max(1, round(100 * prediction.probability)))  # never all, never none
    label = texts(f"label.{prediction.label}.inside")
    return f"{texts('verdict.likely.means', n=n, label=label)} {texts('report.tested')}"


def _bar(name: str, probability: float, texts: Texts, *, colour: str) -> Block:
    """Return a name, a bar as long as its probability, and the probability in figures."""
    left, height = _BARS_LEFT, 11.0
    length = WIDTH - left - _BARS_RIGHT

    def draw(canvas: Any, x: float, y: float) -> None:
        canvas.setFillColor(INK)
        canvas.setFont("Helvetica", 9.5)
        canvas.drawString(x, y - height + 2, printable(name))
        canvas.drawRightString(x + WIDTH, y - height + 2, printable(texts.percent(probability)))
        canvas.setFillColor(colour)
        canvas.rect(x + left, y - height, length * probability, height, stroke=0, fill=1)
        canvas.setStrokeColor(_LINE)
        canvas.setLineWidth(0.7)
        canvas.rect(x + left, y - height, length, height, stroke=1, fill=0)

    return Block(height, draw)


def _remarks(prediction: Prediction, texts: Texts) -> list[str]:
    """Return what else is known: the prediction set, the scope, the photo's quality."""
    lines = []
    if prediction.verdict != POOR_IMAGE:
        members = [texts(f"label.{label}.inside") for label in prediction.prediction_set]
        empty = texts("verdict.set.empty")
        lines.append(texts("verdict.set", set=texts.any_of(members)) if members else empty)
    if prediction.scope is None:
        lines.append(texts("report.scope_unknown"))
    else:
        lines.append(texts("verdict.scope", share=texts.percent(prediction.scope)))
    found = " ".join(f"{title}." for title, _ in findings(prediction, texts))
    return [*lines, texts("report.quality", findings=found or texts("report.quality_good"))]


def _technical_rows(report: Report, texts: Texts) -> list[tuple[str, str]]:
    prediction = report.prediction
    model = f"{report.model_name} {report.model_version}, {report.model_sha256[:HASH_LENGTH]}"
    return [
        (texts("report.model"), model),
        (
            texts("report.computed"),
            texts(
                "report.computed_how",
                count=prediction.views,
                duration=texts.duration(report.milliseconds),
                policy=texts(f"policy.{prediction.policy}"),
            ),
        ),
        (texts("report.app"), f"LesionLens {report.app_version}, {report.device}"),
    ]


def _notes(notes: str, texts: Texts, room: float) -> Block | None:
    """Return the notes, cut with a sign that says so where they are higher than ``room``."""
    if not notes.strip():
        return None
    title = paragraph(texts("report.notes"), size=10, bold=True)
    size = 9.5
    lost = paragraph(texts("report.notes_lost"), size=8, colour=FAINT)
    extra = [lost] if printable(notes).count("?") > notes.count("?") else []
    whole = paragraph(notes, size=size)
    room -= title.height + 2 + sum(block.height + 2 for block in extra)
    if whole.height <= room:
        return stack([title, whole, *extra], gap=2)
    sign = paragraph(texts("report.notes_cut"), size=8.5, bold=True)
    n_lines = max(_NOTES_LINES, int((room - sign.height - 2) / (size * LEADING)))
    cut = paragraph(notes, size=size, max_lines=n_lines)
    return stack([title, cut, sign, *extra], gap=2)
