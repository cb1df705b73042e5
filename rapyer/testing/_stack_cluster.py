"""A Redis Cluster of three primaries, each with a replica, as private servers on loopback."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

from rapyer.testing._stack_fetch import StackError
from rapyer.testing._stack_private import HOST, Group, at_once, private_group
from rapyer.testing._stack_url import talk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rapyer.testing._stack_server import RedisStack

PRIMARIES = 3
SLOTS = 16_384
NODE_TIMEOUT = 1.0
READY_SECONDS = 30.0
POLL_SECONDS = 0.02
ANSWER_SECONDS = 0.5
PASSING = {"fail?", "handshake", "noaddr"}
# A replica need not wait for others that might want the same copy.
SYNC_AT_ONCE = ("--repl-diskless-sync-delay", "0")


class Cluster(Group):
    """A running Redis Cluster; leaving its `with` block stops it.

    Roles change when nodes fail: `primaries` and `replicas_of` ask the nodes each time. A node that
    was killed keeps its identity and its port for `restart`.

    Attributes:
        nodes: a handle for each node, the three that began as primaries first.
        url: what a client of the cluster connects to, such as "redis+cluster://127.0.0.1:15123".
    """

    def __init__(self, nodes: Sequence[RedisStack]) -> None:
        """Hold nodes that run."""
        super().__init__(nodes)
        self.url: str = f"redis+cluster://{HOST}:{self.nodes[0].port}"

    def primaries(self) -> list[RedisStack]:
        """Return the nodes that answer and say that they serve slots."""
        return [node for node in self.nodes if "master" in _flags(line := _own(node)) and len(line) > SERVES]

    def replicas_of(self, primary: RedisStack) -> list[RedisStack]:
        """Return the nodes that answer and say that they copy this one."""
        known = _own(primary)
        return [node for node in self.nodes if known and (line := _own(node)) and line[COPIES] == known[ID]]

    def wait(self, seconds: float = READY_SECONDS) -> None:
        """Wait until every node that was not killed serves, agrees with the others, and is synced.

        Raises:
            StackError: they did not within that many seconds.
        """
        nodes = [node for node in self.nodes if node.pid]
        wait_for(lambda: _settled(nodes), seconds, "The cluster is not settled")

    def environment(self) -> dict[str, str]:
        """Return what a command is told about it."""
        return {"RAPYER_URL": self.url}

    def lines(self) -> list[str]:
        """Return what a person is told about it."""
        pairs = [(primary, self.replicas_of(primary)) for primary in self.primaries()]
        return [
            f"primary {HOST}:{primary.port} (pid {primary.pid}), "
            + ", ".join(f"replica {HOST}:{node.port} (pid {node.pid})" for node in replicas)
            for primary, replicas in pairs
        ]


# The places of the words in a line of CLUSTER NODES; a node that serves slots has more than eight.
ID, FLAGS, COPIES, SERVES = 0, 2, 3, 8


def cluster(*, node_timeout: float = NODE_TIMEOUT, args: Sequence[str] = ()) -> Cluster:
    """Return a running Redis Cluster of three primaries and three replicas, with RedisJSON, empty.

    It is up in about 3 seconds: a primary waits for 2 before it serves.

    Args:
        node_timeout: seconds without an answer after which the others take a node for failed.
        args: more options of redis-server for every node. ["--appendonly", "yes"] lets a node that
            was killed come back with its data; the data goes when the cluster is stopped.

    Raises:
        StackError: there is no way to get one; with the remedy.
    """
    timeout = ["--cluster-node-timeout", str(round(node_timeout * 1000))]
    options = ["--cluster-enabled", "yes", *timeout, *SYNC_AT_ONCE, *args]
    made = Cluster(private_group([options] * PRIMARIES * 2))
    try:
        _join(made.nodes)
        made.wait()
    except BaseException:
        made.stop()
        raise
    return made


def wait_for(condition: Callable[[], bool], seconds: float, message: str) -> None:
    """Wait until a condition holds; StackError with this message when the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            message = f"{message} after {seconds:.0f} s."
            raise StackError(message)
        time.sleep(POLL_SECONDS)


def words_of(node: RedisStack, *command: str) -> str:
    """Return the node's answer, or nothing when it does not answer in time."""
    try:
        return talk(node.url, command, seconds=ANSWER_SECONDS)[-1] if node.pid else ""
    except StackError:
        return ""


def is_synced(node: RedisStack) -> bool:
    """Tell whether the node answers and, if it is a replica, has what its primary has."""
    told = words_of(node, "INFO", "replication")
    return "role:master" in told or ("master_link_status:up" in told and "master_sync_in_progress:0" in told)


def _join(nodes: Sequence[RedisStack]) -> None:
    primaries, replicas = nodes[:PRIMARIES], nodes[PRIMARIES:]
    for epoch, node in enumerate(nodes, 1):
        others = [("CLUSTER", "MEET", HOST, str(other.port)) for other in nodes[:epoch]]
        # Different epochs from the start: otherwise the nodes spend time on settling whose is whose.
        talk(node.url, ("CLUSTER", "SET-CONFIG-EPOCH", str(epoch)), *others[:-1])
    for index, node in enumerate(primaries):
        first, last = (SLOTS * place // PRIMARIES for place in (index, index + 1))
        talk(node.url, ("CLUSTER", "ADDSLOTSRANGE", str(first), str(last - 1)))
    goals = dict(zip(replicas, primaries, strict=True))
    at_once(replicas, lambda node: _follow(node, goals[node]))


def _follow(node: RedisStack, primary: RedisStack) -> None:
    """Make the node a replica as soon as it has heard of its primary."""
    name = talk(primary.url, ("CLUSTER", "MYID"))[-1]
    follow = functools.partial(words_of, node, "CLUSTER", "REPLICATE", name)
    wait_for(lambda: follow() == "OK", READY_SECONDS, f"{node!r} has not met its primary")


def _own(node: RedisStack) -> list[str]:
    """Return what the node says about itself, as the words of its line, or none."""
    lines = (line.split() for line in words_of(node, "CLUSTER", "NODES").splitlines())
    return next((line for line in lines if "myself" in _flags(line)), [])


def _flags(line: Sequence[str]) -> set[str]:
    return set(line[FLAGS].split(",")) if line else set()


def _settled(nodes: Sequence[RedisStack]) -> bool:
    views = [_view(node) for node in nodes]
    if not views[0] or any(view != views[0] for view in views):
        return False
    if any(PASSING.intersection(flags) for _, flags, *_ in views[0]):
        return False
    return all("cluster_state:ok" in words_of(node, "CLUSTER", "INFO") and is_synced(node) for node in nodes)


def _view(node: RedisStack) -> list[tuple[str, frozenset[str], str, str]]:
    """Return the cluster as this node sees it: for each node its id, its flags, whom it copies, its slots."""
    lines = [line.split() for line in words_of(node, "CLUSTER", "NODES").splitlines()]
    rows = [(x[ID], frozenset(_flags(x) - {"myself"}), x[COPIES], " ".join(x[SERVES:])) for x in lines]
    return sorted(rows, key=lambda row: row[0])
