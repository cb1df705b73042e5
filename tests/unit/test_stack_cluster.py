"""scripts/_stack_cluster.py: a real Redis Cluster with one call, whose nodes fail when asked to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

import redis_stack
from rapyer.testing import _stack_fetch, _stack_private
from rapyer.testing._stack_url import talk

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPTS = Path(redis_stack.__file__).resolve().parent
UP_SECONDS = 10.0  # about 3 on an idle machine
GONE_SECONDS = 2.0
KEYS = [f"key:{number}" for number in range(60)]


@pytest.fixture
def cluster() -> Iterator[redis_stack.Cluster]:
    """Give a cluster."""
    with redis_stack.cluster() as made:
        yield made


def connected(cluster: redis_stack.Cluster) -> redis.RedisCluster:
    """Return a client that is patient while roles change."""
    retry = Retry(ExponentialBackoff(cap=0.2, base=0.05), 60)
    return redis.RedisCluster(
        "127.0.0.1", cluster.nodes[0].port, decode_responses=True, socket_timeout=0.5, retry=retry
    )


def is_gone(pid: int) -> bool:
    """Tell whether the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2][1] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def gone_in_time(pids: list[int]) -> bool:
    """Tell whether all these processes end within two seconds."""
    deadline = time.monotonic() + GONE_SECONDS
    while not all(map(is_gone, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return all(map(is_gone, pids))


def test_has_three_primaries_with_a_replica_each() -> None:
    """It is up in time, serves JSON documents in all slots, and every replica has its primary's documents."""
    began = time.monotonic()
    with redis_stack.cluster() as made, connected(made) as client:
        assert time.monotonic() - began < UP_SECONDS
        assert all(client.json().set(key, "$", {"n": 1}) for key in KEYS)
        primaries = made.primaries()
        assert [len(made.replicas_of(node)) for node in primaries] == [1, 1, 1]
        assert {node.port for node in primaries} == {node.port for node in client.get_primaries()}
        sizes = [int(talk(node.url, ("WAIT", "1", "1000"), ("DBSIZE",))[1]) for node in primaries]
        assert sum(sizes) == len(KEYS)
        assert min(sizes) > 0
        assert [int(talk(made.replicas_of(x)[0].url, ("DBSIZE",))[0]) for x in primaries] == sizes
        assert made.node(primaries[1].port) is primaries[1]
        assert made.url == f"redis+cluster://127.0.0.1:{made.nodes[0].port}"


def test_a_replica_takes_over_from_a_killed_primary(cluster: redis_stack.Cluster) -> None:
    """After kill -9 of a primary its replica serves what it had; restarted, the old one copies the new one."""
    with connected(cluster) as client:
        old = cluster.node(client.get_node_from_key("key").port)
        (heir,) = cluster.replicas_of(old)
        assert client.set("key", "kept")
        assert talk(old.url, ("WAIT", "1", "1000")) == ["1"]
        old.kill()
        with pytest.raises(redis_stack.StackError, match="not settled"):
            cluster.wait(0)
        cluster.wait()
        assert heir in cluster.primaries()
        assert client.get("key") == "kept"
        old.restart()
        cluster.wait()
        assert cluster.replicas_of(heir) == [old]


def test_a_paused_primary_loses_its_slots(cluster: redis_stack.Cluster) -> None:
    """A primary that is frozen past the node timeout is replaced, and copies its heir when it goes on."""
    old = cluster.primaries()[0]
    (heir,) = cluster.replicas_of(old)
    old.pause()
    try:
        deadline = time.monotonic() + UP_SECONDS
        while heir not in cluster.primaries():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        old.resume()
    cluster.wait()
    assert cluster.replicas_of(heir) == [old]


def test_takes_options() -> None:
    """The node timeout and options for every node are the caller's; with a file a node comes back with its data."""
    args = ["--appendonly", "yes", "--appendfsync", "always"]
    with redis_stack.cluster(node_timeout=5, args=args) as made, connected(made) as client:
        told = [talk(node.url, ("CONFIG", "GET", "cluster-node-timeout"))[0].split() for node in made.nodes]
        assert told == [["cluster-node-timeout", "5000"]] * len(made.nodes)
        assert client.set("key", "kept")
        node = made.node(client.get_node_from_key("key").port)
        node.kill()
        node.restart()
        made.wait()
        assert client.get("key") == "kept"
        assert node in made.primaries()


def test_a_node_that_does_not_start_leaves_none(tmp_path: Path) -> None:
    """Where one of several servers refuses its options, the others are stopped again."""
    with pytest.raises(redis_stack.StackError, match="Bad directive"):
        _stack_private.private_group([["--pidfile", str(tmp_path / "pid")], ["--no-such-option", "1"]])
    written = [int(path.read_text("utf-8")) for path in tmp_path.iterdir()]
    assert gone_in_time(written)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("kind", ["--cluster", "--sentinel"])
def test_the_command_line_leaves_nothing(kind: str, number: signal.Signals) -> None:
    """`run --cluster` and `run --sentinel` name all six processes, which end with it however it ends."""
    command = [sys.executable, str(SCRIPTS / "redis_stack.py"), "run", kind]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline().startswith("redis")
        told = ""
        while "Ctrl-C" not in told:
            told += process.stderr.readline()
        pids = [int(part.partition(")")[0]) for part in told.split("(pid ")[1:]]
        assert len(set(pids)) == 6
        assert not any(map(is_gone, pids))
        os.killpg(process.pid, number)
        assert process.wait() == (0 if number == signal.SIGINT else -signal.SIGKILL)
    assert gone_in_time(pids)


def test_needs_the_private_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no private server there is no cluster, and the remedy is told."""
    monkeypatch.setattr(_stack_fetch.platform, "machine", lambda: "aarch64")
    with pytest.raises(redis_stack.StackError, match="Remedy"):
        redis_stack.cluster()
