"""Models that are moved between places of a document and plain values, which a block compares at its end."""

import operator
from collections import deque
from contextlib import nullcontext
from copy import deepcopy
from typing import Any

import pytest
from pydantic import BaseModel

import rapyer
from rapyer import AtomicRedisModel
from rapyer.errors import UsageError


class Coin(AtomicRedisModel):
    """A nested model."""

    n: int = 0
    marks: list[int] = []


class Token(BaseModel):
    """A plain one."""

    n: int = 0


class Purse(AtomicRedisModel):
    """Has places and plain values for them."""

    pair: tuple[Coin, int] = (Coin(), 0)
    first: deque[Coin] = deque([Coin(n=9)])
    anything: Any = [Coin(n=8)]
    one: Coin = Coin()
    coins: list[Coin] = []
    tokens: list[Token] = []
    pocket: deque[Coin] = deque()
    token_pocket: deque[Token] = deque()


async def _purse():
    return await Purse(coins=[Coin(n=1)], tokens=[Token(n=1)]).save()


async def _found(purse):
    return (await Purse.get(purse.key)).model_dump()


def _block(purse, *, together):
    return rapyer.pipeline() if together else purse.pipeline()


TOGETHER = pytest.mark.parametrize("together", [False, True])


@TOGETHER
async def test_models_in_defaults(bound, together):
    """A model in a plain value that is a default is a part of the document, and each document has one of its own."""
    purse = await _purse()
    async with _block(purse, together=together):
        purse.pair[0].n = 5
        purse.first[0].marks.append(6)
        if together:  # the other one reads it, and then it is what JSON has
            purse.anything[0].n = 7
    found = await Purse.get(purse.key)
    assert (found.pair, found.first) == ((Coin(n=5), 0), deque([Coin(n=9, marks=[6])]))
    assert found.anything == [{"n": 7 if together else 8, "marks": []}]
    assert Purse().pair == (Coin(), 0)


def _from_a_field(purse):
    coin = purse.one
    purse.pocket.append(coin)
    purse.one = Coin(n=3)
    return coin


def _from_a_list(purse):
    coin = purse.coins[0]
    purse.pocket.append(coin)
    purse.coins.clear()
    return coin


def _taken_out_first(purse):
    coin = purse.coins[0]
    purse.coins.remove(coin)
    purse.pocket.append(coin)
    return coin


def _one_of_a_plain_class(purse):
    token = purse.tokens[0]
    purse.token_pocket.append(token)
    purse.tokens[:] = []
    return token


def _assign(model):
    model.n = 7
    model.n = 8


def _add(model):
    model.n += 7
    model.n += 1


def _update(model):
    model.update(n=7)
    model.update(n=8)


def _append(model):
    model.marks.append(7)
    model.marks[0] += 1


def _set_slice(model):
    model.marks[:] = [7, 8]


@TOGETHER
@pytest.mark.parametrize(
    ("move", "change"),
    [
        *((move, change) for move in (_from_a_field, _from_a_list, _taken_out_first) for change in (_assign, _add)),
        *((_from_a_field, change) for change in (_update, _append, _set_slice)),
        (_one_of_a_plain_class, _assign),
    ],
)
async def test_moved_and_changed(bound, move, change, together):
    """A model that was moved into a plain value is changed there, in this block and in the next."""
    purse = await _purse()
    async with _block(purse, together=together):
        change(move(purse))
    assert await _found(purse) == purse.model_dump()
    assert len(purse.pocket) + len(purse.token_pocket) == 1
    async with _block(purse, together=together):
        (purse.pocket or purse.token_pocket)[0].n = 11
    assert (purse.pocket or purse.token_pocket)[0].n == 11
    assert await _found(purse) == purse.model_dump()


@TOGETHER
@pytest.mark.parametrize("copied", [False, True], ids=["original", "copy"])
async def test_deep_copies(bound, copied, together):
    """A deep copy, and what it was made of, have their models in plain values as parts, and not as documents."""
    original = Purse()
    copies = deepcopy([original, original.coins])
    copy = copies[0].model_copy(deep=True)
    assert original.key == copies[0].key == copy.key
    purse = await (copy if copied else original).save()
    async with _block(purse, together=together):
        purse.pair[0].n = 5
        purse.first[0].marks.append(6)
    found = await Purse.get(purse.key)
    assert (found.pair, found.first) == ((Coin(n=5), 0), deque([Coin(n=9, marks=[6])]))


class Card(AtomicRedisModel):
    """Has a dict."""

    limits: dict[str, int] = {"a": 1}


class Wallet(AtomicRedisModel):
    """Has a place and a plain value for them."""

    cards: list[Card] = [Card()]
    sleeve: deque[Card] = deque()


@TOGETHER
@pytest.mark.parametrize("change", [lambda table: table.update(b=2), lambda table: operator.ior(table, {"b": 2})])
async def test_moved_with_a_dict(bound, change, together):
    """The dict of a model that was moved takes several entries at once, too."""
    wallet = await Wallet().save()
    async with _block(wallet, together=together):
        card = wallet.cards[0]
        wallet.sleeve.append(card)
        wallet.cards.clear()
        change(card.limits)
    assert (await Wallet.get(wallet.key)).sleeve == deque([Card(limits={"a": 1, "b": 2})])


@TOGETHER
async def test_a_block_that_raises(bound, together):
    """What was moved is back in its place, and is changed there."""
    purse = await _purse()

    async def fail():
        async with _block(purse, together=together):
            _assign(_from_a_list(purse))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with _block(purse, together=together):
        purse.coins[0].n += 1
    assert (purse.coins, purse.pocket) == ([Coin(n=2)], deque())
    assert await _found(purse) == purse.model_dump()


@TOGETHER
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("change", [_assign, _add, _update, _append, _set_slice])
async def test_it_is_put_back_as_it_was(bound, change, nested, together):
    """What was changed where it was moved to is what it was on entry, too, when the block raises, or one inside."""
    purse = await _purse()
    before = purse.model_dump()

    async def fail():
        async with _block(purse, together=together):
            change(_from_a_list(purse))
            raise ZeroDivisionError

    async with _block(purse, together=together) if nested else nullcontext():
        with pytest.raises(ZeroDivisionError):
            await fail()
        assert purse.model_dump() == before
    assert purse.model_dump() == before == await _found(purse)


async def test_what_stands_nowhere(bound):
    """A model that left its place for none refuses changes; a plain one that was popped is nobody's."""
    purse = await _purse()

    async def change():
        async with purse.pipeline():
            coin = purse.coins[0]
            purse.coins.clear()
            coin.n = 2

    with pytest.raises(UsageError, match="no longer in its list"):
        await change()
    async with rapyer.pipeline():
        token = purse.tokens.pop()
        token.n = 5
    assert (await Purse.get(purse.key)).tokens == []
