"""A page in headless Chromium, spoken to over a pipe."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
]


class Page:
    """An empty page that runs JavaScript."""

    def __init__(self, writer: int, reader: int) -> None:
        self._to, self._from = os.fdopen(writer, "wb", buffering=0), os.fdopen(reader, "rb")
        self._calls = 0
        target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        attached = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})
        self._session = {"sessionId": attached["sessionId"]}

    def run(self, script: str) -> Any:
        """What the body of an async function returns."""
        asked = {"expression": f"(async () => {{{script}}})()", "awaitPromise": True, "returnByValue": True}
        answer = self._call("Runtime.evaluate", asked, **self._session)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]["exception"].get("description", answer)
        return answer["result"].get("value")

    def close(self) -> None:
        """Have the browser end."""
        self._call("Browser.close", {})
        self._to.close()
        self._from.close()

    def _call(self, method: str, params: dict[str, Any], **more: Any) -> dict[str, Any]:
        self._calls += 1
        self._to.write(json.dumps({"id": self._calls, "method": method, "params": params, **more}).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._calls:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def _message(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self._from.read(1)) != b"\0":
            assert byte, "the browser has ended"
            text += byte
        message: dict[str, Any] = json.loads(text)
        return message


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A page of a browser of its own, which keeps what it must in a folder."""
    assert CHROMIUM
    their_reader, writer = os.pipe()
    reader, their_writer = os.pipe()
    spare = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (their_reader, their_writer)]

    def place() -> None:
        """The browser reads from 3 and writes to 4."""
        for descriptor, end in enumerate(spare, 3):
            os.dup2(end, descriptor)

    process = subprocess.Popen(
        [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe"],
        preexec_fn=place,
        pass_fds=(3, 4),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for end in (their_reader, their_writer, *spare):
        os.close(end)
    try:
        page = Page(writer, reader)
        yield page
        page.close()
    finally:
        process.terminate()
        process.wait(timeout=30)
