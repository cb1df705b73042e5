"""Two clients of one document, the oracle of what Redis holds, and one of what each client sees."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress

from connections import client_of
from hypothesis import HealthCheck, settings
from operations import NOTHING, Document, Oracle, canonical, put, walk
from pydantic import ValidationError

import rapyer
from rapyer.errors import OutOfRange, PathNotFound, WrongType

LONG = os.environ.get("RAPYER_PROPERTY") == "long"

#: How hard to try: what a run of the whole suite can afford, or by RAPYER_PROPERTY=long what a night can.
PROFILE = settings(
    max_examples=4000 if LONG else 40,
    stateful_step_count=60 if LONG else 25,
    deadline=None,
    print_blob=True,
    # Documents with every field are large by nature, and slow to make on a busy machine.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)

#: For properties of one step, which are cheaper.
SINGLE = settings(PROFILE, max_examples=4 * PROFILE.max_examples)

_FAMILIES = (
    ("range", (OutOfRange, OverflowError, ValidationError)),
    ("zero", ZeroDivisionError),
    ("path", PathNotFound),
    ("type", (WrongType, TypeError, AttributeError)),  # None has no operations
    ("index", IndexError),
    ("key", KeyError),
    ("value", ValueError),
)


def family(error):
    """Give what is alike in Python's refusal and the server's; None for none."""
    if error is None:
        return None
    for name, kinds in _FAMILIES:
        if isinstance(error, kinds):
            return name
    raise error


def checked(oracle):
    """Give the oracle with every value validated, as the document's are."""
    return Oracle.model_validate(dict(oracle))


def attempt(oracle, function):
    """Give the oracle as the function leaves it, its result and no error; or as it was, and the error."""
    after = oracle.model_copy(deep=True)
    try:
        result = function(after)
        return checked(after), result, None
    except Exception as error:  # noqa: BLE001 - what it is, is compared
        return oracle, None, error


async def outcome(awaitable):
    """Give the result and no error, or the error."""
    try:
        return await awaitable, None
    except Exception as error:  # noqa: BLE001 - what it is, is compared
        return None, error


class World:
    """One event loop with a server's database for itself."""

    def __init__(self, url):
        self.loop = asyncio.new_event_loop()
        self.redis = client_of(url)
        self.run(self.redis.flushdb())
        Document.Meta.redis = self.redis
        self.oracle = self.views = self.clients = None

    def run(self, awaitable):
        """Run to the end."""
        return self.loop.run_until_complete(awaitable)

    def close(self):
        """Close what was opened."""
        self.run(rapyer.teardown_rapyer())
        self.run(self.redis.aclose())
        self.run(self.loop.shutdown_asyncgens())
        self.loop.close()
        Document.Meta.redis = None

    async def create(self, data):
        """Save a document and give it to two clients."""
        first = await Document(**data).save()
        self.clients = [first, await Document.get(first.key)]
        self.oracle = Oracle(**data)
        self.views = [self._truth(), self._truth()]
        await self.check()

    def _truth(self):
        return self.oracle.model_copy(deep=True)

    # -- what has to hold ----------------------------------------------------------------------------------------------

    async def check(self):
        """Redis is what the oracle says, and each client sees what it has to see."""
        text = await self.redis.execute_command("JSON.GET", self.clients[0].key, "$")
        assert canonical(Oracle.model_validate_json(text[1:-1])) == canonical(self.oracle), "Redis"
        stored = json.loads(text)[0]
        for members in (stored["numbers"], stored["labels"], stored["inner"]["seen"], *stored["sets"].values()):
            assert len(set(members)) == len(members), "an element twice in a set"
        for client, view in zip(self.clients, self.views, strict=True):
            assert canonical(client) == canonical(view), "local"
        assert await self.redis.dbsize() == 1

    def _take(self, who, path):
        """Have a client see at a place what Redis holds there."""
        put(self.views[who], path, walk(self._truth(), path))

    # -- one by one ----------------------------------------------------------------------------------------------------

    async def one(self, who, operation):
        """Do one operation: awaited, or in a block of its own where it has no awaited form."""
        if operation.kind.call is None:
            await self.block(who, [(operation, False)])
            return
        if operation.fragile and canonical(self.views[who]) != canonical(self.oracle):
            await self.load(who)
        result, error = await outcome(operation.call(self.clients[who]))
        oracle, wanted, refused = attempt(self.oracle, lambda oracle: operation.call_plain(oracle, result))
        assert family(error) == family(refused), (operation, error, refused)
        if error is not None:
            return
        self.oracle = oracle
        self._compare(operation, result, wanted)
        if operation.name.endswith("update()"):
            for name in operation.rest[0]:
                self._take(who, (*operation.path, name))
        else:
            self._take(who, operation.path)

    def _compare(self, operation, result, wanted):
        if wanted is None and result is not None:
            wanted = walk(self.oracle, operation.path)
        if result is not None and wanted is not NOTHING:
            assert canonical(result) == canonical(wanted), operation

    # -- blocks --------------------------------------------------------------------------------------------------------

    async def block(self, who, steps, meanwhile=(), *, whole=False):
        """Do operations in one block, each in plain Python or awaited, while the other client does some of its own.

        Args:
            who: which client.
            steps: operations, and whether they are awaited.
            meanwhile: what the other one does before the block ends.
            whole: whether it is a `rapyer.pipeline()`, which does not refresh the model.
        """
        if whole:
            await self.load(who)
        entry, shadow, done = self._truth(), None, []
        self.views[who] = entry
        local, error = None, None
        try:
            model = self.clients[who]
            async with rapyer.pipeline() if whole else model.pipeline():
                assert canonical(model) == canonical(entry), "on entry"
                shadow, local = await self._body(model, entry, steps, done)
                await asyncio.ensure_future(self._elsewhere(1 - who, meanwhile))
                _raise(local)
        except AssertionError:
            raise
        except Exception as raised:  # noqa: BLE001 - what it is, is compared
            error = raised
        if local is None:
            oracle, _, refused = attempt(self.oracle, lambda oracle: _commit(oracle, done))
            assert family(error) == family(refused), (steps, error, refused)
            if error is None:
                self._leave(who, oracle, shadow, done)

    async def _body(self, model, shadow, steps, done):
        for operation, awaited in steps:
            call = operation.kind.body is None or (awaited and operation.kind.call is not None)
            result, error = await outcome(operation.call(model) if call else _now(operation, model))
            plain = operation.call_plain if call else operation.run_plain
            before = shadow
            shadow, wanted, refused = attempt(before, lambda oracle, p=plain, r=result: p(oracle, r))
            assert family(error) == family(refused), (operation, error, refused)
            if error is not None:
                return shadow, error
            if wanted is not None and wanted is not NOTHING and result is not None:
                assert canonical(result) == canonical(wanted), operation
            done.append((operation, call, before, shadow, result))
        assert canonical(model) == canonical(shadow), "in the block"
        return shadow, None

    async def _elsewhere(self, who, operations):
        for operation in operations:
            await self.one(who, operation)

    def _leave(self, who, oracle, shadow, done):
        self.oracle = oracle
        self.views[who] = shadow.model_copy(deep=True)
        for operation, call, before, after, result in done:
            recorded = _later(before.model_copy(deep=True), operation, call, before, after, result)
            names = operation.rest[0] if operation.path == () else operation.path[:1]
            for name in names if recorded is not NOTHING else ():
                self._take(who, (name,))

    # -- others --------------------------------------------------------------------------------------------------------

    async def load(self, who):
        """Refresh a client."""
        await self.clients[who].load()
        self.views[who] = self._truth()

    async def save(self, who):
        """Have a client write all it sees, stale or not."""
        await self.clients[who].save()
        self.oracle = self.views[who].model_copy(deep=True)

    async def local(self, who, operation):
        """Do something in ordinary Python outside of any block, then save the field it was done to."""
        result, error = await outcome(_now(operation, self.clients[who]))
        view, _, refused = attempt(self.views[who], lambda view: operation.run_plain(view, result))
        assert family(error) == family(refused), (operation, error, refused)
        self.views[who] = view
        for name in operation.rest[0] if operation.path == () else operation.path[:1]:
            field = getattr(self.clients[who], name)
            if not hasattr(field, "save"):
                await self.clients[who].aupdate(**{name: field})
            else:
                await field.save()
            put(self.oracle, (name,), walk(view.model_copy(deep=True), (name,)))

    async def locked(self, who, operations):
        """Change a client in a lock block that saves what was changed."""
        entry = self._truth()
        self.views[who] = entry
        with suppress(Refused):
            async with self.clients[who].lock(save_at_end=True) as model:
                view = entry
                for operation in operations:
                    result, error = await outcome(_now(operation, model))
                    view, _, refused = attempt(view, lambda v, o=operation, r=result: o.run_plain(v, r))
                    assert family(error) == family(refused), (operation, error, refused)
                self.views[who] = view
        self.oracle = view.model_copy(deep=True)
        await self._forget_locks()

    async def _forget_locks(self):
        # What remains of a lock is its fencing counter, until it expires.
        document = self.clients[0].key.encode()
        for key in await self.redis.keys():
            if key != document:
                await self.redis.delete(key)

    async def abandoned(self, who, operations):
        """Leave a block by an error of its own: nothing of it counts."""
        self.views[who] = self._truth()
        with suppress(Refused):
            async with self.clients[who].pipeline() as model:
                for operation in operations:
                    await outcome(_now(operation, model))
                _raise(Refused())


def _raise(error):
    if error is not None:
        raise error


class Refused(Exception):
    """Stands for anything a program raises."""


async def _now(operation, model):
    return operation.run(model)


def _later(oracle, operation, call, before, after, result):
    if call:
        return operation.call_plain(oracle, result)
    return operation.run_later(oracle, before, after, result)


def _commit(oracle, done):
    for operation, call, before, after, result in done:
        if operation.deep:
            _find(oracle, operation)
        _later(oracle, operation, call, before, after, result)
        # Each operation is refused or not by itself, whatever those after it do.
        checked(oracle)


def _find(oracle, operation):
    try:
        walk(oracle, operation.path[:-1] if operation.kind.sets else operation.path)
    except (IndexError, KeyError, AttributeError) as error:
        raise PathNotFound(str(operation.path), operation.name) from error
