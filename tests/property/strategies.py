"""What the properties are tried with: values of every field type, the awkward ones first."""

from datetime import datetime, timedelta, timezone
from enum import Enum

from hypothesis import strategies as st

LOWEST, HIGHEST = -(2**63), 2**63 - 1

# -- numbers ---------------------------------------------------------------------------------------------------------

#: Where doubles end to be exact, where limbs and words end.
EDGES = (0, 1, -1, 2, 10**7, 2**31, 2**51, 2**53, 2**53 + 1, 10**15, 10**18, HIGHEST, HIGHEST - 1, LOWEST, LOWEST + 1)

small_ints = st.integers(-9, 9)
int64 = st.one_of(small_ints, st.sampled_from(EDGES), st.integers(LOWEST, HIGHEST))

#: Written in more digits than a parser that is not careful keeps, ends of the range, subnormals, both zeros.
ODD_DOUBLES = (
    0.0,
    -0.0,
    0.1,
    -0.3,
    1 / 3,
    1e22,
    1e23,
    123456789.123456789,
    9007199254740993.0,
    1.7976931348623157e308,
    -1.7976931348623157e308,
    2.2250738585072014e-308,
    5e-324,
    -5e-324,
    4.35,
    9.313225746154785e-10,
)
doubles = st.one_of(st.sampled_from(ODD_DOUBLES), st.floats(allow_nan=False, allow_infinity=False))
#: Doubles whose sums and products seldom leave the range.
tame_doubles = st.one_of(st.sampled_from((0.0, -0.0, 0.1, -2.5, 3.0)), st.floats(-1e6, 1e6))

# -- text and bytes --------------------------------------------------------------------------------------------------

ODD_TEXTS = (
    "",
    "a",
    "a.b",
    "$",
    "$.a",
    "*",
    "..",
    "[0]",
    "a[0]",
    '["a"]',
    " leading",
    "trailing ",
    "'",
    '"',
    "both ' and \"",
    "\\",
    'back\\slash"',
    "\\u0000",
    "\x00",
    "nul\x00inside",
    "\n\t\r",
    "\x7f\x1f",
    "ünïcödé",
    "\u2028",
    "\U0001f600",
    "e\u0301",
    "null",
    "1",
    "-0",
    "__proto__",
    "@",
    "?(@)",
    ",",
    ":",
    "{}",
    "<&>",
)
#: What JSON text can carry: all of Unicode but lone surrogates.
texts = st.one_of(st.sampled_from(ODD_TEXTS), st.text(st.characters(exclude_categories=("Cs",)), max_size=8))
keys = texts
#: Names that RedisJSON takes in a path as they are.
easy_keys = st.one_of(
    st.sampled_from([text for text in ODD_TEXTS if "\\" not in text and "'" not in text and not text.startswith(" ")]),
    st.text("abc.$*é", max_size=4),
)
blobs = st.one_of(st.sampled_from((b"", b"\x00", b"\xff\xfe", b"ab", b"abc")), st.binary(max_size=10))

# -- time ------------------------------------------------------------------------------------------------------------

offsets = st.one_of(
    st.none(),
    st.sampled_from(
        (timezone.utc, timezone(timedelta(hours=5, minutes=45)), timezone(-timedelta(hours=11, minutes=30)))
    ),
    st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
moments = st.one_of(
    st.datetimes(timezones=offsets),
    st.sampled_from(
        (
            datetime(1, 1, 1),  # noqa: DTZ001 - without an offset on purpose
            datetime(9999, 12, 31, 23, 59, 59, 999_999),  # noqa: DTZ001
            datetime(2024, 2, 29, 23, 59, 59, 999_999, timezone.utc),
            datetime(1900, 3, 1, tzinfo=timezone.utc),
        )
    ),
)
durations = st.one_of(
    st.sampled_from((timedelta(), timedelta(microseconds=1), timedelta(days=-1, microseconds=1), timedelta(days=366))),
    st.timedeltas(timedelta(days=-800), timedelta(days=800)),
    st.timedeltas(),
)

# -- containers ------------------------------------------------------------------------------------------------------

indexes = st.integers(-4, 4)


def few(values, most=4):
    """Give lists of a few values, the empty one included."""
    return st.lists(values, max_size=most)


def table(values, names=keys):
    """Give dicts with a few entries under awkward keys."""
    return st.dictionaries(names, values, max_size=3)


def some(values):
    """Give sets of a few values."""
    return st.sets(values, max_size=4)


ints = few(int64)
words = few(texts)
int_sets = some(int64)
word_sets = some(texts)
counts = table(int64)
weights = table(doubles, easy_keys)

#: So few names that two clients meet.
few_keys = st.sampled_from(("a", "b", '"\\'))
lists = table(few(int64, 2), few_keys)
small_int_sets = st.sets(small_ints, max_size=3)
sets = table(small_int_sets, few_keys)
#: Zeros that are equal and not the same are told apart by text only.
set_doubles = doubles.filter(lambda value: value != 0)
#: Of moments that are equal there is one spelling each.
list_moments = st.one_of(
    st.sampled_from((datetime(2024, 2, 29), datetime(2024, 2, 29, tzinfo=timezone.utc))),  # noqa: DTZ001
    st.datetimes(timezones=st.just(timezone.utc)),
)

# -- values without operations ---------------------------------------------------------------------------------------


class Color(str, Enum):
    """An Enum."""

    RED = "r"
    BLUE = "b"


decimals = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**6), max_value=10**6)
pairs = st.tuples(int64, few(int64, 2))
free = st.one_of(st.none(), int64, texts, few(int64, 2), st.dictionaries(few_keys, int64, max_size=2))
codes = st.dictionaries(st.integers(-2, 2), int64, max_size=2)

# -- models, as the plain data they are made of ----------------------------------------------------------------------

items = st.fixed_dictionaries({"label": texts, "n": int64})
inners = st.fixed_dictionaries({"count": int64, "tags": words, "seen": int_sets})
members = st.fixed_dictionaries({"name": texts, "score": int64, "marks": few(small_ints, 2)})
teams = st.fixed_dictionaries({"title": texts, "members": few(members, 2)})
notes = st.fixed_dictionaries({"text": texts, "n": int64})

#: field -> its values; what a document is made of.
FIELDS = {
    "number": int64,
    "double": doubles,
    "text": texts,
    "data": blobs,
    "moment": moments,
    "maybe": st.one_of(st.none(), int64),
    "ints": ints,
    "words": words,
    "counts": counts,
    "weights": weights,
    "numbers": int_sets,
    "labels": word_sets,
    "inner": inners,
    "items": few(items, 3),
    "table": table(items),
    "nested": table(few(few(int64, 2), 2)),
    "note": notes,
    "lists": lists,
    "sets": sets,
    "doubles": few(doubles),
    "measures": some(set_doubles),
    "moments": few(list_moments, 3),
    "blobs": few(blobs, 3),
    "flag": st.booleans(),
    "color": st.sampled_from(Color),
    "uid": st.uuids(),
    "price": decimals,
    "day": st.dates(),
    "pair": pairs,
    "either": st.one_of(int64, texts),
    "free": free,
    "codes": codes,
    "single": st.one_of(st.none(), items),
    "spare": st.one_of(st.none(), items),
    "few": st.one_of(st.none(), few(int64, 2)),
    "teams": few(teams, 2),
}
#: Most fields at their defaults, because a shrunk example should name what matters only.
documents = st.fixed_dictionaries({}, optional=FIELDS)
