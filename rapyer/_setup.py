"""What is called once or at module level: bind, unbind, find by key, and pipelines over several models."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisClusterException, RedisError

from rapyer import _classes, _keys, _lock, _session
from rapyer._loops import close_all, dispatcher
from rapyer._model import AtomicRedisModel
from rapyer._pipeline import Pipeline
from rapyer._refused import GET_ONE
from rapyer.config import RedisConfig
from rapyer.errors import ServerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

OLDEST_SERVER = (7, 0)
_NO_URL = (
    "the URL cannot be read: it looks like redis://user:password@host:6379/0, or begins with rediss://, unix://, "
    "redis+cluster:// or rediss+cluster://; in user and password, special characters are quoted: "
    "urllib.parse.quote(password, safe='')"
)
_NO_TEXT = "the URL has an option that is no text, as `retry`: give it to a redis.asyncio client of your own"
#: How often a cluster's client tries, in its URL.
ATTEMPTS = "cluster_error_retry_attempts"
#: What to say of a server that watches others.
SENTINEL = "the server is a Sentinel, which holds no documents: use the client of its master_for(), or its primary"
_opened: list[Any] = []


async def init_rapyer(redis: Any = None, *, ttl: float | None = None) -> None:
    """Bind every model class that has no client of its own, check the server, load all scripts.

    Three round trips, on a cluster to each primary. Calling it again rebinds; calls that are on their way end on the
    client they began on. Models defined later are bound, too.

    Args:
        redis: a `redis.asyncio` client (`Redis`, `RedisCluster`, a Sentinel's master), `decode_responses` on or off,
            or a URL, for a cluster `redis+cluster://` or `rediss+cluster://`; None keeps the present one.
        ttl: seconds until documents expire, for models without a ttl of their own; None means never.

    Raises:
        ServerError: the server is older than Redis 7 or has no RedisJSON.
        UsageError: there is neither a client here nor one that was bound before, it is none of `redis.asyncio`, the URL
            cannot be read, or the ttl makes no sense; nothing was bound.
        redis.exceptions.ConnectionError: no Redis answers there.
    """
    RedisConfig(ttl=ttl)
    client = client_of(redis) if isinstance(redis, str) else redis
    if client is None:
        client = AtomicRedisModel.Meta.redis
    if client is None:
        msg = "init_rapyer() needs a redis.asyncio client or a URL: init_rapyer('redis://localhost:6379')"
        raise UsageError(msg)
    if isinstance(redis, str):
        _opened.append(client)
    await _check_server(client)
    await dispatcher(client).preload()
    AtomicRedisModel.Meta.redis = client
    AtomicRedisModel.Meta.ttl = ttl


def client_of(url: str, **options: Any) -> Any:
    """Return a client for a URL, for a cluster if its scheme says so; what the URL says goes before the options.

    Raises:
        UsageError: the URL cannot be read; the message shows nothing of it, because it may hold a password.
    """
    scheme, _, rest = url.partition("://")
    scheme, clustered, _ = scheme.lower().partition("+cluster")
    kind: Any = RedisCluster if clustered else Redis
    try:
        if _is_cut(url):
            raise ValueError  # noqa: TRY301 - as redis-py does where it notices
        parts = urlsplit(f"{scheme}://{rest}")
        words = dict(parse_qsl(parts.query))
        if "retry" in words:
            raise UsageError(_NO_TEXT)
        if clustered and ATTEMPTS in words:  # left as text by redis-py, for which the number is outdated besides
            options["retry"] = Retry(ExponentialBackoff(), int(words.pop(ATTEMPTS)))
            parts = parts._replace(query=urlencode(words))
        client = kind.from_url(parts.geturl(), **options)
        if not clustered:  # its options are looked at only when it connects
            client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)
    except ValueError:
        raise UsageError(_NO_URL) from None
    except (TypeError, RedisError, RedisClusterException) as error:
        msg = f"the URL has an option that does not fit: {error}"  # its name, and nothing else of the URL
        raise UsageError(msg) from None
    except AttributeError:  # of a text, what redis-py wants of an object
        raise UsageError(_NO_TEXT) from None
    return client


def _is_cut(url: str) -> bool:
    """Return whether the server's address comes after a `/`, `?` or `#` that belongs to a password."""
    parts = urlsplit(url)
    names = (option.partition("=")[0] for option in parts.query.split("&"))
    return parts.scheme != "unix" and any("@" in text for text in (parts.path, parts.fragment, *names))


async def _check_server(client: Any) -> None:
    caller = dispatcher(client)
    await caller.everywhere(lambda node: check_node(caller, node))


async def check_node(caller: Any, node: Any) -> None:
    """Make sure that models can live on this server; 2 round trips.

    Raises:
        ServerError: it is older than Redis 7 or has no RedisJSON.
        UsageError: it is a node of a cluster, and the client is not one of a cluster.
    """
    info = (await caller.command("INFO", "server", at=node)).decode()
    lines = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    version = lines.get("redis_version", "0")
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
        command, msg = "INFO", f"the server is Redis {version}, rapyer needs 7.0 or newer: {GET_ONE}"
        raise ServerError(command, msg)
    if lines.get("redis_mode") == "sentinel":
        raise UsageError(SENTINEL)
    if lines.get("redis_mode") == "cluster" and not caller.clustered:
        msg = "the server is a node of a Redis Cluster: use a redis+cluster:// URL, or a redis.asyncio.RedisCluster"
        raise UsageError(msg)
    commands = await caller.command("COMMAND", "INFO", "JSON.SET", "JSON.GET", "JSON.MERGE", at=node)
    if not all(commands):
        command, msg = "COMMAND INFO", f"the server (Redis {version}) has no RedisJSON with JSON.MERGE: {GET_ONE}"
        raise ServerError(command, msg)


async def teardown_rapyer() -> None:
    """Close every connection of the library in this event loop, and the clients it made from URLs.

    Idempotent. Clients that were passed in stay open and are unbound from all models without a client of their own.
    """
    await _lock.close_all()
    await close_all()
    while _opened:
        client = _opened.pop()
        await client.aclose()
    AtomicRedisModel.Meta.redis = None
    AtomicRedisModel.Meta.ttl = None


async def get(key: str) -> Any:
    """Return the document under a full key as an instance of the class whose prefix it has; 1 round trip.

    Raises:
        UsageError: no class has this prefix, or two have.
        KeyNotFound: there is no document.
        WrongType: the key holds something that is no document.
        CorruptDocument: what is stored does not validate, or is another key's.
    """
    return await _classes.models.of_key(_keys.text(key)).get(key)


@contextmanager
def exactly_once() -> Iterator[None]:
    """Have every write of the block run exactly once, as with `Meta.exactly_once`: `with rapyer.exactly_once(): ...`.

    A write that was sent and not answered is repeated under its operation id until its first answer is known. Tasks
    started inside are in the block, too; where it is left in another task than it was entered in, as generators and
    fixtures may be, it ends for all of them. `OutcomeUnknown` is left for a Redis that stays away.
    """
    block = _session.OnceBlock()
    try:
        yield
    finally:
        block.end()


def pipeline(*, ignore_if_deleted: bool = False) -> Pipeline[None]:
    """Collect what the block does to any number of models and carry it out as one script, all or nothing.

    Models are not refreshed on entry: `load()` those whose values the body reads. Else as `AtomicRedisModel.pipeline`.

    Args:
        ignore_if_deleted: whether documents that are gone are left alone instead of a `KeyNotFound`.

    Raises:
        CrossSlot: the documents cannot share a script: on a cluster they are in different hash slots, or their models
            are bound to different clients; nothing was sent.
    """
    return Pipeline(None, None, ignore_if_deleted=ignore_if_deleted)
