"""What tests of the server share: a small one in this process, and a worker that can be hurt."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import tiny_model
from lesionlens.bundle import load_bundle
from lesionlens.children import start_child
from lesionlens.service.application import Service
from lesionlens.service.journal import Journal
from lesionlens.service.limits import Limits
from lesionlens.service.meters import Meters
from lesionlens.service.pool import Pool
from lesionlens.service.tokens import TOKEN_VARIABLE, Tokens

TOKEN = "not-a-secret-but-long-enough-1"
PATIENT = "Jane-Roe-1961"  # stands for what may be in no log

#: What a hurt worker does on an image that begins so.
CRASH, HANG, FAULT, MEMORY = b"CRASH", b"HANG", b"FAULT", b"MEMORY"


def encoded(colour: tuple[int, int, int] = (220, 40, 40), form: str = "PNG") -> bytes:
    """Return an image of one colour that the tiny model judges, and some noise."""
    pixels = tiny_model.colour(*colour, side=96).astype(int)
    pixels += np.random.default_rng(sum(colour)).integers(-20, 20, pixels.shape)
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, form)
    return stream.getvalue()


def make_service(
    pool: Pool,
    bundle: Path,
    *,
    host: str = "127.0.0.1",
    tokens: tuple[str, ...] = (),
    lines: list[str] | None = None,
    meters: Meters | None = None,
    **limits: Any,
) -> Service:
    """Return a server's application; its journal goes to ``lines``."""
    spec = load_bundle(bundle).spec
    return Service(
        pool,
        spec,
        host=host,
        tokens=Tokens(tokens),
        limits=Limits(**{"rate_per_s": 0.0, "timeout_s": 120.0, **limits}),
        meters=meters or Meters(spec),
        journal=Journal((lines if lines is not None else []).append),
    )


class Server:
    """``lesionlens serve`` in a process of its own, until the end of ``with``."""

    def __init__(self, *arguments: object, token: str = "", module: str = "lesionlens") -> None:
        environment = {**os.environ, TOKEN_VARIABLE: token}
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, "serve", *map(str, arguments)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self.log: list[str] = []  # what it has written to standard error
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self.url.startswith("http://"), (self.url, self.wait(), self.log)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.wait()

    def wait(self) -> int:
        """Wait for the end; returns the exit code."""
        try:
            code = self.process.wait(60)
        finally:
            self.process.kill()
        self._reader.join(10)
        return code

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)


def start_fragile_child(module: str) -> Any:
    """Start a worker that does to itself what an image says: in place of ``start_child``."""
    assert module == "lesionlens.service.worker_process"
    return start_child(__name__)


def main() -> None:
    """Be a worker whose classifier crashes, hangs or raises as the image says."""
    from lesionlens.classifier import Classifier
    from lesionlens.service import worker_process

    predict = Classifier.predict

    def fragile(self: Classifier, image: Any, **options: Any) -> Any:
        if isinstance(image, bytes):
            if image.startswith(CRASH):
                os.kill(os.getpid(), signal.SIGSEGV)
            if image.startswith(HANG):
                time.sleep(60)
            if image.startswith(FAULT):
                raise RuntimeError(PATIENT)
            if image.startswith(MEMORY):
                raise MemoryError
        return predict(self, image, **options)

    Classifier.predict = fragile  # type: ignore[method-assign]
    worker_process.main()
