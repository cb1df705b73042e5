"""`Meta.hash_tag`: documents of different models in one hash slot."""

import uuid
from enum import Enum

import pytest
from pydantic import Field

import rapyer
from rapyer import AtomicRedisModel
from rapyer._keys import hash_slot
from rapyer.errors import CrossSlot, UsageError
from rapyer.fields import Key


class Customer(AtomicRedisModel):
    """A customer, whose key is its number."""

    number: Key[str] = Field(default_factory=lambda: uuid.uuid4().hex)
    orders: int = 0

    class Meta:
        """The options."""

        hash_tag = "customer-{number}"


class Order(AtomicRedisModel):
    """An order, near its customer."""

    customer: str
    total: int = 0

    class Meta:
        """The options."""

        hash_tag = "customer-{customer}"


class Plain(AtomicRedisModel):
    """A field's name is enough."""

    shop: str = "s"

    class Meta:
        """The options."""

        hash_tag = "shop"


async def test_related_documents_share_a_slot(world):
    """Documents of two models with one tag go into one pipeline, and are found and read by key as others are."""
    customer = await Customer(number="7").save()
    order = await Order(customer="7").save()
    assert customer.key == "Customer:{customer-7}:7"
    assert order.key.startswith("Order:{customer-7}:")
    assert hash_slot(customer.key) == hash_slot(order.key)
    async with rapyer.pipeline():
        customer.orders += 1
        order.total += 5
    assert (await Customer.get(customer.pk)).orders == 1
    assert (await rapyer.get(order.key)).total == 5
    assert (await Order.get(order.key)).key == order.key
    assert await Order.afind_keys() == [order.key]
    async with order.lock(save_at_end=True):
        order.total += 1
    assert (await Order.get(order.pk)).total == 6


async def test_other_tags_do_not(world):
    """Documents with different tags are refused in one pipeline."""
    one, other = await Order(customer="7").save(), await Order(customer="8").save()

    async def block():
        async with rapyer.pipeline():
            one.total += 1
            other.total += 1

    with pytest.raises(CrossSlot):
        await block()


async def test_copies_have_the_tag(world):
    """Copies stay near the original; where the key is in the tag, each has its own."""
    order = await Order(customer="7", total=3).save()
    copies = await order.duplicate_many(3)
    assert {hash_slot(copy.key) for copy in copies} == {hash_slot(order.key)}
    customer = await Customer(number="7").save()
    for copy in await customer.duplicate_many(3):
        assert copy.key == f"Customer:{{customer-{copy.number}}}:{copy.number}"
        assert (await Customer.get(copy.key)).number == copy.number


async def test_the_tag_stays(world):
    """What the tag is made of cannot be changed where the document lives on."""
    order = await Order(customer="7").save()
    with pytest.raises(UsageError, match="customer"):
        await order.aupdate(customer="8")

    async def block():
        async with order.pipeline():
            order.customer = "8"

    with pytest.raises(UsageError, match="customer"):
        await block()
    assert (await Order.get(order.key)).customer == "7"


class Colour(Enum):
    """A value with a text of its own."""

    RED = "r"


@pytest.mark.parametrize("value", ["a b", "ü", "x:y", "1"])
def test_values(value):
    """Any text without braces is a tag."""
    assert Plain(shop=value).key.startswith(f"Plain:{{{value}}}:")


@pytest.mark.parametrize("value", ["", "a}b", "{a"])
def test_values_that_are_no_tag(value):
    """An empty tag or one with braces would not keep documents together: it is refused."""
    with pytest.raises(UsageError, match="shop"):
        _ = Plain(shop=value).key


def test_enum_values():
    """An enum's value is its text, as in keys."""

    class Tagged(AtomicRedisModel):
        colour: Colour = Colour.RED

        class Meta:
            hash_tag = "{colour}-x"

    assert Tagged().key.startswith("Tagged:{r-x}:")


@pytest.mark.parametrize("tag", ["nothing", "{nothing}", "{shop!r}", "{shop:>3}", "x{", "{}", "", 3])
def test_templates_that_name_no_field(tag):
    """A tag that is neither a field nor a template of fields is an error at class definition."""
    with pytest.raises(UsageError, match="hash_tag"):

        class Wrong(AtomicRedisModel):
            shop: str = "s"

            class Meta:
                hash_tag = tag
