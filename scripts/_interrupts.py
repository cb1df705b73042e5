"""Have Ctrl-C end a script quietly while it still imports; imported first, by scripts that a person starts.

Then `usual()` makes it a KeyboardInterrupt again. Where Ctrl-C is ignored, as in a shell's background, it stays so.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

_found = signal.getsignal(signal.SIGINT)
# A program that imports a script, such as pytest, is no script of this folder: it has its own ways.
_started = Path(getattr(sys.modules["__main__"], "__file__", None) or "?").resolve()
if _found is signal.default_int_handler and _started.parent == Path(__file__).resolve().parent:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def usual() -> None:
    """Have Ctrl-C be what it was before."""
    signal.signal(signal.SIGINT, _found)
