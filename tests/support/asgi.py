"""Requests to an ASGI app in this process, without a network."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

App = Any
JSON = {"content-type": "application/json"}
CSV = {"content-type": "text/csv"}


class Answer(NamedTuple):
    """The response to a request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> str:
        """The sentence of an error."""
        return json.loads(self.body)["message"]

    @property
    def predictions(self) -> list[dict[str, Any]]:
        """What the model predicts."""
        return json.loads(self.body)["predictions"]


class Ending(bytes):
    """The last part of a body."""


async def send(
    app: App,
    parts: Sequence[bytes | float],
    headers: dict[str, str],
    method: str = "POST",
    path: str = "/invocations",
) -> Answer:
    """Send a request whose body comes in parts; a number waits so many seconds, and the end of the list hangs up."""
    waiting = list(parts)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        while waiting and isinstance(waiting[0], float):
            await asyncio.sleep(waiting.pop(0))
        if not waiting:
            return {"type": "http.disconnect"}
        part = waiting.pop(0)
        return {"type": "http.request", "body": bytes(part), "more_body": not isinstance(part, Ending)}

    async def store(message: dict[str, Any]) -> None:
        sent.append(message)

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs, "query_string": b"", "root_path": ""}
    await app(scope, receive, store)
    names = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], names, b"".join(message.get("body", b"") for message in sent[1:]))


def post(app: App, body: Any, headers: dict[str, str] | None = None) -> Answer:
    """The answer to a body: bytes, or a value as JSON."""
    return asyncio.run(send_whole(app, body, headers))


async def send_whole(app: App, body: Any, headers: dict[str, str] | None = None) -> Answer:
    """Send a body: bytes, or a value as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await send(app, [Ending(content)], JSON if headers is None else headers)
