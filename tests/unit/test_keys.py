"""`_keys`: hash slots, helper keys and patterns."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.crc import key_slot

from rapyer import _keys

KEYS = st.one_of(
    st.text(max_size=12),
    st.text("{}ab:", max_size=10),
    st.text("{}:*?[]\\ ", max_size=10),
).filter(lambda key: key.isprintable() or key == "")
TRICKY = [
    "User:1",
    "{tag}",
    "User:{tag}:1",
    "}",
    "{}",
    "a{}b",
    "{}{tag}",
    "{{tag}}",
    "a}b",
    "a{b",
    "}{",
    "{a}{b}",
    "é{ü}",
]


def slot(key: str) -> int:
    """Return the slot as redis-py computes it."""
    return int(key_slot(key.encode("utf-8", "surrogatepass")))


@given(key=KEYS)
@pytest.mark.parametrize("tricky", TRICKY)
def test_the_slot_is_redis_pys(tricky: str, key: str) -> None:
    """Of keys with and without tags."""
    assert _keys.hash_slot(tricky) == slot(tricky)
    assert _keys.hash_slot(key) == slot(key)
    assert _keys.hash_slot(tricky + key) == slot(tricky + key)


@given(key=KEYS, action=KEYS)
@example(key="", action="")
@example(key="}", action="{x}")
@example(key="{}", action="}")
@example(key="a{}b{c}", action="")
def test_helper_keys_share_the_documents_slot(key: str, action: str) -> None:
    """Whatever braces the key and the action hold."""
    for tricky in (key, *TRICKY):
        lock = (_keys.lock_key(tricky, action), _keys.queue_key(tricky, action))
        helpers = (*lock, _keys.scratch_key(tricky), _keys.scratch_key(tricky) + ":3")
        assert {slot(helper) for helper in helpers} == {slot(tricky)}


@given(first=st.tuples(KEYS, KEYS), second=st.tuples(KEYS, KEYS))
@example(first=("User:1", "2:x"), second=("User:1:2", "x"))
@example(first=("a", ":b"), second=("a:", "b"))
def test_distinct_locks_have_distinct_keys(first: tuple[str, str], second: tuple[str, str]) -> None:
    """No key and action look like another pair; no lock looks like a backup."""
    assert (_keys.lock_key(*first) == _keys.lock_key(*second)) is (first == second)
    assert (_keys.queue_key(*first) == _keys.queue_key(*second)) is (first == second)
    assert _keys.queue_key(*first) != _keys.lock_key(*second)
    assert (_keys.scratch_key(first[0]) == _keys.scratch_key(second[0])) is (first[0] == second[0])
    assert _keys.lock_key(*first) != _keys.scratch_key(second[0])


@given(prefix=KEYS, pk=KEYS)
def test_a_helper_key_is_no_key_of_a_class(prefix: str, pk: str) -> None:
    """Unless the class itself is called `rapyer`."""
    key = _keys.document_key(prefix, pk)
    if not prefix.startswith("rapyer"):
        assert not _keys.lock_key(key, "a").startswith(prefix + ":") or prefix == ""
        assert not _keys.scratch_key(key).startswith(prefix + ":") or prefix == ""


@given(prefix=KEYS, pk=KEYS)
def test_a_pk_and_a_full_key_mean_the_same(prefix: str, pk: str) -> None:
    """A bare pk is completed, a full key is left, and the pk comes back."""
    key = _keys.document_key(prefix, pk)
    assert _keys.full_key(prefix, key) == key
    assert _keys.pk_of(prefix, key) == pk
    if not pk.startswith(prefix + ":"):
        assert _keys.full_key(prefix, pk) == key


@pytest.mark.parametrize("prefix", ["User", "a*", "a?c", "[ab]", "a\\", "^", "[^a]", "a-b", "é"])
async def test_a_pattern_finds_its_own_prefix_alone(client, prefix: str) -> None:
    """Redis itself matches it against keys that glob characters would take in."""
    others = ["Usex:1", "abc:1", "a:1", "b:1", "ab:1", "axc:1", "x:1", prefix]
    for key in {f"{prefix}:1", f"{prefix}:", *others}:
        await client.set(key, "")
    found = {key.decode() async for key in client.scan_iter(match=_keys.pattern(prefix))}
    assert found == {f"{prefix}:1", f"{prefix}:"}


def test_a_plain_pattern_is_readable() -> None:
    """Nothing is escaped without need."""
    assert _keys.pattern("User") == "User:*"
    assert fnmatch.fnmatch("User:1", _keys.pattern("User"))
