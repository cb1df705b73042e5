"""`python -m rapyer locks URL`: what is held, by whom, and how many wait."""

import asyncio
import os
import socket
import sys

import pytest
from lock_waiters import counted, until
from lock_worker import Doc

from rapyer import _keys
from rapyer.__main__ import main


async def run(url):
    """Run the command as a person would; return exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rapyer", "locks", url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def wait(cls, doc):
    """Wait for the lock."""
    async with cls.lock_from_key(doc.key, "edit"):
        pass


async def test_the_table(clean, doc, other, stack):
    """Document, action, host, process, task, age, lease and all who wait, those that share a ticket and others."""
    assert await run(stack.url) == (0, "no locks are held\n", "")
    asyncio.current_task().set_name("my\ntask \udc80")
    async with doc.lock("edit", lease=20):
        waiters = [asyncio.create_task(wait(cls, doc)) for cls in (Doc, Doc, Doc, other, other)]
        async with doc.lock("a b\x1b"):
            await counted(clean, doc, 5, "edit")
            code, out, err = await run(stack.url)
    await asyncio.gather(*waiters)
    assert (code, err) == (0, "")
    titles, first, second = out.splitlines()
    assert titles.split() == ["document", "action", "host", "pid", "task", "age", "s", "lease", "s", "waiters"]
    assert first.startswith(f"{doc.key}  a b\\x1b")
    *_, age, lease, count = second.split()
    assert second.split()[:6] == [doc.key, "edit", socket.gethostname(), str(os.getpid()), "my\\ntask", "\\udc80"]
    assert (1 < float(age) < 10, 15 < float(lease) <= 20, count) == (True, True, "5")
    assert first.split()[-1] == "0"


async def test_a_note_of_nobody_is_taken_off(clean, doc, other):
    """A lock that is handed on for ever does not collect the processes that once waited for it."""
    lock_key = _keys.lock_key(doc.key, "edit")
    async with doc.lock("edit"):
        waiters = [asyncio.create_task(wait(cls, doc)) for cls in (Doc, other)]
        await counted(clean, doc, 2, "edit")
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
        await until(lambda: clean.hlen(lock_key), 3)  # owner, fence, info


async def test_waiters_that_died_are_not_counted(clean, doc, workers, stack):
    """Neither those whose process is gone, once the holder's own are known."""
    async with doc.lock():
        worker = await workers("wait_for", doc, tasks=20)
        await worker.report()
        await counted(clean, doc, 20)
        _, out, _ = await run(stack.url)
        assert out.split()[-1] == "20"
        worker.process.kill()
        await worker.process.wait()
        _, out, _ = await run(stack.url)
        assert out.split()[-1] == "3"  # its tickets, until somebody comes to them


async def test_other_keys_are_no_locks(clean, client, stack):
    """Keys of other programs, or half a lock, are left out."""
    await client.hset("rapyer:{x}:lock:nonsense", "a", "b")
    await client.hset(_keys.lock_key("User:1", "x"), "a", "b")
    await client.hset(b"rapyer:{\xff}:lock:1:\xff:y", "owner", "text")
    await client.set("rapyer:{x}:lock:1:x:y", "text")
    assert (await run(stack.url))[1] == "no locks are held\n"
    await client.flushdb()


def test_no_server(capsys):
    """The error is on standard error and the exit code is 1; so for a URL that is none."""
    assert main(["locks", "redis://127.0.0.1:1"]) == 1
    assert main(["locks", "nonsense"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("locks: ")) == ("", 2)


def test_an_unknown_command():
    """Tells what there is."""
    with pytest.raises(SystemExit) as caught:
        main(["nonsense"])
    assert caught.value.code == 2
