"""A short talk with a Redis server, with nothing installed."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, cast
from urllib.parse import SplitResult, parse_qs, parse_qsl, unquote, urlencode, urlsplit

from rapyer.testing._stack_fetch import StackError

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 5.0
POLL_SECONDS = 0.01
PORT = 6379
FALSE = ("0", "f", "false", "n", "no")


class RefusedError(Exception):
    """The server answered with an error."""


def check(url: str) -> None:
    """Make sure that the server answers and that the URL's database is empty.

    Raises:
        StackError: it is not so; with the remedy. The message never shows a password.
    """
    size = talk(url, ("PING",), ("DBSIZE",), origin=" (RAPYER_TEST_URL)")[-1]
    if size != "0":
        message = (
            f"{shown(url)} (RAPYER_TEST_URL) holds {size} keys, and what uses it flushes it. "
            "Remedy: name an empty database, or unset RAPYER_TEST_URL to get a private server."
        )
        raise StackError(message)


def talk(url: str, *commands: tuple[str, ...], origin: str = "", seconds: float = SECONDS) -> list[str]:
    """Return the replies as text; those of a list are lines.

    Raises:
        StackError: the server does not answer in so many seconds, or answers with an error.
    """
    try:
        with _opened(urlsplit(url), seconds) as file:
            return [_ask(file, words) for words in (*_greeting(urlsplit(url)), *commands)]
    except RefusedError as error:
        message = f"{shown(url)}{origin} answers: {error}"
        raise StackError(message) from error
    except OSError as error:
        message = f"{shown(url)}{origin} does not answer: {error}"
        raise StackError(message) from error
    except ValueError:
        message = f"{shown(url)}{origin} cannot be read. Remedy: quote special characters of user and password."
        raise StackError(message) from None


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
    """Return the URL as it may be shown: without user and password, also where one is not quoted and cuts it short."""
    parts = urlsplit(url)
    if "@" in parts.path + parts.query + parts.fragment and parts.scheme != "unix":
        return f"{parts.scheme}://..."
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def further(url: str, count: int) -> str:
    """Return the URL of the database that comes so many after the URL's own, which is named where the URL names it."""
    parts = urlsplit(url)
    number = str(int(_database(parts)) + count)
    if parts.scheme != "unix" and not _option(parts, "db"):
        return parts._replace(path=f"/{number}").geturl()
    options = [option for option in parse_qsl(parts.query) if option[0] != "db"]
    return f"{url.partition('?')[0]}?{urlencode([*options, ('db', number)])}"


def _answers(url: str) -> bool:
    try:
        with _opened(urlsplit(url), SECONDS) as file:
            _ask(file, ("PING",))
    except RefusedError as error:
        return not str(error).startswith(("LOADING", "BUSY"))
    except OSError:
        return False
    return True


def _greeting(parts: SplitResult) -> Iterator[tuple[str, ...]]:
    if parts.password:
        user = (unquote(parts.username),) if parts.username else ()
        yield ("AUTH", *user, unquote(parts.password))
    database = _database(parts)
    if database != "0":  # the first one is there already, and a sentinel does not know the command
        yield ("SELECT", database)


def _database(parts: SplitResult) -> str:
    # In redis-py's URLs an option names the database or else the path, except where the path names the socket.
    path = "" if parts.scheme == "unix" else parts.path.strip("/")
    return _option(parts, "db") or path or "0"


def _ask(file: IO[bytes], words: tuple[str, ...]) -> str:
    encoded = [word.encode() for word in words]
    file.write(b"*%d\r\n" % len(encoded))
    file.writelines(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)
    file.flush()
    return _reply(file)


def _reply(file: IO[bytes]) -> str:
    line = file.readline().decode(errors="replace").strip()
    if not line:
        message = "the connection was closed"
        raise ConnectionError(message)
    kind, rest = line[0], line[1:]
    if kind == "-":
        raise RefusedError(rest)
    if kind == "*":
        return "\n".join(_reply(file) for _ in range(int(rest)))
    if kind == "$":
        return file.read(int(rest) + 2)[:-2].decode(errors="replace") if rest != "-1" else ""
    return rest


@contextmanager
def _opened(parts: SplitResult, seconds: float) -> Iterator[IO[bytes]]:
    with _connected(parts, seconds) as sock, sock.makefile("rwb") as file:
        yield cast("IO[bytes]", file)


def _connected(parts: SplitResult, seconds: float) -> socket.socket:
    if parts.scheme == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(seconds)
        sock.connect(unquote(parts.path))
        return sock
    host = parts.hostname or "localhost"
    sock = socket.create_connection((host, parts.port or PORT), timeout=seconds)
    return _encrypted(sock, host, parts) if parts.scheme == "rediss" else sock


def _encrypted(sock: socket.socket, host: str, parts: SplitResult) -> socket.socket:
    """Return the socket with TLS on it, as redis-py makes it from the options of a URL."""
    context = ssl.create_default_context(cafile=_option(parts, "ssl_ca_certs") or None)
    if certificate := _option(parts, "ssl_certfile"):
        context.load_cert_chain(certificate, _option(parts, "ssl_keyfile") or None)
    context.check_hostname = _option(parts, "ssl_check_hostname").lower() not in FALSE
    if _option(parts, "ssl_cert_reqs").lower() == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock, server_hostname=host)


def _option(parts: SplitResult, name: str) -> str:
    return parse_qs(parts.query).get(name, [""])[0]
