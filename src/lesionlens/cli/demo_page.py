"""What the demo leaves to look at: a page in one file, and a picture for every answer.

Written with the standard library and Pillow alone, as the base install has neither a
template engine nor a plotting library.
"""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from string import Template

from PIL import Image, ImageDraw, ImageFont

from lesionlens import __version__, files
from lesionlens.bundle import ModelSpec
from lesionlens.cli.writers import (
    DISCLAIMER,
    VERDICT_SIGNS,
    Answer,
    Failure,
    answer_words,
    finding_words,
    percent,
    set_words,
    verdict_words,
)
from lesionlens.imaging import load_picture
from lesionlens.labels import IN_SCOPE
from lesionlens.records import Prediction
from lesionlens.verdicts import CONFIDENT, DEFAULT_POLICY, UNCERTAIN

#: Longest side in pixels of a picture on the page.
_SHOWN_PX = 640


@dataclass(frozen=True)
class Sample:
    """An image to show."""

    file: str  # its path
    caption: str = ""  # what it is known to be, if that is known


@dataclass(frozen=True)
class Origin:
    """Where the samples come from, and what their answers are therefore worth."""

    subject: str  # what they are called, in the plural
    note: str  # to be read before the answers


DRAWN = Origin(
    "drawn samples",
    "These samples are drawn, not photographed, and the model has never learned from a drawing: "
    "the answers show how it is used, not how good it is. That is measured in MODEL_CARD.md.",
)
ARCHIVE = Origin(
    "images of the archive",
    "If the model was trained on this archive it has seen these images: the answers show how it "
    "is used, not how good it is. That is measured on held-out lesions, in MODEL_CARD.md.",
)
YOURS = Origin("images", "")


def next_steps(origin: Origin) -> list[tuple[str, str]]:
    """Return commands worth trying after the demo, each with what it is for."""
    run = os.path.join(".venv", "bin", "lesionlens")
    command = run if Path(run).exists() else "lesionlens"
    steps = [
        (f"{command} predict lesion.jpg", "one answer on the terminal; a folder works, too"),
        (f"{command} predict photos/ -o answers.csv", "a table for a spreadsheet"),
        (f"{command} doctor", "is this installation whole, and how fast is it?"),
    ]
    if origin is not YOURS and Path("Makefile").exists():
        steps.insert(0, ('make demo IMAGES="a.jpg b.jpg"', "this page for images of your own"))
    return steps


# ---------------------------------------------------------------- pictures


def write_picture(path: Path, sample: Sample, answer: Prediction) -> None:
    """Write the sample with its answer written under it; the image itself is not drawn on.

    Args:
        path: the PNG to write.
        sample: the image; its caption goes above the answer.
        answer: what to write.
    """
    picture = load_picture(sample.file, max_side_px=_SHOWN_PX)
    if picture.width < _SHOWN_PX // 2:  # room for the words
        scale = _SHOWN_PX / 2 / picture.width
        picture = picture.resize((_SHOWN_PX // 2, round(picture.height * scale)))
    width, margin = picture.width, 16
    scale = max(0.62, width / 640)
    ink, grey, paper = (28, 32, 38), (104, 112, 122), (255, 255, 255)
    large, small = ImageFont.load_default(26 * scale), ImageFont.load_default(17 * scale)
    line = round(27 * scale)
    strip_px = round(52 * scale) + line * (4 + bool(sample.caption))
    card = Image.new("RGB", (width, picture.height + strip_px), paper)
    card.paste(picture)
    pen = ImageDraw.Draw(card)
    y = picture.height + round(10 * scale)
    if sample.caption:
        pen.text((margin, y), sample.caption, grey, small)
        y += line
    pen.text((margin, y), answer_words(answer), ink, large)
    pen.text((width - margin, y + 4 * scale), verdict_words(answer), grey, small, anchor="ra")
    y += round(36 * scale)
    left, right = margin + round(80 * scale), width - margin - round(72 * scale)
    for label in IN_SCOPE:
        probability = answer.probabilities[label]
        is_top = label is answer.label and answer.verdict in (CONFIDENT, UNCERTAIN)
        colour = (21, 101, 132) if is_top else (168, 178, 188)
        top, bottom = y + round(6 * scale), y + round(18 * scale)
        pen.text((margin, y), label.value, ink, small)
        pen.rounded_rectangle((left, top, right, bottom), 4, fill=(232, 236, 240))
        reach = left + round((right - left) * probability)
        if reach - left >= 2:
            pen.rounded_rectangle((left, top, reach, bottom), 4, fill=colour)
        pen.text((width - margin, y), percent(probability), ink, small, anchor="ra")
        y += line
    pen.text((margin, y), "Not a diagnosis.", grey, small)
    with files.atomic_write(path, "wb") as file:
        card.save(file, "PNG")


# ---------------------------------------------------------------- the page


def write_page(
    path: Path,
    samples: Sequence[Sample],
    answers: Sequence[Answer],
    *,
    origin: Origin,
    spec: ModelSpec,
) -> None:
    """Write the answers as one self-contained HTML file that needs no network.

    Args:
        path: the file to write.
        samples: what was classified.
        answers: an answer or a failure for each, in the same order.
        origin: where the samples come from.
        spec: the model that answered.
    """
    cards = [_card(sample, answer) for sample, answer in zip(samples, answers, strict=True)]
    answered = [answer for answer in answers if isinstance(answer, Prediction)]
    milliseconds = sorted(answer.elapsed_ms for answer in answered)
    facts = [
        f"{len(answered)} of {len(answers)} images answered",
        f"model {spec.name} {spec.version}, {spec.precision}",
    ]
    if answered:
        facts.append(f"{answered[0].views} views an image")
        facts.append(f"{milliseconds[len(milliseconds) // 2]:.0f} ms an image (median)")
    facts.append(f"LesionLens {__version__}")
    facts.append(date.today().isoformat())
    steps = "".join(
        f"<li><code>{html.escape(command)}</code><span>{html.escape(purpose)}</span></li>"
        for command, purpose in next_steps(origin)
    )
    note = f'<p class="note">{html.escape(origin.note)}</p>' if origin.note else ""
    page = Template(_PAGE).substitute(
        style=_STYLE,
        facts="".join(f"<li>{html.escape(fact)}</li>" for fact in facts),
        note=note,
        cards="\n".join(cards),
        rule=_rule(spec),
        steps=steps,
        disclaimer=html.escape(DISCLAIMER),
        licence=html.escape(spec.licence),
    )
    with files.atomic_write(path) as file:
        file.write(page)


def _card(sample: Sample, answer: Answer) -> str:
    name = html.escape(Path(sample.file).name)
    caption = html.escape(sample.caption or Path(sample.file).name)
    if isinstance(answer, Failure):
        return (
            f'<article class="card failed"><div class="words"><p class="caption">{caption}</p>'
            f"<h2>No answer</h2><p>{html.escape(answer.error)}</p></div></article>"
        )
    picture = load_picture(sample.file, max_side_px=_SHOWN_PX)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85)
    source = base64.b64encode(stream.getvalue()).decode()
    symbol, _ = VERDICT_SIGNS.get(answer.verdict, ("?", ""))
    verdict = html.escape(f"{symbol} {verdict_words(answer)}")
    top = answer.label if answer.verdict in (CONFIDENT, UNCERTAIN) else None
    bars = "".join(
        _bar(label.value, answer.probabilities[label], "top" if label is top else "")
        for label in IN_SCOPE
    )
    if answer.scope is not None:
        bars += _bar("one of the three", answer.scope, "scope")
    wrong = "".join(
        f"<p>{html.escape(f'{finding_words(finding)} {finding.advice}')}</p>"
        for finding in answer.quality.findings
    )
    return (
        f'<article class="card {html.escape(answer.verdict)}">'
        f'<img alt="{caption}" title="{name}" width="{picture.width}" height="{picture.height}" '
        f'src="data:image/jpeg;base64,{source}">'
        f'<div class="words"><p class="caption">{caption}</p>'
        f"<h2>{html.escape(answer_words(answer))} "
        f'<span class="verdict {html.escape(answer.verdict)}">{verdict}</span>'
        f"</h2><dl>{bars}</dl><p>May be: {html.escape(set_words(answer))}</p>{wrong}"
        f'<p class="file">{name}</p></div></article>'
    )


def _rule(spec: ModelSpec) -> str:
    policy = spec.policy(DEFAULT_POLICY)
    confident_at = policy.confident_at_for(spec.views)
    if confident_at > 1:
        confident = "This model calls no answer confident."
    else:
        confident = (
            "<b>● confident</b>: nothing else comes into question, and the likeliest class and "
            f"“one of the three” multiply to at least {percent(confident_at)}."
        )
    return (
        f"{confident} <b>◐ uncertain</b>: do not rely on it. <b>○ out of scope</b>: less like each "
        f"of the three than {percent(policy.scope_coverage)} of its images; it may still be a "
        "disease. "
        "<b>✕ poor image</b>: take another one."
    )


def _bar(name: str, probability: float, kind: str) -> str:
    return (
        f'<dt class="{kind}">{html.escape(name)}</dt>'
        f'<dd class="{kind}"><span class="bar"><i style="width:{probability * 100:.1f}%"></i>'
        f"</span><b>{html.escape(percent(probability))}</b></dd>"
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>LesionLens demo</title>
<style>$style</style>
</head>
<body>
<header>
<h1>Lesion<b>Lens</b></h1>
<p>Dermoscopic images, answered on this machine: basal cell carcinoma, squamous cell carcinoma,
or healthy skin.</p>
<p class="warning">$disclaimer</p>
<ul class="facts">$facts</ul>
</header>
<main>
$note
<section class="cards">
$cards
</section>
<section class="legend">
<h2>How to read an answer</h2>
<p>The three probabilities are calibrated and sum to 100&nbsp;%: they hold <em>given</em> that the
image shows one of the three. “One of the three” is the probability that it does; a nevus, a
melanoma or a brick wall should score low there. $rule</p>
</section>
<section class="steps">
<h2>Try next</h2>
<ul>$steps</ul>
</section>
</main>
<footer><p>$disclaimer</p><p>Weights: $licence</p></footer>
</body>
</html>
"""

_STYLE = """
:root{--ink:#1c2026;--soft:#5c6672;--line:#dfe4e9;--paper:#fff;--ground:#f4f6f8;--accent:#156584;
--bar:#e6eaee;--rest:#a8b2bc;--scope:#7a6aa8;--warn:#7a4b00;--warnbg:#fff4dd;
color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf0;--soft:#9aa5b1;--line:#2c333b;--paper:#1a1f25;
--ground:#12161a;--accent:#4db3d6;--bar:#2b323a;--rest:#66717c;--scope:#a594d8;--warn:#ffd58a;
--warnbg:#33280f}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
header,main,footer{max-width:1180px;margin:0 auto;padding:0 24px}
header{padding-top:40px}
h1{font-weight:300;font-size:40px;letter-spacing:-.02em;margin:0;line-height:1.1}
h1 b{font-weight:650;color:var(--accent)}
header p{max-width:44em;margin:10px 0}
.warning,.note{background:var(--warnbg);color:var(--warn);border-radius:8px;padding:10px 14px;
font-weight:500}
.note{font-weight:400}
.facts{list-style:none;display:flex;flex-wrap:wrap;gap:6px 22px;padding:0;margin:14px 0 22px;
color:var(--soft);font-size:14px}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(310px,1fr));gap:20px;
margin:20px 0 32px}
.card{background:var(--paper);border:1px solid var(--line);border-radius:12px;overflow:hidden;
break-inside:avoid;display:flex;flex-direction:column}
.card img{width:100%;height:auto;aspect-ratio:4/3;object-fit:contain;
background:var(--bar);display:block}
.words{padding:14px 18px 12px;display:flex;flex-direction:column;flex:1}
.caption{margin:0;color:var(--soft);font-size:14px}
.card h2{font-size:19px;line-height:1.3;margin:2px 0 10px;display:flex;flex-wrap:wrap;gap:4px 10px;
align-items:baseline;justify-content:space-between}
.verdict{font-size:13px;font-weight:600;border:1px solid currentColor;border-radius:99px;
padding:1px 10px;white-space:nowrap;color:var(--soft)}
.verdict.confident{color:#15803d}.verdict.uncertain{color:#b45309}
.verdict.poor_image{color:#b91c1c}.verdict.out_of_scope{color:var(--scope)}
dl{display:grid;grid-template-columns:auto 1fr;gap:5px 12px;margin:0 0 10px;align-items:center;
font-size:14px}
dd{margin:0;display:flex;gap:10px;align-items:center}
dd b{min-width:3.4em;text-align:right;font-weight:500;font-variant-numeric:tabular-nums}
dt.top,dd.top b{font-weight:700}
.bar{flex:1;height:9px;border-radius:5px;background:var(--bar);overflow:hidden}
.bar i{display:block;height:100%;border-radius:5px;background:var(--rest);
print-color-adjust:exact;-webkit-print-color-adjust:exact}
.top .bar i{background:var(--accent)}.scope .bar i{background:var(--scope)}
dt.scope,dd.scope{color:var(--soft);margin-top:6px}
.file{margin:auto 0 0;color:var(--soft);font-size:12px;overflow-wrap:anywhere}
.failed{border-style:dashed}
.card:not(.confident) h2{font-weight:400}
main h2{font-size:19px;margin:0 0 6px}
.legend p{max-width:52em;margin:0 0 26px}
.steps ul{list-style:none;padding:0;margin:0;display:grid;gap:8px}
.steps code{background:var(--paper);border:1px solid var(--line);border-radius:6px;padding:3px 9px;
font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.steps span{color:var(--soft);margin-left:12px}
footer{color:var(--soft);font-size:13px;padding-top:22px;padding-bottom:40px}
footer p{margin:4px 0}
@media print{body{background:#fff}header{padding-top:0}.cards{grid-template-columns:1fr 1fr 1fr;
gap:12px}.card{font-size:12px}.steps{display:none}}
"""
