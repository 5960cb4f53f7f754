"""A web server for tests: lists folders, sends parts of files, and fails on demand."""

from __future__ import annotations

import html
import socket
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote, urlsplit


class Site:
    """A web server that lists folders, sends parts of files, and fails on demand."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[str]] = {}  # by path, one an answer
        self.asked: Counter[str] = Counter()
        self.sends_parts = True
        site = self

        class Handler(_Handler):
            server_site = site

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server_site: Site

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        site, path = self.server_site, unquote(urlsplit(self.path).path)
        site.asked[path] += 1
        fault = site.faults[path].pop(0) if site.faults.get(path) else ""
        if fault == "drop":
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault == "endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(bytes(1 << 16))
            except OSError:
                return
        elif fault.startswith("to "):
            self.send_response(302)
            self.send_header("Location", fault.removeprefix("to "))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif fault.isdecimal():
            self.send_response(int(fault))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path in site.files:
            self._send(site.files[path], fault)
        elif path.endswith("/") and any(name.startswith(path) for name in site.files):
            self._send(self._index(path), "", "text/html; charset=utf-8")
        else:
            self.send_error(404)

    def _send(self, content: bytes, fault: str, kind: str = "application/octet-stream") -> None:
        asked = self.headers.get("Range")
        total = len(content)
        if asked and self.server_site.sends_parts:
            first, last = (int(n) for n in asked.removeprefix("bytes=").split("-"))
            content = content[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{total}")
        else:
            self.send_response(200)
        if self.server_site.sends_parts:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "stall":  # until whoever asked has had enough
            self.connection.settimeout(60)
            self.connection.recv(1)
        self.wfile.write(content[: len(content) // 2] if fault == "half" else content)

    def _index(self, folder: str) -> bytes:
        below = {
            name.removeprefix(folder).partition("/")[0]
            + ("/" if "/" in name.removeprefix(folder) else "")
            for name in self.server_site.files
            if name.startswith(folder)
        }
        links = ["../", "?C=N;O=D", "https://elsewhere.example/9.jpg", *map(quote, sorted(below))]
        lines = (f'<a href="{html.escape(link)}">{html.escape(link)}</a>' for link in links)
        return f"<html><h1>Index</h1>{'<br>'.join(lines)}</html>".encode()
