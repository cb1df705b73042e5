"""Look for what endangers data on a server, or on each primary of a cluster: settings, versions, script cache, latency.

Nothing is written. The exit code is 1 when there is a danger.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from rapyer import _registry
from rapyer._commands._client import opened
from rapyer._commands._examine import Facts, Finding, findings
from rapyer._commands._format import table
from rapyer._dispatch import FAILURES
from rapyer._loops import dispatcher
from rapyer._setup import SENTINEL
from rapyer.errors import ServerError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable

    #: Sends a command to the server that is looked at.
    Ask = Callable[..., Awaitable[Any]]

PINGS = 20
SETTINGS = ("maxmemory", "maxmemory-policy", "save", "appendonly", "appendfsync")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("url", metavar="URL", help="the server: redis://localhost:6379, or redis+cluster://")


async def run(options: argparse.Namespace) -> tuple[str, int]:
    """Return what was found, and the exit code."""
    async with opened(options.url) as client:
        found = await _looked_at(client)
    danger = any(one.level == "DANGER" for _, findings in found for one in findings)
    return "\n".join(_report(name, findings) for name, findings in found), int(danger)


async def _looked_at(client: Any) -> list[tuple[str, list[Finding]]]:
    """Return the findings, on a cluster those of each primary with its address."""
    caller = dispatcher(client)
    found = []
    for node in await caller.primaries():
        ask = partial(caller.command, at=node)
        try:
            found.append((node.name, findings(await facts_of(ask, clustered=caller.clustered))))
        except FAILURES as error:
            if not caller.clustered:
                raise
            found.append((node.name, [Finding("DANGER", "server", f"does not answer: {error}", "start it again")]))
    return sorted(found)


def _report(name: str, found: list[Finding]) -> str:
    text = table(("", "about", "finding"), [(one.level, one.subject, one.text) for one in found])
    remedies = [f"{one.subject}: {one.remedy}\n" for one in found if one.remedy]
    return (f"primary {name}\n" if name else "") + text + "".join(["\nWhat to do\n", *remedies] if remedies else [])


async def facts_of(ask: Ask, *, clustered: bool) -> Facts:
    """Return what a server tells of itself; about 30 short commands."""
    shas = [script.sha for script in _registry.scripts().values()]
    info = _info(await ask("INFO", "everything"))
    if info.get("redis_mode") == "sentinel":
        raise UsageError(SENTINEL)
    return Facts(
        info=info,
        settings=await _settings(ask),
        json=await _json_version(ask),
        merges=bool((await ask("COMMAND", "INFO", "JSON.MERGE"))[0]),
        scripts=len(shas),
        loaded=sum(await ask("SCRIPT", "EXISTS", *shas)),
        seconds=sorted([await _ping(ask) for _ in range(PINGS)]),
        cluster=await _cluster_state(ask) if clustered else "",
    )


def _info(text: bytes) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in text.decode(errors="replace").splitlines() if ":" in line)
    return {name: value for name, value in pairs}  # noqa: C416 - says what the pairs are


async def _settings(ask: Ask) -> dict[str, str] | None:
    """Return the settings, or None where this user or this service may not ask."""
    found: dict[str, str] = {}
    for name in SETTINGS:
        try:
            reply = await ask("CONFIG", "GET", name)
        except ServerError:
            return None
        pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
        found.update((key.decode(), value.decode()) for key, value in pairs)
    return found


async def _json_version(ask: Ask) -> str:
    """Return the version of RedisJSON, "" where there is none."""
    try:
        modules = await ask("MODULE", "LIST")
    except ServerError:
        return "?"
    for module in modules:
        fields = module if isinstance(module, dict) else dict(zip(module[::2], module[1::2], strict=True))
        if fields[b"name"] == b"ReJSON":
            number = int(fields[b"ver"])
            return f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    return ""


async def _cluster_state(ask: Ask) -> str:
    """Return "ok" where every slot is served, "?" where this user may not ask."""
    try:
        return _info(await ask("CLUSTER", "INFO"))["cluster_state"]
    except ServerError:
        return "?"


async def _ping(ask: Ask) -> float:
    began = time.perf_counter()
    await ask("PING")
    return time.perf_counter() - began
