"""Hooks that take a while and fail at random: they run after each write, and for no other reason."""

import random
from collections import Counter
from typing import TYPE_CHECKING

from refresher.errors import HookError
from tests.simulation.virtual import World

if TYPE_CHECKING:
    from tests.simulation.installation import Installation
    from tests.simulation.process import Process

FAILS = 0.3  # of all runs
LONGEST = 20.0  # seconds that a run takes
LANDING = 1.0  # seconds that a write takes at most


class Hooks:
    """What became of all hooks. `owed`: writes since the last success; a file's outlive its process."""

    def __init__(self, world: World) -> None:
        self.dice = random.Random(world.now)  # their own: other stories stay as they are
        self.owed: Counter[tuple[str, str]] = Counter()
        self.written_at: dict[tuple[str, str], float] = {}
        self.settled_since: dict[tuple[str, str], float] = {}  # when the last run that succeeded began
        # By output: which token its last run that succeeded found there, and since when it was there.
        self.served: dict[str, tuple[float, int]] = {}

    def check(self, here: "Installation") -> None:
        """All is well: the consumer of each file has been told of the newest token. A Secret does not
        remember what is owed, so it is not checked once a process was killed, or a token renamed."""
        for name, place in here.outputs.items():
            shows = here.promise.displays[name].history[-1]
            is_remembered = place.kind == "file" or not here.forgets_hooks
            if (
                here.wants.hooks
                and name in here.configured
                and is_remembered
                and self.served.get(name) != shows
            ):
                here.promise.violated(f"no hook has run for token {shows[1]} in {place.name}")


class HookLine:
    """`ports.Hook` of one process."""

    def __init__(self, hooks: Hooks, process: "Process", output: str, kind: str) -> None:
        self.output, self.lane = output, f"hook:{output}"
        self._hooks, self._process = hooks, process
        self._key = (output, "" if kind == "file" else process.name)
        self._remembers = kind == "file"
        self._is_stopped = False

    def owe(self) -> None:
        self._hooks.owed[self._key] += 1
        self._hooks.written_at[self._key] = self._process.here.world.now

    def is_owed(self) -> bool:
        return self._remembers and self._hooks.owed[self._key] > 0

    def run(self) -> str:
        owed, dice, promise = self._hooks.owed[self._key], self._hooks.dice, self._process.here.promise
        began, never = self._process.here.world.now, float("-inf")
        # A run that begins while a write lands may find the former value. It does not count for that write.
        beside = self._hooks.settled_since.get(self._key, never) - self._hooks.written_at.get(
            self._key, never
        )
        if not owed and not beside <= LANDING:
            promise.violated(f"the hook of {self.output} runs, and nothing was written")
        shows = promise.displays[self.output].history[-1]
        self._process.sleep(dice.choice((0.05, 1.0, LONGEST)))
        if dice.random() < FAILS or self._is_stopped:
            raise HookError("it failed")
        self._hooks.owed[self._key] -= owed  # not those that came meanwhile
        self._hooks.settled_since[self._key] = began
        # A run of a process that was suspended meanwhile does not take the newer token back.
        self._hooks.served[self.output] = max(shows, self._hooks.served.get(self.output, shows))
        return "told the consumer"

    def stop(self) -> None:
        """A run in virtual time goes on, and fails."""
        self._is_stopped = True
