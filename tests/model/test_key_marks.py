# ruff: noqa: UP045 - old spellings of annotations count, too
"""The mark of a key is on one field, and on all of its type."""

from typing import Annotated, Any, Generic, Literal, Optional, TypeVar

import pytest
from pydantic import Field

from rapyer import AtomicRedisModel
from rapyer.errors import UsageError
from rapyer.fields import Key, KeyAnnotation

T = TypeVar("T")


def test_two_keys_are_refused():
    """A second marked field is told when the class is defined, also where the first is inherited."""
    with pytest.raises(UsageError, match="Two has several keys, one, other"):

        class Two(AtomicRedisModel):
            one: Key[str] = "x"
            other: Annotated[str, KeyAnnotation()] = "y"

    class Base(AtomicRedisModel):
        one: Key[str] = "x"

    with pytest.raises(UsageError, match="Child has several keys"):

        class Child(Base):
            other: Key[str] = "y"


@pytest.mark.parametrize(
    "annotation", [Optional[Key[str]], Key[str] | None, list[Key[str]], dict[str, Key[int] | None]]
)
def test_hidden_marks_are_refused(annotation: Any):
    """A mark inside of a type would count for nothing: it is told where to put it."""
    with pytest.raises(UsageError, match=r"Hidden\.name: .* write Key"):

        class Hidden(AtomicRedisModel):
            name: annotation


def test_one_mark_on_the_whole_type_counts():
    """What works goes on working: either spelling, further marks, an overridden field, generics, literals."""

    class Base(AtomicRedisModel):
        name: Key[str]

    class Child(Base):
        name: Annotated[str, Field(max_length=5), KeyAnnotation]

    class Page(AtomicRedisModel, Generic[T]):
        name: Key[T]
        kind: Literal["a", "b"] = "a"

    assert Child(name="a").key == "Child:a"
    assert Page[int](name=3).pk == "3"
    assert Base(name="b").pk == "b"
