"""What goes wrong at the door, as RFC 9457 wants it told: ``application/problem+json``.

``type`` leads to the problem's place in docs/serve.md, ``reason`` is what a program goes by, and
``detail`` says what to do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

_PAGE = "https://github.com/lesionlens/lesionlens/blob/main/docs/serve.md"

#: Reason -> status and title. Reasons of images (`errors.IMAGE_REASONS`) come as `unusable_image`.
PROBLEMS: dict[str, tuple[int, str]] = {
    "malformed": (400, "The request cannot be read"),
    "no_token": (401, "A token is needed"),
    "wrong_token": (401, "The token is not known"),
    "foreign": (403, "Only programs may ask, and by this server's own name"),
    "not_found": (404, "There is nothing here"),
    "wrong_method": (405, "Not with this method"),
    "too_slow": (408, "The body did not arrive in time"),
    "too_large": (413, "The body is too large"),
    "wrong_type": (415, "This kind of body is not taken"),
    "invalid": (422, "A parameter is not one that can be had"),
    "unusable_image": (422, "No image could be judged"),
    "rate_exceeded": (429, "Too many images"),
    "fault": (500, "A fault of LesionLens"),
    "queue_full": (503, "Too much is waiting"),
    "ending": (503, "The server is ending"),
    "timed_out": (504, "Not judged in time"),
}


class Problem(Exception):  # noqa: N818 - as RFC 9457 calls it
    """A request is answered with a problem instead of what it asked for."""

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        """Say what is wrong.

        Args:
            reason: one of PROBLEMS.
            detail: what is wrong with this request and what to do, in sentences.
            retry_after_s: when it is worth to try again.
            headers: more headers of the answer.
            members: more members of the document.
        """
        super().__init__(detail)
        self.reason, self.detail, self.members = reason, detail, members
        self.status, self.title = PROBLEMS[reason]
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))

    def response(self) -> JSONResponse:
        """Return the answer that says so."""
        content = {
            "type": f"{_PAGE}#{self.reason}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "reason": self.reason,
            **self.members,
        }
        return JSONResponse(
            content, self.status, self.headers, media_type="application/problem+json"
        )


def fault_problem() -> Problem:
    """Return what is said of a fault of ours."""
    return Problem(
        "fault",
        "This is no fault of yours. The server's log says where it happened; please report it.",
    )
