"""What is in a model that is put into a document fits its own class: else nobody could load the document again."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, ValidationError, field_serializer, field_validator

from rapyer import AtomicRedisModel
from rapyer.errors import KeyNotFound

pytestmark = pytest.mark.usefixtures("bound")


class Short(AtomicRedisModel):
    """Its list may change in place beyond what it may be."""

    tags: Annotated[list[int], Field(max_length=2)] = []


class Unsaid(AtomicRedisModel):
    """Its default is none of its values, which Pydantic lets pass."""

    n: int = None  # type: ignore[assignment]


class Outside(AtomicRedisModel):
    """The same, one level deeper, and in a plain model."""

    class Plain(BaseModel):
        """No document."""

        n: int = None  # type: ignore[assignment]

    part: Plain = Field(default_factory=Plain)


class Whole(AtomicRedisModel):
    """Places for them."""

    one: Any = None
    short: Short | None = None
    shorts: list[Short] = []
    named: dict[str, Short] = {}
    unsaid: Unsaid | None = None
    unsaids: list[Unsaid] = []
    unsaid_named: dict[str, Unsaid] = {}
    outside: Outside | None = None
    outsides: list[Outside] = []
    outside_named: dict[str, Outside] = {}


def _short() -> Short:
    short = Short(tags=[1, 2])
    short.tags.append(3)
    return short


PARTS = {
    "short": (_short, "short", "shorts", "named"),
    "unsaid": (Unsaid, "unsaid", "unsaids", "unsaid_named"),
    "outside": (Outside, "outside", "outsides", "outside_named"),
}


async def _in_a_block(whole: Whole, name: str, value: Any) -> None:
    async with whole.pipeline():
        setattr(whole, name, value)


async def _under_a_lock(whole: Whole, name: str, value: Any) -> None:
    async with whole.lock(save_at_end=True):
        setattr(whole, name, value)


@pytest.mark.parametrize("kind", PARTS)
async def test_it_is_refused_wherever_it_goes(kind: str) -> None:
    """By each way into a document it is a `ValidationError`, and nothing is written."""
    make, one, many, named = PARTS[kind]
    whole = await Whole().save()
    items, table = getattr(whole, many), getattr(whole, named)
    ways = [
        items.aappend(make()),
        items.aextend([make()]),
        items.ainsert(0, make()),
        table.aset_item("a", make()),
        table.aupdate(a=make()),
        whole.aupdate(**{one: make()}),
        whole.aupdate(**{many: [make()]}),
        _in_a_block(whole, one, make()),
        _in_a_block(whole, many, [make()]),
        _under_a_lock(whole, one, make()),
        _under_a_lock(whole, named, {"a": make()}),
    ]
    for way in ways:
        with pytest.raises(ValidationError):
            await way
        await whole.load()
    assert whole == Whole()


@pytest.mark.parametrize("kind", PARTS)
async def test_saving_it(kind: str) -> None:
    """So it is for a whole document, a nested model, a list, and an element that is set."""
    make, one, many, _ = PARTS[kind]
    whole = Whole(**{one: make()})
    with pytest.raises(ValidationError):
        await whole.save()
    with pytest.raises(KeyNotFound):
        await whole.load()
    good = {"short": Short(), "unsaid": Unsaid(n=1), "outside": Outside(part=Outside.Plain(n=1))}[kind]
    whole = await Whole(**{many: [good]}).save()
    getattr(whole, many)[0] = make()
    with pytest.raises(ValidationError):
        await getattr(whole, many).save()
    with pytest.raises(ValidationError):
        await getattr(whole, many)[0].save()
    await whole.load()
    with pytest.raises(ValidationError):
        await getattr(whole, many).aset_item(0, make())
    assert await Whole.get(whole.key) == whole == Whole(**{many: [good]})


async def test_a_default_that_is_no_value() -> None:
    """A document may have the default here and be saved once the field has a value."""
    unsaid = Unsaid()
    with pytest.raises(ValidationError):
        await unsaid.save()
    unsaid.n = 1
    await unsaid.save()
    assert (await Unsaid.get(unsaid.key)).n == 1


async def test_what_writes_itself_in_another_way() -> None:
    """Fields that a serializer of the model's own writes are judged by what their validators read."""

    class Odd(AtomicRedisModel):
        short: Short = Short()

        @field_serializer("short")
        def _as_text(self, short: Short) -> str:
            return ",".join(map(str, short.tags))

        @field_validator("short", mode="before")
        @classmethod
        def _of_text(cls, value: Any) -> Any:
            return Short(tags=list(map(int, filter(None, value.split(","))))) if isinstance(value, str) else value

    odd = await Odd().save()
    await odd.aupdate(short=Short(tags=[1, 2]))
    assert (await Odd.get(odd.key)).short.tags == [1, 2]
    with pytest.raises(ValidationError):
        await odd.aupdate(short=_short())
