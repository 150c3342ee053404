"""A consumer that reads a hundred times a second, and what it makes of each value it reads."""

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

PERIOD = 0.01  # seconds between two looks at every file
FORMATS = ("token", "json", "env")
_JSON_FIELDS = {"access_token", "token_type", "expires_at", "expires_in"}


class Verdict(StrEnum):
    GOOD = "good"
    EMPTY = "empty"  # nothing in the file, or no file
    TORN = "torn"  # something that was never issued as it stands there
    EXPIRED = "expired"  # a token whose time is over


def judged(form: str, content: bytes, issuer: Emulator) -> Verdict:
    """What a consumer of this format gets out of this content, at this moment."""
    if not content:
        return Verdict.EMPTY
    token = token_in(form, content)
    if token is None:
        return Verdict.TORN
    if issuer.valid(token):
        return Verdict.GOOD
    return Verdict.EXPIRED if _has_expired(token, issuer.url) else Verdict.TORN


def token_in(form: str, content: bytes) -> str | None:
    """The token in a whole value of this format. Not read by the program's own code: this is a stranger."""
    try:
        text = content.decode("ascii")
        if form == "json":
            document = json.loads(text)
            is_whole = text.endswith("}\n") and set(document) == _JSON_FIELDS
            return str(document["access_token"]) if is_whole else None
    except ValueError:
        return None
    pattern = r"INLIVE_ACCESS_TOKEN=(\S+)\n" if form == "env" else r"(\S+)"
    found = re.fullmatch(pattern, text)
    return found[1] if found else None


def _has_expired(token: str, url: str) -> bool:
    """Whether the API calls it expired, rather than unknown. Asked seldom: the run ends with it."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(
            f"{url}/v1/rooms/create", json={}, headers={"Authorization": f"Bearer {token}"}, timeout=10
        )
    return "X-Access-Token-Expired" in answer.headers


class Reader:
    """Reads `files`, by format, until it is `over`. Whatever is not good is told to `complain`,
    format and verdict."""

    def __init__(
        self, files: Mapping[str, Path], issuer: Emulator, complain: Callable[[str, Verdict], None]
    ) -> None:
        self.over = threading.Event()
        self.reads: Counter[Verdict] = Counter()
        self._files, self._issuer, self._complain = files, issuer, complain

    def read(self) -> None:
        at = time.monotonic()
        while not self.over.wait(max(0.0, at - time.monotonic())):
            at = max(at, time.monotonic() - PERIOD) + PERIOD  # held up, it does not make up for it
            for form, path in self._files.items():
                verdict = self._look(form, path)
                self.reads[verdict] += 1
                if verdict is not Verdict.GOOD:
                    self._complain(form, verdict)

    def _look(self, form: str, path: Path) -> Verdict:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return Verdict.EMPTY
        return judged(form, content, self._issuer)
