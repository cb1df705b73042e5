"""Validators of whole models: they judge a change as a whole, and what they change themselves is stored as well."""

from typing import Any, Literal

import pytest
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

import rapyer
from rapyer import AtomicRedisModel

pytestmark = pytest.mark.usefixtures("bound")


class Range(AtomicRedisModel):
    """Two fields that have to fit each other."""

    low: int = 1
    high: int = 2
    note: str = ""

    @model_validator(mode="after")
    def ordered(self) -> "Range":
        """Refuse what is upside down."""
        if self.low > self.high:
            msg = "upside down"
            raise ValueError(msg)
        return self


class Early(AtomicRedisModel):
    """The same, looked at before the fields are."""

    low: int = 1
    high: int = 2

    @model_validator(mode="before")
    @classmethod
    def ordered(cls, data: Any) -> Any:
        """Refuse what is upside down."""
        if int(data.get("low", 0)) > int(data.get("high", 9)):
            msg = "upside down"
            raise ValueError(msg)
        return data


class Account(AtomicRedisModel):
    """A field that is there with one kind only."""

    kind: Literal["card", "iban"] = "card"
    iban: str | None = None

    @model_validator(mode="after")
    def fits(self) -> "Account":
        """Refuse one without the other."""
        if (self.kind == "iban") != (self.iban is not None):
            msg = "the kind and the number belong together"
            raise ValueError(msg)
        return self


class Sum(AtomicRedisModel):
    """A field that is worked out of another, and one that is only looked at."""

    a: int = 0
    double: int = 0
    local: int = Field(default=0, exclude=True)
    seen: list[int] = []

    @model_validator(mode="after")
    def work_out(self) -> "Sum":
        """Keep the second field up to date."""
        if self.double != self.a * 2:
            assert all(isinstance(item, int) for item in self.seen)
            self.__dict__["double"] = self.a * 2
            self.__dict__["local"] = self.a * 3
        return self


@pytest.mark.parametrize("model", [Range, Early])
@pytest.mark.parametrize("names", [("low", "high"), ("high", "low")])
async def test_several_fields_are_judged_together(model, names, stored):
    """`update` and `aupdate` take values that fit each other, in either order, though one alone would not fit."""
    values = {"low": 10, "high": 20}
    here, there = model(), await model().save()
    here.update(**{name: values[name] for name in names})
    await there.aupdate(**{name: values[name] for name in names})
    assert (here.low, here.high, there.low, there.high) == (10, 20, 10, 20)
    assert (await stored(there.key))["low"] == 10
    assert await model.get(there.key) == there


@pytest.mark.parametrize("names", [("kind", "iban"), ("iban", "kind")])
async def test_order_of_dependent_fields(names):
    """The order of the arguments does not matter."""
    values = {"kind": "iban", "iban": "X"}
    account = await Account().save()
    await account.aupdate(**{name: values[name] for name in names})
    assert await Account.get(account.key) == account == Account(kind="iban", iban="X")


@pytest.mark.parametrize("values", [{"low": 5}, {"low": 5, "high": 4}, {"low": 0, "high": "x"}])
async def test_refused_as_a_whole(values, stored):
    """What the validators or one field refuse changes nothing, here or there, however it is set."""
    model = await Range().save()
    with pytest.raises(ValidationError):
        model.update(**values)
    with pytest.raises(ValidationError):
        await model.aupdate(**values)
    assert (model.low, model.high) == (1, 2)
    assert await stored(model.key) == {"low": 1, "high": 2, "note": ""}


async def test_a_refused_assignment_keeps_the_value(stored):
    """An assignment that a model's validator refuses leaves the field as it was, in a block as well."""
    model = await Range().save()
    with pytest.raises(ValidationError):
        model.low = 5
    assert model.low == 1
    async with model.pipeline():
        with pytest.raises(ValidationError):
            model.low = 5
        model.note = "x"
    assert await stored(model.key) == {"low": 1, "high": 2, "note": "x"}


WAYS = ["update", "aupdate", "block", "update in a block", "aupdate in a block", "one for all"]


@pytest.mark.parametrize("way", WAYS)
async def test_what_validators_change_is_stored(way, stored):
    """Fields that a validator changed with the given one are taken over and written; no others are."""
    model = await Sum(seen=[1]).save()
    other = await Sum.get(model.key)
    await other.seen.aappend(2)
    if way == "update":
        model.update(a=4)
        assert (model.double, model.local) == (8, 12)
        await model.aupdate(a=4)
    elif way == "aupdate":
        await model.aupdate(a=4)
        assert (model.double, model.local) == (8, 12)
    elif way == "one for all":
        async with rapyer.pipeline():
            model.update(a=4)
    else:
        async with model.pipeline():
            if way == "block":
                model.a = 4
            elif way == "update in a block":
                model.update(a=4)
            else:
                await model.aupdate(a=4)
            assert (model.double, model.local) == (8, 12)
    found = await stored(model.key)
    assert found == {"a": 4, "double": 8 if way != "update" else 0, "seen": [1, 2]}
    assert model.double == 8


async def test_a_validator_may_assign():
    """A validator that assigns a field of its model records nothing for a model that nobody has."""

    class Assigning(AtomicRedisModel):
        a: int = 0
        b: int = 0

        @model_validator(mode="after")
        def follow(self) -> "Assigning":
            if self.b != self.a + 1:
                self.b = self.a + 1
            return self

    model = await Assigning(a=1).save()
    await model.aupdate(a=5)
    assert (model.a, model.b) == (5, 6)
    async with rapyer.pipeline():
        model.update(a=7)
    assert await Assigning.get(model.key) == model
    assert model.b == 8
    assert len(await Assigning.afind_keys()) == 1


class Informed(AtomicRedisModel):
    """Validators of fields that look at the fields beside them."""

    low: int = 1
    high: int = 5
    tags: list[str] = []
    seen: Any = None

    @field_validator("high", "tags")
    @classmethod
    def fits(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what is too small for the field beside it."""
        assert info.field_name in {"high", "tags"}
        assert info.context is None
        assert set(info.data) <= set(cls.model_fields) - {info.field_name}
        if info.field_name == "high" and value < info.data["low"]:
            msg = "upside down"
            raise ValueError(msg)
        return value

    @field_validator("low", mode="wrap")
    @classmethod
    def wrapped(cls, value: Any, handler: Any, info: ValidationInfo) -> Any:
        """Look around."""
        assert info.data is not None
        return handler(value)


async def test_validators_that_look_at_other_fields():
    """Operations, blocks and reads of one field tell its validators of the others, as loading does."""
    model = await Informed(low=2).save()
    await model.high.increase()
    await model.low.increase()
    await model.tags.aappend("x")
    await model.aupdate(high=7)
    await model.high.load()
    await model.tags.load()
    async with model.pipeline():
        model.high += 1
        model.tags.append("y")
        model.seen = 1
    assert (model.low, model.high, model.tags) == (3, 8, ["x", "y"])
    assert await Informed.get(model.key) == model
    with pytest.raises(ValidationError, match="upside down"):
        await model.high.increase(-6)
    with pytest.raises(ValidationError, match="upside down"):
        model.high = 1


class OftenSeen(AtomicRedisModel):
    """Counts how often a field is validated, beside a validator of the whole."""

    low: int = 1
    names: list[str] = []

    @field_validator("low", "names", mode="before")
    @classmethod
    def seen(cls, value: Any, info: ValidationInfo) -> Any:
        """Count."""
        SEEN.append(info.field_name)
        return value

    @model_validator(mode="after")
    def whole(self) -> "OftenSeen":
        """Refuse nothing."""
        return self


SEEN: list[str] = []


async def test_each_value_is_validated_once():
    """Also the last of several: what can be gone through only once is not empty the second time."""
    model = await OftenSeen().save()
    SEEN.clear()
    await model.aupdate(low=2, names=(name for name in ("a", "b")))
    assert SEEN == ["low", "names"]
    assert (await OftenSeen.get(model.key)).names == ["a", "b"]
    model.update(low=3, names=iter(["c"]))
    assert (model.low, model.names) == (3, ["c"])
    model.update()
    await model.aupdate()
