"""Values that are equal in Python count as equal in Redis; what the stored text cannot say is refused."""

from datetime import datetime, time, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from rapyer import AtomicRedisModel
from rapyer.errors import UsageError

pytestmark = pytest.mark.usefixtures("bound")

NOON = datetime(2024, 1, 1, 12, tzinfo=timezone.utc)
SAME = NOON.astimezone(timezone(timedelta(hours=1)))
ODD = timezone(timedelta(hours=1, seconds=30))


class Sets(AtomicRedisModel):
    """Members that can be written in more than one way."""

    moments: set[datetime] = {SAME}
    numbers: set[Decimal] = {Decimal("1.0")}
    doubles: set[float] = {0.0}
    pairs: set[tuple[datetime, Decimal]] = set()
    frozen: frozenset[datetime] = frozenset()
    rows: list[set[Decimal]] = [set()]
    listed: list[datetime] = [NOON]
    prices: list[Decimal] = [Decimal("1.0")]


ADDED = {
    "moments": (SAME, NOON),
    "frozen": (SAME, NOON),
    "numbers": (Decimal("1.00"), Decimal(1), Decimal("100E-2")),
    "doubles": (-0.0, 0.0),
    "pairs": ((SAME, Decimal("1.0")), (NOON, Decimal(1))),
}


@pytest.mark.parametrize("name", ADDED)
@pytest.mark.parametrize("block", [False, True])
async def test_equal_members_are_one(name, block, stored):
    """A set has an equal member once, whoever adds it, and it can be removed in any of its forms."""
    model = await Sets().save()
    other = await Sets.get(model.key)
    if block:
        async with model.pipeline():
            for value in ADDED[name]:
                getattr(model, name).add(value)
    else:
        await getattr(model, name).aadd(*ADDED[name])
    await getattr(other, name).aadd(ADDED[name][0])
    await model.load()
    assert len((await stored(model.key))[name]) == len(getattr(model, name)) == 1
    assert all(value in getattr(model, name) for value in ADDED[name])
    await getattr(model, name).aremove(ADDED[name][0])
    assert (await stored(model.key))[name] == []


async def test_members_of_defaults_and_inner_sets(stored):
    """Defaults, assigned sets and sets in lists are written in the same form."""
    model = Sets(rows=[{Decimal("2.50")}])
    assert model.moments == {NOON}
    await model.save()
    found = await stored(model.key)
    assert found["moments"] == ["2024-01-01T12:00:00Z"]
    assert (found["numbers"], found["rows"]) == (["1"], [["2.5"]])
    await model.rows[0].aadd(Decimal("2.500"))
    await model.aupdate(numbers={Decimal("0E+3"), Decimal("-0.0"), Decimal(120), Decimal("1" * 40 + ".50")})
    assert sorted((await stored(model.key))["numbers"]) == ["0", "1.2E+2", "1" * 40 + ".5"]
    assert await Sets.get(model.key) == model


@pytest.mark.parametrize("block", [False, True])
async def test_remove_finds_equal_elements_of_lists(block, stored):
    """`remove` takes an equal element out of a list, whose elements keep their form, in Redis as here."""
    model = await Sets(listed=[SAME, NOON]).save()
    assert (await stored(model.key))["listed"] == ["2024-01-01T13:00:00+01:00", "2024-01-01T12:00:00Z"]
    if block:
        async with model.pipeline():
            model.listed.remove(NOON)
            model.prices.remove(Decimal(1))
    else:
        await model.listed.aremove(NOON)
        await model.prices.aremove(Decimal(1))
    assert (await stored(model.key))["listed"] == ["2024-01-01T12:00:00Z"]
    assert (await stored(model.key))["prices"] == []


class Moments(AtomicRedisModel):
    """Moments everywhere."""

    at: datetime = NOON
    daily: time = time(12, tzinfo=timezone.utc)
    many: list[datetime] = []
    table: dict[str, datetime | None] = {}
    members: set[datetime] = set()


@pytest.mark.parametrize(
    "value",
    [
        NOON.replace(tzinfo=ODD),
        datetime(1850, 1, 1, tzinfo=ZoneInfo("Europe/Amsterdam")),
        NOON.replace(tzinfo=timezone(timedelta(hours=1, microseconds=5))),
    ],
)
async def test_offsets_with_seconds_are_refused(value, stored):
    """A UTC offset that the text cannot hold is refused, by name, and nothing is stored."""
    with pytest.raises(ValidationError, match=r"at\n.*offset with seconds.*astimezone"):
        Moments(at=value)
    model = await Moments().save()
    before = await stored(model.key)
    for change in (
        model.aupdate(at=value),
        model.aupdate(daily=value.timetz().replace(tzinfo=ODD)),
        model.many.aappend(value),
        model.table.aset_item("x", value),
        model.members.aadd(value),
    ):
        with pytest.raises(ValidationError, match="offset with seconds"):
            await change
    with pytest.raises(ValidationError, match="offset with seconds"):
        model.at = value
    assert await stored(model.key) == before
    assert await Moments.get(model.key) == model


def test_defaults_with_such_offsets_are_refused():
    """A default that could not be stored is told when the class is defined."""
    with pytest.raises(UsageError, match=r"the default of Odd\.at: a UTC offset with seconds"):

        class Odd(AtomicRedisModel):
            at: datetime = NOON.replace(tzinfo=ODD)


async def test_moving_keeps_the_offset():
    """What is stored is a moment with its offset: moving it across a change of clocks keeps the offset."""
    model = await Moments(at=datetime(2024, 3, 30, 12, tzinfo=ZoneInfo("Europe/Berlin"))).save()
    async with model.pipeline():
        model.at += timedelta(days=1)
    assert model.at.isoformat() == "2024-03-31T12:00:00+01:00"
    assert (await Moments.get(model.key)).at.isoformat() == "2024-03-31T12:00:00+01:00"
