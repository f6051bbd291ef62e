"""`serve`: the scores of the command line under load, and a sentence with the right status for everything hostile."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import signal
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core import RunConfig, load_run, serve
from panda_core.cli import main, serving
from panda_core.datasets.io.decoding import BYTE_CEILING
from panda_core.runs.detector import PandaDetector
from panda_core.runs.score import score_files

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def detector(finish: Callable[..., Any], spot: Callable[..., RunConfig]) -> PandaDetector:
    return load_run(finish(spot())[0].path).detector()


@pytest.fixture
def served() -> Iterator[Callable[[PandaDetector], int]]:
    """Return a function (detector) -> port of a server of it, which runs in a thread."""
    running = []

    def call(detector: PandaDetector) -> int:
        listening = socket.create_server(("127.0.0.1", 0))
        server = serve.server_of(detector)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        running.append((server, thread))
        return int(listening.getsockname()[1])

    yield call
    for server, thread in running:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def port(served: Callable[[PandaDetector], int], detector: PandaDetector) -> int:
    return served(detector)


def png(seed: int, side: int = 20) -> bytes:
    held = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(held, "PNG")
    return held.getvalue()


def ask(port: int, body: bytes | None, path: str = "/score", kind: str = "image/png", **more: str) -> tuple[int, Any]:
    """Return the status and the JSON that a request is answered with."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        method = "GET" if body is None else "POST"
        connection.request(
            method, path, body, {"Content-Type": kind, **{k.replace("_", "-"): v for k, v in more.items()}}
        )
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def raw(port: int, content: bytes, timeout: float = 20) -> bytes:
    """Return all that the server says to bytes on a connection, until it closes it."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_every_answer_is_that_of_the_command_line(detector: PandaDetector, port: int, tmp_path: Path) -> None:
    """A score that depends on what others ask at the same time; answers that reach the wrong one."""
    files = []
    for seed in range(200):
        (tmp_path / f"{seed}.png").write_bytes(png(seed))
        files.append((str(seed), tmp_path / f"{seed}.png"))
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda file: ask(port, file[1].read_bytes()), files))
    alone = list(score_files(detector, files, batch=1))
    beside = list(score_files(detector, files))
    for (status, said), one, together in zip(answers, alone, beside, strict=True):
        assert status == 200 and set(said) == {"score", "percentile", "verdict", "threshold", "map"}
        assert (said["score"], said["percentile"], said["verdict"]) == (one.score, one.percentile, one.verdict)
        assert said["verdict"] == together.verdict and said["score"] == pytest.approx(together.score, rel=1e-5)
        assert said["threshold"] == detector.threshold() and said["map"] is None
    assert ask(port, None, "/healthz") == (200, {"status": "ok", "waiting": 0})


def test_the_map_is_a_picture_of_bounded_size(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map that is none, or as large as the largest photo."""
    monkeypatch.setattr(serve, "MAP_SIDE", 30)
    for side, size in ((20, (24, 20)), (80, (30, 29))):
        status, said = ask(port, png(1, side), "/score?map=1")
        assert status == 200
        with Image.open(io.BytesIO(base64.b64decode(said["map"]))) as image:
            assert image.size == size and image.format == "PNG"


def bomb(side: int) -> bytes:
    """Return a PNG of side x side black pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 1) * side), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_what_is_refused_is_refused_in_a_sentence(port: int) -> None:
    """A page of traceback, a status that says it was the server's fault, or an answer to half an image."""
    image = png(0)
    whole: dict[str, Any] = {"path": "/score", "kind": "image/png"}
    for status, words, body, given in (
        (422, "damaged or cut off", image[: len(image) // 2], {}),
        (422, "cannot be read", b"", {}),
        (422, "million pixels", bomb(20_000), {}),
        (422, "cannot be read", b"PK\x03\x04" + bytes(500), {"kind": "application/octet-stream"}),
        (415, "must be an image file", image, {"kind": "application/x-www-form-urlencoded"}),
        (415, "must be an image file", image, {"kind": "multipart/form-data; boundary=x"}),
        (415, "content encoding `gzip`", zlib.compress(image), {"Content_Encoding": "gzip"}),
        (413, f"at most {BYTE_CEILING // 1_000_000} MB", image, {"Content_Length": str(BYTE_CEILING + 1)}),
        (400, "`map` must be 0 or 1", image, {"path": "/score?map=yes"}),
        (400, "`threshold` is no parameter", image, {"path": "/score?threshold=0"}),
        (405, "POST /score", None, {}),
        (404, "POST /score", image, {"path": "/../../etc/passwd"}),
        (405, "POST /score", image, {"path": "/healthz"}),
    ):
        got, said = ask(port, body, **{**whole, **given})
        assert got == status and set(said) == {"error"} and words in said["error"], (got, said, words)
        assert said["error"].endswith((".", "/score")) and "\n" not in said["error"]
    assert ask(port, image)[0] == 200


def test_a_detector_without_maps_says_so(
    served: Callable[[PandaDetector], int], finish: Callable[..., Any], tiny: Callable[..., RunConfig]
) -> None:
    """An error of the server where the caller asked for what there is not."""
    config = tiny(recipe="frozen", steps=None, eval_every=None, lr=None)
    port = served(load_run(finish(config)[0].path).detector())
    status, said = ask(port, png(0), "/score?map=1")
    assert status == 400 and "has no maps" in said["error"]
    assert ask(port, png(0))[1]["map"] is None


def test_slow_and_huge_senders_do_not_hold_the_server(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that are held open by a byte an hour; a head without end that fills the memory."""
    monkeypatch.setattr(serve, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(serve, "PIECE_SECONDS", 0.3)
    head = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as idle:  # a head that never ends
        idle.sendall(head)
        assert idle.recv(100) == b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as slow:  # a body that never comes
        slow.sendall(head + b"\r\nhalf")
        assert b"408" in slow.recv(4096)
    assert b"400 Bad Request" in raw(port, head + b"X: " + b"x" * 50_000) and b"400" in raw(port, b"nonsense\r\n\r\n")
    assert raw(port, head + b"\r\nhalf").count(b"Traceback") == 0  # it hung up
    assert ask(port, png(0))[0] == 200 and ask(port, None, "/healthz")[1]["waiting"] == 0


def test_too_many_are_asked_to_come_again(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that grows until the memory is full; a place in it that is never given back."""
    monkeypatch.setattr(serve, "WAITING", 2)
    head = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n"
    held = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(2)]
    for connection in held:
        connection.sendall(head)
    while ask(port, None, "/healthz")[1]["waiting"] < 2:
        time.sleep(0.01)
    answer = raw(port, head + b"123456789").lower()
    assert b" 503 " in answer and b"retry-after: 1" in answer and b"try again" in answer
    for connection in held:
        connection.close()
    while ask(port, None, "/healthz")[1]["waiting"]:
        time.sleep(0.01)
    assert ask(port, png(0))[0] == 200


def test_fuzzed_bodies(port: int) -> None:
    """A body that ends the server, or that nobody answers."""
    rng = np.random.default_rng(0)
    starts = [
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"II*\x00",
        b"RIFF\x00\x00\x00\x00WEBP",
        b"GIF89a",
        b"BM",
        b"P6 ",
        b"",
    ]
    seeds = []
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"):
        held = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(held, kind)
        seeds.append(held.getvalue())
    statuses = set()
    for number in range(300):
        if number % 2:
            body = bytearray(seeds[number % len(seeds)])
            for place in rng.integers(0, len(body), 4):
                body[place] = rng.integers(256)
        else:
            body = bytearray(starts[number // 2 % len(starts)] + rng.bytes(int(rng.integers(0, 200))))
        statuses.add(ask(port, bytes(body))[0])
    assert statuses <= {200, 422} and ask(port, png(0))[0] == 200


def test_an_address_that_cannot_be_listened_at(capsys: Capture) -> None:
    """A traceback where a port is taken; a server that is open to others without a word."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for arguments, words in (
            (["--port", str(taken.getsockname()[1])], "Nothing can listen"),
            (["--port", "70000"], "[0, 65535]"),
            (["--host", "no such host"], "Nothing can listen"),
            (["--false-alarm-rate", "2"], "(0, 1)"),
        ):
            assert main(["serve", "nothing", *arguments]) == 2
            assert words in capsys.readouterr().err
    assert serving.is_loopback("127.0.0.1") and serving.is_loopback("::1") and not serving.is_loopback("0.0.0.0")


def test_serving_from_the_command_line(
    forked: Callable[..., Any], finish: Callable[..., Any], spot: Callable[..., RunConfig]
) -> None:
    """A command that does not say where it listens, or that Ctrl-C ends with an error."""
    process, lines = forked("serve", str(finish(spot())[0].path), "--port", "0", "--json")
    url = next(lines)["url"]
    assert ask(int(url.rpartition(":")[2]), png(0))[0] == 200
    os.kill(process.pid, signal.SIGINT)
    process.join(20)
    assert process.exitcode == 0
