"""A real Redis Stack with one command, gone without a trace when its starter is gone.

    python scripts/redis_stack.py run -- pytest     a server for as long as the command runs
    python scripts/redis_stack.py run               a server until Ctrl-C
    python scripts/redis_stack.py fetch             only download what a private server needs

Where it comes from, first that fits:

1. RAPYER_TEST_URL: used as it is and never stopped; it must be empty, because tests flush it.
2. A Docker engine that answers: docker-compose.yml, one project for each server.
3. A private server from PyPI, kept in ~/.cache/rapyer (Linux on x86_64).

Rules
- A server listens on a free port of 127.0.0.1 (never 6379) and keeps nothing unless asked.
- Each server has a guard (`_stack_guard.py`), which ends it when the starter ends, even by SIGKILL.
- Starting is safe from any number of threads and processes at once.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import re
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import _stack_url
from _stack_fetch import StackError, binaries, say
from _stack_server import PortTakenError, RedisStack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["RedisStack", "StackError", "binaries", "free_port", "start"]

HOST = "127.0.0.1"
# Below the ports that Linux gives to clients (from 32768): while a server is down, a client that
# connects again and again could otherwise be given its port. A cluster node takes 10,000 more too.
PORTS = range(15_000, 22_768)
ATTEMPTS = 20
DOCKER_SECONDS = 2.0
MODULES = ("redisearch.so", "rejson.so")
DOCKER_MODULES = Path("/opt/redis-stack/lib")
COMPOSE_FILE = Path(__file__).resolve().parent.parent / "docker-compose.yml"


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


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, now, nor on the port 10,000 above it."""
    while True:
        port = PORTS[secrets.randbelow(len(PORTS))]
        if _is_free(port) and _is_free(port + 10_000):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        # As redis-server does: a connection that lingers does not make the port taken.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port))
        except OSError:
            return False
        return True


def _private(modules: Sequence[str], args: Sequence[str], directory: Path | None) -> RedisStack:
    try:
        folder = binaries()
    except StackError:
        if directory is None and compose():
            return _in_docker(modules, args)
        raise
    # A configuration file must come first; the options after it win over it.
    file = [arg for arg in args[:1] if not arg.startswith("-")]
    options = [*_loaded(modules, folder.parent / "lib"), *_kept(directory), *args[len(file) :]]
    return _started(lambda port: _private_stack([str(folder / "redis-server"), *file], port, options))


def _private_stack(server: Sequence[str], port: int, options: Sequence[str]) -> RedisStack:
    place = ["--port", str(port), "--bind", HOST]
    # The guard learns from the log, on standard output, when the server is ready.
    log = ["--loglevel", "notice", "--logfile", ""]
    url = f"redis://{HOST}:{port}/0"
    return RedisStack("private", url, [*server, *place, *options, *log])


def _loaded(modules: Sequence[str], folder: Path) -> list[str]:
    return [word for name in modules for word in ("--loadmodule", str(folder / name))]


def _kept(directory: Path | None) -> list[str]:
    if directory is None:
        return ["--save", "", "--appendonly", "no"]
    directory.mkdir(parents=True, exist_ok=True)
    return ["--save", "", "--appendonly", "yes", "--dir", str(directory.absolute())]


def _in_docker(modules: Sequence[str], args: Sequence[str]) -> RedisStack:
    _pull()
    # The compose file loads the modules when it is told nothing, so it is always told something.
    words = [*_loaded(modules, DOCKER_MODULES), *args] or ["--protected-mode", "no"]
    return _started(lambda port: _docker_stack(port, shlex.join(words)))


def _docker_stack(port: int, words: str) -> RedisStack:
    project = f"rapyer-{os.getpid()}-{secrets.token_hex(4)}"
    command = [*compose(), "--project-name", project, "--file", str(COMPOSE_FILE)]
    env = {"RAPYER_REDIS_PORT": str(port), "RAPYER_REDIS_ARGS": words}
    return RedisStack("docker", f"redis://{HOST}:{port}/0", command, env)


def _started(made: Callable[[int], RedisStack]) -> RedisStack:
    """Start on a free port; another process may take it in between, so try again on another."""
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(PortTakenError):
            return _running(made(free_port()))
    return _running(made(free_port()))


def _running(stack: RedisStack) -> RedisStack:
    try:
        stack.restart()
    except BaseException:
        stack.stop()
        raise
    return stack


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
        return _run(command, private=wanted.private)
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
        usage="redis_stack.py run [--private] [-- COMMAND ...]",
        help="start a server, for a command or until Ctrl-C",
        description="Start a server, run COMMAND with its URL in RAPYER_URL and exit with the code "
        "of COMMAND. Without one, print the URL and keep the server until Ctrl-C.",
    )
    run.add_argument("--private", action="store_true", help="neither RAPYER_TEST_URL nor Docker")
    return parser


def _fetch() -> int:
    print(binaries())
    return 0


def _run(command: Sequence[str], *, private: bool) -> int:
    began = time.monotonic()
    with start(private=private) as stack:
        seconds = time.monotonic() - began
        say(f"Redis Stack is up: {_stack_url.shown(stack.url)} ({stack.kind}, {seconds:.2f} s)")
        return _call(command, stack.url) if command else _hold(stack.url)


def _hold(url: str) -> int:
    try:
        print(url, flush=True)
        say("Ctrl-C stops it.")
        threading.Event().wait()
    except KeyboardInterrupt:
        say("Redis Stack is gone.")
    return 0


def _call(command: Sequence[str], url: str) -> int:
    """Run the command and return its exit code, as a shell would tell it."""
    try:
        process = subprocess.Popen(command, env={**os.environ, "RAPYER_URL": url})
    except OSError as error:
        say(f"redis_stack: {command[0]}: {error.strerror}")
        return 127
    signal.signal(signal.SIGTERM, lambda _number, _frame: process.terminate())
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            continue  # the command got it too, and it decides when to end
        return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
