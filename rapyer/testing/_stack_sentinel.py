"""A primary with two replicas, watched by three sentinels, as private servers on loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rapyer.testing._stack_cluster import READY_SECONDS, SYNC_AT_ONCE, is_synced, wait_for, words_of
from rapyer.testing._stack_fetch import StackError
from rapyer.testing._stack_private import HOST, Group, at_once, private_group
from rapyer.testing._stack_url import talk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rapyer.testing._stack_server import RedisStack

SERVICE = "rapyer"
REPLICAS = 2
SENTINELS = 3
QUORUM = 2
DOWN_AFTER = 1.0
# Milliseconds; by default a sentinel introduces itself every 2 s and looks at its servers every 10 s. A replica is
# promoted only if it was looked at within 5 ping periods, and while the primary is down it is looked at once a second:
# pings more frequent than this would leave no replica to promote.
PERIODS = {"publish-period": 200, "info-period": 500, "ping-period": 400, "ask-period": 200}


class Watched(Group):
    """A running primary with replicas and sentinels; leaving its `with` block stops them.

    The primary changes when it fails: `primary` asks the sentinels each time. A server that was
    killed and is restarted is made a replica by the sentinels.

    Attributes:
        nodes: a handle for each process: the servers, then the sentinels.
        servers: the server that began as the primary, and its replicas.
        sentinels: the sentinels.
        service: the name under which the sentinels know the primary.
        addresses: host and port of each sentinel, as redis-py's `Sentinel` takes them.
    """

    def __init__(self, servers: Sequence[RedisStack], sentinels: Sequence[RedisStack]) -> None:
        """Hold servers and sentinels that run."""
        super().__init__([*servers, *sentinels])
        self.servers: tuple[RedisStack, ...] = tuple(servers)
        self.sentinels: tuple[RedisStack, ...] = tuple(sentinels)
        self.service: str = SERVICE
        self.addresses: list[tuple[str, int]] = [(node.host, node.port) for node in sentinels]

    def primary(self) -> RedisStack:
        """Return the server that most of the sentinels that answer take for the primary.

        Raises:
            StackError: no sentinel answers.
        """
        told = [words_of(node, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE).split() for node in self.sentinels]
        ports = [int(words[1]) for words in told if words]
        if not ports:
            message = "No sentinel answers."
            raise StackError(message)
        return self.node(max(ports, key=ports.count))

    def replicas(self) -> list[RedisStack]:
        """Return the servers that answer and say that they are replicas."""
        return [node for node in self.servers if "role:slave" in words_of(node, "INFO", "replication")]

    def wait(self, seconds: float = READY_SECONDS) -> None:
        """Wait until the sentinels agree, and every server that was not killed is synced with the primary.

        Raises:
            StackError: they did not within that many seconds.
        """
        wait_for(self._settled, seconds, "The sentinels or their servers are not settled")

    def environment(self) -> dict[str, str]:
        """Return what a command is told about it."""
        sentinels = ",".join(f"{host}:{port}" for host, port in self.addresses)
        return {"RAPYER_URL": self.primary().url, "RAPYER_SENTINELS": sentinels, "RAPYER_SERVICE": SERVICE}

    def lines(self) -> list[str]:
        """Return what a person is told about it."""
        primary = self.primary()
        kinds = dict.fromkeys(self.servers, "replica") | dict.fromkeys(self.sentinels, "sentinel")
        kinds[primary] = f'primary, service "{SERVICE}"'
        return [f"{kinds[node]}: {HOST}:{node.port} (pid {node.pid})" for node in self.nodes]

    def _settled(self) -> bool:
        running = [node for node in self.sentinels if node.pid]
        if not all(self._is_content(node) for node in running):
            return False
        primary = self.primary()
        servers = [node for node in self.servers if node.pid]
        replicas = self.replicas()
        return (
            primary not in replicas
            and len(replicas) == len(servers) - 1
            and all(is_synced(node) and _follows(node, primary) for node in replicas)
        )

    def _is_content(self, sentinel: RedisStack) -> bool:
        """Tell whether this sentinel knows all others and all replicas, and finds the primary well."""
        words = words_of(sentinel, "SENTINEL", "MASTER", SERVICE).splitlines()
        told = dict(zip(words[::2], words[1::2], strict=False))
        known = told.get("num-other-sentinels"), told.get("num-slaves"), told.get("flags")
        return known == (str(len(self.sentinels) - 1), str(len(self.servers) - 1), "master")


def sentinel(*, down_after: float = DOWN_AFTER, args: Sequence[str] = ()) -> Watched:
    """Return a running primary with two replicas, with RedisJSON, empty, and three sentinels with a quorum of 2.

    Args:
        down_after: seconds without an answer after which a sentinel takes the primary for down.
        args: more options of redis-server for primary and replicas. ["--appendonly", "yes"] lets
            one that was killed come back with its data; the data goes when all is stopped.

    Raises:
        StackError: there is no way to get one; with the remedy.
    """
    options = [*SYNC_AT_ONCE, *args]
    (primary,) = private_group([options])
    made = Group([primary])
    try:
        follow = ["--replicaof", HOST, str(primary.port), *options]
        made = Group([primary, *private_group([follow] * REPLICAS)])
        at_once(made.nodes, lambda node: wait_for(lambda: is_synced(node), READY_SECONDS, f"{node!r} is not synced"))
        servers = made.nodes
        sentinels = private_group([["sentinel.conf", "--sentinel"]] * SENTINELS, modules=())
        watched = made = Watched(servers, sentinels)
        at_once(sentinels, lambda node: _watch(node, primary, down_after))
        watched.wait()
    except BaseException:
        made.stop()
        raise
    return watched


def _watch(node: RedisStack, primary: RedisStack, down_after: float) -> None:
    """Tell a sentinel what to watch; it keeps that in its file, except for the periods."""
    milliseconds = round(down_after * 1000)
    wait = ("down-after-milliseconds", str(milliseconds), "failover-timeout", str(2 * milliseconds))
    periods = [str(word) for pair in PERIODS.items() for word in pair]
    talk(
        node.url,
        ("SENTINEL", "DEBUG", *periods),
        ("SENTINEL", "MONITOR", SERVICE, HOST, str(primary.port), str(QUORUM)),
        ("SENTINEL", "SET", SERVICE, *wait),
    )


def _follows(node: RedisStack, primary: RedisStack) -> bool:
    return f"master_port:{primary.port}\n" in words_of(node, "INFO", "replication").replace("\r", "")
