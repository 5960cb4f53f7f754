"""Notes of C++ libraries are dropped; what others say, and what explains a failure, is not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lesionlens.quiet import without_lines


def test_lines_with_a_known_beginning_are_dropped_and_others_come_through(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with without_lines([b"INFO: ", b"W0000"]):
        os.write(2, b"INFO: Created delegate\nW0000 slow\nthe model is broken\n")
        os.write(1, b"INFO: on stdout\n")
    assert capfd.readouterr() == ("INFO: on stdout\n", "the model is broken\n")


def test_an_empty_beginning_drops_everything_on_both(capfd: pytest.CaptureFixture[str]) -> None:
    with without_lines([b""], descriptors=(1, 2)):
        os.write(1, b"one\n")
        os.write(2, b"two\n")
    os.write(1, b"after\n")
    assert capfd.readouterr() == ("after\n", "")


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_when_the_block_fails_everything_is_said(
    capfd: pytest.CaptureFixture[str], error: BaseException
) -> None:
    with pytest.raises(type(error)), without_lines([b"INFO: "]):  # noqa: PT012
        os.write(2, b"INFO: what led to it\nE: it\n")
        raise error
    assert capfd.readouterr().err == "INFO: what led to it\nE: it\n"
    os.write(2, b"still there\n")
    assert capfd.readouterr().err == "still there\n"


def test_an_unfinished_line_comes_through(capfd: pytest.CaptureFixture[str]) -> None:
    with without_lines([b"INFO: "]):
        os.write(2, b"INFO: x\nno line end")
    assert capfd.readouterr().err == "no line end"


def test_what_python_had_buffered_keeps_its_place() -> None:
    program = (
        "import os, sys\nfrom lesionlens.quiet import without_lines\n"
        "sys.stdout.write('first ')\n"
        "with without_lines([b'drop'], descriptors=(1,)):\n"
        "    os.write(1, b'second ')\n"
        "sys.stdout.write('third')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "first second third"


def test_a_closed_descriptor_is_no_reason_to_fail() -> None:
    program = (
        "import os\nfrom lesionlens.quiet import without_lines\nos.close(2)\n"
        "with without_lines([b'x']):\n    print('ran')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "ran\n")


def test_blocks_may_stand_in_each_other(capfd: pytest.CaptureFixture[str]) -> None:
    with without_lines([b"outer"]):
        with without_lines([b"inner"]):
            os.write(2, b"inner x\nouter x\nkept\n")
        os.write(2, b"inner y\nouter y\n")
    assert capfd.readouterr().err == "kept\ninner y\n"


def test_threads_take_turns_and_no_descriptor_is_lost() -> None:
    # A process of its own: one of a test run opens and closes others at any moment.
    program = """
import os, threading
from lesionlens.quiet import without_lines

def work(name):
    for _ in range(20):
        with without_lines([b"drop"]):
            os.write(2, f"drop {name}\\nkeep {name}\\n".encode())

def n_open():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

before = n_open()
threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(n_open() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    lines = done.stderr.splitlines()
    assert sorted(lines) == sorted(f"keep {name}" for name in "abcd" for _ in range(20))
    assert done.stdout == "0\n"
