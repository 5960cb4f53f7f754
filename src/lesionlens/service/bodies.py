"""Images out of a request's body: raw, or files of a form; read as they come, held in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from lesionlens.service.limits import MEBIBYTE, Held, Limits
from lesionlens.service.problems import Problem

#: What a raw body may be called; what it is, its first bytes say.
IMAGE_TYPES = (
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/tiff",
    "image/bmp",
    "application/octet-stream",
)
FORM_TYPE = "multipart/form-data"
#: Of a form, the field that files are in.
FIELD = "file"
_HOW = f"curl -F {FIELD}=@lesion.jpg sends such a form, curl --data-binary @lesion.jpg a raw body"


@dataclass(frozen=True)
class Sent:
    """An image as it was sent."""

    file: str  # as the form named it, "-" without a name
    content: bytes


class Body:
    """The body of a request; what it takes of the memory is given back at the end of ``with``."""

    def __init__(self, request: Request, limits: Limits, held: Held) -> None:
        self._request, self._limits, self._held = request, limits, held
        self._n_bytes = 0

    def __enter__(self) -> Body:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.give_back(self._n_bytes)

    async def read(self) -> list[Sent]:
        """Return the images in the body, one or more.

        Raises:
            Problem: it is too large, of another kind, or cannot be read.
            ClientDisconnect: the client left.
        """
        kind = self._request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != FORM_TYPE and kind not in IMAGE_TYPES:
            raise Problem(
                "wrong_type",
                f"A body of type {FORM_TYPE} or one of {', '.join(IMAGE_TYPES)} is taken. {_HOW}.",
                headers={"Accept": ", ".join((FORM_TYPE, *IMAGE_TYPES))},
            )
        announced = self._request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._limits.max_bytes:
            raise self._too_large()
        if kind == FORM_TYPE:
            return await self._read_form()
        body = bytearray()
        async for chunk in self._chunks():
            body += chunk
        if not body:
            raise Problem("malformed", f"The body is empty. {_HOW}.")
        return [Sent("-", bytes(body))]

    async def _read_form(self) -> list[Sent]:
        parser = MultiPartParser(
            self._request.headers, self._chunks(), max_files=self._limits.max_files, max_fields=0
        )
        parser.spool_max_size = self._limits.max_bytes + 1  # never to the disk
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise Problem(
                "malformed",
                f"The form cannot be read: {error.message.rstrip('.')}. Send up to "
                f"{self._limits.max_files} files in the field `{FIELD}` and nothing else. {_HOW}.",
            ) from error
        sent = []
        try:
            for name, value in form.multi_items():
                if name != FIELD or not isinstance(value, UploadFile):
                    raise Problem(
                        "malformed",
                        f"The form has a field of another name than `{FIELD}`. Send each image as "
                        f"a file in that field; {_HOW}.",
                    )
                sent.append(Sent(value.filename or "-", await value.read()))
        finally:
            await form.close()
        if not sent:
            raise Problem("malformed", f"The form has no file in it. {_HOW}.")
        return sent

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        async for chunk in self._request.stream():
            if self._n_bytes + len(chunk) > self._limits.max_bytes:
                raise self._too_large()
            self._held.take(len(chunk))
            self._n_bytes += len(chunk)
            yield chunk

    def _too_large(self) -> Problem:
        return Problem(
            "too_large",
            f"A body may have {self._limits.max_bytes / MEBIBYTE:g} MiB. Send fewer images at "
            "once, or smaller ones: what counts is seen at 1,000 pixels a side.",
        )
