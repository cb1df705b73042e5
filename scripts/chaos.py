"""Many processes on a Redis Cluster whose nodes die, freeze, lose connections, scripts and slots; then: the accounts.

    python scripts/chaos.py --seconds 300

Four processes of 32 tasks do increments, appends of unique items, pipelines over three fields and locked sections, on
documents with `exactly_once` and `min_replicas=1` ("careful") and on plain ones. Afterwards their histories are
compared with what is stored:

- careful: every acknowledged operation is there once, no operation is there twice.
- plain: none is there twice either; one that was acknowledged and is lost was acknowledged around the loss of its
  primary, which is what Redis's asynchronous replication may lose. What is unknown was told as `OutcomeUnknown`.
- both: fields that belong together agree, no refused operation was carried out, no lock is left.

Exit code 1 if any of that does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import rapyer
import redis_stack
from _chaos_faults import Fault, faults
from _chaos_worker import KINDS, LEASE, MODES, connected, documents
from rapyer._keys import hash_slot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PROCESSES = 4
TASKS = 32
SECONDS = 300.0
NODE_TIMEOUT = 1.0
#: Seconds before the loss of a primary within which its acknowledged writes may not have been on the replica.
LAG = 1.0
WORKER = Path(__file__).resolve().with_name("_chaos_worker.py")


class Operation(NamedTuple):
    """A line of a history."""

    mode: str
    kind: str
    document: str
    item: str
    outcome: str
    began: float
    ended: float


class Stored(NamedTuple):
    """What a document holds in the end."""

    key: str
    n: int
    twice: int
    items: Sequence[str]


def check(
    operations: Iterable[Operation], stored: Mapping[tuple[str, str], Stored], injected: Sequence[Fault]
) -> dict[tuple[str, str], Counter[str]]:
    """Return for each mode and kind what was found, as a `Counter`: words of the table, and "wrong: ...".

    Args:
        operations: the histories.
        stored: by mode and document, what is there in the end.
        injected: the faults.
    """
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    by_document: dict[tuple[str, str], list[Operation]] = defaultdict(list)
    for operation in operations:
        by_document[operation.mode, operation.document].append(operation)
        found[operation.mode, operation.kind][operation.outcome] += 1
    for (mode, name), history in by_document.items():
        there, words = stored[mode, name], found[mode, history[0].kind]
        count = _count_numbers if history[0].kind == "increment" else _count_items
        count(words, history, there, injected)
        if history[0].kind in {"pipeline", "lock"} and not there.twice == 2 * there.n == 2 * len(there.items):
            words["wrong: fields that disagree"] += 1
    return found


def _count_items(found: Counter[str], history: Sequence[Operation], there: Stored, injected: Sequence[Fault]) -> None:
    times = Counter(there.items)
    for operation in history:
        present = times.pop(operation.item, 0)
        found["doubled"] += present > 1
        if operation.outcome == "done" and not present:
            found["lost"] += 1
            found["lost, unexplained"] += not _may_lose(operation, hash_slot(there.key), injected)
        found["unknown, carried out"] += operation.outcome == "unknown" and present > 0
        found["wrong: refused, yet carried out"] += operation.outcome == "refused" and present > 0
    found["wrong: from nowhere"] += len(times)


def _count_numbers(found: Counter[str], history: Sequence[Operation], there: Stored, injected: Sequence[Fault]) -> None:
    outcomes = Counter(operation.outcome for operation in history)
    slot = hash_slot(there.key)
    lost = max(0, outcomes["done"] - there.n)
    exposed = sum(operation.outcome == "done" and _may_lose(operation, slot, injected) for operation in history)
    found["lost"] += lost
    found["lost, unexplained"] += max(0, lost - exposed)
    found["doubled"] += max(0, there.n - outcomes["done"] - outcomes["unknown"])


def _may_lose(operation: Operation, slot: int, injected: Sequence[Fault]) -> bool:
    """Whether the operation was acknowledged around a moment at which its slot lost its primary."""
    losses = (fault for fault in injected if slot in fault.slots)
    return any(fault.began - LAG <= operation.ended and operation.began <= fault.ended for fault in losses)


def wrongs(mode: str, kind: str, found: Counter[str]) -> list[str]:
    """Return what must not be, as sentences."""
    forbidden = ["doubled", "lost, unexplained", *(word for word in found if word.startswith("wrong"))]
    if mode == "careful":
        forbidden.append("lost")
    return [f"{mode} {kind}: {found[word]} {word.removeprefix('wrong: ')}" for word in forbidden if found[word]]


async def prepared(url: str) -> None:
    """Write the documents before the work begins."""
    client = connected(url)
    await rapyer.init_rapyer(client)
    await asyncio.gather(*(doc.save() for mode in MODES for kind in KINDS for doc in documents(mode, kind)))
    await rapyer.teardown_rapyer()
    await client.aclose()


async def read(url: str) -> tuple[dict[tuple[str, str], Stored], int]:
    """Return what the documents hold, and how many locks are left after their leases."""
    client = connected(url)
    await rapyer.init_rapyer(client)
    await asyncio.sleep(LEASE + 0.5)
    stored = {}
    for mode, model in MODES.items():
        for doc in await model.afind():
            stored[mode, doc.name] = Stored(doc.key, doc.n, doc.twice, list(doc.items))
    locks = await client.keys("rapyer:*:lock:*", target_nodes="primaries")
    await rapyer.teardown_rapyer()
    await client.aclose()
    return stored, len(locks)


def run(seconds: float, processes: int = PROCESSES, tasks: int = TASKS) -> int:
    """Run the chaos and return the exit code."""
    with redis_stack.cluster(node_timeout=NODE_TIMEOUT) as cluster, tempfile.TemporaryDirectory() as folder:
        asyncio.run(prepared(cluster.url))
        files = [Path(folder, f"history-{number}") for number in range(processes)]
        commands = [
            [sys.executable, str(WORKER), cluster.url, str(number), str(tasks), str(file)]
            for number, file in enumerate(files)
        ]
        workers = [subprocess.Popen(command, stdin=subprocess.PIPE) for command in commands]
        injected = []
        for fault in faults(cluster, NODE_TIMEOUT, time.time() + seconds):
            injected.append(fault)
            print(f"{fault.ended - fault.began:6.2f} s  {fault.kind}", flush=True)
        for worker in workers:
            assert worker.stdin  # noqa: S101 - for the type checker
            worker.stdin.close()
        ended = [worker.wait(120) for worker in workers]
        lines = (line for file in files for line in file.read_text("utf-8").splitlines())
        operations = [Operation(*json.loads(line)) for line in lines]
        stored, locks = asyncio.run(read(cluster.url))
    return report(check(operations, stored, injected), injected, locks, sum(ended))


def report(found: Mapping[tuple[str, str], Counter[str]], injected: Sequence[Fault], locks: int, failed: int) -> int:
    """Print the tables and return the exit code."""
    print("\n| fault | injected | longest, s |\n|---|---|---|")
    for kind, count in Counter(fault.kind for fault in injected).items():
        longest = max(fault.ended - fault.began for fault in injected if fault.kind == kind)
        print(f"| {kind} | {count} | {longest:.2f} |")
    print("\n| documents | acknowledged | lost | doubled | unknown | of these carried out | refused |")
    print("|---|---|---|---|---|---|---|")
    for (mode, kind), words in sorted(found.items()):
        columns = ("done", "lost", "doubled", "unknown", "unknown, carried out", "refused")
        print(f"| {mode}, {kind} | " + " | ".join(str(words[word]) for word in columns) + " |")
    wrong = [sentence for (mode, kind), words in found.items() for sentence in wrongs(mode, kind, words)]
    wrong += [f"{locks} locks are left"] * bool(locks) + [f"{failed} processes failed"] * bool(failed)
    print("\n" + ("WRONG: " + "; ".join(wrong) if wrong else "Everything that has to hold holds."))
    return 1 if wrong else 0


def main(words: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long faults are injected")
    return run(parser.parse_args(words).seconds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
