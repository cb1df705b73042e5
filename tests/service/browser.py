"""A headless Chromium spoken to by its debugging pipe: nothing but the browser has to be installed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager, suppress

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
    "--window-size=1000,900",
)


class Browser:
    """One page."""

    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer
        self._number = 0
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.errors = []
        self._call("Runtime.enable")
        self._call("Log.enable")

    def open(self, url):
        """Go to an address."""
        self._call("Page.navigate", url=url)

    def ask(self, expression):
        """Return the value of a JavaScript expression."""
        return self._call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def picture(self, path):
        """Save what the page looks like."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def _call(self, method, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if hasattr(self, "_session"):
            message["sessionId"] = self._session
        self._writer.write(json.dumps(message).encode() + b"\0")
        self._writer.flush()
        while (answer := self._read()).get("id") != self._number:
            if answer.get("method") in {"Runtime.exceptionThrown", "Log.entryAdded"}:
                self.errors.append(answer["params"])
        assert "error" not in answer, answer
        return answer["result"]

    def _read(self):
        data = bytearray()
        while (byte := self._reader.read(1)) != b"\0":
            assert byte, "the browser has ended"
            data += byte
        return json.loads(data)


@contextmanager
def browser():
    """A browser for as long as the block runs."""
    to_read, to_write = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(prefix="rapyer-chromium-", ignore_cleanup_errors=True) as folder:
        ends = (to_read[0], to_write[1])
        # The browser reads from 3 and writes to 4.
        command = 'exec 3<&$1 4>&$2; shift 2; exec "$@"'
        process = subprocess.Popen(
            ["bash", "-c", command, "-", *map(str, ends), CHROMIUM, *OPTIONS, f"--user-data-dir={folder}"],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in ends:
            os.close(end)
        try:
            with os.fdopen(to_write[0], "rb") as reader, os.fdopen(to_read[1], "wb") as writer:
                yield Browser(reader, writer)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()
