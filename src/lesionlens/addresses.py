"""Addresses that a server of ours listens on, and names that it answers to.

What the two doors share, the app's (``app --web``) and that of other systems (``serve``). A page
of another site may point a name of its own at 127.0.0.1 (DNS rebinding): whoever listens without
a password asks by which name it was called, and by whose page.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import socket
from contextlib import suppress
from urllib.parse import urlsplit

from lesionlens.errors import LesionLensError

#: Names of this machine for itself.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def is_own_host(header: str, listening_on: str) -> bool:
    """Tell whether a ``Host`` header names this server.

    A page of a rebound name sends that name, so names are taken from a list; an address cannot
    be rebound, so a server on every interface answers to any.

    Args:
        header: As a browser sends it: ``127.0.0.1:8000``, ``[::1]:8000``, ``localhost``.
        listening_on: The address that the server was bound to.
    """
    name = host_of(header)
    if name is None:
        return False
    if name in LOOPBACK or name == listening_on.strip("[]"):
        return True
    if not is_wildcard(listening_on):
        return False
    with suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    own = socket.gethostname().lower()
    return name in (own, f"{own.split('.')[0]}.local")


def host_of(header: str) -> str | None:
    """Return the name or address in a ``Host`` header, lower case, or None if it is malformed."""
    try:
        parts = urlsplit(f"//{header}")
        parts.port  # noqa: B018  raises where it is no number
    except ValueError:
        return None
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        return None
    return parts.hostname


def is_wildcard(host: str) -> bool:
    """Tell whether an address stands for every interface of the machine."""
    return host.strip("[]") in ("", "0.0.0.0", "::")


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine alone."""
    with suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return host.lower() == "localhost"


def is_same_origin(origin: str, host: str) -> bool:
    """Tell whether an ``Origin`` is the page of this host; none at all is no page of ours."""
    scheme, _, netloc = origin.partition("://")
    return scheme in ("http", "https") and netloc.lower() == host.lower()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, so that who comes early waits and port 0 is known.

    Raises:
        LesionLensError: Says which of the address and the port it is, and what to do.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise LesionLensError(
            f"--host {host}: is neither an address nor a name that this machine knows; "
            "127.0.0.1 is this machine alone, 0.0.0.0 every network that it is on"
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # a port just left is free; elsewhere this would share it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        raise LesionLensError(_why_not_listening(error, host, port)) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the address under which this machine reaches a listener."""
    host, port = listener.getsockname()[:2]
    if is_wildcard(host):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _why_not_listening(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        taken = "another program listens there"
        if is_lesionlens(host, port):
            taken = "LesionLens is running there already: open that, or stop it with Ctrl-C"
        return f"port {port} is taken: {taken}. Give another --port, or none for a free one"
    if error.errno == errno.EACCES:
        return f"port {port} needs an administrator's rights; give a --port above 1023, or none"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host}: is no address of this machine; 127.0.0.1 always is"
    return f"--host {host} --port {port}: cannot be listened on: {error.strerror or error}"


def is_lesionlens(host: str, port: int) -> bool:
    """Ask whoever listens on a port whether it is this app; never waits longer than a second."""
    from http.client import HTTPConnection, HTTPException

    asked = HTTPConnection("127.0.0.1" if is_wildcard(host) else host, port, timeout=1)
    try:
        asked.request("GET", "/manifest.json")
        return bool(json.loads(asked.getresponse().read(10_000)).get("name") == "LesionLens")
    except (OSError, HTTPException, ValueError, AttributeError):
        return False
    finally:
        asked.close()
