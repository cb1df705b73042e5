"""Many processes on a Redis Cluster whose nodes die, freeze, lose connections, scripts and slots; then: the accounts.

    python scripts/chaos.py --seconds 300

Four processes of 32 tasks do increments, appends of unique items, pipelines over three fields and locked sections, on
documents with `exactly_once` and `min_replicas=1` ("careful") and on plain ones. Afterwards their histories are
compared with what is stored:

- careful: every acknowledged operation is there once, no operation is there twice.
- plain: none is there twice either; one that was acknowledged and is lost was acknowledged in the last second of its
  primary, or by one that was frozen and did not know of its heir, which is what Redis's asynchronous replication may
  lose. Each such loss is told with its explanation. What is unknown was told as `OutcomeUnknown`.
- both: fields that belong together agree, increments are answered with different numbers, no refused operation was
  carried out (`LockLost` is one of them), no lock and no queue is left but those that somebody could not give back,
  and those locks only until their lease ends.

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
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import redis

import rapyer
import redis_stack
from _chaos_check import GRACE, LEASE, Accounts, Left, Operation, Stored
from _chaos_faults import faults
from _chaos_worker import KINDS, MODES, connected, documents
from rapyer._keys import lock_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _chaos_faults import Fault

PROCESSES = 4
TASKS = 32
SECONDS = 300.0
NODE_TIMEOUT = 1.0
WORKER = Path(__file__).resolve().with_name("_chaos_worker.py")


async def prepared(url: str) -> None:
    """Write the documents before the work begins."""
    client = connected(url)
    await rapyer.init_rapyer(client)
    await asyncio.gather(*(doc.save() for mode in MODES for kind in KINDS for doc in documents(mode, kind)))
    await rapyer.teardown_rapyer()
    await client.aclose()


async def read(url: str) -> dict[tuple[str, str], Stored]:
    """Return what the documents hold."""
    client = connected(url)
    await rapyer.init_rapyer(client)
    stored = {}
    for mode, model in MODES.items():
        for doc in await model.afind():
            stored[mode, doc.name] = Stored(doc.key, doc.n, doc.twice, list(doc.items))
    await rapyer.teardown_rapyer()
    await client.aclose()
    return stored


def left_on(cluster: redis_stack.Cluster) -> list[Left]:
    """Return the locks and queues that are there now."""
    left = []
    for node in cluster.primaries():
        with redis.Redis(port=node.port) as client:
            for kind in ("lock", "queue"):
                names = [name.decode() for name in client.scan_iter(f"rapyer:*:{kind}:*", 1000)]
                left += [Left(kind, lock_of(name.replace(":queue:", ":lock:", 1))[0]) for name in names]
    return left


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
        failed = sum(worker.wait(120) != 0 for worker in workers)
        left, moment = left_on(cluster), time.time()
        time.sleep(LEASE + GRACE)
        later = [one for one in left_on(cluster) if one.kind == "lock"]
        lines = (line for file in files for line in file.read_text("utf-8").splitlines())
        accounts = Accounts((Operation(*json.loads(line)) for line in lines), asyncio.run(read(cluster.url)), injected)
    remains = accounts.judge(left, moment)
    accounts.wrong += [f"the lock of {one.key} is left after its lease" for one in later]
    accounts.wrong += [f"{failed} processes failed"] * bool(failed)
    return report(accounts, remains, injected)


def report(accounts: Accounts, remains: Sequence[str], injected: Sequence[Fault]) -> int:
    """Print the tables and the explanations, and return the exit code."""
    print("\n| fault | injected | longest, s |\n|---|---|---|")
    for kind, count in Counter(fault.kind for fault in injected).items():
        longest = max(fault.ended - fault.began for fault in injected if fault.kind == kind)
        print(f"| {kind} | {count} | {longest:.2f} |")
    heads = ("acknowledged", "lost", "doubled", "unknown", "of these carried out", "not replicated", "refused")
    print(f"\n| documents | {' | '.join(heads)} | lock lost |\n|{'---|' * (len(heads) + 2)}")
    columns = ("done", "lost", "doubled", "unknown", "unknown, carried out", "not replicated", "refused", "lock lost")
    for (mode, kind), words in sorted(accounts.found.items()):
        # Increments leave no items: which of the unknown ones were carried out cannot be told.
        cells = ("" if word.endswith("out") and kind == "increment" else str(words[word]) for word in columns)
        print(f"| {mode}, {kind} | {' | '.join(cells)} |")
    for title, lines in (("Lost", accounts.losses), ("Left when the workers had ended", remains)):
        print(f"\n{title}: {len(lines)}" + "".join(f"\n- {line}" for line in lines))
    wrong = accounts.wrong
    print("\n" + ("WRONG: " + "; ".join(wrong) if wrong else "Everything that has to hold holds."))
    return 1 if wrong else 0


def main(words: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long faults are injected")
    return run(parser.parse_args(words).seconds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
