"""Use the app on a device as a person would: run by .github/workflows/android.yml on emulators.

    python tests/android/smoke.py build/apk/lesionlens-x86_64.apk --output screenshots

Through ``adb`` alone. Flutter tells accessibility what is on the screen, ``uiautomator dump``
writes that down, and what is tapped is found by its words, in English. On the way: consent, a
drawn picture from the gallery, its answer (which must be what this machine answers), the camera,
and an app that the system ends while the camera, and later an unchecked picture, is open.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from lesionlens.app.engine import WHOLE, Engine
from lesionlens.app.preferences import Preferences
from lesionlens.app.texts import Texts
from lesionlens.app.wording import headline
from lesionlens.phantoms import draw

PACKAGE = "io.github.lesionlens.lesionlens"
ACTIVITY = f"{PACKAGE}/.MainActivity"
PICTURE = "lesionlens-phantom.jpg"
texts = Texts("en")
#: What is looked for on the screen.
WORDS = {
    name: texts(key)
    for name, key in {
        "read": "consent.read",
        "agree": "consent.agree",
        "choose": "scan.choose",
        "camera": "scan.start_camera",
        "take": "scan.take",
        "close_camera": "scan.close_camera",
        "check": "crop.check",
        "new_scan": "result.new_scan",
    }.items()
}
#: The system's own buttons that let an app use the camera, of API 26 to 36.
_ALLOW = re.compile(r"allow|while using the app|only this time", re.IGNORECASE)
#: What a picture is called in the system's pickers, old and new.
_IN_PICKER = re.compile(r"lesionlens-phantom|^photo taken|^image", re.IGNORECASE)


@dataclass(frozen=True)
class Node:
    """Something on the screen."""

    words: tuple[str, ...]  # each line of its text and of its description
    package: str
    kind: str  # class of the view
    box: tuple[int, int, int, int]  # left, top, right, bottom in physical pixels
    is_enabled: bool

    @property
    def middle(self) -> tuple[int, int]:
        """Where a finger would tap it."""
        left, top, right, bottom = self.box
        return (left + right) // 2, (top + bottom) // 2


def read_nodes(xml: str) -> list[Node]:
    """Return what ``uiautomator dump`` wrote, in its order."""
    nodes = []
    for element in ElementTree.fromstring(xml).iter("node"):
        words = "\n".join((element.get("text", ""), element.get("content-desc", "")))
        left, top, right, bottom = map(int, re.findall(r"-?\d+", element.get("bounds", "")))
        nodes.append(
            Node(
                words=tuple(line.strip() for line in words.splitlines() if line.strip()),
                package=element.get("package", ""),
                kind=element.get("class", ""),
                box=(left, top, right, bottom),
                is_enabled=element.get("enabled") == "true",
            )
        )
    return nodes


class Phone:
    """A device behind ``adb``.

    Args:
        output: folder for screenshots.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.output.mkdir(parents=True, exist_ok=True)
        self.n_screenshots = 0

    def adb(self, *arguments: str, timeout_s: float = 120) -> bytes:
        """Run adb and return what it prints."""
        done = subprocess.run(
            ["adb", *arguments], capture_output=True, timeout=timeout_s, check=False
        )
        if done.returncode:
            raise RuntimeError(f"adb {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def shell(self, *arguments: str) -> str:
        """Run a command on the device."""
        return self.adb("shell", *arguments).decode(errors="replace")

    def screenshot(self, name: str) -> None:
        """Keep what is on the screen as ``NN-name.png``."""
        self.n_screenshots += 1
        path = self.output / f"{self.n_screenshots:02d}-{name}.png"
        path.write_bytes(self.adb("exec-out", "screencap", "-p"))

    def nodes(self) -> list[Node]:
        """Return what is on the screen; nothing while that changes."""
        try:
            self.shell("uiautomator", "dump", "/sdcard/window.xml")
            return read_nodes(self.adb("exec-out", "cat", "/sdcard/window.xml").decode())
        except (RuntimeError, ElementTree.ParseError):
            return []

    def wait(
        self,
        what: str,
        wanted: Callable[[Node], bool],
        *,
        timeout_s: float = 60,
        scroll: bool = False,
    ) -> Node:
        """Return the first node that is wanted, as soon as there is one.

        Raises:
            TimeoutError: there was none; says what there was.
        """
        until = time.monotonic() + timeout_s
        seen: list[Node] = []
        while time.monotonic() < until:
            seen = self.nodes() or seen
            for node in seen:
                if wanted(node):
                    return node
            if scroll:
                self.swipe_up()
        words = sorted({line for node in seen for line in node.words})
        raise TimeoutError(f"no {what} within {timeout_s:.0f} s; on the screen: {words}")

    def wait_for(self, words: str, *, timeout_s: float = 60, scroll: bool = False) -> Node:
        """Return the node that says ``words``, as one of its lines."""
        return self.wait(
            repr(words),
            lambda node: words in node.words and node.package == PACKAGE,
            timeout_s=timeout_s,
            scroll=scroll,
        )

    def tap(self, node: Node) -> None:
        """Tap a node."""
        self.shell("input", "tap", *map(str, node.middle))

    def swipe_up(self) -> None:
        """Scroll down by about half a screen."""
        width, height = (int(n) for n in re.findall(r"(\d+)x(\d+)", self.shell("wm", "size"))[-1])
        x, low, high = str(width // 2), str(height * 3 // 4), str(height // 4)
        self.shell("input", "swipe", x, low, x, high, "300")

    def start(self) -> None:
        """Bring the app to the front."""
        self.shell("am", "start", "-W", "-n", ACTIVITY)

    def end_in_background(self) -> None:
        """Let the system end the app as it does when it needs the memory.

        Raises:
            TimeoutError: it would not.
        """
        self.shell("input", "keyevent", "KEYCODE_HOME")
        for _ in range(30):
            time.sleep(2)
            self.shell("am", "kill", PACKAGE)
            if not self.processes():
                return
        raise TimeoutError(f"{PACKAGE} is still running a minute after it left the screen")

    def processes(self) -> str:
        """Return the app's process ids; empty where it does not run."""
        try:
            return self.shell("pidof", PACKAGE).strip()
        except RuntimeError:  # pidof says so by its exit code
            return ""


def phantom() -> bytes:
    """Return the drawn picture that is judged there and here, as a JPEG."""
    stream = io.BytesIO()
    draw("bcc", size_px=(900, 900), rng=np.random.default_rng(5)).save(stream, "JPEG", quality=92)
    return stream.getvalue()


def answer_here(data: bytes) -> str:
    """Return the headline that this machine gives for a picture, with the app's first settings."""

    async def judge() -> str:
        engine = Engine()
        photo = await engine.open(data, PICTURE)
        settings = Preferences()
        answer = await engine.judge(photo, WHOLE, views=settings.views, policy=settings.policy)
        return headline(answer.prediction, texts)

    return asyncio.run(judge())


def put_into_gallery(phone: Phone, data: bytes) -> None:
    """Copy a picture onto the device and have the gallery notice it."""
    local = phone.output / PICTURE
    local.write_bytes(data)
    there = f"/sdcard/Pictures/{PICTURE}"
    phone.shell("mkdir", "-p", "/sdcard/Pictures")
    phone.adb("push", str(local), there)
    scan = "android.intent.action.MEDIA_SCANNER_SCAN_FILE"
    phone.shell("am", "broadcast", "-a", scan, "-d", f"file://{there}")
    time.sleep(3)


def choose_picture(phone: Phone) -> None:
    """Take the picture from whichever picker the system shows."""
    phone.tap(phone.wait_for(WORDS["choose"], scroll=True))
    picture = phone.wait(
        "picture in the picker",
        lambda node: node.package != PACKAGE and any(map(_IN_PICKER.search, node.words)),
    )
    phone.screenshot("picker")
    phone.tap(picture)


def steps(phone: Phone, expected: str) -> Iterator[str]:
    """Go through the app; yields what was done, for the log and the name of a screenshot."""
    phone.start()
    phone.tap(phone.wait_for(WORDS["read"], timeout_s=180, scroll=True))  # unpacks on first start
    yield "consent"
    phone.tap(phone.wait_for(WORDS["agree"], scroll=True))
    phone.wait_for(WORDS["choose"], scroll=True)
    yield "scan"
    choose_picture(phone)
    phone.tap(phone.wait_for(WORDS["check"], scroll=True))
    started = time.monotonic()
    phone.wait_for(expected)
    print(f"answer on the screen after {time.monotonic() - started:.1f} s, dumps included")
    yield "verdict"

    phone.tap(phone.wait_for(WORDS["new_scan"], scroll=True))
    phone.tap(phone.wait_for(WORDS["camera"], scroll=True))
    phone.tap(
        phone.wait(
            "question for the camera",
            lambda node: (
                node.package != PACKAGE
                and node.kind.endswith("Button")
                and any(map(_ALLOW.search, node.words))
            ),
        )
    )
    phone.wait_for(WORDS["take"])
    yield "camera"
    phone.end_in_background()
    phone.start()
    phone.wait_for(WORDS["take"], timeout_s=120)
    yield "camera-again-after-the-app-was-ended"

    phone.tap(phone.wait_for(WORDS["close_camera"]))
    phone.shell("settings", "put", "global", "always_finish_activities", "1")
    choose_picture(phone)
    phone.wait_for(WORDS["check"], timeout_s=120, scroll=True)
    phone.shell("settings", "put", "global", "always_finish_activities", "0")
    yield "crop-without-keeping-activities"
    phone.end_in_background()
    phone.start()
    phone.wait_for(WORDS["check"], timeout_s=120, scroll=True)
    yield "crop-again-after-the-app-was-ended"
    phone.tap(phone.wait_for(WORDS["check"], scroll=True))
    phone.wait_for(expected)
    yield "verdict-again"


def main() -> int:
    """Install the app and use it; 1 where something is not as it should be."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("apk", type=Path)
    parser.add_argument("--output", type=Path, default=Path("screenshots"))
    arguments = parser.parse_args()
    phone = Phone(arguments.output)
    data = phantom()
    expected = answer_here(data)
    print(f"expected: {expected!r}")
    phone.adb("install", "-r", str(arguments.apk), timeout_s=300)
    put_into_gallery(phone, data)
    try:
        for step in steps(phone, expected):
            phone.screenshot(step)
            print(f"done: {step}", flush=True)
    except (RuntimeError, TimeoutError) as error:
        phone.screenshot("failed")
        (arguments.output / "logcat.txt").write_bytes(phone.adb("logcat", "-d"))
        print(f"::error::{error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
