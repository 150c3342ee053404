"""A real Chromium without a window, driven over pipes by the DevTools protocol.

See https://chromedevtools.github.io/devtools-protocol. Messages are JSON objects, each ended by a NUL byte.
Chromium reads them from descriptor 3 and writes them to descriptor 4.
"""

import base64
import json
import os
import select
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import needs

DEADLINE = 30.0  # seconds; far more than any command takes
_ON_PIPES = 'exec "$0" "$@" 3<&{} 4>&{}'
_FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # Chromium refuses to run as root with its sandbox; it opens only our pages
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
)


class Tab:
    """One tab. `log`: what the browser reports of pages, such as a violated Content-Security-Policy."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from, self._count, self._rest = to_browser, from_browser, 0, b""
        self._session: dict[str, str] = {}
        self._loaded = False
        self.log: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """The result of a command of the protocol."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters} | self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            self._note(answer)
        assert "result" in answer, f"{method}: {answer}"
        return answer["result"]

    def open(self, url: str, *, width: int = 1280, scheme: str = "light", forced: bool = False) -> None:
        """Load `url` in a window `width` CSS pixels wide. `scheme`: the colours that the user prefers.
        `forced`: the system's colours replace those of the page."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False
        )
        features = {"prefers-color-scheme": scheme, "forced-colors": "active" if forced else "none"}
        features_list = [{"name": name, "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=features_list)
        self._loaded = False
        self.call("Page.navigate", url=url)
        while not self._loaded:
            self._note(self._next())

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression on the page; of a promise, what it resolves to."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])

    def accessible(self) -> list[tuple[str, str]]:
        """The role and the name of each node that a screen reader gets, in its order."""
        nodes = {node["nodeId"]: node for node in self.call("Accessibility.getFullAXTree")["nodes"]}
        found, waiting = [], [next(iter(nodes))]
        while waiting:
            node = nodes[waiting.pop()]
            waiting.extend(child for child in reversed(node["childIds"]) if child in nodes)
            if not node["ignored"]:
                found.append((node["role"]["value"], node.get("name", {}).get("value", "")))
        return found

    def screenshot(self, file: Path) -> None:
        """Write the page as a PNG image, down to 3000 pixels."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 3000), "scale": 1}
        image = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(image["data"]))

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("method") == "Page.loadEventFired":
            self._loaded = True
        elif message.get("method") == "Log.entryAdded":
            self.log.append(message["params"]["entry"]["text"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._from], [], [], DEADLINE)[0], "Chromium does not answer"
            received = os.read(self._from, 1 << 20)
            assert received, "Chromium has ended"
            self._rest += received
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


KEYS = {"Tab": 9, "Enter": 13}


@contextmanager
def chromium() -> Iterator[Tab]:
    """A Chromium with one tab, for as long as the context lasts."""
    reading, to_browser = os.pipe()
    from_browser, writing = os.pipe()
    command = ["bash", "-c", _ON_PIPES.format(reading, writing), needs.tool("chromium"), *_FLAGS]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [*command, f"--user-data-dir={profile}"],
            env=os.environ | {"HOME": profile},
            pass_fds=(reading, writing),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(reading)
        os.close(writing)
        try:
            yield Tab(to_browser, from_browser)
        finally:
            os.close(to_browser)  # Chromium ends when its pipe does
            os.close(from_browser)
            try:
                process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
