"""A short talk with a Redis server, with nothing installed: whether it answers and is empty."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, cast
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from _stack_fetch import StackError

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 5.0
POLL_SECONDS = 0.01
PORT = 6379


def check(url: str) -> None:
    """Make sure that the server answers and that the URL's database is empty.

    Raises:
        StackError: it is not so; with the remedy. The message never shows a password.
    """
    size = _talk(url, ("PING",), ("DBSIZE",))[-1]
    if size != ":0":
        message = (
            f"{shown(url)} (RAPYER_TEST_URL) holds {size[1:]} keys, and what uses it flushes it. "
            "Remedy: name an empty database, or unset RAPYER_TEST_URL to get a private server."
        )
        raise StackError(message)


def wait(url: str, seconds: float) -> None:
    """Wait until the server answers, with a refusal too: that is an answer.

    Raises:
        StackError: it did not within that many seconds.
    """
    deadline = time.monotonic() + seconds
    while not _answers(url):
        if time.monotonic() > deadline:
            message = f"{shown(url)} did not answer within {seconds:.0f} s."
            raise StackError(message)
        time.sleep(POLL_SECONDS)


def shown(url: str) -> str:
    """Return the URL as it may be shown: without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _answers(url: str) -> bool:
    try:
        with _opened(urlsplit(url)) as file:
            return not _ask(file, ("PING",)).startswith(("-LOADING", "-BUSY"))
    except OSError:
        return False


def _talk(url: str, *commands: tuple[str, ...]) -> list[str]:
    """Return the replies to the commands; an error reply is an error."""
    try:
        with _opened(urlsplit(url)) as file:
            replies = [_ask(file, words) for words in (*_greeting(urlsplit(url)), *commands)]
    except (OSError, ValueError) as error:
        message = f"{shown(url)} (RAPYER_TEST_URL) does not answer: {error}"
        raise StackError(message) from error
    for reply in replies:
        if reply.startswith("-"):
            message = f"{shown(url)} (RAPYER_TEST_URL) answers: {reply[1:]}"
            raise StackError(message)
    return replies


def _greeting(parts: SplitResult) -> Iterator[tuple[str, ...]]:
    if parts.password:
        user = (unquote(parts.username),) if parts.username else ()
        yield ("AUTH", *user, unquote(parts.password))
    # In redis-py's URLs a path names the database, except where it names the socket.
    path = "" if parts.scheme == "unix" else parts.path.strip("/")
    if database := _option(parts, "db") or path:
        yield ("SELECT", database)


def _ask(file: IO[bytes], words: tuple[str, ...]) -> str:
    encoded = [word.encode() for word in words]
    file.write(b"*%d\r\n" % len(encoded))
    file.writelines(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)
    file.flush()
    line = file.readline().decode(errors="replace").strip()
    if not line:
        message = "the connection was closed"
        raise ConnectionError(message)
    return line


@contextmanager
def _opened(parts: SplitResult) -> Iterator[IO[bytes]]:
    with _connected(parts) as sock, sock.makefile("rwb") as file:
        yield cast("IO[bytes]", file)


def _connected(parts: SplitResult) -> socket.socket:
    if parts.scheme == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(SECONDS)
        sock.connect(unquote(parts.path))
        return sock
    host = parts.hostname or "localhost"
    sock = socket.create_connection((host, parts.port or PORT), timeout=SECONDS)
    return _encrypted(sock, host, parts) if parts.scheme == "rediss" else sock


def _encrypted(sock: socket.socket, host: str, parts: SplitResult) -> socket.socket:
    context = ssl.create_default_context(cafile=_option(parts, "ssl_ca_certs") or None)
    if _option(parts, "ssl_cert_reqs") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock, server_hostname=host)


def _option(parts: SplitResult, name: str) -> str:
    return parse_qs(parts.query).get(name, [""])[-1]
