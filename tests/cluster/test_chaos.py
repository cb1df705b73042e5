"""scripts/chaos.py: its checker finds what is wrong, and a short run finds nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

import redis_stack
from _chaos_check import Accounts, Left, Operation, Stored
from _chaos_faults import Fault
from rapyer._keys import hash_slot

SCRIPT = Path(redis_stack.__file__).with_name("chaos.py")


def accounts(mode, kind, outcomes, injected=(), answers=None, **there):
    """The accounts of this history, of a tenth of a second, and this end."""
    key = f"Doc:{kind}"
    answers = answers or {name: 1 + place for place, name in enumerate(outcomes)}
    history = [Operation(mode, kind, "d", name, told, 10.0, 10.1, answers[name]) for name, told in outcomes.items()]
    return Accounts(history, {(mode, "d"): Stored(**{"key": key, "n": 0, "twice": 0, "items": (), **there})}, injected)


def judged(*history, **there):
    """What is wrong with this history and this end."""
    return accounts(*history, **there).wrong


def loss(kind, *exposed):
    """The loss of the primary of the document, which may have kept to itself what it did at some moments."""
    return [Fault("primary killed", 10.05, 12.0, frozenset({hash_slot(f"Doc:{kind}")}), exposed or ((9.05, 10.05),))]


@pytest.mark.parametrize("mode", ["plain", "careful"])
def test_what_is_right(mode):
    """Acknowledged is there once, unknown is there or not, refused is not there."""
    told = {"a": "done", "b": "unknown", "c": "not replicated", "d": "refused", "e": "lock lost"}
    assert judged(mode, "append", told, items=["a", "c"]) == []
    assert judged(mode, "append", told, items=["a", "b"]) == []
    assert judged(mode, "increment", told, n=3) == []
    assert judged(mode, "increment", told, n=1) == []
    assert judged(mode, "pipeline", {"a": "done"}, n=1, twice=2, items=["a"]) == []


@pytest.mark.parametrize("mode", ["plain", "careful"])
def test_what_is_wrong(mode):
    """Lost without a reason, doubled, from nowhere, refused and yet there, and fields that disagree: each is found."""
    assert judged(mode, "append", {"a": "done"}) != []
    assert judged(mode, "append", {"a": "done"}, items=["a", "a"]) != []
    assert judged(mode, "append", {"a": "unknown"}, items=["a", "a"]) != []
    assert judged(mode, "append", {"a": "done"}, items=["a", "z"]) != []
    assert judged(mode, "append", {"a": "refused"}, items=["a"]) != []
    assert judged(mode, "lock", {"a": "lock lost"}, items=["a"], n=1, twice=2) != []
    assert judged(mode, "increment", {"a": "done", "b": "done"}, n=1) != []
    assert judged(mode, "increment", {"a": "done", "b": "unknown"}, n=3) != []
    assert judged(mode, "lock", {"a": "done"}, n=1, twice=2) != []
    assert judged(mode, "pipeline", {"a": "done"}, n=1, twice=1, items=["a"]) != []


def test_answers_of_increments():
    """One that is lost is found also where an unknown one makes up for it, by its answer."""
    told = {"a": "done", "b": "done", "c": "unknown"}
    assert judged("careful", "increment", told, n=2) == []
    assert judged("careful", "increment", told, n=2, answers={"a": 1, "b": 1, "c": 0}) != []
    assert judged("careful", "increment", told, n=2, answers={"a": 1, "b": 3, "c": 0}) != []
    assert judged("careful", "increment", {"a": "done", "c": "unknown"}, n=1, answers={"a": 2, "c": 0}) != []


def test_what_replication_may_lose():
    """In the last moments of its primary a plain write may be lost, a careful one may not; elsewhere none may."""
    told = {"a": "done"}
    assert judged("plain", "append", told, injected=loss("append")) == []
    assert judged("plain", "increment", told, injected=loss("increment")) == []
    assert judged("careful", "append", told, injected=loss("append")) != []
    assert judged("plain", "append", told, injected=loss("increment")) != []
    assert judged("plain", "append", told, injected=loss("append", (8.0, 9.9))) != []  # by the heir
    assert judged("plain", "append", told, injected=loss("append", (10.2, 10.3))) != []  # before the second
    assert judged("plain", "append", told, injected=loss("append", (8.0, 9.0), (10.05, 10.06))) == []


def test_each_loss_is_told():
    """A line for each: which operation, of which document, and how it can be."""
    found = accounts("plain", "append", {"a": "done", "b": "done", "c": "done"}, items=["b"], injected=loss("append"))
    assert [line.split(":")[0] for line in found.losses] == ["plain append a of Doc", "plain append c of Doc"]
    assert all("before the end of its primary (primary killed)" in line for line in found.losses)
    assert found.found["plain", "append"]["lost"] == 2


@pytest.mark.parametrize(("kind", "seconds"), [("lock", 2.0), ("queue", 64.0)])
def test_what_is_left(kind, seconds):
    """A lock, or a place in a queue, may be left by an operation that did not end well, as long as it may live."""
    left = [Left(kind, "Doc:lock")]
    for outcome, since, reasons in (("unknown", seconds, 1), ("done", seconds, 0), ("unknown", seconds + 1, 0)):
        found = accounts("careful", "lock", {"a": outcome}, n=1, twice=2, items=["a"])
        [line] = found.judge(left, 10.1 + since)
        assert ("a ended as unknown" in line, len(found.wrong)) == (bool(reasons), 1 - reasons)
    found = accounts("plain", "lock", {"a": "done"}, n=1, twice=2, items=["a"], injected=loss("lock"))
    assert found.judge(left, 13.0) == [f"{kind} of Doc:lock: primary killed, 1.0 s before"]
    assert found.wrong == []


@pytest.mark.slow
def test_a_short_run():
    """A few seconds of every fault: everything that has to hold holds."""
    command = [sys.executable, str(SCRIPT), "--seconds", "10"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "careful" in done.stdout
