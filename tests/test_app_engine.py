"""The engine: photos in, answers out, the same as ``lesionlens predict`` gives."""

from __future__ import annotations

import asyncio
import io
import threading

import numpy as np
import pytest
from PIL import Image

from app_kit import jpeg_of, shared_engine
from lesionlens.app.engine import KEPT_PX, PREVIEW_PX, THUMBNAIL_PX, WHOLE, Engine
from lesionlens.classifier import Classifier
from lesionlens.errors import ImageError
from lesionlens.verdicts import POOR_IMAGE


def size_of(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


@pytest.mark.parametrize("policy", ["balanced", "sensitive"])
def test_the_whole_of_a_photo_gets_the_answer_that_predict_gives(policy: str) -> None:
    data = jpeg_of("bcc", size_px=(1600, 1200))

    async def judge():
        photo = await shared_engine().open(data, "lesion.jpg")
        return await shared_engine().judge(photo, WHOLE, views=10, policy=policy)

    answer = asyncio.run(judge())
    expected = Classifier(policy=policy, threads=1).predict(data, views=10)
    found = answer.prediction
    assert found.probabilities == expected.probabilities
    assert (found.verdict, found.prediction_set, found.scope, found.quality) == (
        expected.verdict, expected.prediction_set, expected.scope, expected.quality,
    )  # fmt: skip
    assert (found.policy, found.views) == (policy, 10)


def test_a_part_of_a_photo_gets_the_answer_of_that_part_alone() -> None:
    data = jpeg_of("scc", size_px=(1600, 1200))
    box = (0.25, 0.25, 0.75, 0.75)
    crop = Image.open(io.BytesIO(data)).crop((400, 300, 1200, 900))

    async def judge():
        photo = await shared_engine().open(data)
        return await shared_engine().judge(photo, box, views=1, policy="balanced")

    found = asyncio.run(judge()).prediction.probabilities
    expected = Classifier(threads=1).predict(crop, views=1).probabilities
    for label, probability in expected.items():
        assert found[label] == pytest.approx(probability, abs=0.02)


def test_an_answer_brings_pictures_small_enough_to_keep() -> None:
    data = jpeg_of("nevus", size_px=(4000, 3000))

    async def judge():
        engine = shared_engine()
        photo = await engine.open(data)
        answer = await engine.judge(photo, (0.125, 0, 0.875, 1), views=1, policy="balanced")
        return photo, answer, await engine.draw_overlay(answer)

    photo, answer, overlay = asyncio.run(judge())
    assert (photo.width_px, photo.height_px) == (4000, 3000)
    assert max(size_of(photo.preview)) == PREVIEW_PX
    assert size_of(answer.picture)[0] == size_of(answer.picture)[1] <= KEPT_PX
    assert size_of(answer.thumbnail) == (THUMBNAIL_PX, THUMBNAIL_PX)
    assert size_of(overlay)[0] == size_of(overlay)[1]
    assert len(answer.picture) < 400_000
    assert len(answer.thumbnail) < 20_000
    stages = answer.milliseconds
    assert set(stages) == {"decode", "views", "model", "judge", "pictures", "total"}
    assert all(value >= 0 for value in stages.values())
    assert stages["total"] >= max(value for name, value in stages.items() if name != "total")


def test_the_preview_stands_upright() -> None:
    picture = Image.new("RGB", (800, 600), "white")
    picture.paste((200, 30, 30), (0, 0, 800, 60))  # a red edge on top as stored
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: the edge is then on the right
    stream = io.BytesIO()
    picture.save(stream, "JPEG", exif=exif, quality=95)
    photo = asyncio.run(shared_engine().open(stream.getvalue()))
    assert (photo.width_px, photo.height_px) == (600, 800)
    shown = np.asarray(Image.open(io.BytesIO(photo.preview)).convert("RGB")).astype(int)
    assert shown[400, -10, 0] - shown[400, -10, 1] > 100
    assert shown[400, 10].min() > 200


def test_looking_says_what_is_wrong_with_the_part_alone() -> None:
    sharp = jpeg_of("bcc", size_px=(1200, 900))
    picture = Image.open(io.BytesIO(sharp))
    picture.paste((4, 4, 4), (0, 0, 600, 900))  # the left half is black
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=95)

    async def look(box):
        photo = await shared_engine().open(stream.getvalue())
        return await shared_engine().look(photo, box)

    assert not asyncio.run(look((0, 0, 0.45, 1))).is_good
    dark = {finding.name for finding in asyncio.run(look((0, 0, 0.45, 1))).findings}
    light = {finding.name for finding in asyncio.run(look((0.55, 0, 1, 1))).findings}
    assert dark - light


def test_what_was_looked_at_is_judged_as_it_would_be_without_and_nothing_else_is_taken_for_it():
    part, other = (0.125, 0.0, 0.875, 1.0), (0.0, 0.0, 0.75, 1.0)

    async def judge():
        engine = shared_engine()
        photo, second = await engine.open(jpeg_of("bcc")), await engine.open(jpeg_of("scc"))
        options = {"views": 1, "policy": "balanced"}
        plain = [await engine.judge(p, b, **options) for p, b in ((photo, part), (photo, other))]
        plain.append(await engine.judge(second, part, **options))
        looked = []
        for p, b in ((photo, part), (photo, other), (second, part)):
            await engine.look(photo, part)
            looked.append(await engine.judge(p, b, **options))
        return plain, looked

    plain, looked = asyncio.run(judge())
    for one, two in zip(plain, looked, strict=True):
        assert one.prediction.probabilities == two.prediction.probabilities
        assert (one.picture, one.thumbnail) == (two.picture, two.thumbnail)
    assert [answer.milliseconds["decode"] == 0 for answer in looked] == [True, False, False]


def test_a_poor_photo_is_told_so_and_judged_when_asked_to() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (600, 450), (3, 3, 3)).save(stream, "JPEG")

    async def judge(gate):
        photo = await shared_engine().open(stream.getvalue())
        return await shared_engine().judge(photo, WHOLE, views=1, policy="balanced", gate=gate)

    assert asyncio.run(judge(True)).prediction.verdict == POOR_IMAGE
    anyway = asyncio.run(judge(False)).prediction
    assert anyway.verdict != POOR_IMAGE
    assert not anyway.quality.is_good


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"not a picture at all", "not an image"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 200, "HEIC"),
        (jpeg_of("skin")[:3000], "truncated"),
    ],
)
def test_what_is_no_photo_is_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        asyncio.run(shared_engine().open(data, "holiday.jpg"))
    assert "holiday.jpg" in str(caught.value)


def test_work_is_done_off_the_thread_that_draws() -> None:
    engine = Engine(threads=1)
    seen: list[int] = []

    async def ask():
        await engine._do(lambda: seen.append(threading.get_ident()))

    asyncio.run(ask())
    engine.close()
    assert seen
    assert seen[0] != threading.get_ident()


def test_the_page_goes_on_while_a_photo_is_judged() -> None:
    data = jpeg_of("skin", size_px=(4000, 3000))

    async def run():
        photo = await shared_engine().open(data)
        ticks = 0
        judging = asyncio.create_task(
            shared_engine().judge(photo, WHOLE, views=10, policy="balanced")
        )
        while not judging.done():
            await asyncio.sleep(0.002)
            ticks += 1
        return ticks, await judging

    for _ in range(20):  # a busy machine may leave this thread out for as long as one judging takes
        ticks, answer = asyncio.run(run())
        assert answer.prediction.views == 10
        if ticks >= 3:
            return
    pytest.fail("the page stood still every time")


def test_what_the_photo_says_of_itself_is_not_kept() -> None:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "SECRET"
    with Image.open(io.BytesIO(jpeg_of("bcc"))) as image:
        image.save(stream, "JPEG", comment=b"SECRET", exif=exif)

    async def run():
        photo = await shared_engine().open(stream.getvalue())
        answer = await shared_engine().judge(photo, WHOLE, views=1, policy="balanced")
        overlay = await shared_engine().draw_overlay(answer)
        return photo.preview, answer.picture, answer.thumbnail, overlay

    assert b"SECRET" in stream.getvalue()
    for kept in asyncio.run(run()):
        assert b"SECRET" not in kept
