"""The command of `rapyer.testing`: a real Redis Stack, cluster or primary with sentinels for as long as a command runs.

python scripts/redis_stack.py --help
"""

from __future__ import annotations

import _interrupts  # first: the rest takes a moment  # isort: skip

import sys

from rapyer.testing import Cluster, RedisStack, StackError, Watched, cluster, free_port, sentinel, start
from rapyer.testing._stack import binaries, compose, main

__all__ = [
    "Cluster",
    "RedisStack",
    "StackError",
    "Watched",
    "binaries",
    "cluster",
    "compose",
    "free_port",
    "main",
    "sentinel",
    "start",
]

if __name__ == "__main__":
    _interrupts.usual()
    sys.exit(main(sys.argv[1:]))
