"""How long people wait when many use the app at once: over its websocket, as browsers do, from this machine alone.

Each person opens a page, moves some of its widgets, thinking 2 to 6 seconds before each, and goes to another page. The
pages have been opened once before, as after the first minute of use.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Delta_pb2 import Delta
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

from tests.browser.conftest import Server

PEOPLE, SECONDS = 20, 120
THINKING = (2.0, 6.0)  # seconds before each move
MOVES = 5  # on a page
PATIENCE = 30  # seconds after which a person gives up: a failure
PAGES = (  # name, query
    ("", ""),
    ("lessons", "lesson=one-class&step=1"),
    ("lessons", "lesson=collapse&step=1"),
    ("glossary", ""),
    ("elastic", ""),
    ("adapt", ""),
    ("examine", "run=ses-digits-9"),
    ("segment", "run=segment-elpv-mono"),
    ("instrument", "run=break-elpv-mono"),
    ("runs", ""),
    ("data", ""),
)
Figures = tuple[str, str, str, str]


def visitors() -> Iterator[Figures]:
    """Yield (what, measured, target, how)."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        server.start()
        try:
            yield from crowd(server, PEOPLE, SECONDS)
        finally:
            server.stop()
            server.stop_runs()


def crowd(server: Server, people: int, seconds: float) -> Iterator[Figures]:
    """Have so many people use a server for so long, and yield what they met."""
    met = Met()
    asyncio.run(_warm(server))
    asyncio.run(_all(server, people, seconds, met))
    how = f"each thinks {THINKING[0]:g} to {THINKING[1]:g} s before a move; {len({name for name, _ in PAGES})} pages"
    what = f"{people} people at once for {seconds:g} s"
    yield (
        f"{what}: from a move of a widget to its finished run of the script, median (95 %)",
        _middle_and_end(met.moves),
        "0.8 s (2.5 s) or less",
        f"{len(met.moves)} moves; {how}; {load()}",
    )
    yield (
        f"{what}: from a click on a page to its finished script, median (95 %)",
        _middle_and_end(met.openings),
        "measured",
        f"{len(met.openings)} pages opened",
    )
    yield f"{what}: memory of the server at its highest", f"{met.memory:.0f} MB", "450 MB or less", "resident"
    failed = f"{len(met.failures)}" + "".join(f"; {reason}" for reason in sorted(set(met.failures))[:5])
    yield f"{what}: failures", failed, "0", "an error on a page, a closed connection, or no answer in 30 s"


@dataclasses.dataclass
class Met:
    """What all people met: seconds of moves and of openings, megabytes, and reasons of failures."""

    moves: list[float] = dataclasses.field(default_factory=list)
    openings: list[float] = dataclasses.field(default_factory=list)
    memory: float = 0.0
    failures: list[str] = dataclasses.field(default_factory=list)


async def _warm(server: Server) -> None:
    async with _connected(server) as socket:
        visit = Visit(socket)
        for name, query in PAGES:
            await visit.open(name, query)


def _connected(server: Server) -> Any:
    address = f"{server.url.replace('http', 'ws', 1)}/_stcore/stream"
    origin: Any = server.url
    names: Any = ["streamlit"]
    return websockets.connect(address, subprotocols=names, origin=origin, max_size=None)


async def _all(server: Server, people: int, seconds: float, met: Met) -> None:
    end = time.monotonic() + seconds
    watching = asyncio.create_task(_watch_memory(server, met))
    await asyncio.gather(*(_person(server, number, end, met) for number in range(people)))
    watching.cancel()


async def _watch_memory(server: Server, met: Met) -> None:
    while True:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        met.memory = max(met.memory, int(resident.split()[1]) / 1000)
        await asyncio.sleep(0.5)


async def _person(server: Server, number: int, end: float, met: Met) -> None:
    drawn = random.Random(number)
    await asyncio.sleep(drawn.uniform(0, THINKING[1]))  # nobody comes at the same moment
    try:
        async with _connected(server) as socket:
            visit = Visit(socket)
            while time.monotonic() < end:
                met.openings.append(await visit.open(*drawn.choice(PAGES)))
                for _ in range(MOVES):
                    await asyncio.sleep(drawn.uniform(*THINKING))
                    if time.monotonic() >= end or not visit.widgets:
                        break
                    met.moves.append(await visit.move(drawn))
    except (OSError, TimeoutError, websockets.WebSocketException, RuntimeError) as error:
        met.failures.append(f"{type(error).__name__}: {error}"[:200])


class Visit:
    """One connection: what is on its page, and the state of its widgets."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.kept: dict[str, ForwardMsg] = {}  # what a browser would keep, so that it is not sent twice
        self.name = self.query = self.page = ""
        self.widgets: dict[str, tuple[Any, str]] = {}  # id -> element, fragment
        self.states: dict[str, WidgetState] = {}

    async def open(self, name: str, query: str) -> float:
        """Go to a page and return the seconds until its script has ended."""
        self.name, self.query, self.page, self.widgets, self.states = name, query, "", {}, {}
        return await self._run("")

    async def move(self, drawn: random.Random) -> float:
        """Move one widget and return the seconds until the run of the script that follows has ended."""
        key = drawn.choice(sorted(self.widgets))
        element, fragment = self.widgets[key]
        self.states[key] = moved(element, drawn)
        return await self._run(fragment)

    async def _run(self, fragment: str) -> float:
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.page_name, state.page_script_hash = self.query, self.name, self.page
        state.fragment_id = fragment
        state.widget_states.widgets.extend(self.states.values())
        state.cached_message_hashes.extend(self.kept)
        began = time.monotonic()
        await self.socket.send(message.SerializeToString())
        async with asyncio.timeout(PATIENCE):
            while not self._take(ForwardMsg.FromString(await self.socket.recv())):
                pass
        return time.monotonic() - began

    def _take(self, message: ForwardMsg) -> bool:
        """Take in a message of the server, and return whether it says that the script has ended."""
        kind = message.WhichOneof("type")
        if kind == "ref_hash":
            message, kind = self.kept[message.ref_hash], "delta"
        elif message.metadata.cacheable:
            self.kept[message.hash] = message
        if kind == "new_session":
            self.page = message.new_session.page_script_hash
        elif kind == "page_info_changed":
            self.query = message.page_info_changed.query_string
        elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            self._keep(message.delta)
        return kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN

    def _keep(self, delta: Delta) -> None:
        kind = delta.new_element.WhichOneof("type")
        element = getattr(delta.new_element, kind or "empty")
        if kind == "exception":
            raise RuntimeError(f"{self.name}: {element.type} {element.message}")
        if kind in ("slider", "number_input", "selectbox", "radio", "text_input") and not element.disabled:
            self.widgets[element.id] = element, delta.fragment_id


def moved(element: Any, drawn: random.Random) -> WidgetState:
    """Return another value of a widget."""
    state = WidgetState(id=element.id)
    kind = type(element).__name__
    if kind == "Slider" and element.options:
        state.string_array_value.data.append(drawn.choice(element.options))
    elif kind == "Slider":
        state.double_array_value.data.append(float(drawn.randint(int(element.min), int(element.max))))
    elif kind == "NumberInput":
        state.double_value = element.default + element.step * drawn.randint(0, 3)
    else:
        state.string_value = drawn.choice(element.options) if kind in ("Selectbox", "Radio") else drawn.choice("aeio")
    return state


def _middle_and_end(seconds: list[float]) -> str:
    if len(seconds) < 2:
        return "nothing measured"
    return f"{statistics.median(seconds):.2f} s ({statistics.quantiles(seconds, n=20)[-1]:.2f} s)"


def load() -> str:
    return f"load average {Path('/proc/loadavg').read_text().split()[0]}"
