"""Look for what endangers data on a server: version, modules, persistence, eviction, script cache, latency.

Nothing is written. The exit code is 1 when there is a danger.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from rapyer import _registry
from rapyer._commands._examine import Facts, findings
from rapyer._commands._format import table
from rapyer._dispatch import close_all, dispatcher
from rapyer.errors import ServerError

if TYPE_CHECKING:
    import argparse

    from rapyer._dispatch import Dispatcher

PINGS = 20
SETTINGS = ("maxmemory", "maxmemory-policy", "save", "appendonly", "appendfsync")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("url", metavar="URL", help="the server: redis://localhost:6379")


async def run(options: argparse.Namespace) -> tuple[str, int]:
    """Return what was found, and the exit code."""
    client = Redis.from_url(options.url)
    try:
        found = findings(await facts_of(client))
    finally:
        await close_all()
        await client.aclose()
    text = table(("", "about", "finding"), [(one.level, one.subject, one.text) for one in found])
    remedies = [f"{one.subject}: {one.remedy}\n" for one in found if one.remedy]
    return text + "".join(["\nWhat to do\n", *remedies] if remedies else []), int(
        any(one.level == "DANGER" for one in found)
    )


async def facts_of(client: Any) -> Facts:
    """Return what a server tells of itself; about 30 short commands."""
    caller = dispatcher(client)
    info = _info(await caller.command("INFO", "everything"))
    shas = [script.sha for script in _registry.scripts().values()]
    return Facts(
        info=info,
        settings=await _settings(caller),
        json=await _json_version(caller),
        merges=bool((await caller.command("COMMAND", "INFO", "JSON.MERGE"))[0]),
        scripts=len(shas),
        loaded=sum(await caller.command("SCRIPT", "EXISTS", *shas)),
        seconds=sorted([await _ping(caller) for _ in range(PINGS)]),
    )


def _info(text: bytes) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in text.decode(errors="replace").splitlines() if ":" in line)
    return {name: value for name, value in pairs}  # noqa: C416 - says what the pairs are


async def _settings(caller: Dispatcher) -> dict[str, str] | None:
    """Return the settings, or None where this user or this service may not ask."""
    found: dict[str, str] = {}
    for name in SETTINGS:
        try:
            reply = await caller.command("CONFIG", "GET", name)
        except ServerError:
            return None
        pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
        found.update((key.decode(), value.decode()) for key, value in pairs)
    return found


async def _json_version(caller: Dispatcher) -> str:
    """Return the version of RedisJSON, "" where there is none."""
    try:
        modules = await caller.command("MODULE", "LIST")
    except ServerError:
        return "?"
    for module in modules:
        fields = module if isinstance(module, dict) else dict(zip(module[::2], module[1::2], strict=True))
        if fields[b"name"] == b"ReJSON":
            number = int(fields[b"ver"])
            return f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    return ""


async def _ping(caller: Dispatcher) -> float:
    began = time.perf_counter()
    await caller.command("PING")
    return time.perf_counter() - began
