"""The HTTP server of `decant serve`: an ASGI app around a predictor, with limits on all that a request may take.

GET /ping answers once the model is loaded. POST /invocations takes what MLflow's scoring server takes (see
request_body.py), and answers {"predictions": [...]}. Every error is {"error_code": ..., "message": one sentence}.

It has no passwords and no encryption, and a client may open connections and send nothing: before it listens to a
network, put a proxy in front of it.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from decant.core.errors import UserError
from decant.core.redaction import redacted
from decant.serving.limits import MAX_ROW_BYTES, short_repr
from decant.serving.predictor import Predictor
from decant.serving.preprocessing import BadInput
from decant.serving.request_body import BadRequest, parse_request

LOGGER = logging.getLogger(__name__)
RETRY = {"Retry-After": "1"}


@dataclass(frozen=True)
class Limits:
    """What the server spends on requests; limits.py and request_body.py hold those on what is in a body."""

    body_bytes: int = MAX_ROW_BYTES
    seconds: float = 30.0
    """For a request: to receive it, and then to answer it."""
    requests: int = 16
    """Received, waiting and running at a time."""
    threads: int = min(os.cpu_count() or 1, 8)
    """Requests that run at a time."""


class Server:
    """Answers requests with the predictions of a model.

    Args:
        predictor: the model.
        limits: on what a request may take.
    """

    def __init__(self, predictor: Predictor, limits: Limits | None = None) -> None:
        self.predictor, self.limits = predictor, limits or Limits()
        self.pool = ThreadPoolExecutor(self.limits.threads)
        self.active = 0
        """Requests that are received, waiting or running."""

    async def ping(self, request: HttpRequest) -> Response:
        """The model is loaded."""
        return Response("\n", media_type="application/json")

    async def invocations(self, request: HttpRequest) -> Response:
        """Predict for the inputs of a request."""
        if self.active >= self.limits.requests:
            raise BadRequest(503, f"{self.active} requests are waiting already; send this one again later")
        self.active += 1
        try:
            body = await self.receive(request)
            deadline = time.monotonic() + self.limits.seconds
            content_type = request.headers.get("content-type")
            answer = await asyncio.get_running_loop().run_in_executor(
                self.pool, self.answer, content_type, body, deadline
            )
        finally:
            self.active -= 1
        return Response(answer, media_type="application/json")

    async def receive(self, request: HttpRequest) -> bytes:
        """The body of a request.

        Raises:
            BadRequest: it is compressed, too large, too slow, or its end does not come.
        """
        if (encoding := request.headers.get("content-encoding", "identity")) != "identity":
            raise BadRequest(415, f"Content-Encoding is {short_repr(encoding)}, expected a body without compression")
        length = request.headers.get("content-length", "")
        if length.isdecimal() and (len(length) > 18 or int(length) > self.limits.body_bytes):
            raise self.too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.seconds):
                async for part in request.stream():
                    body += part
                    if len(body) > self.limits.body_bytes:
                        raise self.too_large()
        except TimeoutError as error:
            raise BadRequest(408, f"the body did not arrive in {self.limits.seconds:g} seconds") from error
        except ClientDisconnect as error:
            raise BadRequest(400, "the body ended too early") from error
        return bytes(body)

    def too_large(self) -> BadRequest:
        """The error of a body that is too large."""
        return BadRequest(413, f"the body is larger than {self.limits.body_bytes:,} bytes; send several requests")

    def answer(self, content_type: str | None, body: bytes, deadline: float) -> str:
        """The JSON answer to a request; runs in a thread.

        Raises:
            BadRequest: with the status and the reason.
        """

        def check_time() -> None:
            if time.monotonic() > deadline:
                raise BadRequest(503, f"the answer would take more than {self.limits.seconds:g} seconds; send less")

        check_time()
        inputs, top_k = parse_request(content_type, body)
        if top_k and not self.predictor.has_classes:
            raise BadRequest(422, f"top_k is {top_k}, expected 0: a number has no classes")
        try:
            logits = self.predictor(inputs, check=check_time)
        except BadInput as error:
            raise BadRequest(422, str(error)) from error
        return json.dumps({"predictions": self.predictor.records(logits, top_k)}, ensure_ascii=False, allow_nan=False)


def create_app(predictor: Predictor, limits: Limits | None = None) -> Starlette:
    """The ASGI app that serves a model."""
    server = Server(predictor, limits)
    routes = [
        Route("/ping", server.ping, methods=["GET"]),
        Route("/invocations", server.invocations, methods=["POST"]),
    ]
    handlers: dict[Any, Callable[..., Response]] = {
        BadRequest: refuse,
        HTTPException: refuse_path_or_method,
        UserError: fail,  # a model that is damaged
        Exception: fail,
    }
    return Starlette(routes=routes, exception_handlers=handlers)


def refuse(request: HttpRequest, error: BadRequest) -> Response:
    """The response to a request that is refused."""
    return error_response(error.status, str(error), RETRY if error.status == 503 else None)


def refuse_path_or_method(request: HttpRequest, error: HTTPException) -> Response:
    """The response to another path or method."""
    headers = dict(error.headers or {})
    return error_response(error.status_code, "this server knows GET /ping and POST /invocations", headers)


def fail(request: HttpRequest, error: Exception) -> Response:
    """The response to an error of the model or the server: details go to the log, not to the client."""
    LOGGER.error("%s", redacted(f"{type(error).__name__}: {error}"))
    return error_response(500, "the model cannot answer; the log of the server says why")


def error_response(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """A response with the fields that errors of MLflow's server have."""
    body = json.dumps({"error_code": HTTPStatus(status).name, "message": message})
    return Response(body, status, headers, media_type="application/json")
