"""A running Redis Stack and its guard, as their starter sees them."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rapyer.testing import _stack_url
from rapyer.testing._stack_fetch import StackError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

GUARD_FILE = Path(__file__).resolve().with_name("_stack_guard.py")
READY_SECONDS = 30.0
TAKEN = re.compile("already (in use|allocated)", re.IGNORECASE)


class PortTakenError(StackError):
    """Another process listens on the port by now."""


class Guard:
    """The starter's end of a guard process."""

    def __init__(self, kind: str, command: Sequence[str], env: Mapping[str, str]) -> None:
        name = f"rapyer-redis-{os.getpid()}-{secrets.token_hex(4)}"
        self.folder = Path(tempfile.gettempdir()).absolute() / name
        subject = "docker" if kind == "docker" else "server"
        self.process = subprocess.Popen(
            [sys.executable or "python3", "-I", "-S", GUARD_FILE, self.folder, subject, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,  # Ctrl-C reaches the starter's group only
            env={**os.environ, **env},
        )

    def ask(self, word: str) -> str:
        """Have something done; return what the answer says beyond that it worked."""
        assert self.process.stdin  # noqa: S101 - for the type checker
        assert self.process.stdout  # noqa: S101
        try:
            self.process.stdin.write(f"{word}\n".encode())
            line = self.process.stdout.readline().decode(errors="replace")
        except BrokenPipeError:
            line = ""
        result, _, rest = line.strip().partition(" ")
        if result not in {"ready", "ok"}:
            message = f"Redis Stack, {word}: {rest or line or 'its guard is gone'}"
            raise (PortTakenError if TAKEN.search(message) else StackError)(message)
        return rest

    def close(self) -> None:
        """End the guard and with it the server; return when both are gone."""
        assert self.process.stdin  # noqa: S101 - for the type checker
        assert self.process.stdout  # noqa: S101
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        # A guard that was killed could not do it itself.
        shutil.rmtree(self.folder, ignore_errors=True)


class RedisStack:
    """A running Redis Stack; leaving its `with` block stops it.

    Attributes:
        url: what a client connects to, such as "redis://127.0.0.1:15123/0".
        host: the host in that URL.
        port: the port in that URL; it stays the same over restarts.
        pid: the process id of redis-server; None for "url" and "docker", and while it is stopped.
        kind: "url", "docker" or "private".
    """

    def __init__(self, kind: str, url: str, command: Sequence[str] = (), env: Mapping[str, str] | None = None) -> None:
        """Describe a server; `restart` starts it. Use the function `start` instead."""
        parts = urlsplit(url)
        self.kind = kind
        self.url = url
        self.host: str = parts.hostname or ""
        self.port: int = parts.port or 0
        self.pid: int | None = None
        self._command = command
        self._env = env or {}
        self._guard: Guard | None = None

    def stop(self) -> None:
        """Stop the server and remove everything it left; a server from a URL is left alone."""
        guard, self._guard, self.pid = self._guard, None, None
        if guard:
            guard.close()

    def kill(self) -> None:
        """End the server with SIGKILL, as in a crash."""
        self._ask("kill")
        self.pid = None

    def restart(self) -> None:
        """Start the server again on the same port: empty, unless it was made persistent.

        A server that runs is killed first. What it acknowledged and wrote to a file is kept, as
        after a crash, until `stop`.

        Raises:
            StackError: it does not start, or it came from RAPYER_TEST_URL and is not ours.
        """
        if self._guard is None and self.kind != "url":
            self._guard = Guard(self.kind, self._command, self._env)
        self.pid = int(self._ask("start")) or None
        if self.kind == "docker":
            _stack_url.wait(self.url, READY_SECONDS)

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open and nothing is answered."""
        self._ask("pause")

    def resume(self) -> None:
        """Let a frozen server go on (SIGCONT)."""
        self._ask("resume")

    def __enter__(self) -> Self:
        """Return the server itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server."""
        self.stop()

    def __repr__(self) -> str:
        """Tell where the server is and whether it runs."""
        state = "not ours" if self.kind == "url" else "guarded" if self._guard else "stopped"
        state = f"pid {self.pid}" if self.pid else state
        return f"<RedisStack {self.kind} {_stack_url.shown(self.url)} {state}>"

    def _ask(self, word: str) -> str:
        if self.kind == "url":
            message = f"Cannot {word} the server of RAPYER_TEST_URL. Remedy: start(private=True)."
            raise StackError(message)
        if self._guard is None:
            message = f"Cannot {word} a server that was stopped. Remedy: restart() it first."
            raise StackError(message)
        return self._guard.ask(word)
