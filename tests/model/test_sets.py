"""Sets: an array without duplicates, whose membership is decided on the server."""

import uuid
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from pydantic import Field, ValidationError

from rapyer import AtomicRedisModel
from rapyer.errors import KeyNotFound, PathNotFound, UsageError, WrongType
from rapyer.types import RedisDict, RedisList, RedisSet

pytestmark = pytest.mark.usefixtures("bound")


class Colour(Enum):
    """Values that are no JSON by themselves."""

    RED = "red"
    BLUE = "blue"


class Inner(AtomicRedisModel):
    """A nested model with a set."""

    seen: set[int] = set()


class Basket(AtomicRedisModel):
    """Sets of each sort, at each sort of place."""

    numbers: set[int] = set()
    words: set[str] = set()
    doubles: set[float] = set()
    frozen: frozenset[int] = frozenset()
    maybe: set[int] | None = None
    anything: set = set()
    named: RedisSet[int] = set()
    groups: set[frozenset[int]] = set()
    table: dict[str, set[float]] = {}
    rows: list[set[int]] = []
    inner: Inner = Inner()


MOMENT = datetime(2024, 5, 6, 7, 8, 9, 10, timezone(timedelta(hours=2)))
ID = uuid.UUID(int=7)

#: annotation of the elements, three different ones
ELEMENTS = [
    pytest.param(int, [1, -(2**63), 2**63 - 1], id="int"),
    pytest.param(int, [2**53, 2**53 + 1, 2**53 + 2], id="int-beyond-doubles"),
    pytest.param(float, [0.1, 1.7976931348623157e308, 5e-324], id="float"),
    pytest.param(float, [1.0, 1e22, -2.5], id="float-whole"),
    pytest.param(str, ["", "both \"' \\ quotes", "ünï\x00\U0001f600"], id="str"),
    pytest.param(bytes, [b"", b"\x00\xff", b"abc"], id="bytes"),
    pytest.param(bool, [True, False], id="bool"),
    pytest.param(datetime, [MOMENT, MOMENT + timedelta(microseconds=1), datetime(1, 1, 1)], id="datetime"),  # noqa: DTZ001
    pytest.param(date, [date(2024, 2, 29), date(1, 1, 1), date(9999, 12, 31)], id="date"),
    pytest.param(uuid.UUID, [ID, uuid.UUID(int=8), uuid.UUID(int=2**128 - 1)], id="uuid"),
    pytest.param(Decimal, [Decimal("0.10"), Decimal("1e50"), Decimal(-3)], id="decimal"),
    pytest.param(Colour, [Colour.RED, Colour.BLUE], id="enum"),
    pytest.param(tuple[int, str], [(1, "a"), (1, "b"), (2, "a")], id="tuple"),
    pytest.param(frozenset[int], [frozenset(), frozenset({1}), frozenset({2, 3})], id="frozenset"),
]


async def other(basket):
    """Give a second client's instance of the same document."""
    return await Basket.get(basket.key)


def members(array):
    """Return a stored array as a set, after checking that nothing is in it twice."""
    assert len(set(array)) == len(array)
    return set(array)


# -- conversion and storage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["numbers", "frozen", "anything", "named"])
async def test_becomes_a_redis_set(name):
    """Any annotation of a set gives a RedisSet, which is a set with a place."""
    basket = Basket(**{name: {1, 2}})
    value = getattr(basket, name)
    assert isinstance(value, RedisSet)
    assert isinstance(value, set)
    assert value == {1, 2}
    assert {1, 2} == value
    assert value.field_path == f".{name}"
    assert value.json_path == f"$.{name}"
    assert value.key == basket.key


async def test_clone_and_repr_are_plain():
    """A clone is a plain set without a place, and it looks like one."""
    value = Basket(numbers={1}).numbers
    assert type(value.clone()) is set
    assert type(value.copy()) is set
    assert repr(value) == "{1}"
    value.clone().add(2)
    assert value == {1}


async def test_set_algebra_gives_plain_sets():
    """Operators that make a new set leave this one alone, and what they give has no place."""
    basket = Basket(numbers={1, 2})
    for result in (basket.numbers | {3}, basket.numbers & {1}, basket.numbers - {1}, basket.numbers ^ {1}):
        with pytest.raises((UsageError, AttributeError)):
            _ = result.key
    assert basket.numbers == {1, 2}


async def test_optional():
    """None or a set; assigning one gives a RedisSet."""
    basket = Basket()
    assert basket.maybe is None
    basket.maybe = {1}
    assert isinstance(basket.maybe, RedisSet)
    await basket.save()
    assert (await other(basket)).maybe == {1}


async def test_stored_as_an_array(stored):
    """The document holds a JSON array, in no order, nothing twice."""
    basket = await Basket(numbers=[3, 1, 3], words={"b", "a"}).save()
    assert members(await stored(basket.key, "$.numbers")) == {1, 3}
    assert members(await stored(basket.key, "$.words")) == {"a", "b"}


async def test_duplicates_another_program_wrote(write):
    """An array with duplicates is read as the set it means."""
    basket = await Basket().save()
    await write(basket.key, "$.numbers", [1, 1, 2])
    assert (await basket.load()).numbers == {1, 2}


async def test_validation():
    """Elements are validated wherever they come in; what does not fit changes nothing."""
    basket = await Basket(numbers={1}).save()
    for attempt in (basket.numbers.add, lambda value: basket.numbers.update([2, value])):
        with pytest.raises(ValidationError):
            attempt("x")
    with pytest.raises(ValidationError):
        await basket.numbers.aadd(2, "x")
    with pytest.raises(ValidationError):
        await basket.numbers.aadd(2**63)
    assert basket.numbers == {1}
    assert (await other(basket)).numbers == {1}


@pytest.mark.parametrize(("kind", "values"), ELEMENTS)
async def test_elements(kind, values, client):
    """Elements of any hashable type come back as they were and are found again on the server."""

    class Holder(AtomicRedisModel):
        items: set[kind] = set()

        class Meta:
            redis = client

    holder = await Holder(items=values[:1]).save()
    await holder.items.aadd(*values)
    assert holder.items == set(values)
    again = await Holder.get(holder.key)
    assert again.items == set(values)
    assert {type(value) for value in again.items} == {type(value) for value in values}
    for value in values:
        await again.items.aadd(value)
    assert len(again.items) == len(values)
    assert await client.execute_command("JSON.ARRLEN", holder.key, "$.items") == [len(values)]
    await again.items.aremove(values[0])
    await again.items.adiscard(values[0])
    assert again.items == set(values[1:])
    popped = await again.items.apop()
    assert popped in values[1:]
    async with holder.pipeline():
        assert holder.items == set(values[1:]) - {popped}
        holder.items |= set(values)
        holder.items &= set(values[1:])
    assert holder.items == set(values[1:])
    assert (await Holder.get(holder.key)).items == set(values[1:])


async def test_whole_floats_are_one_element():
    """1 and 1.0 are the same float, whatever the text they were written with."""
    basket = await Basket(doubles={1.0}).save()
    await basket.doubles.aadd(1)
    assert basket.doubles == {1.0}
    await basket.doubles.aremove(1)
    assert basket.doubles == set()


async def test_integers_that_a_double_would_merge():
    """Neighbours beyond 2^53 stay two elements."""
    basket = await Basket(numbers={2**60}).save()
    await basket.numbers.aadd(2**60 + 1)
    await basket.numbers.adiscard(2**60)
    assert basket.numbers == {2**60 + 1}


# -- operations at once ----------------------------------------------------------------------------------------------


async def test_aadd(stored):
    """Adds what is not there, one or many, and returns the set itself."""
    basket = await Basket(numbers={1}).save()
    assert await basket.numbers.aadd(1, 2, 3, 2) is basket.numbers
    assert basket.numbers == {1, 2, 3}
    assert members(await stored(basket.key, "$.numbers")) == {1, 2, 3}


async def test_aadd_nothing():
    """Adding nothing is allowed and tells the truth."""
    basket = await Basket(numbers={1}).save()
    await (await other(basket)).numbers.aadd(2)
    await basket.numbers.aadd()
    assert basket.numbers == {1, 2}


async def test_aadd_is_decided_on_the_server(stored):
    """What another client added is neither lost nor doubled."""
    basket = await Basket(numbers={1}).save()
    await (await other(basket)).numbers.aadd(2, 3)
    await basket.numbers.aadd(3, 4)
    assert basket.numbers == {1, 2, 3, 4}
    assert members(await stored(basket.key, "$.numbers")) == {1, 2, 3, 4}


async def test_adiscard_is_decided_on_the_server():
    """Removes what another client added; what is missing is no error."""
    basket = await Basket(numbers={1}).save()
    await (await other(basket)).numbers.aadd(2)
    assert await basket.numbers.adiscard(2, 9) is basket.numbers
    assert basket.numbers == {1}
    assert (await other(basket)).numbers == {1}


async def test_aremove_is_decided_on_the_server():
    """Removes what only Redis holds, and refuses what only the local set holds."""
    basket = await Basket(numbers={1}).save()
    second = await other(basket)
    await second.numbers.aadd(2)
    await second.numbers.aremove(1)
    await basket.numbers.aremove(2)
    assert basket.numbers == set()
    with pytest.raises(KeyError):
        await second.numbers.aremove(2)
    assert second.numbers == {2}


async def test_aremove_of_what_is_missing(client):
    """KeyError that names the place, and nothing is written."""
    basket = await Basket(numbers={1}).save()
    before = await client.dump(basket.key)
    with pytest.raises(KeyError, match="numbers"):
        await basket.numbers.aremove(5)
    assert await client.dump(basket.key) == before
    assert basket.numbers == {1}


async def test_apop_takes_each_element_once():
    """Every element comes out once, then None."""
    basket = await Basket(numbers={1, 2, 3}).save()
    await (await other(basket)).numbers.aadd(4)
    assert {await basket.numbers.apop() for _ in range(4)} == {1, 2, 3, 4}
    assert await basket.numbers.apop() is None
    assert basket.numbers == set()
    assert (await other(basket)).numbers == set()


async def test_aclear_removes_what_others_added(stored):
    """Nothing is left."""
    basket = await Basket(numbers={1}).save()
    await (await other(basket)).numbers.aadd(2)
    assert await basket.numbers.aclear() is basket.numbers
    assert basket.numbers == set()
    assert await stored(basket.key, "$.numbers") == []


async def test_save_and_load_alone(stored):
    """A set writes and reads its own place and nothing else."""
    basket = await Basket(numbers={1}, words={"a"}).save()
    second = await other(basket)
    await second.words.aadd("b")
    basket.numbers.add(2)
    await basket.numbers.save()
    assert await stored(basket.key, "$.words") in (["a", "b"], ["b", "a"])
    mine = basket.words
    assert await basket.words.load() is mine
    assert mine == {"a", "b"}


async def test_document_gone(client):
    """Nothing is recreated."""
    basket = await Basket(numbers={1}).save()
    await client.delete(basket.key)
    for call in (basket.numbers.aadd(2), basket.numbers.adiscard(1), basket.numbers.aremove(1), basket.numbers.apop()):
        with pytest.raises(KeyNotFound):
            await call
    assert not await client.exists(basket.key)
    assert basket.numbers == {1}


async def test_place_gone_or_something_else(client, write):
    """PathNotFound where nothing is, WrongType where no array is; the local set stays."""
    basket = await Basket(numbers={1}, words={"a"}).save()
    await client.execute_command("JSON.DEL", basket.key, "$.numbers")
    await write(basket.key, "$.words", {"a": 1})
    with pytest.raises(PathNotFound):
        await basket.numbers.aadd(2)
    with pytest.raises(WrongType):
        await basket.words.aadd("b")
    assert basket.numbers == {1}
    assert basket.words == {"a"}


async def test_a_set_of_its_own():
    """A set in no document is a set; only Redis is out of its reach."""
    loose = RedisSet([1])
    loose.add(2)
    assert loose == {1, 2}
    with pytest.raises(UsageError):
        await loose.aadd(3)


# -- pipelines -------------------------------------------------------------------------------------------------------


def _ior(values):
    values |= {3, 4}


def _iand(values):
    values &= {1, 3}


def _isub(values):
    values -= {1, 9}


def _ixor(values):
    values ^= {1, 9}


MUTATORS = [
    pytest.param(lambda values: values.add(3), id="add"),
    pytest.param(lambda values: values.add(1), id="add-present"),
    pytest.param(lambda values: values.discard(1), id="discard"),
    pytest.param(lambda values: values.discard(9), id="discard-missing"),
    pytest.param(lambda values: values.remove(2), id="remove"),
    pytest.param(lambda values: values.update([3, 4], {5}), id="update"),
    pytest.param(lambda values: values.update(), id="update-nothing"),
    pytest.param(lambda values: values.difference_update([1, 9], {2}), id="difference_update"),
    pytest.param(lambda values: values.intersection_update([1, 2, 9], {2}), id="intersection_update"),
    pytest.param(lambda values: values.symmetric_difference_update([1, 9]), id="symmetric_difference_update"),
    pytest.param(lambda values: values.pop(), id="pop"),
    pytest.param(lambda values: values.clear(), id="clear"),
    pytest.param(_ior, id="ior"),
    pytest.param(_iand, id="iand"),
    pytest.param(_isub, id="isub"),
    pytest.param(_ixor, id="ixor"),
]


@pytest.mark.parametrize("mutate", MUTATORS)
async def test_mutators_without_and_with_pipeline(mutate, stored):
    """Outside a pipeline they do what Python does, here only; inside, Redis does the same."""
    plain = {1, 2, 3}
    basket = await Basket(numbers=plain, inner=Inner(seen=plain)).save()
    local = basket.model_copy(deep=True)
    mutate(plain)
    mutate(local.numbers)
    assert len(local.numbers) == len(plain)
    assert members(await stored(basket.key, "$.numbers")) == {1, 2, 3}
    async with basket.pipeline():
        mutate(basket.numbers)
        mutate(basket.inner.seen)
        kept = basket.numbers.clone()
    assert basket.numbers == kept
    assert len(kept) == len(plain)
    assert members(await stored(basket.key, "$.numbers")) == kept
    assert members(await stored(basket.key, "$.inner.seen")) == basket.inner.seen


@pytest.mark.parametrize(
    ("mutate", "expected"),
    [
        pytest.param(lambda basket: basket.numbers.add(7), {1, 2, 7}, id="add"),
        pytest.param(lambda basket: basket.numbers.update([7, 8]), {1, 2, 7, 8}, id="update"),
        pytest.param(lambda basket: basket.numbers.discard(7), {1, 2}, id="discard"),
        pytest.param(lambda basket: basket.numbers.remove(1), {2, 7}, id="remove"),
        pytest.param(lambda basket: basket.numbers.difference_update({1, 7}), {2}, id="difference"),
        pytest.param(lambda basket: basket.numbers.intersection_update({1, 7}), {1, 7}, id="intersection"),
        pytest.param(lambda basket: basket.numbers.clear(), set(), id="clear"),
    ],
)
async def test_pipeline_is_decided_on_the_server(mutate, expected, stored):
    """What another client adds while the block runs takes part in the operation, and nothing is doubled."""
    basket = await Basket(numbers={1, 2}).save()
    second = await other(basket)
    async with basket.pipeline():
        mutate(basket)
        # Another instance: what it does is not part of this block.
        await second.numbers.aadd(7)
    assert members(await stored(basket.key, "$.numbers")) == expected
    assert basket.numbers == expected


async def test_in_place_operators_on_the_field(stored):
    """`model.field |= …` is the same operation, and the field stays the same object."""
    basket = await Basket(numbers={1, 2}).save()
    mine = basket.numbers
    async with basket.pipeline():
        await (await other(basket)).numbers.aadd(7)
        basket.numbers |= {3}
        basket.numbers -= {1}
        basket.inner.seen |= {5}
        assert basket.numbers == {2, 3}
    assert basket.numbers is mine
    assert mine == {2, 3, 7}
    assert members(await stored(basket.key, "$.numbers")) == {2, 3, 7}
    assert basket.inner.seen == {5}


async def test_many_operations_in_a_row():
    """Operations of one block see what those before them did."""
    basket = await Basket(numbers={1, 2, 3}).save()
    async with basket.pipeline():
        basket.numbers.add(4)
        basket.numbers.remove(4)
        basket.numbers &= {1, 2}
        basket.numbers ^= {2, 5}
        basket.numbers.discard(1)
        basket.numbers.clear()
        basket.numbers.update({8, 9})
        basket.numbers.remove(8)
    assert basket.numbers == {9}
    assert (await other(basket)).numbers == {9}


async def test_awaited_operations_join_the_block():
    """They are carried out in order with the rest; apop gives what the local set gives."""
    basket = await Basket(numbers={1}).save()
    async with basket.pipeline():
        await basket.numbers.aadd(2, 3)
        basket.numbers.add(4)
        await basket.numbers.adiscard(1)
        await basket.numbers.aremove(2)
        popped = await basket.numbers.apop()
        assert popped in {3, 4}
        assert (await other(basket)).numbers == {1}
    assert basket.numbers == {3, 4} - {popped}
    async with basket.pipeline():
        await basket.numbers.aclear()
        assert await basket.numbers.apop() is None
    assert (await other(basket)).numbers == set()


async def test_remove_that_another_client_made_impossible(client, stored):
    """KeyError on exit, nothing of the block is written, and the local values are as on entry."""
    basket = await Basket(numbers={1, 2}, words={"a"}).save()
    second = await other(basket)

    async def block():
        async with basket.pipeline():
            basket.words.add("b")
            basket.numbers.remove(1)
            basket.numbers.add(9)
            await second.numbers.aremove(1)

    with pytest.raises(KeyError):
        await block()
    assert await stored(basket.key, "$.numbers") == [2]
    assert await stored(basket.key, "$.words") == ["a"]
    assert basket.words == {"a"}
    assert basket.numbers == {1, 2}
    assert await client.keys() == [basket.key.encode()]


@pytest.mark.parametrize("mutate", [lambda values: values.remove(9), lambda values: (values.clear(), values.pop())])
async def test_refused_here(mutate, client):
    """What the local set refuses raises at once; nothing is sent and the block's changes are undone."""
    basket = await Basket(numbers={1, 2}).save()
    before = await client.dump(basket.key)

    async def block():
        async with basket.pipeline():
            basket.numbers.add(5)
            mutate(basket.numbers)

    with pytest.raises(KeyError):
        await block()
    assert basket.numbers == {1, 2}
    assert await client.dump(basket.key) == before


async def test_assignment_sets_the_whole(stored):
    """Plain assignment replaces whatever is there."""
    basket = await Basket(numbers={1}).save()
    second = await other(basket)
    async with basket.pipeline():
        await second.numbers.aadd(7)
        basket.numbers = {4}
        basket.maybe = {1}
    assert await stored(basket.key, "$.numbers") == [4]
    async with basket.pipeline():
        basket.maybe |= {2}
        basket.numbers.add(5)
    assert members(await stored(basket.key, "$.maybe")) == {1, 2}
    async with basket.pipeline():
        basket.maybe = None
    assert await stored(basket.key, "$.maybe") is None


# -- nested ----------------------------------------------------------------------------------------------------------


async def test_sets_in_dicts_and_lists(stored):
    """Sets as elements are Redis sets with their own place."""
    basket = await Basket(table={"a.b": {0.5}}, rows=[{1}, {2}]).save()
    assert isinstance(basket.table, RedisDict)
    assert isinstance(basket.rows, RedisList)
    assert isinstance(basket.table["a.b"], RedisSet)
    assert basket.rows[1].json_path == "$.rows[1]"
    await basket.table["a.b"].aadd(0.1, 1)
    await basket.rows[1].aadd(3)
    async with basket.pipeline():
        basket.table["a.b"] -= {0.5}
        basket.table["new"] = {2.5}
        basket.rows.insert(0, {9})
        basket.rows[2] |= {4}
    assert basket.table == {"a.b": {0.1, 1.0}, "new": {2.5}}
    assert basket.rows == [{9}, {1}, {2, 3, 4}]
    assert (await stored(basket.key, "$.rows"))[:2] == [[9], [1]]
    again = await other(basket)
    assert again.table == basket.table
    assert again.rows == basket.rows
    assert basket.table.clone() == {"a.b": {0.1, 1.0}, "new": {2.5}}
    assert type(basket.table.clone()["new"]) is set


async def test_sets_under_names_no_path_can_hold():
    """A set below a key with quotes and backslashes works like any other."""
    name = "a\\b\"c'd"
    basket = await Basket(table={name: {0.5}}).save()
    await basket.table[name].aadd(1.5)
    async with basket.pipeline():
        basket.table[name].remove(0.5)
        basket.table[name].add(2.5)
    assert basket.table == {name: {1.5, 2.5}}
    assert (await other(basket)).table == {name: {1.5, 2.5}}


async def test_in_a_nested_model():
    """A nested model's set belongs to its document."""
    basket = await Basket(inner=Inner(seen={1})).save()
    await basket.inner.seen.aadd(2)
    assert basket.inner.seen.json_path == "$.inner.seen"
    assert (await other(basket)).inner.seen == {1, 2}


async def test_a_list_removes_an_equal_set():
    """A list finds a set among its elements whatever the order it is stored in."""
    basket = await Basket(rows=[{1}, {2, 3, 40}]).save()
    await basket.rows.aremove({40, 3, 2})
    assert basket.rows == [{1}]


async def test_a_frozenset_inside_a_tuple_stays_frozen(bound):
    """A tuple is a plain value that has to stay hashable; what stands in it is not changed in place."""

    class Pair(AtomicRedisModel):
        one: tuple[frozenset[int], int] = (frozenset(), 0)
        many: set[tuple[frozenset[int], int]] = set()

    pair = await Pair(one=(frozenset({1}), 2), many={(frozenset({3}), 4)}).save()
    found = await Pair.get(pair.key)
    assert found.one == (frozenset({1}), 2)
    assert type(found.one[0]) is frozenset
    assert found.many == {(frozenset({3}), 4)}


class Loose(AtomicRedisModel):
    """Sets whose members' types nothing says, or not all."""

    bare: set = set()
    anything: set[Any] = set()
    frozen: frozenset = frozenset()
    maybe: set[Any | None] = set()
    pairs: set[tuple[int, Any]] = set()
    table: dict[str, set] = {"x": set()}
    local: set = Field(default_factory=set, exclude=True)


PAIR = (1, (2, 3))


@pytest.mark.parametrize("member", [PAIR, frozenset({1}), ("x",)])
@pytest.mark.parametrize("name", ["bare", "anything", "frozen", "maybe", "pairs"])
async def test_members_that_no_set_gets_back(name, member, client):
    """A member that JSON gives back as a list is refused where nothing says what it was: nobody could load it again."""
    loose = await Loose().save()
    member = (1, member) if name == "pairs" else member

    async def block():
        async with loose.pipeline():
            getattr(loose, name).add(member)

    async def lock():
        async with loose.lock(save_at_end=True):
            setattr(loose, name, {member})

    for use in (lambda: Loose(**{name: {member}}).save(), lambda: loose.aupdate(**{name: {member}}), block, lock):
        with pytest.raises(ValidationError, match="annotate"):
            await use()
    with pytest.raises(ValidationError, match="annotate"):
        await getattr(loose, name).aadd(member)
    assert await Loose.get(loose.key) == loose == Loose()


async def test_members_of_no_said_type():
    """What JSON gives back as a single value may be in such a set; and what is not stored may be anything."""
    loose = await Loose(bare={1, "a", None, 0.5}, pairs={(1, "x")}, table={"y": {2}}, local={PAIR}).save()
    await loose.anything.aadd("b", date(2024, 2, 29))
    assert loose.anything == {"b", "2024-02-29"}
    with pytest.raises(ValidationError, match="annotate"):
        await loose.table["y"].aadd(PAIR)
    assert loose.local == {PAIR}
    found = await Loose.get(loose.key)
    assert (found.bare, found.pairs, found.table) == ({1, "a", None, 0.5}, {(1, "x")}, {"y": {2}})
