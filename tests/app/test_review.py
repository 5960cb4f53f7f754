"""The page of a run, in the hands of somebody: opened from the disk in a real browser."""

from __future__ import annotations

import csv
import io
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kit
import pytest

from lesionlens.screening.items import Item

pytest.importorskip("pyarrow", reason="needs the extra bulk")
sys.path.insert(0, str(Path(__file__).parent.parent))
import review_kit
from lesionlens.screening.review import read_rows, write_review
from lesionlens.screening.review_pictures import Places
from lesionlens.verdicts import VERDICTS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.app, pytest.mark.slow]

MANY = 100_000
LABELS = ("BCC", "SCC", "Normal", "Other", "Unusable")
HOSTILE = [
    '"><img src=x onerror=alert(1)>.jpg',
    "</script><script>alert(2)</script>.jpg",
    "javascript:alert(3).jpg",
    "=cmd|' /C calc'!A0.jpg",
    'comma, "quote"\nand line.jpg',
    "%2e%2e/%41#?.jpg",
    "\u202egpj.exe.jpg",
]

Opener = Callable[..., "Page"]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 100,000 images, of which every one has the same photo."""
    from PIL import Image

    root = tmp_path_factory.mktemp("many")
    photo = root / "photo.jpg"
    Image.new("RGB", (600, 450), (200, 150, 130)).save(photo)
    run = review_kit.write_run(root / "run", [f"ISIC_{n:07}.jpg" for n in range(MANY)])
    return write_review(
        run, places=lambda names: Places(names, (Item(name, str(photo)) for name in names))
    )


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 60 images, some of which have names that want out, all of which are there."""
    from PIL import Image

    root = tmp_path_factory.mktemp("few")
    names = [*HOSTILE, *(f"sub/{n:03}.jpg" for n in range(60 - len(HOSTILE)))]
    for name in names:
        path = root / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (120, 90), (200, 150, 130)).save(path, "JPEG")
    run = review_kit.write_run(root / "run", names, size_px=(120, 90))
    return write_review(
        run,
        places=lambda found: Places(found, [Item(n, str(root / "photos" / n)) for n in found]),
    )


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Opener]:
    """A function that opens a page; the test fails if the browser reports anything at all."""
    pages: list[Page] = []
    problems: list[str] = []

    def hear_console(message: Any) -> None:
        if "ERR_FILE_NOT_FOUND" not in message.text:  # tests look at pictures themselves
            problems.append(message.text)

    def hear_dialog(dialog: Any) -> None:
        problems.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def open_one(path: Path, *, size: tuple[int, int] = kit.LAPTOP, **options: Any) -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, accept_downloads=True, **options
        )
        context.set_default_timeout(kit.WAIT_MS)
        page = context.new_page()
        pages.append(page)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", hear_console)
        page.on("dialog", hear_dialog)
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith(("file:", "blob:")) else problems.append(request.url)
            ),
        )
        page.goto(path.as_uri())
        page.wait_for_selector("body.is-ready")
        return page

    yield open_one
    for page in pages:
        page.context.close()
    assert not problems, "\n".join(problems)


def exported(page: Page) -> list[dict[str, str]]:
    with page.expect_download() as found:
        page.locator("#export").click()
    text = Path(found.value.path()).read_bytes().decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def chosen(page: Page) -> str:
    return str(page.locator(".detail h2").evaluate("title => title.textContent"))


def shown(page: Page) -> list[str]:
    """The names of the tiles in sight, as they lie."""
    return list(page.evaluate(_TILES))


_TILES = """() => [...document.querySelectorAll('.tile:not([hidden])')]
  .sort((a, b) => a.dataset.place - b.dataset.place)
  .map((tile) => tile.querySelector('.name').title)"""
#: Collects all that the page says from now on: it takes its words away again after some seconds.
_HEAR = """() => {
  const line = document.getElementById('said');
  window.heard = [];
  new MutationObserver(() => window.heard.push(line.textContent)).observe(line, {childList: true});
}"""
_WORDS = "button => button.firstChild.textContent"
#: Change one of the filters, until the tiles are there.
_CHANGE = """([id, value]) => {
  const field = document.getElementById(id);
  field.value = value;
  field.dispatchEvent(new Event(field.tagName === 'SELECT' ? 'change' : 'input', {bubbles: true}));
  document.getElementById('grid').getBoundingClientRect();
}"""
N_FRAMES = 120
#: Scroll by so much every frame.
_SCROLL = """([step, frames]) => new Promise((resolve) => {
  const box = document.getElementById('grid');
  const next = () => {
    box.scrollTop += step;
    if (frames--) requestAnimationFrame(next);
    else resolve();
  };
  requestAnimationFrame(next);
})"""


class Work:
    """The milliseconds that a page keeps a processor busy: what others leave it does not count."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def so_far_ms(self, name: str) -> float:
        """Return that of all threads, ever (ProcessTime), or of the page's own (TaskDuration)."""
        found = self._session.send("Performance.getMetrics")["metrics"]
        return 1000 * next(float(it["value"]) for it in found if it["name"] == name)

    def of_ms(self, script: str, argument: Any) -> float:
        """Return that of the page's own thread while a script runs."""
        before = self.so_far_ms("TaskDuration")
        self._page.evaluate(script, argument)
        return self.so_far_ms("TaskDuration") - before


def test_a_hundred_thousand_images_are_there_in_three_seconds_and_stay_smooth(
    many: Path, open_page: Opener
) -> None:
    assert many.stat().st_size < 4_000_000
    page = open_page(many)
    work = Work(page)
    assert work.so_far_ms("ProcessTime") < 3000
    assert page.locator("#shown").inner_text() == "all shown"
    for step in (120, 40_000):
        took = work.of_ms(_SCROLL, [step, N_FRAMES]) / N_FRAMES
        assert took < 40, f"{step}: a frame took {took:.0f} ms"
        assert page.locator(".tile").count() < 80
    page.keyboard.press("End")
    assert page.locator(".detail .bar .note").inner_text() == "100,000 of 100,000"
    assert page.locator("[aria-selected=true]").count() == 1


def test_a_hundred_thousand_images_are_filtered_and_sorted_at_once(
    many: Path, open_page: Opener
) -> None:
    page = open_page(many)
    work = Work(page)
    for key in ("uncertainty", "verdict", "uri", "risk"):
        page.evaluate(_CHANGE, ["sort", key])  # the first time, it is sorted
    changes = [
        ("text", "isic 00123"), ("text", "isic"), ("text", "nothing"), ("text", ""),
        ("label", "1"), ("label", ""), ("quality", "any"), ("quality", ""),
        ("sort", "uncertainty"), ("sort", "uri"),
    ]  # fmt: skip
    for field, value in changes:
        took = work.of_ms(_CHANGE, [field, value])
        assert took < 200, f"{field}={value}: {took:.0f} ms"
    assert shown(page)[0] == "ISIC_0000000.jpg"
    page.evaluate(_CHANGE, ["text", "00123"])
    n_found = sum("00123" in f"{n:07}" for n in range(MANY))
    assert page.locator("#shown").inner_text() == f"{n_found:,} shown"
    for words in ("isic 00123", "123 0012 .JPG", "isic_00123 12399.jpg"):
        page.evaluate(_CHANGE, ["text", words])
        terms = words.lower().split()
        n_found = sum(all(w in f"isic_{n:07}.jpg" for w in terms) for n in range(MANY))
        assert page.locator("#shown").inner_text() == f"{n_found:,} shown"
    page.evaluate(_CHANGE, ["text", "nothing"])
    assert page.locator("#empty").is_visible()
    page.locator("#empty-reset").click()
    page.locator("#shown", has_text="all shown").wait_for()


def test_sorting_is_that_of_the_results(few: Path, open_page: Opener) -> None:
    import pyarrow.parquet as pq

    page = open_page(few)
    rows = pq.read_table(few.parent / "results.parquet").to_pylist()
    by_risk = sorted(rows, key=lambda row: -row["risk"])
    assert shown(page)[:8] == [row["uri"] for row in by_risk[:8]]
    page.locator("#direction").click()
    assert shown(page)[:8] == [row["uri"] for row in by_risk[::-1][:8]]
    page.locator("#direction").click()
    doubt = read_rows(few.parent / "results.parquet")
    order = sorted(range(60), key=lambda place: -doubt.uncertainty()[place])
    page.locator("#sort").select_option("uncertainty")
    assert shown(page)[:8] == [doubt.names[place] for place in order[:8]]
    page.locator("#sort").select_option("verdict")
    by_verdict = sorted(by_risk, key=lambda row: VERDICTS.index(row["verdict"]))
    assert shown(page)[:8] == [row["uri"] for row in by_verdict[:8]]
    page.locator("#sort").select_option("risk")
    page.locator("#verdicts button", has_text="Confident").click()
    left = [row for row in by_risk if row["verdict"] != "confident"]
    assert page.locator("#shown").inner_text() == f"{len(left)} shown"
    assert shown(page)[0] == left[0]["uri"]
    page.locator("#label").select_option(label="BCC")
    left = [row for row in left if row["label"] == "BCC"]
    assert page.locator("#shown").inner_text() == f"{len(left)} shown"


def test_twenty_images_reviewed_by_keyboard_are_kept_and_exported(
    few: Path, open_page: Opener, tmp_path: Path
) -> None:
    page = open_page(few)
    page.locator("input[aria-label=Reviewer]").fill('Dr. A, "B"')
    page.locator("#grid").focus()
    given: dict[str, str] = {}
    accepted = set()
    for key in "a3a21a5a4aa1a2a3a4a5":
        name = chosen(page)
        if key == "a":
            given[name] = page.locator(".accept").evaluate(_WORDS).removeprefix("Accept: ")
            accepted.add(name)
        else:
            given[name] = LABELS[int(key) - 1]
        page.keyboard.press(key)
        assert chosen(page) != name
    page.keyboard.press("u")  # the last one is taken back, and done otherwise
    last = chosen(page)
    assert given[last] == "Unusable"
    page.keyboard.press("n")
    page.keyboard.type('a note, "quoted": au15')
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    given[last] = "BCC"
    assert page.locator("#reviewed").inner_text() == "20 of 60 reviewed"
    rows = exported(page)
    assert {row["uri"]: row["reviewer_label"] for row in rows} == given
    assert {row["reviewer"] for row in rows} == {'Dr. A, "B"'}
    assert {row["uri"]: row["note"] for row in rows if row["note"]} == {
        last: 'a note, "quoted": au15'
    }
    for row in rows:
        assert (row["agrees"] == "yes") == (row["model_answer"] == row["reviewer_label"])
        assert row["uri"] not in accepted or row["agrees"] == "yes"
    page.reload()
    page.wait_for_selector("body.is-ready")
    assert page.locator("#reviewed").inner_text() == "20 of 60 reviewed"
    assert exported(page) == rows
    # and in another browser, by import
    table = tmp_path / "review.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([*rows, {**rows[0], "uri": "elsewhere.jpg"}])
    other = open_page(few)
    assert other.locator("#reviewed").inner_text() == "0 of 60 reviewed"
    other.evaluate(_HEAR)
    other.locator("#import-file").set_input_files(table)
    other.locator("#reviewed", has_text="20 of 60 reviewed").wait_for()
    said = " ".join(other.evaluate("heard"))
    assert "20 decisions taken over, 1 of images that are not" in said
    assert exported(other) == rows


def test_a_note_half_written_is_kept_and_another_window_knows(few: Path, open_page: Opener) -> None:
    page = open_page(few)
    name = chosen(page)
    other = page.context.new_page()
    other.goto(few.as_uri())
    other.wait_for_selector("body.is-ready")
    page.bring_to_front()
    page.keyboard.press("3")
    other.locator("#reviewed", has_text="1 of 60 reviewed").wait_for()
    assert other.locator(".decide [aria-pressed=true]").inner_text() == "Normal3"
    page.keyboard.press("u")
    other.locator("#reviewed", has_text="0 of 60 reviewed").wait_for()
    page.keyboard.press("n")
    page.keyboard.type("half")
    page.reload()
    page.wait_for_selector("body.is-ready")
    [row] = exported(page)
    assert (row["uri"], row["note"], row["reviewer_label"]) == (name, "half", "")


def test_agreement_counts_what_was_reviewed(few: Path, open_page: Opener) -> None:
    from lesionlens.intervals import proportion

    page = open_page(few)
    for key in "aaa4a5":
        page.keyboard.press(key)
    rows = exported(page)
    agreed = sum(row["agrees"] == "yes" for row in rows)
    page.keyboard.press("s")
    share = proportion(agreed, len(rows))
    assert page.locator("#agreement .large").inner_text() == (
        f"{100 * share.value:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f})"
    )
    cells = page.locator("#agreement .matrix td").all_inner_texts()
    assert sum(map(int, cells)) == len(rows)
    assert sum(map(int, cells[::6])) == agreed


def test_hostile_names_are_text_and_their_photos_are_found(few: Path, open_page: Opener) -> None:
    page = open_page(few)
    page.locator("#sort").select_option("uri")
    names = set()
    for _ in range(60):
        names.add(chosen(page))
        page.locator(".photo img.is-there").wait_for()
        assert page.evaluate("document.querySelector('.photo img').naturalWidth") == 120
        page.keyboard.press("ArrowRight")
    assert names >= set(HOSTILE)
    assert page.evaluate("document.querySelectorAll('script').length") == 3
    assert page.locator(".closed").count() == 0
    page.locator("#text").fill("onerror=alert")
    page.keyboard.press("Enter")
    assert chosen(page) == HOSTILE[0]
    page.keyboard.press("2")
    [row] = exported(page)
    assert (row["uri"], row["reviewer_label"]) == (HOSTILE[0], "SCC")


def test_photos_that_are_gone_are_told_so_and_moved_together_are_found(
    few: Path, open_page: Opener, tmp_path: Path
) -> None:
    shutil.copytree(few.parent, tmp_path / "moved" / "run")
    page = open_page(tmp_path / "moved" / "run" / "review.html")
    page.locator(".photo img.is-there").wait_for()
    assert "/few" in page.evaluate("document.querySelector('.photo img').src")  # where it was
    shutil.copytree(few.parent.parent / "photos", tmp_path / "moved" / "photos")
    page.reload()
    page.locator(".photo img.is-there").wait_for()
    assert "/moved/photos/" in page.evaluate("document.querySelector('.photo img').src")


def test_a_list_taller_than_browsers_allow_is_scrolled_to_its_end(
    few: Path, open_page: Opener
) -> None:
    text = few.read_text()
    assert text.count("const MOST_PX = 15e6;") == 1
    low = few.with_name("low.html")  # of the same photos; its script is not the policy's any more
    text = text.replace("const MOST_PX = 15e6;", "const MOST_PX = 2e3;")
    low.write_text(text.replace('http-equiv="Content-Security-Policy"', 'name="none"'))
    page = open_page(low, size=kit.PHONE)
    assert page.locator("#canvas").evaluate("e => e.offsetHeight") == 2000
    seen: list[str] = []
    for _ in range(60):
        box = page.locator("[aria-selected=true]").bounding_box()
        assert box is not None
        assert box["y"] > 100
        assert box["y"] + box["height"] <= kit.PHONE[1]
        seen.append(page.locator("[aria-selected=true] .name").evaluate("e => e.title"))
        page.keyboard.press("ArrowRight")
    assert len(set(seen)) == 60
    page.evaluate("document.getElementById('grid').scrollTop = 1e9")
    page.locator("#tile-59").wait_for()
    page.evaluate("document.getElementById('grid').scrollTop = 0")
    page.locator("#tile-0").wait_for()


@pytest.mark.parametrize("size", [kit.PHONE, kit.LAPTOP, (1920, 1080)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_and_all_that_can_be_used_has_a_name(
    few: Path, open_page: Opener, size: tuple[int, int], scheme: str
) -> None:
    page = open_page(few, size=size, color_scheme=scheme)
    if size == kit.PHONE:
        page.locator(".tile").first.click()
        assert page.locator(".close").evaluate("e => e === document.activeElement")
    cut = page.evaluate("""() => [...document.querySelectorAll('button, select, input, h1, h2')]
      .filter((e) => e.offsetParent && (e.getBoundingClientRect().right > innerWidth + 1
        || e.scrollWidth > e.clientWidth + 2 && e.tagName === 'BUTTON'))
      .map((e) => e.outerHTML)""")
    assert not cut
    nameless = page.evaluate("""() => [...document.querySelectorAll('button, select, input')]
      .filter((e) => !e.hidden && !e.getAttribute('aria-label') && !e.textContent.trim()
        && !e.labels?.length).map((e) => e.outerHTML)""")
    assert not nameless
    pale = page.evaluate(_PALE)
    assert not pale


#: Texts whose contrast with the ground behind them is under 4.5 (WCAG 2.2, 1.4.3).
_PALE = """() => {
  const numbers = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (let at = e; at; at = at.parentElement) {
      const [r, g, b, a = 1] = numbers(getComputedStyle(at).backgroundColor);
      if (a > 0.9) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const hasText = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  return [...document.querySelectorAll('body *')]
    .filter((e) => e.offsetParent && !e.closest(':disabled, option') && hasText(e))
    .map((e) => {
      const both = [light(numbers(getComputedStyle(e).color)), light(ground(e))];
      const contrast = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
      return [contrast, e.className, e.textContent.slice(0, 40)];
    }).filter(([contrast]) => contrast < 4.5);
}"""
