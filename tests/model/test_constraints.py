"""Constraints and validators hold for operations, too: what could not be loaded any more is not written."""

from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

import rapyer
from rapyer import AtomicRedisModel
from rapyer.errors import CorruptDocument

pytestmark = pytest.mark.usefixtures("bound")

NOON = datetime(2024, 1, 1, 12, tzinfo=timezone.utc)


def few(values: Any) -> Any:
    """Refuse more than ten in all."""
    if sum(values) > 10:
        msg = "too many"
        raise ValueError(msg)
    return values


class Line(AtomicRedisModel):
    """Part of an order, without a rule of its own."""

    count: int = 1
    tags: list[str] = []
    bounded: Annotated[int, Field(le=3)] = 1


class Plain(BaseModel):
    """A plain model with a rule."""

    size: PositiveInt = 1
    marks: Annotated[list[int], Field(max_length=1)] = [1]


def at_most_two_items(lines: list[Line]) -> list[Line]:
    """Refuse lines with more than two items in all."""
    if sum(line.count for line in lines) > 2:
        msg = "too many"
        raise ValueError(msg)
    return lines


class Bounded(AtomicRedisModel):
    """A rule of each kind."""

    number: Annotated[int, Field(le=10)] = 9
    double: Annotated[float, Field(lt=1.0)] = 0.5
    text: Annotated[str, Field(max_length=3)] = "abc"
    moment: Annotated[datetime, Field(le=NOON)] = NOON
    items: Annotated[list[int], Field(min_length=2, max_length=2)] = [1, 2]
    table: Annotated[dict[str, int], Field(min_length=1, max_length=1)] = {"a": 1}
    members: Annotated[set[int], Field(min_length=1, max_length=1)] = {1}
    sums: Annotated[list[int], AfterValidator(few)] = [9]
    positive: list[PositiveInt] = [1]
    rows: list[Annotated[list[int], Field(max_length=1)]] = [[1]]
    lines: Annotated[list[Line], AfterValidator(at_most_two_items)] = [Line(), Line()]
    line: Line = Line()
    plain: Plain = Plain()
    free: int = 0
    free_items: list[int] = []


REFUSED = {
    "increase": lambda m: m.number.increase(5),
    "increase of a double": lambda m: m.double.increase(0.5),
    "aappend to text": lambda m: m.text.aappend("d"),
    "aadd": lambda m: m.moment.aadd(timedelta(seconds=1)),
    "aappend": lambda m: m.items.aappend(3),
    "aextend": lambda m: m.items.aextend([3, 4]),
    "ainsert": lambda m: m.items.ainsert(0, 3),
    "apop": lambda m: m.items.apop(),
    "aremove": lambda m: m.items.aremove(1),
    "aclear": lambda m: m.items.aclear(),
    "aset_item": lambda m: m.sums.aset_item(0, 11),
    "aset_item of a dict": lambda m: m.table.aset_item("b", 1),
    "aupdate of a dict": lambda m: m.table.aupdate({"b": 1}),
    "adel_item": lambda m: m.table.adel_item("a"),
    "apop of a dict": lambda m: m.table.apop("a"),
    "apopitem": lambda m: m.table.apopitem(),
    "aadd of a set": lambda m: m.members.aadd(2),
    "adiscard": lambda m: m.members.adiscard(1),
    "apop of a set": lambda m: m.members.apop(),
    "an element": lambda m: m.positive[0].increase(-1),
    "an element of a list with a validator": lambda m: m.sums[0].increase(2),
    "a list in a list": lambda m: m.rows[0].aappend(2),
    "a nested model's field": lambda m: m.line.bounded.increase(5),
    "a plain model's field": lambda m: m.plain.size.increase(-1),
    "a plain model's list": lambda m: m.plain.marks.aappend(1),
    "a field of a model in a list with a validator": lambda m: m.lines[1].count.increase(),
    "an update of a model in a list with a validator": lambda m: m.lines[1].aupdate(count=5),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_operations_are_refused(name, stored):
    """An awaited operation whose outcome does not fit is a ValidationError; nothing changes, here or there."""
    model = await Bounded().save()
    before = await stored(model.key)
    with pytest.raises(ValidationError):
        await REFUSED[name](model)
    assert await stored(model.key) == before
    assert model == await Bounded.get(model.key) == Bounded()


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("one_for_all", [False, True])
async def test_blocks_are_refused(name, one_for_all, stored):
    """A block that leaves a field in a state that does not fit writes nothing, and the model is as it was."""
    model = await Bounded().save()
    before = await stored(model.key)

    async def block():
        async with rapyer.pipeline() if one_for_all else model.pipeline():
            model.free += 1
            await REFUSED[name](model)

    with pytest.raises(ValidationError):
        await block()
    assert await stored(model.key) == before
    assert model == Bounded()


async def test_only_the_outcome_of_a_block_counts(stored):
    """What does not fit in between may be."""
    model = await Bounded().save()
    async with model.pipeline():
        model.items.clear()
        model.items.extend([3, 4])
        model.table["b"] = 2
        del model.table["a"]
    assert (await stored(model.key))["items"] == [3, 4]
    assert await Bounded.get(model.key) == model


@pytest.mark.parametrize("mutate", [lambda m: m.items.append(3), lambda m: m.plain.marks.append(3)])
async def test_local_changes_are_refused_when_they_are_saved(mutate, stored):
    """Ordinary mutators outside of blocks do what Python does; saving what does not fit is refused."""
    model = await Bounded().save()
    before = await stored(model.key)
    mutate(model)
    with pytest.raises(ValidationError):
        await model.save()
    with pytest.raises(ValidationError):
        async with model.lock(save_at_end=True):
            mutate(model)
    assert await stored(model.key) == before
    async with model.lock():
        assert model == Bounded()


async def test_what_fits_is_done(stored):
    """Operations within the rules work, on restricted fields and beside them."""
    model = await Bounded().save()
    await model.number.increase()
    await model.items.aset_item(0, 7)
    await model.sums[0].increase()
    await model.lines[0].tags.aappend("x")
    await model.lines[0].count.increase(0)
    await model.free.increase(2**40)
    await model.free_items.aextend(range(100))
    await model.plain.size.increase(5)
    assert await Bounded.get(model.key) == model
    assert (model.number, model.items, model.sums, model.plain.size) == (10, [7, 2], [10], 6)


async def test_model_validators_judge_operations(stored):
    """An operation on one field is held to the validators of the whole model, and of models around it."""

    class Range(AtomicRedisModel):
        low: int = 1
        high: int = 2
        notes: list[str] = []

        @model_validator(mode="after")
        def ordered(self) -> "Range":
            if self.low > self.high:
                msg = "upside down"
                raise ValueError(msg)
            return self

    class Outer(AtomicRedisModel):
        part: Range = Range()
        limit: int = 10

        @model_validator(mode="after")
        def limited(self) -> "Outer":
            if self.part.high > self.limit:
                msg = "beyond the limit"
                raise ValueError(msg)
            return self

    model = await Outer().save()
    before = await stored(model.key)
    for change in (model.part.low.increase(2), model.part.high.increase(9), model.limit.increase(-9)):
        with pytest.raises(ValidationError):
            await change
    with pytest.raises(ValidationError):
        await model.part.aupdate(high=11)
    with pytest.raises(ValidationError):
        async with model.pipeline():
            model.part.high += 9
    assert await stored(model.key) == before
    await model.part.high.increase(8)
    await model.part.notes.aappend("x")
    assert await Outer.get(model.key) == model


async def test_text_options_of_the_model():
    """Limits that `model_config` sets for all text count as well."""

    class Short(AtomicRedisModel):
        model_config = ConfigDict(str_max_length=3)

        text: str = "abc"

    model = await Short().save()
    with pytest.raises(ValidationError):
        await model.text.aappend("d")
    assert await Short.get(model.key) == model


async def test_what_a_race_can_do(stored):
    """The local value is judged: two clients can leave the range together, which is told to the second."""
    one = await Bounded(number=8).save()
    other = await Bounded.get(one.key)
    await one.number.increase(2)
    with pytest.raises(CorruptDocument):
        await other.number.increase(2)
    assert (await stored(one.key))["number"] == 12


class Digit(AtomicRedisModel):
    """A validator that changes what it is given."""

    digit: Annotated[int, AfterValidator(lambda value: value % 10)] = 8


async def test_validators_that_change_values(stored):
    """What is assigned is stored as they make it; what an operation makes is stored, and read as they make it."""
    one, two = await Digit().save(), await Digit().save()
    assert await one.digit.increase(5) == one.digit == 3
    async with two.pipeline():
        two.digit += 5
        assert two.digit == 3
    for digit in (one, two):
        assert (await stored(digit.key), digit.digit, await Digit.get(digit.key)) == ({"digit": 13}, 3, digit)
        await digit.digit.increase()
        assert (await stored(digit.key), digit.digit) == ({"digit": 14}, 4)
        await digit.aupdate(digit=25)
        assert await stored(digit.key) == {"digit": 5}
