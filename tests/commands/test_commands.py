"""`python -m rapyer doctor`, `scripts` and `show`, run as a person would, against real servers."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time

import pytest
from redis import Redis, RedisCluster
from redis.exceptions import ResponseError

import redis_stack
from rapyer import AtomicRedisModel
from rapyer._registry import scripts


class Shown(AtomicRedisModel):
    """A document to look at."""

    name: str
    score: int = 0


def run(*words, **env):
    """Run the command; return exit code, output and errors."""
    command = [sys.executable, "-m", "rapyer", *words]
    encoding = env.get("PYTHONIOENCODING", "utf-8")
    done = subprocess.run(command, capture_output=True, encoding=encoding, check=False, env={**os.environ, **env})
    return done.returncode, done.stdout, done.stderr


def doctor(*args, **options):
    """Start a server with these options and let the doctor look at it; return exit code and what it says by subject."""
    with redis_stack.start(args=args, private=True, **options) as server:
        code, out, err = run("doctor", server.url)
    assert err == ""
    table, _, remedies = out.partition("\nWhat to do\n")
    found = {}
    for line in table.splitlines()[1:]:
        level, subject, _ = line.split(maxsplit=2)
        found[subject] = level if found.get(subject) != "DANGER" else "DANGER"
    return code, found, dict(line.split(": ", 1) for line in remedies.splitlines())


def test_a_server_that_keeps_its_data_is_healthy(tmp_path):
    """With an append-only file, no eviction and a memory limit nothing is to be done."""
    code, found, remedies = doctor("--maxmemory", "1gb", directory=tmp_path / "data")
    assert (code, remedies) == (0, {})
    assert set(found) == {"server", "modules", "role", "persistence", "eviction", "memory", "scripts", "latency"}
    assert set(found.values()) == {"ok", "note"}  # no script is loaded yet


@pytest.mark.parametrize(
    ("options", "subject", "level", "remedy"),
    [
        ((), "persistence", "DANGER", "appendonly yes"),
        (("--save", "60 1"), "persistence", "warning", "appendonly yes"),
        (("--appendonly", "yes", "--appendfsync", "no"), "persistence", "warning", "everysec"),
        (("--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru"), "eviction", "DANGER", "noeviction"),
        (("--maxmemory", "1gb", "--maxmemory-policy", "volatile-ttl"), "eviction", "DANGER", "noeviction"),
        (("--maxmemory-policy", "allkeys-lru"), "eviction", "warning", "noeviction"),
        (("--maxmemory", "1mb"), "memory", "warning", "maxmemory"),
        (("--replicaof", "127.0.0.1 1"), "role", "DANGER", "primary"),
    ],
)
def test_what_endangers_data_is_found(options, subject, level, remedy):
    """Each setting that can lose documents or locks is named with its remedy; a danger is an exit code, too."""
    code, found, remedies = doctor(*options)
    assert found[subject] == level
    assert remedy in remedies[subject]
    assert code == int("DANGER" in found.values())


def test_a_server_without_redisjson():
    """The module that is missing is named."""
    code, found, remedies = doctor(modules=False)
    assert (code, found["modules"]) == (1, "DANGER")
    assert "Redis Stack" in remedies["modules"]


def test_keys_that_were_evicted():
    """That it happened already is a danger even if the policy was changed since."""
    args = ("--maxmemory", "6mb", "--maxmemory-policy", "allkeys-random")
    with redis_stack.start(args=args, private=True) as server:
        client = Redis.from_url(server.url)
        for number in range(400):
            client.set(f"key:{number}", b"x" * 20_000)
        client.config_set("maxmemory-policy", "noeviction")
        client.close()
        code, out, _ = run("doctor", server.url)
    assert code == 1
    assert re.search(r"DANGER +eviction +\d+ keys were evicted", out)


def test_a_user_who_may_not_ask(stack):
    """A service without CONFIG and MODULE is examined as far as it allows."""
    client = Redis.from_url(stack.url)
    client.execute_command("ACL", "SETUSER", "guest", "on", ">pw", "~*", "&*", "+@all", "-config", "-module")
    try:
        code, out, err = run("doctor", stack.url.replace("://", "://guest:pw@", 1))
    finally:
        client.execute_command("ACL", "DELUSER", "guest")
        client.close()
    assert (code, err) == (0, "")
    assert "no right to see more" in out
    assert "RedisJSON; no right to see its version" in out


def test_the_list_of_scripts():
    """Every script is listed with its keys, arguments and errors."""
    code, out, err = run("scripts")
    assert (code, err) == (0, "")
    assert re.findall(r"^(\S+): ", out, re.MULTILINE) == list(scripts())
    assert out.count("\n  KEYS    ") == out.count("\n  ARGV    ") == out.count("\n  ERRORS  ") == len(scripts())


def test_lines_are_numbered_as_in_error_messages(stack):
    """An error that a script raises names the line that --show gives it."""
    code, out, _ = run("scripts", "--show", "list.pop")
    assert code == 0
    number, line = re.search(r"^ *(\d+)  (return run\(.*)$", out, re.MULTILINE).groups()
    source = scripts()["list.pop"].source.decode().replace(line, 'return redis.call("NOPE")')
    client = Redis.from_url(stack.url)
    with pytest.raises(ResponseError, match=rf"@user_script:{number}\b"):
        client.eval(source, 0)
    client.close()


def test_a_script_that_is_not_there():
    """Names those that are like it."""
    code, out, err = run("scripts", "--show", "list.push")
    assert (code, out) == (1, "")
    assert "list.extend" in err
    assert "map.pop" not in err


async def test_show_a_document(bound, stack):
    """Type, expiry, locks and content; what would move a cursor is escaped."""
    doc = await Shown(name="a\u202eb\x1b\n").save()
    await bound.expire(doc.key, 100)
    async with doc.lock("edit", lease=20):
        code, out, err = run("show", stack.url, doc.key)
    assert (code, err) == (0, "")
    assert re.search(r"type +object \(RedisJSON\)", out)
    assert re.search(r"expires +in \d\d\.\d s", out)
    assert re.search(
        rf"lock +'edit', held for \d\.\d s by \S+, pid {os.getpid()}, task .*; its lease ends in 1\d\.\d s; 0 wait", out
    )
    assert '"name": "a\\u202eb\\u001b\\n"' in out
    _, out, _ = run("show", stack.url, doc.key)
    assert re.search(r"lock +none is held", out)


async def test_show_locks_of_this_document_only(bound, stack):
    """A document whose key is part of another's has none of its locks."""
    short, long = await Shown(name="a").save(), await Shown(name="b").save()
    await long.delete()
    async with short.lock("x:y"):
        _, out, _ = run("show", stack.url, short.key)
        assert "'x:y'" in out
        await bound.json().set(short.key + ":x", "$", {})
        _, out, _ = run("show", stack.url, short.key + ":x")
        assert "none is held" in out


async def test_show_what_is_no_document(bound, stack):
    """A missing key and another type are errors that say so."""
    code, out, err = run("show", stack.url, "Nobody:1")
    assert (code, out) == (1, "")
    assert "no document under key 'Nobody:1'" in err
    await bound.set("text", "x")
    code, out, err = run("show", stack.url, "text")
    assert (code, out) == (1, "")
    assert "'text' holds a Redis string, no document" in err


@pytest.mark.parametrize(
    "words",
    [
        ("doctor", "redis://127.0.0.1:1"),
        ("show", "redis://127.0.0.1:1", "a"),
        ("doctor", "x"),
        ("doctor", "redis://127.0.0.1:1?bogus=1"),
        ("doctor", "redis://127.0.0.1:1?retry=3"),
        ("doctor", "redis+cluster://127.0.0.1:1?retry=3"),
        ("locks", "redis+cluster://127.0.0.1:1?bogus=1"),
        ("doctor", "redis+cluster://127.0.0.1:1/1"),
    ],
)
def test_no_server(words):
    """The error is on standard error and the exit code is 1; so for a URL that is none."""
    code, out, err = run(*words)
    assert (code, out) == (1, "")
    assert err.startswith(f"{words[0]}: ")
    assert err.count("\n") == 1


def test_a_sentinel():
    """Who asks a Sentinel is told what to ask."""
    with redis_stack.sentinel() as watched:
        for words in (("doctor",), ("locks",), ("show", "User:1")):
            host, port = watched.addresses[0]
            code, out, err = run(words[0], f"redis://{host}:{port}", *words[1:])
            assert (code, out) == (1, "")
            assert "master_for" in err


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_a_cluster_that_says_nothing(scheme):
    """The error says so in words."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        code, out, err = run("doctor", f"{scheme}://127.0.0.1:{silent.getsockname()[1]}")
    assert (code, out) == (1, "")
    assert len(err) > len("doctor: \n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
async def test_output_that_has_not_every_letter(bound, stack, encoding):
    """What standard output cannot encode is escaped."""
    doc = await Shown(name="Zoë \u2603").save()
    code, out, err = run("show", stack.url, doc.key, PYTHONIOENCODING=encoding)
    assert (code, err) == (0, "")
    assert "\\u2603" in out


@pytest.mark.parametrize("command", ["doctor", "locks", "show"])
@pytest.mark.parametrize("mark", "/#?")
def test_a_password_that_is_not_quoted(command, mark):
    """The error says how to quote it and shows nothing of it."""
    code, out, err = run(command, f"redis://:hush{mark}sesame@localhost:1", *["a"][: command == "show"])
    assert (code, out) == (1, "")
    assert "quoted" in err
    assert "hush" not in err
    assert "sesame" not in err
    code, _, err = run(command, f"redis://:4711{mark}sesame@localhost:1", *["a"][: command == "show"])
    assert (code, "quoted" in err, "4711" in err) == (1, True, False)


@pytest.mark.parametrize("command", ["doctor", "locks", "show"])
def test_a_port_that_answers_nothing(command):
    """It is told within seconds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        code, out, err = run(command, f"redis://127.0.0.1:{silent.getsockname()[1]}", *["a"][: command == "show"])
    assert (code, out) == (1, "")
    assert err.startswith(f"{command}: Timeout")
    assert time.monotonic() - began < 10


def test_no_documents_can_be_there():
    """`locks` and `show` say that a server without RedisJSON can have none."""
    with redis_stack.start(private=True, modules=False) as server:
        for words in (("locks", server.url), ("show", server.url, "User:1")):
            code, out, err = run(*words)
            assert (code, out) == (1, "")
            assert "has no RedisJSON" in err


@pytest.mark.parametrize("rich", [True, False])
def test_a_person_at_a_terminal(stack, rich):
    """Where a person looks, tables are drawn if `rich` is installed, and are plain if not; both say the same."""
    program = (
        f"import sys; sys.modules.update({{}} if {rich} else {{'rich': None}}); sys.stdout.isatty = lambda: True;"
        f"import importlib.util as u; f = u.find_spec;"
        f"u.find_spec = lambda n, *a: None if n == 'rich' and not {rich} else f(n, *a);"
        f"from rapyer.__main__ import main; main(['doctor', {stack.url!r}])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert ("│" in done.stdout) is rich
    assert "RedisJSON 2." in done.stdout


# -- clusters --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_cluster():
    """The doctor looks at each primary, `show` finds a document's own, and a slot without a primary is a danger."""
    with redis_stack.cluster() as servers:
        code, out, err = run("doctor", servers.url)
        assert (code, err) == (1, "")  # nothing is kept on disk
        assert out.count("every slot is served") == 3
        for node in servers.primaries():
            assert f"primary 127.0.0.1:{node.port}\n" in out
        keys = [f"Shown:{number}" for number in range(20)]
        client = RedisCluster.from_url(servers.url.replace("+cluster", ""))
        for key in keys:
            client.execute_command("JSON.SET", key, "$", '{"name":"n","score":1}')
        client.close()
        for key in keys[:6]:
            code, out, err = run("show", servers.url, key)
            assert (code, err) == (0, "")
            assert "object (RedisJSON)" in out
        code, _, err = run("show", servers.url, "Shown:gone")
        assert (code, "Shown:gone" in err) == (1, True)
        primary = servers.primaries()[-1]
        for replica in servers.replicas_of(primary):
            replica.kill()
        primary.kill()
        deadline = time.monotonic() + 30
        while "slots are served by nobody" not in (found := run("doctor", servers.url))[1]:
            assert time.monotonic() < deadline, found
        assert "does not answer" in found[1]
        assert found[0] == 1
