"""One script for many operations: the same as one after the other, or nothing at all."""

from datetime import timedelta

import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from operations import Document, Oracle, anything, bodies, canonical
from world import LONG, SINGLE, World, attempt, outcome

from rapyer.errors import OutOfRange, PathNotFound, WrongType

pytestmark = pytest.mark.timeout(0 if LONG else 600)


@pytest.fixture(scope="module")
def world(stack):
    """A loop and a database for all examples of a test."""
    world = World(stack.url)
    yield world
    world.close()


class Trapped(Document):
    """A document with places that another client can make impossible to change in the middle of a block."""

    trap_list: list[int] = [1]
    trap_table: dict[str, int] = {"a": 1}
    trap_set: set[int] = {1}
    trap_number: int = 0
    trap_double: float = 1.0
    trap_text: str = ""


def _in_place(name, value):
    def spring(model):
        setattr(model, name, getattr(model, name).__iadd__(value))

    return spring


def _grow(model):
    model.trap_double *= 10.0


#: what the block does, what the other client writes to which path (nothing: removes it), how the block is refused
TRAPS = {
    "index": (lambda model: model.trap_list.pop(), "$.trap_list", "[]", IndexError),
    "set index": (lambda model: model.trap_list.__setitem__(0, 2), "$.trap_list", "[]", IndexError),
    "value": (lambda model: model.trap_list.remove(1), "$.trap_list", "[2]", ValueError),
    "entry": (lambda model: model.trap_table.pop("a"), "$.trap_table", "{}", KeyError),
    "element": (lambda model: model.trap_set.remove(1), "$.trap_set", "[]", KeyError),
    "range": (_in_place("trap_number", 1), "$.trap_number", "9223372036854775807", OutOfRange),
    "double": (_grow, "$.trap_double", "1e308", OutOfRange),
    "type": (_in_place("trap_text", "x"), "$.trap_text", "[]", WrongType),
    "path": (lambda model: model.trap_list.append(2), "$.trap_list", None, PathNotFound),
}


async def _possible(oracle, some):
    """Give the operations that the ones before them leave possible."""
    kept = []
    for operation in some:
        # An element that any may be is another one in each document.
        if operation.kind.chosen or operation.name.endswith("apop"):
            continue
        oracle, _, refused = attempt(oracle, operation.run)
        if refused is None:
            kept.append(operation)
    return kept, oracle


async def _text(world, document):
    text = await world.redis.execute_command("JSON.GET", document.key, "$")
    return canonical(Oracle.model_validate_json(text[1:-1]))


@SINGLE
@given(data=strategies.documents, some=st.lists(bodies, max_size=12), awaited=st.randoms(use_true_random=False))
def test_batch_equals_one_by_one(world, data, some, awaited):
    """The same operations one by one, awaited where that is possible, and in one block give the same document."""

    async def compare():
        await world.redis.flushdb()
        steps, wanted = await _possible(Oracle(**data), some)
        single, batch = await Document(**data).save(), await Document(**data).save()
        for step in steps:
            if step.kind.call is not None and awaited.random() < 0.5:
                await step.call(single)
            else:
                async with single.pipeline():
                    step.run(single)
        async with batch.pipeline():
            for step in steps:
                step.run(batch)
        assert await _text(world, single) == await _text(world, batch) == canonical(wanted)
        assert canonical(single) == canonical(batch) == canonical(wanted)

    world.run(compare())


@SINGLE
@given(
    data=strategies.documents,
    some=st.lists(anything, max_size=8),
    trap=st.sampled_from(sorted(TRAPS)),
    before=st.integers(0, 8),
)
def test_refused_batch_writes_nothing(world, data, some, trap, before):
    """A block of which Redis refuses one operation leaves the document byte for byte and the model as on entry."""
    spring, path, text, error = TRAPS[trap]

    async def spring_it():
        Trapped.Meta.redis = world.redis
        await world.redis.flushdb()
        document = await Trapped(**data).save()
        document.trap_number = 77
        entry = canonical(await Trapped.get(document.key))
        found = {}

        async def block():
            async with document.pipeline():
                for step in some[:before]:
                    await _do(document, step)
                spring(document)
                for step in some[before:]:
                    await _do(document, step)
                command = ("JSON.DEL", document.key, path) if text is None else ("JSON.SET", document.key, path, text)
                await world.redis.execute_command(*command)
                await world.redis.pexpire(document.key, 1_000_000)
                found.update(await _everything(world, document))

        _, refused = await outcome(block())
        assert type(refused) is error
        after = await _everything(world, document)
        assert found["ttl"] - 1000 <= after.pop("ttl") <= found.pop("ttl")
        assert after == found
        assert canonical(document) == entry

    world.run(spring_it())


#: what Python refuses at once, in plain form and awaited
REFUSED = {
    "apop": lambda document: document.ints.apop(5),
    "aremove": lambda document: document.ints.aremove(9),
    "aset_item": lambda document: document.ints.aset_item(5, 1),
    "adel_item": lambda document: document.counts.adel_item("b"),
    "set aremove": lambda document: document.numbers.aremove(9),
    "increase": lambda document: document.number.increase(strategies.HIGHEST),
    "increase double": lambda document: document.double.increase(1.7e308),
    "increase element": lambda document: document.ints[0].increase(strategies.HIGHEST),
    "aadd": lambda document: document.moment.aadd(timedelta(days=4_000_000)),
    "[]+= of a list": lambda document: _now_in_place(document.ints, 0),
    "[]+= of a dict": lambda document: _now_in_place(document.counts, "a"),
    "[]= of a list": lambda document: _now_set(document.ints, 0),
    "[]= of a dict": lambda document: _now_set(document.counts, "a"),
}


async def _now_in_place(container, place):
    container[place] += strategies.HIGHEST


async def _now_set(container, place):
    container[place] = strategies.HIGHEST + 1


@pytest.mark.parametrize("name", REFUSED)
def test_refused_here_and_caught(world, name):
    """What Python refuses in a block is not sent, when the body catches the error and goes on."""

    async def catch_it():
        await world.redis.flushdb()
        full = {"number": 1, "double": 1e308, "ints": [1], "counts": {"a": 1}, "numbers": {1}}
        document = await Document(**full).save()
        async with document.pipeline():
            document.text += "before"
            _, refused = await outcome(REFUSED[name](document))
            assert refused is not None
            document.text += " and after"
        wanted = canonical(Oracle(**full, text="before and after"))
        assert canonical(document) == await _text(world, document) == wanted

    world.run(catch_it())


async def _do(document, step):
    """Do one of the operations, which may be impossible here: then it is not done."""
    before = canonical(document)
    if step.kind.body is None:
        _, refused = await outcome(step.call(document))
    else:
        _, refused = await outcome(_now(step, document))
    assert refused is None or canonical(document) == before


async def _now(step, document):
    step.run(document)


async def _everything(world, document):
    """Give all that the server holds: the document's text and bytes, what else there is, and when it ends."""
    return {
        "text": await world.redis.execute_command("JSON.GET", document.key),
        "bytes": await world.redis.dump(document.key),
        "keys": await world.redis.keys(),
        "ttl": await world.redis.pttl(document.key),
    }
