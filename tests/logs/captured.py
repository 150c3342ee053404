"""What a `LogObserver` writes, captured on a virtual clock."""

import io
import json

from refresher.core.model import SecretStr
from refresher.core.notifications import Notification
from refresher.logs.observer import LogObserver
from refresher.logs.redaction import SecretIndex
from refresher.logs.setup import configure
from tests.core.builders import NOW

SECRET = SecretStr("open-sesame-01")


def redact(text: str) -> str:
    index = SecretIndex()
    index.hold("studio", [SECRET])
    return index.blot_out(text)


class Log:
    """A log that an observer writes."""

    def __init__(self, log_format: str = "json", level: str = "info") -> None:
        self.stream = io.StringIO()
        self.now = NOW
        configure(log_format, level, self.stream, redact)
        self.observer = LogObserver()

    def lines(self) -> list[str]:
        """The lines written since the last call."""
        written = self.stream.getvalue().splitlines()
        self.stream.seek(0)
        self.stream.truncate()
        return written

    def of(self, notification: Notification, *, after: float = 0.0, token: str = "studio") -> dict | None:
        """The entry for a notification, None if it is not logged."""
        self.now += after
        self.observer.on_notification(token, notification, self.now)
        lines = self.lines()
        assert len(lines) <= 1
        return json.loads(lines[0]) if lines else None
