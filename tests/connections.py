"""How the suite connects to its servers, by environment variables; `make variants` runs it in every way.

RAPYER_TEST_SERVER        one (default), or cluster: three primaries with a replica each
RAPYER_TEST_CONNECTION    tcp (default), tls with a certificate made for the run, or unix
RAPYER_TEST_PROTOCOL      2 or 3; without it, what redis-py takes
RAPYER_TEST_HIREDIS       0 hides hiredis, so that redis-py's own parser is used
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

if os.environ.get("RAPYER_TEST_HIREDIS") == "0":
    sys.modules["hiredis"] = None  # before anybody imports it

from redis.asyncio import Redis, RedisCluster

import redis_stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SERVER = os.environ.get("RAPYER_TEST_SERVER", "one")
CONNECTION = os.environ.get("RAPYER_TEST_CONNECTION", "tcp")
PROTOCOL = os.environ.get("RAPYER_TEST_PROTOCOL", "")


@contextmanager
def started(
    folder: Path, connection: str = CONNECTION, protocol: str = PROTOCOL
) -> Iterator[redis_stack.RedisStack | redis_stack.Cluster]:
    """Start a server, or a cluster; its `url` connects in this way."""
    if SERVER == "cluster":
        with redis_stack.cluster(node_timeout=15.0) as servers:  # a slow machine is no failure
            yield servers
        return
    arguments: Sequence[str] = ()
    url = ""
    if connection == "unix":
        path = folder / "redis.sock"
        arguments = ("--unixsocket", str(path))
        url = f"unix://{quote(str(path))}?db=0"
    elif connection == "tls":
        port = redis_stack.free_port()
        certificate, key = certified(folder)
        files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key))
        arguments = ("--tls-port", str(port), *files, "--tls-auth-clients", "no")
        url = f"rediss://127.0.0.1:{port}/0?{urlencode({'ssl_ca_certs': certificate})}"
    with redis_stack.start(args=arguments) as server:
        server.url = url or server.url
        if protocol:
            server.url += f"{'&' if '?' in server.url else '?'}protocol={protocol}"
        yield server


class _WholeCluster(RedisCluster):
    """A client for which a question about all keys means all primaries."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._met: dict[int, Any] = {}

    def _meet(self) -> None:
        """Remember the nodes: redis-py lets go of those that leave, and of their connections that are in use then."""
        manager = self.nodes_manager
        self._met.update((id(node), node) for node in (*manager.nodes_cache.values(), *manager.startup_nodes.values()))

    async def aclose(self) -> None:
        """Close all connections, those to nodes that left, too."""
        self._meet()
        await super().aclose()
        await asyncio.gather(*(node.disconnect() for node in self._met.values()), return_exceptions=True)

    def keys(self, pattern: str = "*", **options: Any) -> Any:
        return super().keys(pattern, target_nodes=self.PRIMARIES, **options)

    async def dbsize(self, **options: Any) -> int:
        sizes = [await super(_WholeCluster, self).dbsize(target_nodes=node) for node in self.get_primaries()]
        return sum(sizes)

    async def execute_command(self, *words: Any, **options: Any) -> Any:
        """Have what is about connections and users done by every node; lists that are answered are put together."""
        self._meet()
        if words[0].split()[0] not in {"PUBSUB", "CLIENT", "ACL", "CONFIG"} or options:
            return await super().execute_command(*words, **options)
        await self.initialize()
        told = await super().execute_command(*words, target_nodes=self.get_nodes())
        answers = list(told.values()) if isinstance(told, dict) else [told]
        return [entry for answer in answers for entry in answer] if isinstance(answers[0], list) else answers[0]

    async def info(self, section: str | None = None, **options: Any) -> Any:
        """Return what the servers tell; how often commands were called is added up."""
        if section != "commandstats" or options:
            return await super().info(section, **options)
        calls: dict[str, dict[str, int]] = {}
        for told in (await super().info(section, target_nodes=self.PRIMARIES)).values():
            for name, stats in told.items():
                calls.setdefault(name, {"calls": 0})["calls"] += stats["calls"]
        return calls


def client_of(url: str, **options: Any) -> Redis | RedisCluster:
    """Return a client for the URL of a server or a cluster."""
    scheme, _, rest = url.partition("://")
    if scheme.endswith("+cluster"):
        return _WholeCluster.from_url(f"{scheme.removesuffix('+cluster')}://{rest}", **options)
    return Redis.from_url(url, **options)


def certified(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1, signed by itself, and its key."""
    certificate, key = folder / "server.crt", folder / "server.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def database(url: str, number: int) -> str:
    """Return the URL of another database of the same server."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return parts._replace(query=_with(parts.query, db=number)).geturl()
    return parts._replace(path=f"/{number}").geturl()


def through(url: str, port: int) -> str:
    """Return the URL that reaches the server by a port of this machine that leads to it."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"redis://127.0.0.1:{port}/0?{_with(parts.query, db=0)}"
    return parts._replace(netloc=f"127.0.0.1:{port}").geturl()


def with_options(url: str, **options: object) -> str:
    """Return the URL with more options, in redis-py's names."""
    parts = urlsplit(url)
    return parts._replace(query=_with(parts.query, **options)).geturl()


def _with(query: str, **options: object) -> str:
    return urlencode({**{name: values[-1] for name, values in parse_qs(query).items()}, **options})
