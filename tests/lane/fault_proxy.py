"""A loopback proxy in front of Redis that cuts, silences or delays a connection at chosen bytes.

Rules:
- `faults` holds one fault for each connection to come, in order; later ones are passed on as they are. A fault strikes
  when its direction has passed on exactly `at` bytes of that connection, the handshake's included.
- "reset" drops both sides at once, "close" ends both orderly, "swallow" passes nothing on from there and stays silent,
  "delay" waits `seconds` once.
- What was passed on is counted and kept by `connections`, so that a test can tell what the server got.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

from connections import through

if TYPE_CHECKING:
    from typing_extensions import Self

Direction = Literal["up", "down"]
Action = Literal["reset", "close", "swallow", "delay"]


@dataclass(frozen=True)
class Fault:
    """What happens to one connection, and where: "up" is from the client to the server."""

    direction: Direction
    at: int
    action: Action
    seconds: float = 0.02


@dataclass(eq=False)
class Passage:
    """One connection through the proxy: the bytes passed on, in the portions they came in."""

    fault: Fault | None
    up: list[bytes] = field(default_factory=list)
    down: list[bytes] = field(default_factory=list)
    struck: bool = False
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def passed(self, direction: Direction) -> int:
        """Return how many bytes went that way."""
        return sum(map(len, getattr(self, direction)))

    def end(self, *, reset: bool) -> None:
        """Close both sides; a reset loses what is still on its way."""
        for writer in self.writers:
            sock = writer.get_extra_info("socket")
            if reset and sock.family != socket.AF_UNIX and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if reset:
                writer.transport.abort()
            else:
                writer.close()


class FaultProxy:
    """The proxy; as an async context manager it runs in the running loop.

    Attributes:
        url: reaches the server through the proxy.
        faults: for the connections to come.
        connections: those that were made, in order.
        silent: whether nothing at all is passed on, to any connection, from now on.
    """

    def __init__(self, url: str, *faults: Fault) -> None:
        self._server_url = url
        self.url = ""
        self.faults = list(faults)
        self.connections: list[Passage] = []
        self.open = asyncio.Event()
        self.open.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = through(self._server_url, self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for passage in self.connections:
            passage.end(reset=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the next turn

    def cut(self) -> None:
        """Reset every connection now."""
        for passage in self.connections:
            passage.end(reset=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passage = Passage(self.faults.pop(0) if self.faults else None, writers=[writer])
        self.connections.append(passage)
        try:
            up_reader, up_writer = await self._upstream()
        except OSError:
            passage.end(reset=True)
            return
        passage.writers.append(up_writer)
        for direction, source, target in (("up", reader, up_writer), ("down", up_reader, writer)):
            task = asyncio.create_task(self._pass(passage, direction, source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _upstream(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self._server_url)
        if parts.scheme == "unix":
            return await asyncio.open_unix_connection(unquote(parts.path))
        return await asyncio.open_connection(parts.hostname, parts.port)

    async def _pass(
        self, passage: Passage, direction: Direction, source: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while data := await source.read(1 << 16):
                await self.open.wait()
                before = self._before(passage, direction, data)
                await _send(passage, direction, data[:before], target)
                if before < len(data):
                    await self._strike(passage)
                    await _send(passage, direction, data[before:], target)
        passage.end(reset=False)

    @staticmethod
    def _before(passage: Passage, direction: Direction, data: bytes) -> int:
        """Return how many of these bytes come before the fault."""
        fault = passage.fault
        if fault is None or passage.struck or fault.direction != direction:
            return len(data)
        return max(0, min(len(data), fault.at - passage.passed(direction)))

    async def _strike(self, passage: Passage) -> None:
        passage.struck = True
        fault = passage.fault
        assert fault is not None
        if fault.action == "delay":
            await asyncio.sleep(fault.seconds)
            return
        if fault.action != "swallow":
            passage.end(reset=fault.action == "reset")
        await asyncio.get_running_loop().create_future()  # until the proxy ends


async def _send(passage: Passage, direction: Direction, data: bytes, target: asyncio.StreamWriter) -> None:
    if data:
        getattr(passage, direction).append(data)
        target.write(data)
        await target.drain()
