"""`serve`: a detector over HTTP, on this machine alone unless another address is given."""

from __future__ import annotations

import argparse
import ipaddress
import socket

from panda_core.cli.output import print_json, print_text
from panda_core.cli.scoring import check_rate, opened
from panda_core.cli.watching import told
from panda_core.errors import UsageError
from panda_core.runs.run import stop_on_signal

HOST, PORT = "127.0.0.1", 8600


def serve_command(parsed: argparse.Namespace) -> int:
    """Serve the detector of a run or of a bundle until Ctrl-C; those that wait still get their answers."""
    check_rate(parsed.false_alarm_rate)
    with stop_on_signal(), _listening(parsed.host, parsed.port) as listening:
        from panda_core.serve import server_of  # takes the libraries of the server, which no other command needs

        server = server_of(opened(parsed), rate=parsed.false_alarm_rate)
        host, port = listening.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        if not is_loopback(host):
            told(
                f"`{host}` can be reached from other machines: whoever reaches it can have images scored, unasked and "
                "unencrypted. Put a proxy before it that asks who they are, or leave `--host` out."
            )
        if parsed.json:
            print_json({"url": url})
        else:
            print_text(f"{url}: POST /score, GET /healthz. Ctrl-C ends it.")
        server.run(sockets=[listening])
    return 0


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address of this machine; `UsageError` where it cannot."""
    if not 0 <= port < 1 << 16:
        raise UsageError(f"`--port` must be in [0, 65535]; got {port}. Set it to {PORT}.")
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UsageError(
            f"Nothing can listen at `{host}`, port {port}: {error.strerror}. Set `--port` to another, or 0 for any."
        ) from error


def is_loopback(host: str) -> bool:
    """Return whether an address is of this machine alone."""
    return ipaddress.ip_address(host).is_loopback
