"""No network in tests: a connection to, or a name look-up of, anything but this machine raises at once.

Python imports a module of this name by itself, so processes that tests start are guarded too, through PYTHONPATH.
"""

from __future__ import annotations

import socket
from typing import Any

LOOPBACK = ("127.", "localhost", "::1", "0.0.0.0")


class NetworkUsed(OSError):
    """Something tried to leave this machine."""


def _local(host: object) -> bool:
    text = host.decode() if isinstance(host, bytes) else str(host or "localhost")
    return text.startswith(LOOPBACK) or text == socket.gethostname()


def _guarded(original: Any) -> Any:
    def connect(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _local(address[0]):
            raise NetworkUsed(f"a test tried to connect to {address}")
        return original(self, address)

    return connect


def _guarded_look_up(original: Any) -> Any:
    def look_up(host: object, *arguments: Any, **named: Any) -> Any:
        if not _local(host):
            raise NetworkUsed(f"a test tried to look up {host!r}")
        return original(host, *arguments, **named)

    return look_up


if not hasattr(socket, "guarded_by_tests"):
    socket.guarded_by_tests = True  # type: ignore[attr-defined]
    socket.socket.connect = _guarded(socket.socket.connect)  # type: ignore[method-assign]
    socket.socket.connect_ex = _guarded(socket.socket.connect_ex)  # type: ignore[method-assign]
    socket.getaddrinfo = _guarded_look_up(socket.getaddrinfo)
