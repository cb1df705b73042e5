"""Which error codes a composed script can answer with, read from its source.

How: the source is cut into blocks, one for each function or operation, by its indentation. A block has the codes it
refuses with and the names whose refusals it hands on; what the main body reaches is followed from there.
"""

from __future__ import annotations

import re
from typing import NamedTuple

HEAD = re.compile(
    r"""^(?P<indent>\s*)(?:
        local\ function\ (?P<local>\w+) | function\ (?P<field>[\w.]+) | if\ name\ ==\ (?P<op>"[\w.]+")\ then )""",
    re.VERBOSE,
)
LITERAL = re.compile(r'(?P<other>[=~]= *|call\()?"(?P<code>[A-Z][A-Z_]{3,})"')
REFUSES = re.compile(r'return nil, .*"[A-Z]|\bfail\("[A-Z]')
HANDED_ON = re.compile(r"\breturn\b|\bfail\(|\b\w*code\b[^=]*=[^=]")
DROPPED = re.compile(r"return \{.*\}|\(\(?\w+\(.*\)\) or ")
MADE = re.compile(r'\b(?:\w+_operation|exact)\("(\w+)"')
NAME = re.compile(r'\w+_family(?:, |\()"(?P<run>[\w.]+)"|\b[A-Za-z_]\w*(?:\.[a-z_]+)?')
DYNAMIC = re.compile(r"\bfamily\(name")
END = re.compile(r"^(\s*)end\b")


class Block(NamedTuple):
    """One function or operation."""

    codes: set[str]
    names: set[str]
    anything: bool


def blocks(source: str) -> tuple[dict[str, Block], Block]:
    """Return the blocks of a source by name, and its main body."""
    cut: dict[str, list[str]] = {}
    main: list[str] = []
    stack: list[tuple[int, str]] = []
    for line in source.splitlines():
        if line.lstrip().startswith(("--", "#!")):
            continue
        head = HEAD.match(line)
        if head is not None:
            name = head["local"] or head["field"] or head["op"]
            # The names of two libraries may be the same: both count.
            cut.setdefault(name, [])
            stack.append((len(head["indent"]), name))
        (cut[stack[-1][1]] if stack else main).append(line)
        if stack and _closes(line, stack[-1][0], opened=head is not None):
            stack.pop()
    return {name: _block(lines) for name, lines in cut.items()}, _block(main)


def _closes(line: str, indent: int, *, opened: bool) -> bool:
    if opened:
        return line.rstrip().endswith(("end", "end)"))
    end = END.match(line)
    return end is not None and len(end[1]) == indent


def _block(lines: list[str]) -> Block:
    codes: set[str] = set()
    names: set[str] = set()
    for line in lines:
        if REFUSES.search(line):
            codes |= {match["code"] for match in LITERAL.finditer(line) if not match["other"]}
        if HANDED_ON.search(line) and not DROPPED.search(line):
            names |= {f'"{match["run"]}"' if match["run"] else match[0] for match in NAME.finditer(line)}
        names |= {f"int64.{name}" for name in MADE.findall(line)}
    return Block(codes, names, any(DYNAMIC.search(line) for line in lines))


def reachable_codes(source: str) -> set[str]:
    """Return the codes that the main body of a composed source can answer with."""
    known, main = blocks(source)
    operations = {name for name in known if name.startswith('"')}
    named = main.names & operations
    # Only a script that says `fail` or `run` answers with a code at all.
    if not main.names & {"fail"} and not named:
        return set()
    codes, todo, seen = set(main.codes), set(main.names), set[str]()
    if named:
        todo.add("run")
    while todo:
        name = todo.pop()
        if name in seen or name not in known:
            continue
        seen.add(name)
        block = known[name]
        codes |= block.codes
        todo |= block.names
        todo |= (named or operations) if block.anything else set()
    return codes
