"""An HTTP proxy in front of the S3 server that answers 503 and cuts connections on demand, and counts requests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)


@dataclass(frozen=True)
class Request:
    """One request as the proxy saw it; `number` counts from 0 over all requests."""

    method: str
    target: str
    number: int
    offset: int  # where its range begins; 0 without one

    @property
    def lists(self) -> bool:
        """Whether it lists a prefix."""
        return self.method == "GET" and "list-type=2" in self.target


@dataclass
class FaultProxy:
    """`decide(request)`: None lets it through, 503 or 429 answers that, "reset" cuts before an answer, an int below 0
    cuts the answer's body after so many bytes. `before(request)` runs first: a place to change the world."""

    port: int = 0
    decide: Callable[[Request], int | str | None] = lambda _: None
    before: Callable[[Request], None] = lambda _: None
    seen: list[Request] = field(default_factory=list)
    faults: int = 0


async def _head(reader: asyncio.StreamReader) -> bytes | None:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _header(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return None


class _Session:
    """One client connection; each request gets a connection of its own to the server."""

    def __init__(self, proxy: FaultProxy, behind: int) -> None:
        self._proxy = proxy
        self._behind = behind

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await _head(reader)) is not None:
                if not await self._one(head, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _one(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        given = (_header(head, b"range") or b"bytes=0-").split(b"=")[1].split(b"-")[0]
        request = Request(method, target, len(self._proxy.seen), int(given))
        self._proxy.seen.append(request)
        if _header(head, b"expect"):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(int(_header(head, b"content-length") or 0))
        await asyncio.to_thread(self._proxy.before, request)
        fault = self._proxy.decide(request)
        if fault is not None:
            self._proxy.faults += 1
        if fault == "reset":
            writer.transport.abort()
            return False
        if isinstance(fault, int) and fault > 0:
            status = f"HTTP/1.1 {fault} Slow Down\r\nContent-Type: application/xml\r\n".encode()
            writer.write(status + b"Content-Length: %d\r\n\r\n" % len(SLOW_DOWN) + SLOW_DOWN)
            await writer.drain()
            return True
        return await self._pass_on(head, body, writer, method, -fault if isinstance(fault, int) else None)

    async def _pass_on(
        self, head: bytes, body: bytes, writer: asyncio.StreamWriter, method: str, cut: int | None
    ) -> bool:
        lines = [
            line for line in head.split(b"\r\n") if not line.lower().startswith((b"connection:", b"expect:")) and line
        ]
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        try:
            up_writer.write(b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n" + body)
            await up_writer.drain()
            answer = await up_reader.readuntil(b"\r\n\r\n")
            while answer.startswith(b"HTTP/1.1 100"):
                answer = await up_reader.readuntil(b"\r\n\r\n")
            kept = [line for line in answer.split(b"\r\n") if line and not line.lower().startswith(b"connection:")]
            framed = (
                _header(answer, b"content-length") is not None or b" 204 " in answer[:16] or b" 304 " in answer[:16]
            )
            writer.write(b"\r\n".join([*kept, *([] if framed else [b"Connection: close"])]) + b"\r\n\r\n")
            sent = 0
            while method != "HEAD" and (piece := await up_reader.read(64 * 1024)):
                if cut is not None and sent + len(piece) > cut:
                    writer.write(piece[: cut - sent])
                    await writer.drain()
                    await asyncio.sleep(0.02)  # let it arrive before the reset that follows throws it away
                    writer.transport.abort()
                    return False
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
            await writer.drain()
            return framed
        finally:
            up_writer.close()


@contextmanager
def fault_proxy(behind: int) -> Iterator[FaultProxy]:
    """A proxy in front of port `behind`, in a thread of its own."""
    proxy = FaultProxy()
    loops: list[asyncio.AbstractEventLoop] = []
    started = threading.Event()

    stop = asyncio.Event()

    async def listen() -> None:
        server = await asyncio.start_server(
            lambda r, w: _Session(proxy, behind).serve(r, w), "127.0.0.1", 0, limit=1 << 20
        )
        proxy.port = server.sockets[0].getsockname()[1]
        loops.append(asyncio.get_running_loop())
        started.set()
        await stop.wait()
        server.close()  # asyncio.run then cancels the sessions that are left

    thread = threading.Thread(target=lambda: asyncio.run(listen()), daemon=True)
    thread.start()
    started.wait()
    try:
        yield proxy
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(timeout=5)
