"""The routes, and what they do: FastAPI inside the wall."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from lesionlens import __version__
from lesionlens.bundle import ModelSpec
from lesionlens.records import Prediction
from lesionlens.service import documents, telling
from lesionlens.service.bodies import Body, Sent
from lesionlens.service.documents import problem_answers, request_body
from lesionlens.service.journal import Journal
from lesionlens.service.limits import Held, Limits, client_of
from lesionlens.service.meters import CONTENT_TYPE, Meters
from lesionlens.service.pool import Pool, Question, WorkerFaultError
from lesionlens.service.problems import Problem, fault_problem
from lesionlens.service.tokens import Tokens
from lesionlens.service.wall import PREDICTIONS, Presence, Wall
from lesionlens.service.worker_process import Refused
from lesionlens.verdicts import DISCLAIMER

#: What any route but those for watching may answer, and what only the one that judges may.
_COMMON = ("invalid", "no_token", "foreign", "rate_exceeded", "fault", "ending")
_OF_PREDICTIONS = ("malformed", "too_slow", "too_large", "wrong_type", "queue_full", "timed_out")


class Service:
    """All that answers requests: an ASGI application."""

    def __init__(
        self,
        pool: Pool,
        spec: ModelSpec,
        *,
        host: str,
        tokens: Tokens,
        limits: Limits,
        meters: Meters,
        journal: Journal,
    ) -> None:
        """Put the parts together.

        Args:
            pool: judges.
            spec: of the model that it judges with.
            host: the address that is listened on.
            tokens: who may ask.
            limits: how much.
            meters: count.
            journal: writes down.
        """
        self._pool, self._spec, self._limits = pool, spec, limits
        self._meters, self._journal = meters, journal
        self._held = Held(limits.max_held_bytes)
        self._n_running = 0
        self._mean_s = 0.05  # that a request took lately, for Retry-After
        self.presence = Presence()
        self.api = self._routes()
        self._wall = Wall(
            self.api,  # type: ignore[arg-type]
            host=host,
            tokens=tokens,
            limits=limits,
            meters=meters,
            journal=journal,
            presence=self.presence,
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        await self._wall(scope, receive, send)

    # ------------------------------------------------------------ routes

    def _routes(self) -> FastAPI:
        api = FastAPI(
            title="LesionLens",
            version=__version__,
            summary="Screens dermoscopic images for BCC, SCC or healthy skin.",
            description=f"{DISCLAIMER} Images are judged on this machine and nothing of them is "
            "stored or written down.",
            license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
            docs_url=None,  # their pages load scripts from a content delivery network
            redoc_url=None,
            redirect_slashes=False,
        )
        api.add_exception_handler(Problem, telling.tell_problem)
        api.add_exception_handler(HTTPException, telling.tell_http)
        api.add_exception_handler(RequestValidationError, telling.tell_invalid)
        api.add_exception_handler(ClientDisconnect, telling.tell_nobody)
        api.add_exception_handler(Exception, telling.tell_fault)
        common = problem_answers(*_COMMON)
        told: dict[str, Any] = {"tags": ["predictions"]}
        api.post(
            PREDICTIONS,
            operation_id="predict",
            summary="Judge images",
            description="One image as the body, or up to "
            f"{self._limits.max_files} as files of a form. What cannot be judged has an `error` "
            "in its place; where that is all of them, the answer is a problem.",
            response_description="What became of each image, in order.",
            responses={
                200: {
                    "model": documents.Answers,
                    "content": {"application/json": {"example": documents.EXAMPLE}},
                },
                **problem_answers(*_COMMON, *_OF_PREDICTIONS, "unusable_image"),
            },
            openapi_extra={"requestBody": request_body(self._limits)},
            **told,
        )(self._predict)
        api.get(
            "/v1/model",
            operation_id="model",
            summary="The model that judges",
            responses={200: {"model": documents.ModelDocument}, **common},
            **told,
        )(self._model)
        watch: dict[str, Any] = {"tags": ["watching"]}
        state: dict[int | str, Any] = {
            200: {"model": documents.State},
            **problem_answers("invalid"),
        }
        api.get(
            "/healthz",
            operation_id="health",
            summary="Whether the process answers",
            responses=state,
            **watch,
        )(self._health)
        api.get(
            "/readyz",
            operation_id="ready",
            summary="Whether images would be taken now",
            responses={**state, **problem_answers("ending")},
            **watch,
        )(self._ready)
        api.get(
            "/metrics",
            operation_id="metrics",
            summary="Counts, in Prometheus's format",
            response_class=Response,
            responses={
                200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
                **common,
            },
            **watch,
        )(self._metrics)
        return api

    async def _predict(
        self, request: Request, asked: Annotated[documents.Asked, Query()]
    ) -> Response:
        began = monotonic()
        until = began + self._limits.timeout_s
        client = client_of(request.client.host if request.client else "")
        with self._admitted(), Body(request, self._limits, self._held) as body:
            self._wall.charge(client, 1)
            try:
                async with asyncio.timeout(self._limits.timeout_s):
                    sent = await body.read()
            except TimeoutError as error:
                raise Problem(
                    "too_slow",
                    f"The body was not here after {self._limits.timeout_s:g} s. Send smaller "
                    "images, or over a faster line.",
                ) from error
            self._wall.charge(client, len(sent) - 1)
            answers = await self._judge(request, sent, asked, until)
        self._mean_s += 0.1 * (monotonic() - began - self._mean_s)
        records = [self._record(*pair) for pair in zip(sent, answers, strict=True)]
        if all(isinstance(answer, Refused) for answer in answers):
            raise Problem(
                "unusable_image",
                " ".join(f"{record['error']}." for record in records),
                images=records,
            )
        return JSONResponse({"model": self._name(), "notice": DISCLAIMER, "predictions": records})

    async def _model(self, asked: Annotated[documents.Nothing, Query()]) -> Response:
        content = self._spec.as_json()
        del content["conformal"]  # some thousand numbers
        return JSONResponse({**content, **self._name(), "notice": DISCLAIMER})

    async def _health(self, asked: Annotated[documents.Nothing, Query()]) -> Response:
        return JSONResponse({"status": "ok"})

    async def _ready(self, asked: Annotated[documents.Nothing, Query()]) -> Response:
        if self.presence.is_ending:
            raise Problem("ending", "What is here is finished, nothing new is taken.")
        return JSONResponse({"status": "ok"})

    async def _metrics(self, asked: Annotated[documents.Nothing, Query()]) -> Response:
        self._meters.running.set(self._n_running)
        self._meters.held.set(self._held.n_bytes)
        return Response(self._meters.exposition(), headers={"Content-Type": CONTENT_TYPE})

    # ------------------------------------------------------------ judging

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        """Hold a place of those that may be here, or raise Problem."""
        places = self._pool.n_workers + self._limits.max_waiting
        if self._n_running >= places:
            raise Problem(
                "queue_full",
                f"{places} requests are here already, as many as this server lets in. Wait as "
                "long as Retry-After says, then send yours again.",
                retry_after_s=self._mean_s,
            )
        self._n_running += 1
        try:
            yield
        finally:
            self._n_running -= 1

    async def _judge(
        self, request: Request, sent: list[Sent], asked: documents.Asked, until: float
    ) -> list[Prediction | Refused]:
        """Return an answer for each image.

        Raises:
            Problem: there was no answer in time, or a fault of ours.
            ClientDisconnect: the client left; what it asked is taken out of the line.
        """
        answers = [
            self._pool.ask(Question(image.content, asked.policy, asked.views), until=until)
            for image in sent
        ]
        left = asyncio.ensure_future(_until_left(request))
        pending: set[asyncio.Future[Any]] = set(answers)
        try:
            async with asyncio.timeout(until - monotonic()):
                while pending:
                    done, _ = await asyncio.wait(
                        {*pending, left}, return_when=asyncio.FIRST_COMPLETED
                    )
                    _check_is_here(left)
                    pending -= done
                return await asyncio.gather(*answers)
        except TimeoutError as error:
            raise Problem(
                "timed_out",
                f"No answer was ready after {self._limits.timeout_s:g} s. Send fewer images at "
                "once, smaller ones, or fewer requests at a time.",
                retry_after_s=self._mean_s,
            ) from error
        except WorkerFaultError as error:
            self._journal.fault(error.fault)
            raise fault_problem() from error
        finally:
            left.cancel()
            for answer in answers:
                answer.cancel()

    def _record(self, image: Sent, answer: Prediction | Refused) -> dict[str, Any]:
        if isinstance(answer, Prediction):
            self._meters.note_answer(answer)
            return replace(answer, file=image.file).as_json()
        self._meters.note_refusal(answer.reason)
        words = f"{image.file}{answer.words.removeprefix('-')}"
        return {"file": image.file, "error": words, "reason": answer.reason}

    def _name(self) -> dict[str, str]:
        spec = self._spec
        return {
            "name": spec.name,
            "version": spec.version,
            "sha256": spec.sha256,
            "lesionlens": __version__,
        }


def _check_is_here(left: asyncio.Future[None]) -> None:
    """Raise ClientDisconnect where a client has left."""
    if left.done():
        raise ClientDisconnect


async def _until_left(request: Request) -> None:
    """Wait until a client that has sent its whole body leaves."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
