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
#: Seconds before the loss of a primary within which its acknowledged writes may not have been on the replica.
LAG = 1.0


class Loss(NamedTuple):
    """What a fault took from clients.

    Attributes:
        slots: those that lost their primary.
        exposed: first and last moments, by the machine's clock, at which it did what its heir may not have.
    """

    slots: frozenset[int] = frozenset()
    exposed: tuple[tuple[float, float], ...] = ()


class Fault(NamedTuple):
    """One that was injected.

    Attributes:
        kind: its name in the table.
        began: when, by the machine's clock.
        ended: when the cluster was whole again.
        slots: those that lost their primary by it.
        exposed: when this primary did what its heir may not have: first and last moments.
    """

    kind: str
    began: float
    ended: float
    slots: frozenset[int] = frozenset()
    exposed: tuple[tuple[float, float], ...] = ()


def slots_of(node: RedisStack) -> frozenset[int]:
    """Return the slots that a node says it serves."""
    lines = (line.split() for line in words_of(node, "CLUSTER", "NODES").splitlines())
    own = next((line for line in lines if "myself" in line[2]), [])
    spans = (word.partition("-") for word in own[8:] if not word.startswith("["))
    return frozenset(slot for first, _, last in spans for slot in range(int(first), int(last or first) + 1))


def kill(cluster: Cluster) -> Loss:
    """Kill a primary with SIGKILL; it comes back, empty, when its replica has taken over."""
    victim = random.choice(cluster.primaries())
    slots, before = slots_of(victim), time.time()
    victim.kill()
    gone = time.time()
    wait_for(lambda: _taken_over(cluster, victim), READY_SECONDS, "No replica took over")
    victim.restart()
    return Loss(slots, ((before - LAG, gone),))


def freeze(cluster: Cluster, seconds: float) -> Loss:
    """Stop a primary with SIGSTOP past the node timeout and until it has an heir, and let it go on.

    When it goes on, it works on what it was sent, until it learns of its heir.
    """
    victim = random.choice(cluster.primaries())
    slots, before = slots_of(victim), time.time()
    victim.pause()
    stopped = time.time()
    try:
        wait_for(lambda: _taken_over(cluster, victim), READY_SECONDS, "No replica took over from a frozen primary")
        time.sleep(max(0.0, stopped + seconds - time.time()))
    finally:
        resumed = time.time()
        victim.resume()
    wait_for(lambda: "role:slave" in words_of(victim, "INFO", "replication"), READY_SECONDS, "It did not step down")
    return Loss(slots, ((before - LAG, stopped), (resumed, time.time())))


def _taken_over(cluster: Cluster, victim: RedisStack) -> bool:
    others = [node for node in cluster.nodes if node is not victim]
    return sum(len(slots_of(node)) for node in others) == SLOTS


def reset(cluster: Cluster) -> Loss:
    """Drop every connection of every client, also those that wait for messages."""
    for node in cluster.primaries():
        for kind in ("normal", "pubsub"):
            talk(node.url, ("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"))
    return Loss()


def flush(cluster: Cluster) -> Loss:
    """Make the primaries forget every script."""
    for node in cluster.primaries():
        talk(node.url, ("SCRIPT", "FLUSH"))
    return Loss()


def move(cluster: Cluster) -> Loss:
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
    return Loss()


def faults(cluster: Cluster, node_timeout: float, until: float) -> Iterator[Fault]:
    """Inject one fault after another until that time, each when the cluster is whole again."""
    kinds: dict[str, Callable[[], Loss]] = {
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
            loss = inject()
            cluster.wait(READY_SECONDS)
            yield Fault(kind, began, time.time(), *loss)
            time.sleep(random.uniform(0.3, 1.0))
