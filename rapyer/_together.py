"""One call for many callers: what it is, and what its answer is to each of them.

Rules:
- Only operations are combined whose combined script answers each caller what it would have got alone, in order,
  refusals included.
- The server tells of a document the last sum where all is well, from which each caller's follows.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from itertools import accumulate, chain, islice, repeat
from typing import TYPE_CHECKING, Any

import msgspec

from rapyer._pack import pack
from rapyer._registry import scripts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rapyer._ops import Argument

#: Script -> the script that does it for many.
COMBINED = {"number.increase": "number.increase_each"}


class Common(msgspec.Struct, frozen=True, eq=False):
    """What the callers of a group have in common; who asks for the same has the same object, see `common`.

    Attributes:
        name: the script that each of them calls.
        ttl: its document's expiry in milliseconds, empty for none.
        path: the place in each document.
    """

    name: str
    ttl: str
    path: str

    @property
    def head(self) -> tuple[str, ...]:
        """ARGV without the last, which each caller has of its own: ttl, no locks, path."""
        return self.ttl, "0", self.path


@lru_cache(maxsize=4096)
def common(name: str, ttl: str, path: str) -> Common:
    """Return what calls like this have in common."""
    return Common(name, ttl, path)


def packed_alone(common: Common, key: str, amount: int) -> bytes:
    """Return the call of one caller."""
    name, words = combined(common, (key,), (amount,))
    return pack(("EVALSHA", scripts()[name].sha, "1", key, *words))


def combined(common: Common, documents: Sequence[str], amounts: Sequence[int]) -> tuple[str, tuple[Argument, ...]]:
    """Return the script for these callers and its ARGV; KEYS are the documents.

    Args:
        common: what they are asked for.
        documents: of each caller its document, those of one together; or the only one.
        amounts: of each caller what it adds.
    """
    words = map(str, amounts)
    if len(amounts) == 1:
        return common.name, (*common.head, *words)
    script, head = COMBINED[common.name], (common.ttl, common.path)
    if len(documents) == 1:
        return script, (*head, " ".join(words))
    counts = Counter(documents)
    if len(counts) == len(amounts):
        return script, (*head, *words)
    return script, (*head, *(" ".join(islice(words, count)) for count in counts.values()))


def outcomes(reply: list[Any], documents: Sequence[str], amounts: Sequence[int]) -> Iterable[Any]:
    """Return of each caller the sum or an error of the server's, from the reply to what `combined` made of the same."""
    if len(documents) == 1:
        return _of_one(reply[0], amounts)
    if len(reply) == len(amounts):  # as each of them is the only one of its document
        return reply
    left, counts = iter(amounts), Counter(documents).values()
    return chain.from_iterable(_of_one(one, [*islice(left, count)]) for one, count in zip(reply, counts, strict=True))


def _of_one(reply: Any, amounts: Sequence[int]) -> Iterable[Any]:
    """Return the outcomes of the callers for one document."""
    if isinstance(reply, list):
        return reply
    if isinstance(reply, BaseException):
        return repeat(reply, len(amounts))
    later = amounts[1:]
    return accumulate(later, initial=int(reply) - sum(later))
