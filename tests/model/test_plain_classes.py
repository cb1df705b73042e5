# ruff: noqa: UP045 - as people write it
"""Plain Pydantic models in documents: whatever Pydantic takes works inside a document as it does outside."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, NamedTuple, Optional
from uuid import UUID

import pytest
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    RootModel,
    ValidationError,
    model_serializer,
    model_validator,
)
from typing_extensions import TypedDict

import rapyer
from rapyer import AtomicRedisModel
from rapyer.errors import UsageError
from rapyer.fields import Key


class Setting(BaseModel):
    """Fields that are called like what every document has."""

    key: str = "none"
    save: list[str] = Field(default_factory=list)
    update: int = 0
    json_path: str = Field(default="here", max_length=5)


class Required(BaseModel):
    """A field of such a name that has to be given."""

    key: str


class Named(AtomicRedisModel):
    """What they are in."""

    setting: Setting = Setting()
    required: Optional[Required] = None


async def test_fields_called_like_methods(bound):
    """Such a field has the default that its class gives it, its constraints, and is stored."""
    made = await Named(setting={"update": 1}).save()
    assert made.setting == Setting(update=1)
    assert Setting(update=1) == made.setting
    read = await Named.get(made.key)
    assert (read.setting.key, read.setting.json_path) == ("none", "here")
    async with read.pipeline():
        read.setting.key = "k"
        read.setting.save.append("a")
    assert (await Named.get(made.key)).setting == Setting(key="k", save=["a"], update=1)
    with pytest.raises(ValidationError, match="at most 5"):
        made.setting.json_path = "elsewhere"


async def test_a_required_field_of_such_a_name(bound):
    """It is missed where it is missing."""
    with pytest.raises(ValidationError, match="key"):
        Named(required={})
    assert Named(required={"key": "k"}).required.key == "k"


class Tree(BaseModel):
    """Has parts of its own kind."""

    name: str = ""
    kids: list["Tree"] = []
    twin: Optional["Tree"] = None


class Left(BaseModel):
    """Half of a pair that has each other."""

    right: Optional["Right"] = None


class Right(BaseModel):
    """The other half."""

    lefts: dict[str, Left] = {}
    number: int = 0


class Forest(AtomicRedisModel):
    """What they are in."""

    trees: list[Tree] = []
    left: Left = Left()


async def test_models_with_parts_of_their_own_kind(bound):
    """Every level is linked: operations work at any depth."""
    forest = await Forest(trees=[{"name": "a", "kids": [{"name": "b", "twin": {"name": "c"}}]}]).save()
    await forest.trees[0].kids[0].twin.kids.aappend(Tree(name="d"))
    async with forest.pipeline():
        forest.trees[0].kids[0].twin.kids[0].name += "!"
        forest.trees[0].kids.append(Tree(name="e"))
    read = await Forest.get(forest.key)
    assert read == forest
    assert read.trees[0].kids[0].twin.kids[0].name == "d!"
    assert [kid.name for kid in read.trees[0].kids] == ["b", "e"]


async def test_models_that_have_each_other(bound):
    """So do those of two classes that have each other."""
    forest = await Forest(left={"right": {"lefts": {"x": {"right": {"number": 1}}}}}).save()
    assert await forest.left.right.lefts["x"].right.number.increase() == 2
    assert (await Forest.get(forest.key)).left.right.lefts["x"].right.number == 2


class Author(AtomicRedisModel):
    """A document class that has another one, which has it."""

    posts: list["Post"] = []


class Post(AtomicRedisModel):
    """The other one."""

    title: str = ""
    author: Optional[Author] = None


async def test_documents_that_have_each_other(bound):
    """Classes of documents may have each other."""
    author = await Author(posts=[Post(title="a", author=Author(posts=[Post(title="b")]))]).save()
    async with author.posts[0].author.posts[0].lock(save_at_end=True) as post:
        post.title = "c"
    assert (await Author.get(author.key)).posts[0].author.posts[0].title == "c"


class Line(BaseModel):
    """Works out a field when it is validated."""

    price: int = 1
    total: int = 0

    @model_validator(mode="after")
    def work_out(self):
        """Set what depends on the price."""
        self.total = self.price * 2
        return self


class PricedOrder(AtomicRedisModel):
    """Has one, and is another."""

    line: Line = Line()
    lines: list[Line] = []
    price: int = 1
    total: int = 0

    @model_validator(mode="after")
    def work_out(self):
        """Set what depends on the price."""
        self.total = self.price * 3
        return self


async def test_validators_that_assign(bound):
    """What a model's own validator assigns is taken as it is, without asking the validator again."""
    order = await PricedOrder(line={"price": 3}, lines=[Line(price=4)], price=5).save()
    assert (order.line.total, order.lines[0].total, order.total) == (6, 8, 15)
    order.line.price = 10
    order.price = 7
    assert (order.line.total, order.total) == (20, 21)
    await order.save()
    async with order.pipeline():
        order.line.price = 11
        order.lines[0].price = 12
        order.price = 8
    read = await PricedOrder.get(order.key)
    assert (read.line.total, read.lines[0].total, read.total) == (22, 24, 24)
    assert read == order
    with pytest.raises(ValidationError):
        order.line.total = "much"


class Point(AtomicRedisModel):
    """Writes itself."""

    x: int = 0
    y: int = 0
    marks: list[int] = []

    @model_serializer
    def written(self):
        """Return all fields, whatever is asked for."""
        return {"kind": "point", "x": self.x, "y": self.y, "marks": list(self.marks)}


class Renamed(AtomicRedisModel):
    """Writes a field by another name."""

    x: int = 0

    @model_serializer(mode="wrap")
    def written(self, write):
        """Return it in capitals."""
        return {name.upper(): value for name, value in write(self).items()}


class Outer(AtomicRedisModel):
    """Has one that writes itself."""

    inner: Point = Point()


async def test_models_that_write_themselves(bound, stored):
    """A single field is written as the model's serializer writes it."""
    point = await Point(x=3).save()
    await point.aupdate(y=5)
    await point.aupdate(marks=[5], y=6)
    async with point.pipeline():
        point.marks = [1]
        point.x += 1
    await point.y.save()
    assert await stored(point.key) == {"kind": "point", "x": 4, "y": 6, "marks": [1]}
    outer = await Outer(inner={"x": 1}).save()
    await outer.inner.aupdate(y=5)
    async with outer.lock(save_at_end=True):
        outer.inner.marks = [7]
    assert await stored(outer.key) == {"inner": {"kind": "point", "x": 1, "y": 5, "marks": [7]}}


async def test_fields_that_are_not_written_by_their_names(bound, stored):
    """A field that the serializer writes elsewhere is refused, and nothing is written."""
    renamed = await Renamed(x=1).save()
    with pytest.raises(UsageError, match=r"'x'.*excluded from what is stored"):
        await renamed.aupdate(x=4)
    assert await stored(renamed.key) == {"X": 1}


async def test_a_plain_model_by_itself_is_no_document(bound):
    """One that was taken out of its document cannot be saved by itself: nobody would look for it there."""
    forest = await Forest(trees=[{"name": "a"}]).save()
    tree = await forest.trees.apop()
    gone = forest.model_copy(deep=True).trees
    assert gone == []
    assert tree.name == "a"
    alone = type(forest.left)()
    for use in (alone.save, alone.load, alone.delete):
        with pytest.raises(UsageError, match="part of no document"):
            await use()
    assert [key async for key in bound.scan_iter("*")] == [forest.key.encode()]


def test_names_that_the_engine_uses():
    """An attribute or a method by the name of one of the engine's is refused when the class is defined."""
    with pytest.raises(UsageError, match=r"Hidden: _tag"):

        class Hidden(AtomicRedisModel):
            _tag: str = PrivateAttr("t")

    with pytest.raises(UsageError, match=r"Hiding: _refresh"):

        class Hiding(AtomicRedisModel):
            def _refresh(self):
                """Do something else."""

    class Mixin:
        def _dump(self):
            """Do something else."""

    with pytest.raises(UsageError, match=r"Mixin: _dump"):

        class Mixed(Mixin, AtomicRedisModel):
            pass

    class Plain(BaseModel):
        _owner: str = PrivateAttr("me")

    with pytest.raises(UsageError, match=r"Plain: _owner"):

        class Holder(AtomicRedisModel):
            plain: Plain = Plain()


def test_names_of_ones_own():
    """Others are nobody's business, nor is what the class of a parent that is a document has."""

    class Mine(AtomicRedisModel):
        _mine: int = PrivateAttr(1)

        def _helper(self):
            return self._mine

    class Heir(Mine):
        def _helper(self):
            return self._mine + 1

    assert Heir()._helper() == 2


class Slugged(AtomicRedisModel):
    """A validator works out its key."""

    title: str
    slug: Key[str] = ""
    score: int = 0

    @model_validator(mode="after")
    def work_out(self):
        """Make the key of the title."""
        self.slug = self.title.lower()
        return self


async def test_a_validator_that_would_change_the_key(bound):
    """In a block that is refused, like changing the key itself; the model stays what it was."""
    first, second = await Slugged(title="A", score=1).save(), await Slugged(title="B", score=2).save()
    for block in (first.pipeline, rapyer.pipeline):
        with pytest.raises(UsageError, match="key"):
            async with block():
                first.title = "B"
        assert (first.title, first.slug) == ("A", "a")
    async with first.pipeline():
        first.title = "a"
        first.score = 5
    assert ((await Slugged.get("a")).score, (await Slugged.get("b")).score) == (5, second.score)


class Address(BaseModel):
    """A plain model."""

    street: str = ""


class Worked(AtomicRedisModel, extra="allow"):
    """A validator assigns fields of every kind, in whatever form."""

    n: int = 0
    members: frozenset[int] = frozenset()
    address: Optional[Address] = None
    data: bytes = b""
    text: int = 0
    local: int = Field(0, exclude=True)

    @model_validator(mode="after")
    def work_out(self):
        """Set what depends on the number."""
        self.members = frozenset({self.n})
        self.address = Address(street=str(self.n))
        self.data = bytearray(b"x")
        self.text = "5"
        self.more = self.n
        return self


async def test_what_validators_assign_is_of_the_field_s_type(bound, stored):
    """What a validator assigns becomes what the field holds, as by an assignment."""
    worked = await Worked(n=1).save()
    assert await stored(worked.key) == {
        "n": 1, "members": [1], "address": {"street": "1"}, "data": "eA==", "text": 5, "more": 1,
    }  # fmt: skip
    await worked.address.street.aappend("!")
    await worked.members.aadd(4)
    async with worked.pipeline():
        worked.local = 3
        worked.n = 2
    assert (await stored(worked.key))["members"] == [2]
    assert (await Worked.get(worked.key)).address == Address(street="2")


async def test_what_a_local_field_changes(bound, stored):
    """What validators change with a field that is not stored is."""

    class Doubled(AtomicRedisModel):
        local: int = Field(0, exclude=True)
        total: int = 0

        @model_validator(mode="after")
        def work_out(self):
            self.total = self.local * 2
            return self

    doubled = await Doubled().save()
    async with doubled.pipeline():
        doubled.local = 4
    assert await stored(doubled.key) == {"total": 8}

    async def fail():
        async with rapyer.pipeline():
            doubled.local = 5
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert doubled.local == 4


class Frozen(BaseModel):
    """Has what is another type in documents, and what is not stored as it is."""

    numbers: frozenset[int] = frozenset()
    groups: dict[str, frozenset[int]] = {}
    days: set[datetime] = set()
    at: datetime = datetime.min  # noqa: DTZ901
    named: dict[str, int] = {}


class Strict(BaseModel):
    """Takes no other types than its own."""

    model_config = ConfigDict(strict=True)
    numbers: frozenset[int] = frozenset()


class Freezer(AtomicRedisModel):
    """What they are in."""

    one: Frozen = Frozen()
    many: list[Frozen] = []
    pair: tuple[Frozen, int] = (Frozen(), 0)
    strict: Strict = Strict()


async def test_sets_of_a_plain_model(bound, stored):
    """Sets of a plain model that is put in are stored as those of the document."""
    east = timezone(timedelta(hours=2))
    frozen = Frozen(numbers={1}, groups={"a": {2}}, days={datetime(2026, 1, 1, tzinfo=east)})
    freezer = await Freezer(one=frozen, pair=(frozen, 1), strict=Strict(numbers=frozenset({4}))).save()
    await freezer.many.aappend(frozen)
    async with freezer.pipeline():
        freezer.many.append(frozen)
    whole = await stored(freezer.key)
    text = {**whole["one"]}
    assert (text["numbers"], text["groups"], text["days"]) == (
        [1],
        {"a": [2]},
        ["2025-12-31T22:00:00Z"],
    )
    assert [whole["pair"][0], *whole["many"]] == [text] * 3
    assert whole["strict"] == {"numbers": [4]}
    await freezer.one.numbers.aadd(5)
    await freezer.strict.numbers.aadd(6)
    assert frozen.numbers == {1}
    again = await Freezer.get(freezer.key)
    assert (again.one.numbers, again.strict.numbers) == ({1, 5}, {4, 6})


ODD = datetime(1900, 1, 1, tzinfo=timezone(timedelta(seconds=3661)))


@dataclass
class Note:
    """A plain value with parts."""

    at: datetime = datetime.min  # noqa: DTZ901
    named: dict[str, int] = field(default_factory=dict)


class Row(NamedTuple):
    """Another."""

    at: datetime = datetime.min  # noqa: DTZ901
    named: dict[str, int] = {}


class Record(TypedDict, total=False):
    """Another."""

    at: datetime
    named: dict[str, int]


class Log(RootModel[list[Note]]):
    """Another."""


class Diary(AtomicRedisModel):
    """What they are in."""

    plain: Frozen | None = None
    plains: list[Frozen] = []
    note: Note | None = None
    notes: list[Note] = []
    row: Row | None = None
    record: Record | None = None
    log: Log | None = None


@pytest.mark.parametrize("part", [{"at": ODD}, {"named": {"\ud800": 1}}])
async def test_what_json_would_change_inside(bound, stored, part):
    """What is refused in a field is refused inside plain models, dataclasses and tuples that are put in, too."""
    diary = await Diary().save()
    before = await stored(diary.key)
    for name, value in {
        "plain": Frozen(**part),
        "plains": [Frozen(**part)],
        "note": Note(**part),
        "notes": [Note(**part)],
        "row": Row(**part),
        "record": part,
        "log": Log([Note(**part)]),
    }.items():
        with pytest.raises(ValidationError):
            Diary(**{name: value})
        with pytest.raises(ValidationError):
            await diary.aupdate(**{name: value})
    with pytest.raises(ValidationError):
        await diary.plains.aappend(Frozen(**part))
    with pytest.raises(ValidationError):
        await diary.notes.aappend(Note(**part))
    assert await stored(diary.key) == before


class Ticket(BaseModel):
    """Has kinds of values that JSON tells apart by their text."""

    number: UUID | str = ""
    day: date | str = ""
    wait: timedelta | int = 0
    parts: tuple[int, ...] | str = ""


class Sealed(Ticket):
    """Takes no other types than its own."""

    model_config = ConfigDict(strict=True)
    at: datetime = datetime.min  # noqa: DTZ901
    data: bytes = b""
    price: Decimal = Decimal(0)
    pair: tuple[int, int] = (0, 0)
    members: frozenset[int] = frozenset()
    by_day: dict[date, int] = {}


class Envelope(BaseModel):
    """Has one."""

    ticket: Ticket | None = None
    sealed: Sealed = Sealed()


class Box(AtomicRedisModel):
    """What they are in."""

    ticket: Ticket = Ticket()
    sealed: Sealed = Field(default_factory=Sealed)
    many: list[Ticket] = []
    named: dict[str, Sealed] = {}
    pair: tuple[Sealed, int] = (Sealed(), 0)
    envelope: Envelope = Envelope()
    made: Annotated[Ticket, BeforeValidator(lambda value: value or Ticket(number="made"))] = Ticket()


TICKET = Ticket(number=UUID(int=7), day=date(2026, 1, 2), wait=timedelta(1), parts=(1, 2))
SEALED = Sealed(
    **TICKET.__dict__,
    at=datetime(2026, 1, 1, tzinfo=timezone.utc),
    data=b"\xff",
    price=Decimal("1.10"),
    pair=(1, 2),
    members=frozenset({1}),
    by_day={date(2026, 1, 1): 1},
)


async def test_plain_models_are_read_as_json(bound, stored, write):
    """What a plain model holds is read as Pydantic reads JSON: by strict models, too, and of the same types."""
    values = {
        "ticket": TICKET,
        "sealed": SEALED,
        "many": [TICKET],
        "named": {"a": SEALED},
        "pair": (SEALED, 1),
        "envelope": Envelope(ticket=TICKET, sealed=SEALED),
    }
    box = await Box(**values).save()
    other = await Box().save()
    await other.aupdate(**{name: values[name] for name in values if name not in ("many", "named")})
    await other.many.aappend(TICKET)
    await other.named.aset_item("a", SEALED)
    third = await Box().save()
    async with third.pipeline():
        for name, value in values.items():
            setattr(third, name, value)
    assert await stored(box.key) == await stored(other.key) == await stored(third.key)
    for key in (box.key, other.key, third.key):
        again = await Box.get(key)
        assert again == box
        for found in (again.ticket, *again.many, again.envelope.ticket, again.sealed, again.named["a"]):
            kinds = [type(value) for value in (found.number, found.day, found.wait, found.parts)]
            assert kinds == [UUID, date, timedelta, tuple]
        async with again.lock(save_at_end=True) as held:
            held.sealed.price = Decimal(2)
        assert (await again.load()).sealed.price == 2
    await write(box.key, "$", {"made": None})
    assert await Box.get(box.key) == Box(made=Ticket(number="made"))
    with pytest.raises(ValidationError) as refused:
        Box(sealed={"at": "2026-01-01"})
    assert [error["loc"] for error in refused.value.errors()] == [("sealed", "at")]


class Coin(BaseModel, frozen=True):
    """Can be hashed, so that it would be shared as a default."""

    value: int = 1
    marks: tuple[str, ...] = ()


async def test_defaults_that_can_be_hashed(bound, stored, write):
    """Each document has a default of its own, wherever it stands, also where it is missing in what is read."""

    class Purse(AtomicRedisModel):
        coin: Coin = Coin()
        pair: tuple[Coin, int] = (Coin(), 1)
        many: dict[str, Coin] = {"a": Coin()}
        made: list[Coin] = Field(default_factory=lambda: [Coin(value=2)])

    one, other = await Purse().save(), await Purse().save()
    assert await stored(one.key) == await stored(other.key) == Purse().model_dump(mode="json")
    await write(one.key, "$", {})
    one = await Purse.get(one.key)
    assert one == other
    for purse in (one, other):
        places = [(found.key, found.field_path) for found in (purse.coin, purse.many["a"], purse.made[0])]
        assert places == [(purse.key, path) for path in (".coin", ".many.a", ".made[0]")]
    assert one.pair[0] is not other.pair[0]
