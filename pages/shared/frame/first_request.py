"""The first request of a visit: the page of the browser's part, told where its server is.

Without that, on an address like `/adapt` it first looks for the server below the page's own path, and writes two
errors to the console for each visit by a link.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import streamlit as st

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
SERVER = "<script>window.__streamlit = { BACKEND_BASE_URL: window.location.origin + '/' };</script>"


class FirstRequest:
    """A layer before the server that answers requests for a page, and hands on all others.

    Below a base path (`server.baseUrlPath`, behind a proxy) it hands on everything: the browser looks there then.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a browser that opens a page; pages lie directly below the root, and their names have no dot."""
        name = str(scope.get("path", "")).removeprefix("/")
        asked = (
            scope["type"] == "http"
            and not st.get_option("server.baseUrlPath")
            and scope["method"] == "GET"
            and "/" not in name
            and "." not in name
        )
        if not asked or b"text/html" not in dict(scope["headers"]).get(b"accept", b""):
            await self.app(scope, receive, send)
            return
        headers = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": first_page()})


@functools.cache
def first_page() -> bytes:
    """Return the page of the installed Streamlit, with the place of its server at its head."""
    page = (Path(st.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    return page.replace("<head>", f"<head>{SERVER}", 1).encode()
