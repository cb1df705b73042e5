"""What goes to the `rapyer` logger: reconnects, scripts loaded again, lost locks, copies left.

Never a stored value or a password. Each record carries its parts as `record.rapyer`, a dict whose "event" says
what happened.
"""

from __future__ import annotations

import logging
import traceback
from typing import Any

logger = logging.getLogger("rapyer")
# A program without logging of its own gets none on its standard error.
logger.addHandler(logging.NullHandler())


def connection_lost(pool: Any, error: BaseException, repeated: int, unknown: int) -> None:
    """Tell of a connection that ended, and of the calls that were on it; one that was idle is hardly news."""
    place = address(pool)
    _say(
        logging.WARNING if repeated or unknown else logging.INFO,
        "connection to %s lost: %s; calls to be repeated: %d, with unknown outcome: %d",
        place,
        error,
        repeated,
        unknown,
        extra=_parts("connection_lost", address=place, repeated=repeated, unknown=unknown),
    )


def cannot_connect(pool: Any, error: BaseException) -> None:
    """Tell of the first of some failures to connect."""
    place = address(pool)
    _say(logging.WARNING, "cannot connect to %s: %s", place, error, extra=_parts("cannot_connect", address=place))


def connected_again(pool: Any, failures: int) -> None:
    """Tell that connecting worked after failures or a loss."""
    place = address(pool)
    parts = _parts("connected_again", address=place, failures=failures)
    _say(
        logging.WARNING if failures else logging.INFO,
        "connected to %s again after %d failures",
        place,
        failures,
        extra=parts,
    )


def loading(script: str) -> None:
    """Tell that the server did not have a script: it was flushed, restarted, or is called for the first time."""
    _say(logging.INFO, "script %s is not on the server and is loaded", script, extra=_parts("loading", script=script))


def lock_lost(key: str, action: str) -> None:
    """Tell that a lock ended before its block did; once for each block."""
    parts = _parts("lock_lost", key=key, action=action)
    _say(logging.WARNING, "lock %r of %r was lost before its block ended", action, key, extra=parts)


def lock_not_returned(key: str, action: str, error: BaseException) -> None:
    """Tell that a lock could not be given back, so that its lease has to end first."""
    parts = _parts("lock_not_returned", key=key, action=action)
    _say(
        logging.WARNING,
        "lock %r of %r could not be given back, its lease will end: %s",
        action,
        key,
        error,
        extra=parts,
    )


def ticket_left(key: str, action: str, error: BaseException) -> None:
    """Tell that who waits no more could not be taken out of a lock's queue: at its turn the lock is passed on."""
    parts = _parts("ticket_left", key=key, action=action)
    _say(
        logging.WARNING,
        "a place in the queue for lock %r of %r could not be given up, the lock will be passed on: %s",
        action,
        key,
        error,
        extra=parts,
    )


def copies_left(keys: list[str]) -> None:
    """Tell of copies that should not be there, or may not be, and could not be removed."""
    _say(logging.WARNING, "%d copies may be left: %s", len(keys), keys, extra=_parts("copies_left", keys=keys))


def observer_raised() -> None:
    """Tell, with what was raised, that an observer failed."""
    _say(
        logging.ERROR,
        "an observer raised; the operation is not affected",
        extra=_parts("observer_raised"),
        exc_info=True,
    )


def address(pool: Any) -> str:
    """Return where a pool's connections go."""
    options = pool.connection_kwargs
    path: str | None = options.get("path")
    return path or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


def _say(level: int, message: str, *words: object, extra: dict[str, Any], exc_info: bool = False) -> None:
    """Log; a handler or filter that raises, which is the program's own, harms nobody who waits for an answer."""
    try:
        logger.log(level, message, *words, exc_info=exc_info, extra=extra, stacklevel=2)
    except Exception:  # noqa: BLE001 - the program's own handler may raise anything
        if logging.raiseExceptions:  # as `logging` itself tells of what its own handlers meet
            traceback.print_exc()


def _parts(event: str, **parts: Any) -> dict[str, Any]:
    return {"rapyer": {"event": event, **parts}}
