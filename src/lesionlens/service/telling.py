"""Whatever goes wrong inside the routes, told as a problem."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from lesionlens.service.problems import Problem, fault_problem

#: The body of one that is too large is read and dropped for so long, so that the client comes to
#: read why it is refused.
_PATIENCE_S = 1.0
#: The client left before it was answered: nginx's number, in log and meters only.
LEFT = 499
_UNKNOWN = "is no parameter here (/openapi.json lists those that are), so nothing was done"


async def tell_problem(request: Request, problem: Exception) -> Response:
    """Tell a problem that was raised as such."""
    assert isinstance(problem, Problem)
    if problem.reason == "too_large" and "expect" not in request.headers:
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                while (await request.receive()).get("more_body"):
                    pass
    return problem.response()


async def tell_http(_: Request, error: Exception) -> Response:
    """Tell what the router says, in our words."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return Problem("wrong_method", f"Use {allowed}.", headers=error.headers).response()
    if error.status_code == 404:
        return Problem(
            "not_found",
            "Images are judged at POST /v1/predictions; /openapi.json lists what else there is.",
        ).response()
    return Problem("malformed", str(error.detail)).response()


async def tell_invalid(_: Request, error: Exception) -> Response:
    """Tell which parameter is wrong and why; the value itself is not sent back."""
    assert isinstance(error, RequestValidationError)
    wrong = [
        {
            "parameter": str(one["loc"][-1]),
            "error": _UNKNOWN if one["type"] == "extra_forbidden" else str(one["msg"]),
        }
        for one in error.errors()
    ]
    words = "; ".join(f"{one['parameter']}: {one['error']}" for one in wrong)
    return Problem("invalid", f"{words}.", parameters=wrong).response()


async def tell_nobody(_: Request, __: Exception) -> Response:
    """End a request whose client has left; what is sent goes nowhere, the log has the number."""
    return Response(status_code=LEFT)


async def tell_fault(_: Request, __: Exception) -> Response:
    """Tell a fault of ours; the wall, which it reaches next, writes it down."""
    return fault_problem().response()
