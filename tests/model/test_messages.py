"""Errors name the key, the path and the remedy, never what is stored: it may be a secret, and messages end in logs."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

import rapyer
from rapyer import AtomicRedisModel
from rapyer.errors import CorruptDocument, RapyerError, ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("bound")

WORD = "hunter2"
NUMBER = 4071982365
#: A value of a wrong kind at each place.
WRONG = {
    "token": NUMBER,
    "count": WORD,
    "double": [WORD],
    "moment": WORD,
    "items": {WORD: WORD},
    "table": WORD,
    "members": NUMBER,
    "part": [WORD, NUMBER],
}
#: Values at the limits, and secrets that are looked for and not found.
RIGHT = {
    "token": WORD,
    "count": 2**63 - 1,
    "double": 1.7e308,
    "moment": "9999-12-31T23:59:59Z",
    "items": [NUMBER],
    "table": {"x": NUMBER},
    "members": [WORD],
    "part": {"word": WORD},
}


class Part(AtomicRedisModel):
    """A nested model."""

    word: str = ""


class Vault(AtomicRedisModel):
    """Fields of each kind."""

    token: str = ""
    count: int = 0
    double: float = 0.0
    moment: Any = None
    items: list[int] = []
    table: dict[str, int] = {}
    members: set[str] = set()
    part: Part = Part()


OPERATIONS = {
    "load": lambda v: v.load(),
    "get": lambda v: Vault.get(v.key),
    "rapyer.get": lambda v: rapyer.get(v.key),
    "afind": lambda _: Vault.afind(),
    "lock": lambda v: within(v.lock()),
    "lock_from_key": lambda v: within(Vault.lock_from_key(v.key)),
    "pipeline": lambda v: within(v.pipeline()),
    "increase": lambda v: v.count.increase(5),
    "increase of a double": lambda v: v.double.increase(1.7e308),
    "aappend to text": lambda v: v.token.aappend("x"),
    "text in a part": lambda v: v.part.word.aappend("x"),
    "load of a value": lambda v: v.count.load(),
    "load of a list": lambda v: v.items.load(),
    "load of a dict": lambda v: v.table.load(),
    "load of a set": lambda v: v.members.load(),
    "load of a part": lambda v: v.part.load(),
    "aappend": lambda v: v.items.aappend(1),
    "apop": lambda v: v.items.apop(9),
    "aremove": lambda v: v.items.aremove(1),
    "aset_item of a list": lambda v: v.items.aset_item(9, 1),
    "aset_item": lambda v: v.table.aset_item("y", 1),
    "adel_item": lambda v: v.table.adel_item("y"),
    "apopitem": lambda v: v.table.apopitem(),
    "aadd": lambda v: v.members.aadd("x"),
    "aremove of a set": lambda v: v.members.aremove("x"),
    "aupdate of a part": lambda v: v.part.aupdate(word="x"),
    "save of a part": lambda v: v.part.save(),
    "operators": lambda v: within(rapyer.pipeline(), lambda: multiply(v)),
    "division": lambda v: within(rapyer.pipeline(), lambda: divide(v)),
    "mutators": lambda v: within(rapyer.pipeline(), lambda: v.items.append(1)),
    "entries": lambda v: within(rapyer.pipeline(), lambda: v.table.update(y=1)),
}


def multiply(vault):
    """Leave the range."""
    vault.count *= 4


def divide(vault):
    """Divide what may be no number."""
    vault.count //= 3
    vault.double /= 3


async def within(block, body=lambda: None):
    """Run a block."""
    async with block:
        body()


def texts(error: BaseException) -> Iterator[str]:
    """Yield all that a log might show of an error, Pydantic's own account of what does not validate aside."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, ValidationError):
        yield from (str(found), repr(found), *map(str, found.args), *traceback.format_exception_only(found))
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


async def outcome(change) -> BaseException | None:
    """Return what an operation raises."""
    try:
        await change
    except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
        return error
    return None


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("state", ["wrong", "right", "without", "a hash", "a text", "gone"])
async def test_no_message_shows_what_is_stored(bound, write, name, state):
    """Whatever is wrong with a document, no refusal of any operation shows a value of it; it names the key."""
    vault = await Vault(items=[0], table={"x": 0}).save()
    if state in {"wrong", "right"}:
        await write(vault.key, "$", {"wrong": WRONG, "right": RIGHT}[state])
    elif state == "without":
        await write(vault.key, "$", {WORD: WORD})
    else:
        await bound.delete(vault.key)
    if state == "a hash":
        await bound.hset(vault.key, WORD, NUMBER)
    elif state == "a text":
        await bound.set(vault.key, WORD)
    error = await outcome(OPERATIONS[name](vault))
    if error is None:
        return
    shown = list(texts(error))
    hidden = [WORD, str(NUMBER), *(str(value) for value in (RIGHT["count"], RIGHT["double"]))]
    assert not [line for line in shown if any(value in line for value in hidden)]
    assert not isinstance(error, ServerError)
    assert vault.key in shown[0]
    if isinstance(error, RapyerError) and not isinstance(error, CorruptDocument):
        assert error.__cause__ is None or "RAPYER_" in str(error.__cause__)


async def test_most_of_these_are_refused(write):
    """The test above looks at something: what is of a wrong kind is refused to nearly all."""
    refused = []
    for name, change in OPERATIONS.items():
        vault = await Vault(items=[0], table={"x": 0}).save()
        await write(vault.key, "$", WRONG)
        if await outcome(change(vault)) is not None:
            refused.append(name)
        await Vault.delete_by_key(vault.key)
    assert set(OPERATIONS) - set(refused) <= {"save of a part", "lock", "lock_from_key"}


ODD: list[Any] = [None, 1.5, "1", b"1", ["1"]]
#: What takes text, a place in a list, or a number, and gets something else.
MISUSES = {
    "get": (Vault.get, str),
    "delete_by_key": (Vault.delete_by_key, str),
    "rapyer.get": (rapyer.get, str),
    "lock_from_key": (lambda odd: Vault.lock_from_key(odd).__aenter__(), str),
    "lock": (lambda odd: Vault().lock(odd).__aenter__(), str),
    "aset_item of a dict": (lambda odd: Vault().table.aset_item(odd, 1), str),
    "ainsert": (lambda odd: Vault().items.ainsert(odd, 1), int),
    "aset_item": (lambda odd: Vault().items.aset_item(odd, 1), int),
    "apop": (Vault().items.apop, int),
    "increase of an integer": (Vault().count.increase, int),
    "increase of a double": (Vault().double.increase, float),
}


@pytest.mark.parametrize("name", MISUSES)
async def test_arguments_of_a_wrong_kind(name: str) -> None:
    """An argument of a kind that is not taken is a `TypeError`, as everywhere in Python, and nothing is sent."""
    call, kind = MISUSES[name]
    for odd in ODD:
        if not isinstance(odd, kind):
            with pytest.raises(TypeError):
                await call(odd)


def test_places_in_a_list_of_a_wrong_kind() -> None:
    """So it is for what is done here, before it is saved."""
    items = Vault(items=[1, 2]).items
    misuses: list[Any] = [items.pop, items.__getitem__, items.__delitem__, items.__imul__]
    for misuse in (*misuses, lambda odd: items.insert(odd, 1), lambda odd: items.__setitem__(odd, 1)):
        for odd in ODD:
            with pytest.raises(TypeError):
                misuse(odd)
    assert items == [1, 2]
