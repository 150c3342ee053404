"""The faults of one installation, from a seed: one after another, each over before its consumers could
notice, with kills all the while."""

import random
import threading
import time
from collections.abc import Callable

from tests.chaos.installation import STARTS_WITHIN, Installation, Terms
from tests.chaos.place import Disk
from tests.chaos.proxy import FAULTS
from tests.commands.daemon import eventually

TERMS = (Terms(20, 0.2), Terms(20, 0.4), Terms(30, 0.5), Terms(16, 0.3))
START_ROOM = 4.0  # seconds of the headroom reserved for starting on a busy machine
ONE_VALUE = 50  # bytes; a token has 43
KINDS = ((), ("wire",), ("host",), ("host",), ("wire", "host"), ("unfelt",))
LONGER = (1.0, 1.5)  # lifetimes; the duration of faults that an undisturbed daemon does not notice
PEACEFUL = 0.4  # the share of faults of wire or host without kills
AIMED = 0.01  # seconds from a response to its write, mostly


class Scenario:
    """Runs faults on one installation until it is `over`. `rate`: kills and stops a second then."""

    def __init__(
        self, installation: Installation, dice: random.Random, over: threading.Event, rate: float
    ) -> None:
        self._until = 0.0
        self._it, self._dice, self._over, self._rate = installation, dice, over, rate
        self._longest = installation.terms.headroom - START_ROOM
        self._hosts: dict[str, Callable[[], None]] = {
            "full disk": lambda: self._it.place.fill(self._dice.randrange(3)),
            "read-only directory": self._it.place.forbid,
            "another CA": self._it.trust.replace_authority,
            "writes cut short": lambda: self._it.limit_files(self._dice.randrange(ONE_VALUE)),
        }
        if installation.place.disk is not Disk.SMALL:
            del self._hosts["full disk"]
        self._unfelt: dict[str, Callable[[], None]] = {"log is not read": self._it.leave_unread}
        if installation.tasks is not None:
            self._hosts["threads refused"] = self._unfelt["no more threads"] = installation.tasks.refuse
        if installation.place.disk is Disk.HANGING:
            self._hosts["hung file system"] = lambda: self._it.place.hang(self._until - time.monotonic())

    def play(self) -> None:
        """Raises AssertionError if it does not recover from a fault within a lifetime."""
        self._recover(within=STARTS_WITHIN)
        reader = threading.Thread(target=self._it.reader.read)
        reader.start()
        try:
            while not self._over.is_set():
                self._trouble()
                self._recover(within=self._it.terms.lifetime)
            self._it.end()
        finally:
            self._it.reader.over.set()
            reader.join()

    def _trouble(self) -> None:
        kinds = self._dice.choice(KINDS)
        lasts = self._dice.uniform(0.3, 1.0) * self._longest
        if "unfelt" in kinds:
            lasts = self._dice.uniform(*LONGER) * self._it.terms.lifetime
        self._until = until = time.monotonic() + lasts
        if "wire" in kinds:
            self._it.proxy.fault = self._begun(self._dice.choice(list(FAULTS)))
        for kind, among in (("host", self._hosts), ("unfelt", self._unfelt)):
            if kind in kinds:
                among[self._begun(self._dice.choice(list(among)))]()
        # A process that goes on learns to wait.
        if "unfelt" in kinds or (kinds and self._dice.random() < PEACEFUL):
            self._over.wait(until - time.monotonic())
        while (left := until - time.monotonic()) > 0 and not self._over.is_set():
            self._over.wait(min(left, self._dice.expovariate(self._rate)))
            self._dice.choice((self._it.kill, self._ambush, self._ambush, self._pause))()
        self._it.proxy.fault = None
        self._it.limit_files(None)
        self._it.place.mend()
        self._it.read_on()
        self._it.trust.publish()
        if self._it.tasks is not None:
            self._it.tasks.allow()
        self._it.tell("all is well again")

    def _begun(self, kind: str) -> str:
        self._it.did[f"fault: {kind}"] += 1
        self._it.tell(f"{kind} begins")
        return kind

    def _ambush(self) -> None:
        """Kill it while it writes the token just issued."""
        if self._it.is_ready:
            self._it.ask_for_mint()
            if self._it.proxy.await_answer(0.5):
                if self._dice.random() < 0.5:
                    time.sleep(self._dice.uniform(0, AIMED))
                else:
                    self._it.await_write(self._dice.randrange(6), AIMED)
                self._it.did["kills aimed at a write"] += 1
        self._it.kill()

    def _pause(self) -> None:
        self._it.pause(self._dice.uniform(0.05, 1.0), self._over)

    def _recover(self, within: float) -> None:
        def look() -> bool:
            return self._it.has_recovered()

        eventually(look, f"{self._it.name} has recovered", within)
        self._over.wait(self._dice.uniform(0, 1))
