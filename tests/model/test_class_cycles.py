# ruff: noqa: UP007, UP045 - as people write it
"""Plain models in documents whose classes have each other, and generic ones that have themselves."""

from typing import Annotated, Generic, Optional, Union

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypeVar

from rapyer import AtomicRedisModel

T = TypeVar("T")


class Letter(BaseModel):
    """A plain model that has documents."""

    n: int = 0
    answers: "list[Envelope]" = []
    first: Optional["Envelope"] = None


class Envelope(AtomicRedisModel):
    """The document, which has it."""

    n: int = 0
    letter: Optional[Letter] = None


class Branch(BaseModel, Generic[T]):
    """Has parts of its own kind, in every way."""

    value: Optional[T] = None
    listed: "list[Branch[T]]" = []
    named: "dict[str, Annotated[Branch[T], Field(title='t')]]" = {}
    one: "Optional[Branch[T]]" = None
    either: "Union[Branch[T], int, None]" = None


class Wood(AtomicRedisModel):
    """What it is in."""

    branch: Branch[int] = Branch[int]()
    other: Branch[str] = Branch[str]()


def _local():
    class Scroll(BaseModel):
        n: int = 0
        answers: "list[Tube]" = []
        first: Optional["Tube"] = None

    class Tube(AtomicRedisModel):
        n: int = 0
        letter: Optional[Scroll] = None

    Scroll.model_rebuild()
    Tube.model_rebuild()
    return Scroll, Tube


@pytest.mark.parametrize("classes", [lambda: (Letter, Envelope), _local])
async def test_a_plain_model_and_a_document_that_have_each_other(bound, stored, classes):
    """Each has its place, and what is done to either is done there."""
    letter, envelope = classes()
    top = await envelope(letter=letter(answers=[envelope(letter=letter(n=1))], first=envelope(n=2))).save()
    deep = top.letter.answers[0].letter
    assert (deep.n.json_path, top.letter.first.n.json_path) == ("$.letter.answers[0].letter.n", "$.letter.first.n")
    await deep.n.increase(4)
    await top.letter.first.aupdate(n=7)
    async with top.pipeline():
        top.letter.answers.append(envelope(letter=letter(n=8)))
        top.letter.answers[1].letter.n += 1
        top.letter.first.n += 1
    assert (await stored(top.key))["letter"]["first"]["n"] == 8
    found = await envelope.get(top.key)
    assert [answer.letter.n for answer in found.letter.answers] == [5, 9]
    assert found == top


async def test_a_generic_model_of_its_own_kind(bound):
    """All parts have their places, however deep."""
    leaf = Branch[int](value=3)
    wood = await Wood(
        branch=Branch[int](listed=[Branch[int](one=leaf)], named={"a": leaf}, either=leaf),
        other={"listed": [{"listed": [{"value": "x"}]}]},
    ).save()
    assert wood.branch.listed[0].one.value.json_path == "$.branch.listed[0].one.value"
    await wood.branch.listed[0].one.value.increase()
    await wood.other.listed[0].listed[0].value.aappend("y")
    async with wood.pipeline():
        wood.branch.named["a"].value += 2
        wood.branch.either.value += 3
        wood.branch.listed[0].listed.append(leaf)
        wood.branch.listed[0].listed[0].value += 4
    found = await Wood.get(wood.key)
    assert found == wood
    assert (found.branch.listed[0].one.value, found.branch.named["a"].value, found.branch.either.value) == (4, 5, 6)
    assert (found.branch.listed[0].listed[0].value, found.other.listed[0].listed[0].value) == (7, "xy")
    wood.branch.listed.append(Branch[int](value=9, listed=[leaf]))
    await wood.save()
    assert await Wood.get(wood.key) == wood
