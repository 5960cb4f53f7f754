"""Processes of our own that judge images: started, tied to their parent, held in their memory.

A decoder that crashes, hangs or eats memory takes its process with it and nothing else. A child
is told what to do on its standard input and answers on its standard output, so that it needs
nothing of the parent's: no fork of a process that has threads, no second import of its main
module.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

# One image at a time needs no pool of threads of its own in each of many children.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def start_child(module: str, *, pass_fds: Iterable[int] = ()) -> subprocess.Popen[bytes]:
    """Start a process that calls ``main()`` of a module; its argument is our process id.

    Args:
        module: by its full name.
        pass_fds: descriptors that it inherits, where the system has such.

    Returns:
        The process, its standard input and output as pipes.
    """
    # A group of its own: Ctrl-C is the parent's to answer.
    posix: dict[str, Any] = {"process_group": 0, "pass_fds": list(pass_fds)}
    return subprocess.Popen(
        # Not `-m`: what is pickled there would be of another module, `__main__`, than here.
        [sys.executable, "-P", "-c", f"from {module} import main; main()", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={
            **_ONE_THREAD,
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        },
        **(posix if os.name == "posix" else {}),
    )


def take_orders(*ignored: signal.Signals) -> tuple[BinaryIO, BinaryIO]:
    """Make this process the child that ``start_child`` started.

    It ends with its parent, and what libraries print goes to standard error.

    Args:
        ignored: signals that are the parent's to answer.

    Returns:
        Where it is told what to do, and where it answers.
    """
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    die_with(int(sys.argv[1]))
    orders, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return orders, answers


def die_with(parent: int) -> None:
    """End at once when the parent does, where the system can do that; else with the next task."""
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, linux/prctl.h
    if os.name == "posix" and os.getppid() != parent:  # it died meanwhile
        sys.exit(1)


def limit_memory(more_bytes: int) -> None:
    """Let this process take so much more address space; what asks for more is refused."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = pages * resource.getpagesize() + more_bytes
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    except (ImportError, OSError, ValueError):  # no such limit here: the system's own holds
        return
