"""What `bench.py` measures of other libraries, in the same interleaved run as rapyer and bare redis-py.

    pip install redis-om coredis valkey-glide

Each is optional, and left out with a line when it cannot be imported. `make setup` installs none of them: redis-om
brings types-redis, which hides redis-py's own types from mypy until it is uninstalled.

Rules
- Each does what a careful user of it writes: redis-om with a JsonModel of the same fields, and JSON.NUMINCRBY through
  its client since its models have no increment; coredis and valkey-glide with their JSON commands and plain dicts.
- Each has a client as it comes, with room for all tasks. redis-om gets no index: nothing is searched for, and an index
  would only make its saves slower.
- Every task works on a document of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import statistics
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import _bench_cases
from _bench_sides import VALUES, Plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from _bench_sides import Compared, Side

    #: Operation -> what does it on the document of a task.
    Peer = Mapping[str, Callable[[int], Awaitable[Any]]]

TASKS = (1, 64)
ROOM = 16  # connections beyond one for each task
REQUEST_MILLISECONDS = 10_000  # valkey-glide gives up after 250 otherwise, which a busy machine takes
OPERATIONS = ("save", "get", "increase")


@contextlib.asynccontextmanager
async def redis_om(om: Any, url: str, most: int) -> AsyncIterator[Peer]:
    """Yield what a user of redis-om writes."""
    client = om.get_redis_connection(url=url, max_connections=most + ROOM)

    class Document(om.JsonModel, Plain, index=True):  # type: ignore[misc]  # what may be missing has no types
        """The same six fields."""

        class Meta:
            """Where they are."""

            global_key_prefix = "RedisOm"
            database = client

    documents: list[Any] = [Document(pk=str(task), **VALUES) for task in range(most)]
    keys = [document.key() for document in documents]
    try:
        yield {
            "save": lambda task: documents[task].save(),
            "get": lambda task: Document.get(str(task)),
            "increase": lambda task: client.json().numincrby(keys[task], "$.score", 1),
        }
    finally:
        await client.aclose()


@contextlib.asynccontextmanager
async def coredis(library: Any, url: str, most: int) -> AsyncIterator[Peer]:
    """Yield what a user of coredis writes."""
    values = dict(VALUES)
    async with library.Redis.from_url(url, max_connections=most + ROOM) as client:
        yield {
            "save": lambda task: client.json.set(f"coredis:{task}", "$", values),
            "get": lambda task: client.json.get(f"coredis:{task}"),
            "increase": lambda task: client.json.numincrby(f"coredis:{task}", "$.score", 1),
        }


@contextlib.asynccontextmanager
async def valkey_glide(glide: Any, url: str, most: int) -> AsyncIterator[Peer]:
    """Yield what a user of valkey-glide writes."""
    commands, where = glide.glide_json, urlsplit(url)
    config = glide.GlideClientConfiguration(
        [glide.NodeAddress(where.hostname, where.port)],
        request_timeout=REQUEST_MILLISECONDS,
        inflight_requests_limit=max(1000, most + ROOM),
    )
    client = await glide.GlideClient.create(config)

    async def get(task: int) -> Any:
        return json.loads(await commands.get(client, f"glide:{task}"))

    try:
        yield {
            "save": lambda task: commands.set(client, f"glide:{task}", "$", json.dumps(VALUES)),
            "get": get,
            "increase": lambda task: commands.numincrby(client, f"glide:{task}", "$.score", 1),
        }
    finally:
        await client.close()


#: Name on the package index -> the module to import, and what opens it.
PEERS: dict[str, tuple[str, Callable[[Any, str, int], AbstractAsyncContextManager[Peer]]]] = {
    "redis-om": ("aredis_om", redis_om),
    "coredis": ("coredis", coredis),
    "valkey-glide": ("glide", valkey_glide),
}


class PeerSide:
    """A side that does one operation with another library."""

    def __init__(self, peer: Peer, operation: str) -> None:
        self.peer = peer
        self.operation = peer[operation]

    async def prepare(self, tasks: int, count: int) -> None:  # noqa: ARG002 - a side takes both
        """Put a document for each task into Redis."""
        await asyncio.gather(*map(self.peer["save"], range(tasks)))

    async def once(self, task: int, number: int) -> None:  # noqa: ARG002
        """Do the operation once."""
        await self.operation(task)


async def run(compared: Compared, url: str, bare: Any, ours: Any, tasks: Sequence[int]) -> list[dict[str, Any]]:
    """Measure every library that can be imported, beside rapyer and bare redis-py; print as it goes."""
    found: list[dict[str, Any]] = []
    async with contextlib.AsyncExitStack() as stack:
        peers: dict[str, Peer] = {}
        for name, (module, opened) in PEERS.items():
            try:
                library = importlib.import_module(module)
            except ImportError as error:
                print(f"  peers {name}: left out, {error} (pip install {name})", flush=True)
            else:
                peers[name] = await stack.enter_async_context(opened(library, url, max(tasks)))
        for case in _bench_cases.CASES if peers else ():
            for count in tasks if case.name in OPERATIONS else ():
                print(f"  peers {case.name}, {count} task{'s' * (count > 1)} ... ", end="", flush=True)
                others = {name: PeerSide(peer, case.name) for name, peer in peers.items()}
                sides: dict[str, Side] = {"bare": case.bare(bare), "rapyer": case.rapyer(ours), **others}
                found.append({"case": case.name, "tasks": count, **_result(await compared(sides, count))})
                print(", ".join(f"{name} {ratio:.2f}" for name, ratio in found[-1]["ratios"].items()), flush=True)
    return found


def _result(rounds: dict[str, list[float]]) -> dict[str, Any]:
    """Return operations a second of each side, and how many times as many rapyer does."""
    ratios = {
        name: statistics.median(ours / other for ours, other in zip(rounds["rapyer"], speeds, strict=True))
        for name, speeds in rounds.items()
        if name != "rapyer"
    }
    return {
        "speeds": {name: statistics.median(speeds) for name, speeds in rounds.items()},
        "ratios": ratios,
        "rounds": rounds,
    }
