"""Figures of clusters, side by side from one run: what exactly-once costs, throughput, and time without service.

python scripts/cluster_figures.py once          plain and exactly once, each task on its own document, or all on one
python scripts/cluster_figures.py throughput    three primaries and one server, 256 tasks in two processes
python scripts/cluster_figures.py frozen        calls to two primaries, while the third goes on and while it is stopped
python scripts/cluster_figures.py outage        kill -9 of a primary: until Redis serves again, until the library does
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from pydantic import Field
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

import rapyer
import redis_stack
from rapyer import AtomicRedisModel
from rapyer.testing._stack_cluster import words_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

ROUNDS = 9
CALLS = 2000
#: Seconds of one measurement of throughput.
SECONDS = 2.0
PROCESSES = 2
TASKS = 128
#: Seconds of node timeout that an outage is measured with, and how often.
NODE_TIMEOUTS = (0.25, 0.5, 1.0, 2.0)
KILLS = 5


class Plain(AtomicRedisModel):
    """A document."""

    n: int = 0
    items: list[int] = Field(default_factory=lambda: [1, 2, 3])


class Once(Plain):
    """The same, exactly once."""

    class Meta:
        """The options."""

        exactly_once = True


OPERATIONS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "increase": lambda doc: doc.n.increase(),
    "aupdate": lambda doc: doc.aupdate(n=1),
    "save": lambda doc: doc.save(),
}


async def timed(
    model: type[Plain], tasks: int, operation: Callable[[Any], Awaitable[Any]], *, shared: bool = False
) -> tuple[float, float]:
    """Return microseconds a call, of this many tasks with a document each, or one for all.

    By the wall's clock, and as work of client and server together, which other programs on the machine disturb less.
    """
    docs = [await model().save()] * tasks if shared else [await model().save() for _ in range(tasks)]
    turns = max(1, CALLS // tasks)

    async def work(doc: Any) -> None:
        for _ in range(turns):
            await operation(doc)

    began, busy = time.perf_counter(), await _work()
    await asyncio.gather(*map(work, docs))
    spent = time.perf_counter() - began, await _work() - busy
    wall, both = (seconds / (turns * tasks) * 1e6 for seconds in spent)
    return wall, both


async def _work() -> float:
    """Return the seconds of processor time that this process and its server had."""
    told = await AtomicRedisModel.Meta.redis.info("cpu")
    return time.process_time() + float(told["used_cpu_user"]) + float(told["used_cpu_sys"])


async def once(url: str) -> None:
    """Print what exactly-once costs."""
    await rapyer.init_rapyer(url)
    print("| operation | tasks | plain, us | exactly once, us | ratio | of processor time |\n|---|---|---|---|---|---|")
    cases = [(name, operation, False) for name, operation in OPERATIONS.items()]
    for name, operation, shared in [*cases, ("increase of one document", OPERATIONS["increase"], True)]:
        for tasks in (1, 64, 256):
            pairs = []
            for turn in range(ROUNDS + 1):
                order = (Plain, Once) if turn % 2 else (Once, Plain)
                found = {model: await timed(model, tasks, operation, shared=shared) for model in order}
                pairs.append((found[Plain], found[Once]))
            plain, careful = (statistics.median(wall for wall, _ in side) for side in zip(*pairs[1:], strict=True))
            ratio, work = (statistics.median(b[which] / a[which] for a, b in pairs[1:]) for which in (0, 1))
            print(f"| {name} | {tasks} | {plain:.1f} | {careful:.1f} | {ratio:.2f} | {work:.2f} |", flush=True)
    await rapyer.teardown_rapyer()


async def worker(urls: Sequence[str]) -> None:
    """Do increments with many tasks for as long as told, at the URL whose number is told; answer with how many."""
    clients = [_client(url) for url in urls]
    docs: list[list[Plain]] = []
    for client in clients:
        Plain.Meta.redis = client
        docs.append([await Plain().save() for _ in range(TASKS)])
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("ready", flush=True)
    while line := await reader.readline():
        number = int(line)
        Plain.Meta.redis = clients[number]
        end = time.perf_counter() + SECONDS
        counts = await asyncio.gather(*(_increase(doc, end) for doc in docs[number]))
        print(json.dumps(sum(counts)), flush=True)
    await rapyer.teardown_rapyer()
    for client in clients:
        await client.aclose()


async def _increase(doc: Any, end: float) -> int:
    count = 0
    while time.perf_counter() < end:
        await doc.n.increase()
        count += 1
    return count


def _client(url: str) -> Any:
    scheme, _, rest = url.partition("://")
    return RedisCluster.from_url(f"redis://{rest}") if scheme.endswith("+cluster") else Redis.from_url(url)


def throughput() -> None:
    """Print how many increments a second three primaries and one server do."""
    with redis_stack.cluster() as cluster, redis_stack.start(private=True) as one:
        command = [sys.executable, __file__, "worker", one.url, cluster.url]
        pipe = subprocess.PIPE
        workers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(PROCESSES)]
        for process in workers:
            _line(process)
        sides: tuple[list[float], list[float]] = ([], [])
        for turn in range(2 * 6):
            number = turn % 2
            for process in workers:
                assert process.stdin  # noqa: S101 - for the type checker
                process.stdin.write(f"{number}\n")
                process.stdin.flush()
            sides[number].append(sum(int(_line(process)) for process in workers) / SECONDS)
        for process in workers:
            process.communicate()
    single, many = (statistics.median(side[1:]) for side in sides)
    ratio = statistics.median(b / a for a, b in zip(sides[0][1:], sides[1][1:], strict=True))
    print("| increments a second | one server | three primaries, three replicas | ratio |\n|---|---|---|---|")
    print(f"| {PROCESSES} processes of {TASKS} tasks | {single:,.0f} | {many:,.0f} | {ratio:.2f} |")


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout  # noqa: S101 - for the type checker
    return process.stdout.readline()


async def frozen() -> None:
    """Print how many increments a second two primaries do while the third goes on, and while it is stopped."""
    with redis_stack.cluster(node_timeout=60.0) as cluster:  # nobody takes over
        client = RedisCluster.from_url(f"redis://{cluster.url.partition('://')[2]}")
        await rapyer.init_rapyer(client)
        docs: list[Any] = [await Plain().save() for _ in range(3 * TASKS)]
        victim = cluster.node(int(node_of(client, docs[0].key)))
        others = [doc for doc in docs if node_of(client, doc.key) != str(victim.port)]
        pairs = []
        for _ in range(ROUNDS):
            before = await _rate(others)
            victim.pause()
            stuck = asyncio.create_task(docs[0].load())
            pairs.append((before, await _rate(others)))
            victim.resume()
            await stuck
        await rapyer.teardown_rapyer()
        await client.aclose()
    before, during = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print("| increments a second on two primaries | the third goes on | it is stopped | ratio |\n|---|---|---|---|")
    print(f"| {len(others)} tasks | {before:,.0f} | {during:,.0f} | {ratio:.2f} |")


async def _rate(docs: Sequence[Any]) -> float:
    began = time.perf_counter()
    counts = await asyncio.gather(*(_increase(doc, began + SECONDS) for doc in docs))
    return sum(counts) / (time.perf_counter() - began)


async def outage() -> None:
    """Print how long a kill -9 of a primary is without service: Redis's own part, and the library's."""
    print("| node timeout, s | kill | Redis serves again after, s | the library after, s | it adds, ms |")
    print("|---|---|---|---|---|")
    for seconds in NODE_TIMEOUTS:
        with redis_stack.cluster(node_timeout=seconds) as cluster:
            client = RedisCluster.from_url(f"redis://{cluster.url.partition('://')[2]}", retry=Retry(NoBackoff(), 30))
            await rapyer.init_rapyer(client)
            for number in range(1, KILLS + 1):
                own, library = await _outage(cluster, client)
                added = 1000 * (library - own)
                print(f"| {seconds} | {number} | {own:.2f} | {library:.2f} | {added:.0f} |", flush=True)
            await rapyer.teardown_rapyer()
            await client.aclose()


async def _outage(cluster: redis_stack.Cluster, client: Any) -> tuple[float, float]:
    """Kill a primary; return after how many seconds Redis serves its slots again, and a waiting call returns."""
    doc: Any = await Once().save()
    victim = cluster.node(int(node_of(client, doc.key)))
    (heir,) = cluster.replicas_of(victim)
    await asyncio.sleep(random.uniform(1, 2))  # settled, and at any moment of the nodes' rounds
    began = time.perf_counter()
    victim.kill()
    served = asyncio.create_task(asyncio.to_thread(_until_served, heir, doc.key))
    await doc.n.increase()
    library = time.perf_counter() - began
    own = await served - began
    await asyncio.to_thread(victim.restart)
    await asyncio.to_thread(cluster.wait)
    return own, library


def node_of(client: Any, key: str) -> str:
    """Return the port of the node that the library sends a key's calls to."""
    from rapyer._loops import dispatcher  # noqa: PLC0415 - what nobody else needs

    name: str = dispatcher(client)._nodes.lane(key).name
    return name.rpartition(":")[2]


def _until_served(heir: Any, key: str) -> float:
    """Return the moment from which on a replica answers as the primary of a key, asked 200 times a second."""
    while "object" not in words_of(heir, "JSON.TYPE", key, "$"):
        time.sleep(0.005)
    return time.perf_counter()


def main(words: Sequence[str]) -> None:
    """Run the command line."""
    if words[:1] == ["worker"]:
        asyncio.run(worker(words[1:]))
    elif words == ["once"]:
        with redis_stack.start(private=True) as server:
            asyncio.run(once(server.url))
    elif words == ["throughput"]:
        throughput()
    elif words == ["frozen"]:
        asyncio.run(frozen())
    elif words == ["outage"]:
        asyncio.run(outage())
    else:
        print(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
