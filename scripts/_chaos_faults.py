"""What is done to the cluster of the chaos run: nodes killed and frozen, connections, scripts and slots taken away."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, NamedTuple

import redis

from rapyer.testing._stack_cluster import SLOTS, wait_for, words_of
from rapyer.testing._stack_url import talk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rapyer.testing._stack_cluster import Cluster
    from rapyer.testing._stack_server import RedisStack

READY_SECONDS = 30.0
#: How long a node is frozen, in node timeouts.
FROZEN = 2.5
MOVED_SLOTS = 6


class Fault(NamedTuple):
    """One that was injected.

    Attributes:
        kind: its name in the table.
        began: when, by the machine's clock.
        ended: when the cluster was whole again.
        slots: those that lost their primary by it.
    """

    kind: str
    began: float
    ended: float
    slots: frozenset[int]


def slots_of(node: RedisStack) -> frozenset[int]:
    """Return the slots that a node says it serves."""
    lines = (line.split() for line in words_of(node, "CLUSTER", "NODES").splitlines())
    own = next((line for line in lines if "myself" in line[2]), [])
    spans = (word.partition("-") for word in own[8:] if not word.startswith("["))
    return frozenset(slot for first, _, last in spans for slot in range(int(first), int(last or first) + 1))


def kill(cluster: Cluster) -> frozenset[int]:
    """Kill a primary with SIGKILL; it comes back, empty, when its replica has taken over."""
    victim = random.choice(cluster.primaries())
    slots = slots_of(victim)
    victim.kill()
    wait_for(lambda: _taken_over(cluster, victim), READY_SECONDS, "No replica took over")
    victim.restart()
    return slots


def freeze(cluster: Cluster, seconds: float) -> frozenset[int]:
    """Stop a primary with SIGSTOP past the node timeout, and let it go on."""
    victim = random.choice(cluster.primaries())
    slots = slots_of(victim)
    victim.pause()
    time.sleep(seconds)
    victim.resume()
    return slots


def _taken_over(cluster: Cluster, victim: RedisStack) -> bool:
    others = [node for node in cluster.primaries() if node is not victim]
    return sum(len(slots_of(node)) for node in others) == SLOTS


def reset(cluster: Cluster) -> frozenset[int]:
    """Drop every connection of every client."""
    for node in cluster.primaries():
        talk(node.url, ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
    return frozenset()


def flush(cluster: Cluster) -> frozenset[int]:
    """Make the primaries forget every script."""
    for node in cluster.primaries():
        talk(node.url, ("SCRIPT", "FLUSH"))
    return frozenset()


def move(cluster: Cluster) -> frozenset[int]:
    """Move some slots that hold documents to another primary."""
    source, target, third = random.sample(cluster.primaries(), 3)
    with redis.Redis(port=source.port) as giver, redis.Redis(port=target.port) as taker:
        names = giver.cluster("MYID").decode(), taker.cluster("MYID").decode()
        full = [slot for slot in slots_of(source) if giver.cluster("COUNTKEYSINSLOT", slot)]
        for slot in random.sample(full, min(MOVED_SLOTS, len(full))):
            taker.cluster("SETSLOT", slot, "IMPORTING", names[0])
            giver.cluster("SETSLOT", slot, "MIGRATING", names[1])
            while keys := giver.cluster("GETKEYSINSLOT", slot, 5):
                giver.execute_command("MIGRATE", target.host, target.port, "", 0, 5000, "KEYS", *keys)
                time.sleep(0.002)
            for node in (target, source, third):
                talk(node.url, ("CLUSTER", "SETSLOT", str(slot), "NODE", names[1]))
    return frozenset()


def faults(cluster: Cluster, node_timeout: float, until: float) -> Iterator[Fault]:
    """Inject one fault after another until that time, each when the cluster is whole again."""
    kinds: dict[str, Callable[[], frozenset[int]]] = {
        "primary killed": lambda: kill(cluster),
        "slots moved": lambda: move(cluster),
        "connections reset": lambda: reset(cluster),
        "primary frozen": lambda: freeze(cluster, FROZEN * node_timeout),
        "scripts flushed": lambda: flush(cluster),
    }
    while True:
        for kind, inject in kinds.items():
            if time.time() >= until:
                return
            began = time.time()
            slots = inject()
            cluster.wait(READY_SECONDS)
            yield Fault(kind, began, time.time(), slots)
            time.sleep(random.uniform(0.3, 1.0))
