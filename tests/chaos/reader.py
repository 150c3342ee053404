"""A consumer that reads a hundred times a second, and its verdict on each value."""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path

import requests

from refresher.emulator.server import Emulator

PERIOD = 0.01  # seconds between two reads of every file
FORMATS = ("token", "json", "env")
_JSON_FIELDS = {"access_token", "token_type", "expires_at", "expires_in"}


class Verdict(StrEnum):
    GOOD = "good"
    EMPTY = "empty"  # nothing in the file, or no file
    TORN = "torn"  # a value that was never issued in this form
    EXPIRED = "expired"  # an expired token


def judged(format_: str, content: bytes, issuer: Emulator) -> Verdict:
    """The verdict of a consumer of this format on this content, now."""
    if not content:
        return Verdict.EMPTY
    token = token_in(format_, content)
    if token is None:
        return Verdict.TORN
    if issuer.valid(token):
        return Verdict.GOOD
    return Verdict.EXPIRED if _has_expired(token, issuer.url) else Verdict.TORN


def token_in(format_: str, content: bytes) -> str | None:
    """The token in a complete value of this format. Does not use the program's code, as no consumer does."""
    try:
        text = content.decode("ascii")
        if format_ == "json":
            document = json.loads(text)
            is_whole = text.endswith("}\n") and set(document) == _JSON_FIELDS
            return str(document["access_token"]) if is_whole else None
    except ValueError:
        return None
    pattern = r"INLIVE_ACCESS_TOKEN=(\S+)\n" if format_ == "env" else r"(\S+)"
    found = re.fullmatch(pattern, text)
    return found[1] if found else None


def _has_expired(token: str, url: str) -> bool:
    """Whether the API calls it expired, rather than unknown. Called rarely: it ends the run."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(
            f"{url}/v1/rooms/create", json={}, headers={"Authorization": f"Bearer {token}"}, timeout=10
        )
    return "X-Access-Token-Expired" in answer.headers


class Reader:
    """Reads `files`, by format, until it is `over`. Calls `complain` for each bad value,
    with format and verdict."""

    def __init__(
        self, files: Mapping[str, Path], issuer: Emulator, complain: Callable[[str, Verdict], None]
    ) -> None:
        self.over = threading.Event()
        self.reads: Counter[Verdict] = Counter()
        self._files, self._issuer, self._complain = files, issuer, complain

    def read(self) -> None:
        at = time.monotonic()
        while not self.over.wait(max(0.0, at - time.monotonic())):
            at = max(at, time.monotonic() - PERIOD) + PERIOD  # after a delay, it does not catch up
            for format_, path in self._files.items():
                verdict = self._look(format_, path)
                self.reads[verdict] += 1
                if verdict is not Verdict.GOOD:
                    self._complain(format_, verdict)

    def _look(self, format_: str, path: Path) -> Verdict:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return Verdict.EMPTY
        return judged(format_, content, self._issuer)
