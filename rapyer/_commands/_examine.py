"""What the facts about a server mean for the documents in it. Pure: facts in, findings out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rapyer._setup import OLDEST_SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SLOW_SECONDS = 0.005
NEARLY_FULL = 0.9
_CONFIGURE = "in redis.conf, and now by `CONFIG SET"


class Facts(msgspec.Struct, frozen=True):
    """What a server tells of itself.

    Attributes:
        info: the fields of INFO.
        settings: those of CONFIG GET; None where it may not be asked.
        json: the version of RedisJSON, "" where there is none, "?" where it may not be asked.
        merges: whether there is JSON.MERGE.
        scripts: how many scripts this package has.
        loaded: how many of them the server has.
        seconds: round trips, shortest first.
        cluster: what state its cluster is in; "" where it is in none, "?" where it may not be asked.
    """

    info: Mapping[str, str]
    settings: Mapping[str, str] | None
    json: str
    merges: bool
    scripts: int
    loaded: int
    seconds: list[float]
    cluster: str = ""

    def number(self, name: str) -> int:
        """Return a number of INFO, 0 where it is missing."""
        return int(self.info.get(name, "0"))


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at; `level` is ok, note, warning or DANGER."""

    level: str
    subject: str
    text: str
    remedy: str = ""


def findings(facts: Facts) -> list[Finding]:
    """Return what there is to say, in the order it was looked at."""
    return [finding for check in CHECKS for finding in check(facts)]


def _server(facts: Facts) -> Iterator[Finding]:
    version = facts.info.get("redis_version", "0")
    text = f"Redis {version}, {facts.info.get('redis_mode', '?')}, up {facts.number('uptime_in_seconds')} s"
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
        yield Finding("DANGER", "server", text, "rapyer needs Redis 7.0 or newer")
    else:
        yield Finding("ok", "server", text)


def _cluster(facts: Facts) -> Iterator[Finding]:
    if facts.cluster == "ok":
        yield Finding("ok", "cluster", "every slot is served")
    elif facts.cluster == "?":
        yield Finding("note", "cluster", "no right to see its state")
    elif facts.cluster:
        remedy = "`redis-cli --cluster check` tells which; bring their primary back, or have a replica take over"
        yield Finding("DANGER", "cluster", f"its state is {facts.cluster}: slots are served by nobody", remedy)


def _modules(facts: Facts) -> Iterator[Finding]:
    text = f"RedisJSON {facts.json}" if facts.json else "no RedisJSON"
    if facts.json == "?":
        text = "RedisJSON; no right to see its version"
    if facts.merges:
        yield Finding("ok", "modules", text)
    else:
        yield Finding("DANGER", "modules", f"{text}: no JSON.MERGE", "use Redis Stack 7.2 or newer, or Redis 8")


def _role(facts: Facts) -> Iterator[Finding]:
    replicas = facts.number("connected_slaves")
    if facts.info.get("role") != "master":
        yield Finding("DANGER", "role", "a replica: it refuses every write", "connect to the primary, or by Sentinel")
    elif replicas:
        yield Finding(
            "note", "role", f"primary with {replicas} replicas; a failover may lose the last writes, locks included"
        )
    else:
        yield Finding("ok", "role", "primary without replicas")


def _persistence(facts: Facts) -> Iterator[Finding]:
    yield _files(facts)
    for name, what in (("rdb_last_bgsave_status", "snapshot"), ("aof_last_write_status", "append-only file")):
        if facts.info.get(name, "ok") != "ok":
            yield Finding("DANGER", "persistence", f"the last {what} failed", "look into the server's log and its disk")


def _files(facts: Facts) -> Finding:
    appended = facts.info.get("aof_enabled") == "1"
    if facts.settings is None:
        return Finding("note", "persistence", f"append-only file {'on' if appended else 'off'}; no right to see more")
    every = facts.settings.get("appendfsync")
    remedy = f"`appendonly yes` {_CONFIGURE} appendonly yes`"
    if appended and every == "no":
        return Finding("warning", "persistence", "the append-only file is not synced", "`appendfsync everysec`")
    if appended:
        lost = "a second of" if every == "everysec" else "no"
        return Finding("ok", "persistence", f"append-only file; losing power costs {lost} writes")
    if facts.settings.get("save"):
        return Finding("warning", "persistence", "snapshots only: a crash loses what came after the last one", remedy)
    return Finding("DANGER", "persistence", "none: a restart of the server loses every document", remedy)


def _eviction(facts: Facts) -> Iterator[Finding]:
    policy, most = facts.info.get("maxmemory_policy", "?"), facts.number("maxmemory")
    remedy = f"`maxmemory-policy noeviction` {_CONFIGURE} maxmemory-policy noeviction`"
    if facts.number("evicted_keys"):
        yield Finding("DANGER", "eviction", f"{facts.info['evicted_keys']} keys were evicted since the start", remedy)
    if policy == "noeviction":
        yield Finding("ok", "eviction", "none: when memory is full, writes are refused and nothing is lost")
    else:
        victims = "locks, and documents with a ttl" if policy.startswith("volatile") else "any document and lock"
        level = "DANGER" if most else "warning"
        when = "when memory is full" if most else "once there is a maxmemory"
        yield Finding(level, "eviction", f"{policy}: {when}, {victims} may vanish", remedy)


def _memory(facts: Facts) -> Iterator[Finding]:
    used, most = facts.number("used_memory"), facts.number("maxmemory")
    share = used / most if most else 0.0
    text = f"{used / 1e6:.1f} MB used" + (f", {share:.0%} of {most / 1e6:.0f} MB" if most else ", no limit set")
    if share >= NEARLY_FULL:
        yield Finding("warning", "memory", text, "raise maxmemory, or give models a ttl")
    elif most:
        yield Finding("ok", "memory", text)
    else:
        yield Finding("note", "memory", text, "set `maxmemory` below what the machine has, or the kernel kills Redis")


def _cache(facts: Facts) -> Iterator[Finding]:
    text = f"{facts.loaded} of {facts.scripts} scripts are loaded"
    if facts.loaded == facts.scripts:
        yield Finding("ok", "scripts", text)
    else:
        yield Finding("note", "scripts", f"{text}; the others are loaded when first called, or by init_rapyer()")


def _latency(facts: Facts) -> Iterator[Finding]:
    middle, longest = facts.seconds[len(facts.seconds) // 2], facts.seconds[-1]
    text = f"a round trip takes {middle * 1000:.2f} ms, the longest of {len(facts.seconds)} {longest * 1000:.2f} ms"
    slow = middle > SLOW_SECONDS
    yield (
        Finding("warning", "latency", text, "move the program nearer to Redis")
        if slow
        else Finding("ok", "latency", text)
    )


CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    _server,
    _cluster,
    _modules,
    _role,
    _persistence,
    _eviction,
    _memory,
    _cache,
    _latency,
)

__all__ = ["Facts", "Finding", "findings"]
