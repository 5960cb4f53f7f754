"""Ray on this machine, or a cluster that this machine is a node of: joined, measured and left."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import warnings
from typing import Any

from lesionlens.errors import LesionLensError
from lesionlens.quiet import without_lines

#: So long the address of a cluster may take to answer.
_REACH_S = 5.0
#: Objects in Ray's store are chunks of names and answers, some 100 kB each.
_STORE_BYTES = 256 << 20


def connect(address: str = "", *, cores: int | None = None) -> int:
    """Start Ray on this machine or join a cluster, quietly; again, it does nothing.

    Args:
        address: ``auto`` or ``host:port`` of a cluster that this machine is a node of; empty:
            Ray on this machine, until this process ends or ``disconnect`` is called.
        cores: that Ray on this machine is to have; None takes all. Of a cluster, nothing is asked.

    Returns:
        The cores that Ray has.

    Raises:
        LesionLensError: Ray is not installed, or the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of a change
    try:
        import ray
        import ray.data  # which is a package's extra of its own
    except ImportError as error:
        raise LesionLensError(
            "engine ray: Ray is not installed on this machine; pip install 'lesionlens[ray]', or "
            "use --engine local"
        ) from error
    if address.startswith("ray://"):
        raise LesionLensError(
            f"{address}: is the address of a Ray client server, through which Ray Data does not "
            "run well; start lesionlens on a node of the cluster (ray exec cluster.yaml '...') "
            "and give --ray-address auto"
        )
    if not ray.is_initialized():
        _check_listens(address)
        # That cores are still taken, where a second pool begins as the first one ends.
        warnings.filterwarnings("ignore", module=r"ray\.data\.")
        logging.getLogger("ray").setLevel(logging.ERROR)  # before it is set by `logging_level`
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address:
            options["address"] = address
        else:
            # "local", as RAY_ADDRESS in the environment means another command's cluster.
            options |= {
                "address": "local",
                "num_cpus": cores,
                "include_dashboard": False,
                "object_store_memory": _STORE_BYTES,
            }
        with _own_signals():
            try:
                with without_lines([b"["]):  # that a level of notes was set is noted, too
                    ray.init(**options)
            except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
                where = f"{address}: is no Ray cluster that can be joined" if address else (
                    "engine ray: Ray does not start on this machine"
                )  # fmt: skip
                raise LesionLensError(
                    f"{where} ({first_line(error)}). This machine must be a node of the cluster: "
                    "ray start --address=HOST:6379 makes it one; ray status says what there is"
                ) from error
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are told by who raises them
    return max(1, n_cores())


def _check_listens(address: str) -> None:
    """Raise if nothing listens at ``host:port``: Ray itself goes on trying for minutes."""
    host, _, port = address.rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S).close()
    except (OSError, ValueError) as error:
        raise LesionLensError(
            f"{address}: is no Ray cluster that can be reached ({error}); give HOST:PORT as ray "
            "status or ray start --head told it, often HOST:6379, or auto on a node of the cluster"
        ) from error


def n_cores() -> int:
    """Return the cores that Ray has now: fewer once nodes have gone."""
    import ray

    return int(ray.cluster_resources().get("CPU", 0))


def disconnect() -> None:
    """End Ray on this machine, or leave the cluster and end what this process has there."""
    import ray

    with _own_signals():
        ray.shutdown()


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says: Ray's go on with pages of trace."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__


class _own_signals:  # noqa: N801 - a context manager, as contextlib names its own
    """Keeps handlers of SIGINT and SIGTERM that are ours: Ray sets its own when it starts."""

    def __enter__(self) -> None:
        self._before = {
            number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
        }

    def __exit__(self, *exception: object) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)
