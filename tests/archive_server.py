"""An HTTP server in this process that answers like the ISIC archive, and misbehaves on demand."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image


def jpeg(seed: int, side_px: int = 96) -> bytes:
    """Return a JPEG of noise, about 10 kB: incompressible enough to be cut anywhere."""
    pixels = np.random.default_rng(seed).integers(0, 255, (side_px, side_px, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    return stream.getvalue()


@dataclass(frozen=True)
class Served:
    """Bytes of a file that went out: ``start`` up to, not including, ``end``."""

    isic_id: str
    status: int
    start: int
    end: int


@dataclass
class Fault:
    """What to do instead of answering properly, once."""

    kind: str  # status, drop, truncate, stall, silence
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)


class ArchiveServer:
    """``with ArchiveServer(n=5) as server: ... server.url``."""

    def __init__(self, n: int = 5, page_size: int = 2) -> None:
        self.page_size = page_size
        self.files = {f"ISIC_{i:07d}": jpeg(i) for i in range(n)}
        self.metadata: dict[str, dict[str, Any]] = {
            isic_id: {
                "acquisition": {"pixels_x": 96, "pixels_y": 96, "image_type": "dermoscopic"},
                "clinical": {
                    "diagnosis_1": "Malignant",
                    "diagnosis_2": "Malignant adnexal epithelial proliferations - Follicular",
                    "diagnosis_3": "Basal cell carcinoma",
                    "age_approx": 60,
                    "lesion_id": f"IL_{isic_id[-4:]}",
                    "concomitant_biopsy": True,
                },
            }
            for isic_id in self.files
        }
        self.licenses = dict.fromkeys(self.files, "CC-BY")
        self.attributions = dict.fromkeys(self.files, "Clinic of Örebro, Sweden")
        self.sizes = {isic_id: len(data) for isic_id, data in self.files.items()}  # announced
        self.faults: dict[str, list[Fault]] = defaultdict(list)  # by id, or "search"
        self.signature = ""  # if set, files are handed out under it only
        self.listed_signature = ""  # what the search says it is
        self.searches: list[dict[str, str]] = []  # parameters of each search
        self.served: list[Served] = []
        self.stalled = threading.Semaphore(0)  # released once per stalled answer
        self.go_on = threading.Event()  # lets stalled answers end
        self._lock = threading.Lock()
        server = self

        class Handler(_Handler):
            archive = server

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Say nothing: clients that are killed are part of the tests."""

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._http.server_address[1]}"
        self.url = f"{self.origin}/api/v2/"

    def __enter__(self) -> ArchiveServer:
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.go_on.set()
        self._http.shutdown()
        self._http.server_close()

    def next_fault(self, key: str) -> Fault | None:
        with self._lock:
            return self.faults[key].pop(0) if self.faults[key] else None

    def log(self, served: Served) -> None:
        with self._lock:
            self.served.append(served)

    def item(self, isic_id: str, signature: str) -> dict[str, Any]:
        query = f"?signature={signature}" if signature else ""
        return {
            "isic_id": isic_id,
            "public": True,
            "copyright_license": self.licenses[isic_id],
            "attribution": self.attributions[isic_id],
            "files": {
                "full": {
                    "url": f"{self.origin}/files/{isic_id}.jpg{query}",
                    "size": self.sizes[isic_id],
                },
                "thumbnail_256": {"url": f"{self.origin}/thumbnails/{isic_id}.jpg", "size": 1},
            },
            "metadata": self.metadata[isic_id],
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    archive: ArchiveServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        parameters = {key: values[0] for key, values in parse_qs(address.query).items()}
        parts = address.path.strip("/").split("/")
        if parts[:4] == ["api", "v2", "images", "search"]:
            self._search(parameters)
        elif parts[:3] == ["api", "v2", "images"] and parts[3] in self.archive.files:
            self._json(200, self.archive.item(parts[3], self.archive.signature))
        elif parts[0] == "files":
            self._file(parts[1].removesuffix(".jpg"), parameters)
        else:
            self._json(404, {"detail": "Not found."})

    def _json(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _search(self, parameters: dict[str, str]) -> None:
        archive = self.archive
        archive.searches.append(parameters)
        if fault := archive.next_fault("search"):
            self._json(fault.status, {"message": "no"}, fault.headers)
            return
        if parameters["query"].count('"') % 2:
            self._json(400, {"message": "Could not parse query."})
            return
        ids = sorted(archive.files)
        start = int(parameters.get("cursor", "0"))
        stop = start + min(int(parameters["limit"]), archive.page_size)
        more = (
            f"{archive.url}images/search/?cursor={stop}&limit={parameters['limit']}&query=kept"
            if stop < len(ids)
            else None
        )
        self._json(
            200,
            {
                "count": None if start else len(ids),
                "next": more,
                "previous": None,
                "results": [archive.item(i, archive.listed_signature) for i in ids[start:stop]],
            },
        )

    def _file(self, isic_id: str, parameters: dict[str, str]) -> None:
        archive = self.archive
        fault = archive.next_fault(isic_id)
        if fault and fault.kind == "status":
            archive.log(Served(isic_id, fault.status, 0, 0))
            self._json(fault.status, {"detail": "no"}, fault.headers)
            return
        if fault and fault.kind == "silence":
            archive.go_on.wait(300)
            self.close_connection = True
            return
        if archive.signature and parameters.get("signature") != archive.signature:
            archive.log(Served(isic_id, 403, 0, 0))
            self._json(403, {"detail": "Request has expired"})
            return
        data = archive.files[isic_id]
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        start, status = 0, 200
        asked = self.headers.get("Range", "")
        if asked and self.headers.get("If-Range", tag) == tag:
            start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
        if start >= len(data):
            archive.log(Served(isic_id, 416, 0, 0))
            self._json(416, {})
            return
        body = data[start:]
        self.send_response(status)
        self.send_header("ETag", tag)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if fault and fault.kind == "truncate":  # ends early without having said how long it is
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault:
            body = body[: len(body) // 2]
        # Before it goes out: the client may be done with it before this thread goes on.
        archive.log(Served(isic_id, status, start, start + len(body)))
        self.wfile.write(body)
        if fault and fault.kind == "stall":
            archive.stalled.release()
            archive.go_on.wait(300)
        if fault:
            self.close_connection = True
