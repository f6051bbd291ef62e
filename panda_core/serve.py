"""One detector over HTTP: `POST /score` takes an image and returns its score, `GET /healthz` says that it is there.

    {"score": 1.9, "percentile": 97.5, "verdict": "anomalous", "threshold": 1.7, "map": null}     or {"error": sentence}

Images are scored one by one, in a thread of its own: an answer does not depend on what else is asked, and has the bits
of `score` for that image alone. Everything that a stranger can make large is bounded: the head and the body of a
request, the seconds in which they arrive, how many wait, and for how long.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from panda_core.datasets.io.decoding import BYTE_CEILING
from panda_core.errors import UnreadableImage, UsageError
from panda_core.figures.heatmaps import fixed_scale, heated, png_of, shrunk
from panda_core.records import plain
from panda_core.runs.calibration import RATE
from panda_core.runs.detector import PandaDetector
from panda_core.runs.score import map_of, score_decoded

WAITING = 16  # requests in hand, that of now included; their bodies take at most so many times `BYTE_CEILING`
CONNECTIONS = 256
HEAD_BYTES = 16 << 10
HEAD_SECONDS = 5  # in which the head of a request arrives
PIECE_SECONDS = 5.0  # without a further piece of a body, after which nobody waits for it
BODY_SECONDS = 30.0  # in which a body arrives: the largest at some 50 megabits a second
ANSWER_SECONDS = 30.0  # in which an image is scored, those before it included
SHUTDOWN_SECONDS = 30  # in which those that wait get their answers
MAP_SIDE = 1024  # most pixels of the longer side of a picture with its map
TYPES = ("image/", "application/octet-stream")
_CALL = "curl -H 'Content-Type: image/png' --data-binary @FILE http://HOST:PORT/score"

Answer = Callable[[Request], Awaitable[Response]]


class _Refused(Exception):
    """A request that gets no score. status: of the response. seconds: after which it may be tried again."""

    def __init__(self, status: int, sentence: str, seconds: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.seconds = status, seconds


def application(detector: PandaDetector, *, rate: float = RATE) -> Starlette:
    """Return the application that answers with a detector's verdicts. rate: of false alarms, for these."""
    scorer = _Scorer(detector, rate)
    routes = [
        Route("/score", _answering(scorer.score), methods=["POST"]),
        Route("/healthz", scorer.health, methods=["GET"]),
    ]
    handlers: Any = {HTTPException: _not_here, Exception: _failed}
    return Starlette(routes=routes, exception_handlers=handlers)


def server_of(detector: PandaDetector, *, rate: float = RATE) -> uvicorn.Server:
    """Return the server of a detector; `run(sockets=[...])` serves until SIGINT or SIGTERM, and answers what waits."""
    return uvicorn.Server(
        uvicorn.Config(
            application(detector, rate=rate),
            http=_ImpatientProtocol,
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            h11_max_incomplete_event_size=HEAD_BYTES,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    )


class _Scorer:
    """A detector, and how many requests wait for it."""

    def __init__(self, detector: PandaDetector, rate: float) -> None:
        self.detector, self.rate = detector, rate
        self.threshold = detector.calibration.threshold(rate)
        self.scale = fixed_scale(detector.calibration.map_low, detector.calibration.map_middle)
        self.waiting = 0
        self._thread = ThreadPoolExecutor(1)
        detector.anomaly_scores([detector.blank])  # what is loaded late is loaded before anybody asks

    async def health(self, request: Request) -> Response:
        """Answer that the server is there, and how many requests wait."""
        return JSONResponse({"status": "ok", "waiting": self.waiting})

    async def score(self, request: Request) -> Response:
        """Answer a request with the score of its image, or raise `_Refused`."""
        if self.waiting >= WAITING:
            raise _Refused(503, f"{WAITING} requests wait already. Try again in a second.", 1)
        self.waiting += 1
        try:
            wants_map = self._wants_map(request)
            body = await _body_of(request)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(ANSWER_SECONDS):
                said = await loop.run_in_executor(self._thread, self._judge, body, wants_map)
        except TimeoutError:
            raise _Refused(503, f"No score within {ANSWER_SECONDS:g} seconds. Try again in a while.", 10) from None
        finally:
            self.waiting -= 1
        return JSONResponse(said)

    def _wants_map(self, request: Request) -> bool:
        for key in request.query_params:
            if key != "map":
                raise _Refused(400, f"`{key[:80]}` is no parameter of /score; it has `map`. Leave it out.")
        value = request.query_params.get("map", "0")
        if value not in ("0", "1"):
            raise _Refused(400, f"`map` must be 0 or 1; got `{value[:80]}`. Ask for /score?map=1.")
        if value == "1":
            try:
                self.detector.check_maps()
            except UsageError as error:
                raise _Refused(400, str(error)) from None
        return value == "1"

    def _judge(self, body: bytes, wants_map: bool) -> dict[str, Any]:
        """Return the answer to the bytes of an image file."""
        try:
            image = self.detector.decode(body, "the body")
        except UnreadableImage as error:
            raise _Refused(422, str(error)) from None
        (scored,) = score_decoded(self.detector, [("the body", image)], self.rate)
        row = {key: value for key, value in scored.row().items() if key != "path"}
        values = map_of(self.detector, scored) if wants_map else None
        drawn = (
            None if values is None else base64.b64encode(png_of(heated(shrunk(image, MAP_SIDE), values, self.scale)))
        )
        return plain({**row, "threshold": self.threshold, "map": drawn and drawn.decode()})


async def _body_of(request: Request) -> bytes:
    """Return the body of a request once all of it is here; `_Refused` where it is too large, too slow or no image."""
    kind = request.headers.get("content-type", "").strip().lower()
    if not kind.startswith(TYPES):
        raise _Refused(415, f"The body must be an image file; got content type `{kind[:80]}`. For instance: {_CALL}")
    if encoding := request.headers.get("content-encoding"):
        raise _Refused(415, f"The body must be the file as it is; got content encoding `{encoding[:80]}`.")
    too_large = _Refused(413, f"The image must have at most {BYTE_CEILING // 1_000_000} MB. Save it smaller.")
    if int(request.headers.get("content-length", "0")) > BYTE_CEILING:
        raise too_large
    body, stream = bytearray(), request.stream()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                async with asyncio.timeout(PIECE_SECONDS):
                    piece = await anext(stream, None)
                if piece is None:
                    return bytes(body)
                body += piece
                if len(body) > BYTE_CEILING:
                    raise too_large
    except TimeoutError:
        raise _Refused(408, f"The body did not arrive: {len(body):,} bytes came. Send it again.") from None
    except ClientDisconnect:
        raise _Refused(400, "The body ended too early.") from None


def _answering(answer: Answer) -> Answer:
    """Return `answer` with what it refuses as a sentence of JSON."""

    async def call(request: Request) -> Response:
        try:
            return await answer(request)
        except _Refused as refused:
            headers = {} if refused.seconds is None else {"Retry-After": str(refused.seconds)}
            return _error(refused.status, str(refused), headers)

    return call


def _error(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": sentence}, status_code=status, headers=headers)


async def _not_here(request: Request, error: HTTPException) -> Response:
    sentence = "There are POST /score and GET /healthz here, and nothing else."
    return _error(error.status_code, sentence, dict(error.headers or {}))


async def _failed(request: Request, error: Exception) -> Response:
    return _error(500, f"{type(error).__name__} while scoring; the log of the server has more.")


class _ImpatientProtocol(H11Protocol):
    """HTTP/1.1 that waits for the head of a request for some seconds alone; uvicorn's own waits for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def on_response_complete(self) -> None:
        self._head.cancel()
        super().on_response_complete()
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        body = json.dumps({"error": "This is no HTTP request, or its head is too long."}).encode()
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def _await_head(self) -> None:
        self._head = self.loop.call_later(HEAD_SECONDS, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
