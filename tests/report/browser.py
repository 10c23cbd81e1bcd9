"""A real headless Chromium, driven over its own DevTools pipe: nothing but the standard library.

The pipe (file descriptors 3 and 4 of the browser, messages of JSON ended by a zero byte) needs no port, no
driver program and no WebSocket. Every console message, exception and network request is kept.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 90.0


def find_chromium() -> str | None:
    """The browser to use: $NEUROFDFA_CHROMIUM, or the first one on the path."""
    named = os.environ.get("NEUROFDFA_CHROMIUM")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One browser with one tab. Use as a context manager: it ends its whole process group."""

    def __init__(self, program: str) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        self._log = Path(self._home.name) / "stderr"
        flags = [
            "--headless=new",
            "--remote-debugging-pipe",
            f"--user-data-dir={self._home.name}/profile",
            "--no-first-run",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--hide-scrollbars",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            "about:blank",
        ]
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # Well above 4, so that none is overwritten while they are moved to 3 and 4.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 50) for fd in (theirs_in, theirs_out)]
        self._process = os.posix_spawn(
            program,
            [program, *flags],
            {**os.environ, "HOME": self._home.name},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, str(self._log), os.O_WRONLY | os.O_CREAT, 0o600),
                (os.POSIX_SPAWN_DUP2, high[0], 3),
                (os.POSIX_SPAWN_DUP2, high[1], 4),
            ],
            setpgroup=0,
        )
        for fd in (theirs_in, theirs_out, *high):
            os.close(fd)
        self._unread, self._number, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Browser:
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
            self._session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._out)
        os.close(self._in)
        # Chromium's group is our own child's: nothing else is in it.
        os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        self._home.cleanup()

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """One DevTools command and its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        deadline = time.monotonic() + PATIENCE
        while True:
            reply = self._receive(deadline, method)
            if reply.get("id") == self._number:
                if "error" in reply:
                    raise RuntimeError(f"{method}: {reply['error']}")
                return reply["result"]
            self.events.append(reply)

    def open(self, page: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Load a file in a window of that size, and wait until it is loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if width < 600 else 1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="", features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        deadline = time.monotonic() + PATIENCE
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive(deadline, "Page.navigate"))

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; its exceptions are raised here."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"]))
        return result["result"].get("value")

    def click(self, selector: str, place: int = 0, *, at: tuple[float, float] = (0.5, 0.5)) -> None:
        """A real mouse click on the element, `at` a share of its width and height."""
        box = self.run(
            f"(() => {{ const e = document.querySelectorAll({json.dumps(selector)})[{place}];"
            "e.scrollIntoView({block: 'center', behavior: 'instant'}); const r = e.getBoundingClientRect();"
            "return [r.x, r.y, r.width, r.height]; })()"
        )
        x, y = box[0] + at[0] * box[2], box[1] + at[1] * box[3]
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, file: Path) -> None:
        """The whole page as PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        file.write_bytes(base64.b64decode(data))

    def pdf(self) -> bytes:
        """The page as it would be printed."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"])

    def complaints(self) -> list[str]:
        """Exceptions, console errors and warnings, and what the browser logged, since the page was opened."""
        self.run("0")  # events come in order: all that happened before are here with its reply
        found: list[str] = []
        for event in self.events:
            method, values = event.get("method"), event.get("params", {})
            is_error = method == "Runtime.consoleAPICalled" and values["type"] in (
                "error",
                "warning",
                "assert",
            )
            if is_error or method in ("Runtime.exceptionThrown", "Log.entryAdded"):
                found.append(json.dumps(values)[:400])
        return found

    def requests(self) -> list[str]:
        """Addresses asked for since the page was opened; what lies inside the page (data:) is no request."""
        self.run("0")
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
            and not event["params"]["request"]["url"].startswith("data:")
        ]

    def _receive(self, deadline: float, what: str) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._in, 1 << 20) if ready else b""
            if not data:
                why = "closed its pipe" if ready else "did not answer"
                raise RuntimeError(
                    f"Chromium {why} at {what}: {self._log.read_text(errors='replace')[-2000:]}"
                )
            self._unread += data
        message, self._unread = self._unread.split(b"\0", 1)
        return json.loads(message)
