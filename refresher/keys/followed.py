"""A secret in a file that somebody may replace: the client secret of the consumers' listener."""

import logging
import time

from refresher.core.model import SecretStr
from refresher.errors import KeyUnreadableError
from refresher.ports import KeySource

PERIOD = 2.0  # seconds between two readings, as for keys

log = logging.getLogger("refresher")


class FollowedSecret:
    """The secret of `source`. While the source cannot be read, the last secret stays in use."""

    def __init__(self, source: KeySource) -> None:
        self._source = source
        self._problem = ""
        self.value: SecretStr | None = None  # any thread may read it

    def follow(self) -> None:
        """Read the source now and every few seconds, for ever. Run it on a thread of its own: the file system
        may hang."""
        while True:
            self.read()
            time.sleep(PERIOD)

    def read(self) -> None:
        """Read the source once. Logs each new problem once."""
        try:
            self.value, problem = self._source.read(), ""
        except KeyUnreadableError as error:
            problem = str(error)
            kept = "its last content stays in use" if self.value else "OAuth2 clients get no token until then"
            if problem != self._problem:
                log.warning("%s; %s", problem, kept)
        self._problem = problem
