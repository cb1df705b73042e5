"""A private server on a free port, and several of them started together."""

from __future__ import annotations

import contextlib
import secrets
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from rapyer.testing._stack_fetch import binaries
from rapyer.testing._stack_server import PortTakenError, RedisStack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

HOST = "127.0.0.1"
# Below the ports that Linux gives to clients (from 32768): while a server is down, a client that
# connects again and again could otherwise be given its port. A cluster node takes 10,000 more too.
PORTS = range(15_000, 22_768)
BUS = 10_000
ATTEMPTS = 20
JSON = ("rejson.so",)


class Group:
    """Servers that belong together; leaving its `with` block stops them all.

    Attributes:
        nodes: a handle for each server, which kills, pauses, resumes and restarts it.
    """

    def __init__(self, nodes: Sequence[RedisStack]) -> None:
        """Hold servers that run."""
        self.nodes: tuple[RedisStack, ...] = tuple(nodes)

    def node(self, port: int) -> RedisStack:
        """Return the handle of the server on this port; KeyError where there is none."""
        return {node.port: node for node in self.nodes}[port]

    def stop(self) -> None:
        """Stop the servers and remove everything they left."""
        at_once(self.nodes, RedisStack.stop)

    def __enter__(self) -> Self:
        """Return the group itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the servers."""
        self.stop()


def at_once(nodes: Sequence[RedisStack], step: Callable[[RedisStack], object]) -> None:
    """Do the same with every server at the same time; the first error is raised when all are done."""
    with ThreadPoolExecutor(len(nodes)) as threads:
        done = [threads.submit(step, node) for node in nodes]
    for future in done:
        future.result()


def private_group(options: Sequence[Sequence[str]], modules: Sequence[str] = JSON) -> tuple[RedisStack, ...]:
    """Return running private servers, one for each list of options; where one does not start, none is left."""
    with ThreadPoolExecutor(len(options)) as threads:
        started = [threads.submit(private, modules, words) for words in options]
    nodes = [future.result() for future in started if not future.exception()]
    for error in filter(None, (future.exception() for future in started)):
        for node in nodes:
            node.stop()
        raise error
    return tuple(nodes)


def private(modules: Sequence[str], args: Sequence[str] = (), directory: Path | None = None) -> RedisStack:
    """Return a running private server.

    Raises:
        StackError: there is none for this platform, it cannot be fetched, or it does not start.
    """
    folder = binaries()
    # A configuration file must come first; the options after it win over it.
    file = [arg for arg in args[:1] if not arg.startswith("-")]
    options = [*loaded(modules, folder.parent / "lib"), *_kept(directory), *args[len(file) :]]
    return started(lambda port: _described([str(folder / "redis-server"), *file], port, options))


def _described(server: Sequence[str], port: int, options: Sequence[str]) -> RedisStack:
    place = ["--port", str(port), "--bind", HOST]
    # The guard learns from the log, on standard output, when the server is ready.
    log = ["--loglevel", "notice", "--logfile", ""]
    return RedisStack("private", f"redis://{HOST}:{port}/0", [*server, *place, *options, *log])


def loaded(modules: Sequence[str], folder: Path) -> list[str]:
    """Return the options that load these modules."""
    return [word for name in modules for word in ("--loadmodule", str(folder / name))]


def _kept(directory: Path | None) -> list[str]:
    if directory is None:
        return ["--save", "", "--appendonly", "no"]
    directory.mkdir(parents=True, exist_ok=True)
    return ["--save", "", "--appendonly", "yes", "--dir", str(directory.absolute())]


def started(made: Callable[[int], RedisStack]) -> RedisStack:
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


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, now, nor on the port 10,000 above it."""
    while True:
        port = PORTS[secrets.randbelow(len(PORTS))]
        if _is_free(port) and _is_free(port + BUS):
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
