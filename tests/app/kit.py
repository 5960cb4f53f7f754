"""What browser tests of the app share: a server, a Chromium, and somebody who uses the page.

Flutter draws on a canvas; what a test sees and taps is the tree of meanings that it keeps beside
it for screen readers, so that a test which finds a button has found what a blind person finds.
Taps are those of a mouse at the place where the button is drawn, as the canvas takes no others.
"""

from __future__ import annotations

import re
import shutil
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionlens.app.texts import Texts

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FileChooser, Locator, Page, Playwright

#: Screens that the layouts have to hold on: small phone, phone, tablet, laptop.
SMALL, PHONE, TABLET, LAPTOP = (360, 740), (390, 844), (820, 1180), (1280, 800)

#: Chromium without the errands of its own (time, updates, accounts, form filling), so that what
#: leaves it is what the page asked for; a camera that shows a moving pattern.
_FLAGS = (
    "--no-sandbox",  # in a container, as root
    "--disable-gpu",
    "--no-first-run",
    "--no-pings",
    "--disable-background-networking",
    "--disable-client-side-phishing-detection",
    "--disable-component-extensions-with-background-pages",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--component-updater=url-source=http://127.0.0.1:9/",
    "--gaia-url=http://127.0.0.1:9",
    "--google-apis-url=http://127.0.0.1:9",
    "--disable-features=NetworkTimeServiceQuerying,AutofillServerCommunication,"
    "OptimizationHints,MediaRouter,DialMediaRouteProvider,Translate,"
    "CertificateTransparencyComponentUpdater,InterestFeedContentSuggestions",
    "--use-fake-device-for-media-stream",
)
#: What Flet's client asks for and our policy refuses, at every start; nothing else may go wrong.
REFUSED = "https://cdn.jsdelivr.net/npm/@rive-app/"
#: What a browser says of a picker that is asked for long after the tap: it opens none then.
_TOO_LONG_AGO = "File chooser dialog can only be shown with a user activation"
#: Whatever is waited for; a machine may have better things to do for many seconds.
WAIT_MS = 60_000


def find_chromium() -> str | None:
    """Return a Chromium's path: $CHROMIUM, or the first of the usual names."""
    import os

    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def launch(playwright: Playwright, *flags: str) -> Browser:
    """Start a Chromium; ``flags`` are added to ours."""
    return playwright.chromium.launch(executable_path=find_chromium(), args=[*_FLAGS, *flags])


# ---------------------------------------------------------------- the server


@dataclass
class Server:
    """``lesionlens app --web`` in a process of its own."""

    url: str
    process: subprocess.Popen[str]

    def stop(self) -> tuple[int, str]:
        """Press Ctrl-C; returns the exit code and what was said on stderr."""
        self.process.send_signal(signal.SIGINT)
        try:
            _, said = self.process.communicate(timeout=WAIT_MS / 1000)
        finally:
            self.process.kill()  # which one that has ended does not feel
        return self.process.returncode, said


def start_server(
    *arguments: str, python: tuple[str, ...] = ("-m", "lesionlens"), **environment: str
) -> Server:
    """Start a server on a free port and wait until it has said where.

    Args:
        arguments: More options of ``lesionlens app``.
        python: What Python runs; takes the same arguments.
        environment: Variables to set.
    """
    import os

    command = [sys.executable, *python, "app", "--web", "--no-browser", "--port", "0", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    if not re.fullmatch(r"http://\S+:\d+", url):
        process.kill()
        raise AssertionError(f"no server: {url!r}\n{process.communicate()[1]}")
    return Server(url, process)


# ---------------------------------------------------------------- what leaves a browser


@contextmanager
def recorder() -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a proxy that lets nothing through, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def refuse(self) -> None:
            asked.append(f"{self.command} {self.path}")
            with suppress(OSError):  # who asked did not wait for the answer
                self.send_error(502)

        do_CONNECT = do_GET = do_POST = do_PUT = do_HEAD = do_OPTIONS = refuse

        def log_message(self, *_: Any) -> None:
            pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as proxy:
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_address[1]}", asked
        proxy.shutdown()


def through(proxy: str) -> tuple[str, str]:
    """Return the flags that send all but this machine's addresses through a proxy."""
    return f"--proxy-server={proxy}", "--proxy-bypass-list=127.0.0.1"


# ---------------------------------------------------------------- somebody at the page


def consent_of(browser: Browser, url: str) -> Any:
    """Go through the first screen; returns what the browser keeps of it, for ``App.open``."""
    app = App.open(browser, url)
    app.wait_for_kept()
    kept = app.page.context.storage_state()
    app.close()
    return kept


@dataclass
class App:
    """The page of one browser session, in the hands of somebody.

    What it is told to find are the words that are read out: ``app.texts`` has them in the
    language of the page.
    """

    page: Page
    texts: Texts
    problems: list[str] = field(default_factory=list)  # errors that the browser reported
    n_refused_pickers: int = 0

    @classmethod
    def open(
        cls,
        browser: Browser,
        url: str,
        *,
        size: tuple[int, int] = PHONE,
        language: str = "en",
        dark: bool = False,
        calm: bool = False,
        camera: bool = True,
        consent: bool = True,
        delay_ms: int = 0,
        kept: Any = None,
    ) -> App:
        """Open the app in a browser profile of its own and wait for its first screen.

        Args:
            browser: Where.
            url: The server's address, with or without a route.
            size: Of the screen, in CSS pixels.
            language: Of the browser: en, id, es, pt or fr.
            dark: Whether the system is dark.
            calm: Whether the system asks for less motion; a test that has no use for it is then
                through in half the time.
            camera: Whether the camera is allowed; else it is refused.
            consent: Whether to go through the first screen.
            delay_ms: How long every word of the server is on its way, as on a slow line.
            kept: What the browser has kept of an earlier visit (``consent_of``): consent is not
                asked for again.
        """
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            locale={"en": "en-US", "id": "id-ID", "es": "es-ES", "pt": "pt-BR", "fr": "fr-FR"}[
                language
            ],
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce" if calm else "no-preference",
            permissions=["camera"] if camera else [],
            accept_downloads=True,
            storage_state=kept,
        )
        context.set_default_timeout(WAIT_MS)
        app = cls(context.new_page(), Texts(language))
        app.page.on("pageerror", lambda error: app.problems.append(f"error: {error}"))
        app.page.on("console", app._hear)
        if delay_ms:
            app.page.add_init_script(_SLOW_LINE.replace("DELAY_MS", str(delay_ms)))
        app.page.goto(url)
        app._turn_meanings_on()
        if kept is not None:
            app.wait_for_text(app.texts("common.tab_scan"))
        elif consent:
            app.agree()
        return app

    def _hear(self, message: Any) -> None:
        self.n_refused_pickers += _TOO_LONG_AGO in message.text
        if message.type == "error" and REFUSED not in message.text:
            self.problems.append(f"{message.text} ({message.location.get('url', '')})")

    def _turn_meanings_on(self) -> None:
        """Do what a screen reader does first: Flutter makes the tree only if it is asked to."""
        self.page.wait_for_selector("flt-semantics-placeholder", state="attached")
        self.page.eval_on_selector("flt-semantics-placeholder", "element => element.click()")
        self.page.wait_for_selector("flt-semantics", state="attached")

    def close(self) -> None:
        """Close the page and forget its profile."""
        self.page.context.close()

    def agree(self) -> None:
        """Go through the first screen."""
        self.tap(self.texts("consent.read"), role="checkbox")
        self.tap(self.texts("consent.agree"))
        self.wait_for_text(self.texts("common.tab_scan"))

    def find(self, name: str | re.Pattern[str], *, role: str = "button") -> Locator:
        """Return what has a role and a name: all of it, or a pattern that is somewhere in it."""
        if role == "tab" and isinstance(name, str):  # on a wide screen "Learn, tab 3 of 4"
            name = re.compile(rf"^{re.escape(name)}(\s|$)")
        exact = isinstance(name, str)
        return self.page.get_by_role(role, name=name, exact=exact).first  # type: ignore[arg-type]

    def tap(self, name: str | re.Pattern[str], *, role: str = "button") -> None:
        """Tap a control, having scrolled to it and waited until it can be used and stands still."""
        found = self.wait_for_usable(name, role=role)

        def is_hit() -> bool:
            x, y, width, height = self.place_of(found)
            self._ask(_WATCH_TAP, found.element_handle())
            self.page.mouse.click(x + width / 2, y + height / 2)
            return bool(self._ask(_IS_HIT))  # else it was moved away under the mouse

        self.until(is_hit, f"{name!r} is hit")

    def box_of(self, found: Locator) -> tuple[float, float, float, float]:
        """Return where something stands still (x, y, width, height), on the screen or not."""
        boxes: list[list[float]] = []

        def stands_still() -> bool:
            self._wait_for(found)
            boxes.append(self._ask(_STANDS_STILL, found.element_handle()))
            return bool(boxes[-1])  # else another has taken its place, or will

        self.until(stands_still, f"{found} stands still")
        x, y, width, height = boxes[-1]
        return x, y, width, height

    def place_of(self, found: Locator) -> tuple[float, float, float, float]:
        """Return where something is on the screen (x, y, width, height), scrolled into it."""
        size = self.page.viewport_size or {"width": 0, "height": 0}
        for _ in range(40):
            x, y, width, height = self.box_of(found)
            middle = y + height / 2
            if 0 <= middle <= size["height"] and 0 <= x + width / 2 <= size["width"]:
                return x, y, width, height
            self.page.mouse.move(size["width"] / 2, size["height"] / 2)
            self.page.mouse.wheel(0, middle - size["height"] / 2)
            self.settle()
        raise AssertionError(f"{found} cannot be scrolled to: it is at {x:.0f}, {y:.0f}")

    def settle(self) -> None:
        """Wait until the next frames are drawn."""
        self.until(lambda: bool(self._ask(_NEXT_FRAMES)), "frames are drawn")

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Look again and again until something is so; ``what`` is said if it never is."""
        over = time.monotonic() + WAIT_MS / 1000
        while True:
            is_last = time.monotonic() > over
            if is_so():
                return
            if is_last:
                raise AssertionError(f"not so: {what}; {self._told()}")
            self.page.wait_for_timeout(20)

    def wait_for_text(self, text: str | re.Pattern[str]) -> Locator:
        """Wait until a text is on the screen or in a label; what is only announced is neither."""
        screen = self.page.locator("flt-semantics-host")
        found = screen.get_by_text(text).or_(screen.get_by_label(text)).first
        self._wait_for(found)
        return found

    def wait_for(self, name: str | re.Pattern[str], *, role: str = "button") -> Locator:
        """Wait until there is a control with a name."""
        found = self.find(name, role=role)
        self._wait_for(found)
        return found

    def wait_for_usable(self, name: str | re.Pattern[str], *, role: str = "button") -> Locator:
        """Wait until there is a control with a name that is not greyed out."""
        found = self.wait_for(name, role=role)
        self._wait_for(found.and_(self.page.locator(":not([aria-disabled=true])")))
        return found

    def wait_for_address(self, route: str) -> None:
        """Wait until the browser's address is a route: it may follow what is on the screen."""
        self.page.wait_for_url(lambda url: url.endswith(route), wait_until="commit")

    def wait_for_kept(self, words: str = "") -> None:
        """Wait until the browser keeps preferences with these words: later than it shows them."""
        self.page.wait_for_function(_KEEPS, arg=words)

    def _wait_for(self, found: Locator) -> None:
        from playwright.sync_api import TimeoutError as TooLate

        try:
            found.wait_for(state="attached")
        except TooLate as error:
            said = str(error).splitlines()[-1].strip(" -")
            raise AssertionError(f"{said}; {self._told()}") from error

    def _told(self) -> str:
        return f"at {self.page.url} there is\n{self.read()}\nand went wrong\n{self.problems}"

    def _ask(self, script: str, element: Any = None) -> Any:
        """Return what a script finds out; ``evaluate`` would wait for a frozen page without end."""
        from playwright.sync_api import TimeoutError as TooLate

        answer = f"async (element) => [await ({script})(element)]"  # which is true, whatever is in
        try:
            return self.page.wait_for_function(answer, arg=element, polling=100).json_value()[0]
        except TooLate as error:
            raise AssertionError(
                f"the page at {self.page.url} is frozen: no script runs"
            ) from error

    def has_text(self, text: str | re.Pattern[str]) -> bool:
        """Tell whether a text is there now; does not wait."""
        found = self.page.get_by_text(text).or_(self.page.get_by_label(text))
        return found.count() > 0

    def read(self) -> str:
        """Return all that a screen reader would read out, one line each."""
        return str(self._ask(_READ_OUT))

    def upload(self, path: Path | str, button: str) -> None:
        """Tap a button that asks for a file, and give it one.

        Where the server's answer takes five seconds, browsers take the tap for forgotten and open
        no picker: people tap again then.
        """
        asked: list[FileChooser] = []
        n_answered = -1

        def hear(chooser: FileChooser) -> None:
            asked.append(chooser)

        def is_asked() -> bool:
            nonlocal n_answered
            if n_answered != self.n_refused_pickers:
                n_answered = self.n_refused_pickers
                self.tap(button)
            return bool(asked)

        self.page.on("filechooser", hear)
        self.until(is_asked, f"{button!r} asks for a file")
        self.page.remove_listener("filechooser", hear)
        asked[0].set_files(path)

    def drop(self, name: str, data: bytes, *, kind: str = "drop") -> bool:
        """Drop a file on the page, or ``paste`` it; returns whether the page took it."""
        return bool(self.page.evaluate(_BRING, {"kind": kind, "name": name, "data": list(data)}))

    def back(self, *, leaving: str) -> None:
        """Press the browser's back button, once its address is the route that is left."""
        self.wait_for_address(leaving)
        self.page.go_back(wait_until="commit")
        self.settle()

    def reload(self) -> None:
        """Load the page anew; the session goes on."""
        self.page.reload()
        self._turn_meanings_on()

    def screenshot(self, path: Path | str) -> Path:
        """Draw what is on the screen into a PNG."""
        self.settle()
        self.page.screenshot(path=path)
        return Path(path)


#: Tells later, when it is asked, whether a mouse that was pressed hit an element.
_WATCH_TAP = """element => {
  window.isHit = false;
  window.addEventListener('pointerdown', ({clientX, clientY}) => {
    const {left, top, right, bottom} = element.getBoundingClientRect();
    window.isHit = element.isConnected && left <= clientX && clientX <= right
      && top <= clientY && clientY <= bottom;
  }, {capture: true, once: true});
}"""
_IS_HIT = "() => window.isHit"
_KEEPS = """words => {
  const kept = localStorage.getItem('flutter.lesionlens.preferences');
  return kept !== null && JSON.parse(kept).includes(words);
}"""
#: The box of an element once two frames in a row have it in the same place; null if it is no longer
#: there, or after ten seconds: a page that draws no frames would be waited for without end.
_STANDS_STILL = """element => new Promise((resolve) => {
  const box = () => {
    const {x, y, width, height} = element.getBoundingClientRect();
    return [x, y, width, height];
  };
  let last = box();
  setTimeout(() => resolve(null), 10000);
  const look = () => requestAnimationFrame(() => requestAnimationFrame(() => {
    const now = box();
    if (!element.isConnected) resolve(null);
    else if (now.every((value, i) => Math.abs(value - last[i]) < 0.5)) resolve(now);
    else { last = now; look(); }
  }));
  look();
})"""
_NEXT_FRAMES = """() => new Promise((resolve) => {
  setTimeout(() => resolve(false), 10000);
  const drawn = () => resolve(true);
  requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(drawn)));
})"""
_READ_OUT = """() => [...document.querySelectorAll('flt-semantics-host *')]
  .map((e) => e.getAttribute('aria-label') || e.value
    || (e.children.length ? '' : e.textContent))
  .map((text) => text.trim()).filter(Boolean).join('\\n')"""
_SLOW_LINE = """window.WebSocket = class extends window.WebSocket {
  addEventListener(kind, hear, ...options) {
    const late = (event) => setTimeout(() => hear.call(this, event), DELAY_MS);
    super.addEventListener(kind, kind === 'message' ? late : hear, ...options);
  }
};"""
_BRING = """({kind, name, data}) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(data)], name, {type: 'image/png'}));
  const options = {bubbles: true, cancelable: true};
  const event = kind === 'paste'
    ? new ClipboardEvent('paste', {...options, clipboardData: files})
    : new DragEvent(kind, {...options, dataTransfer: files});
  (document.querySelector('flutter-view') ?? document.body).dispatchEvent(event);
  return event.defaultPrevented;
}"""
