"""What is promised at an issuer whose new token ends the old one (``exclusive: true``).

1. A mint is sent only if every output with a valid token has proven within the last `PROVEN` seconds that it
   can be written, by a dry run or a write.
2. No mint is sent while another one of the same client is under way, or while another process owns one of
   the token's outputs. With a Lease, only the leader mints (`Promise.minting`).
3. Consumers lack a valid token only from the mint until the write. An output that can be written shows the
   new token within `PUBLISHED` seconds, and within `RECOVERED` seconds after the end of a trouble.

Two cases cannot be avoided: the old token has ended, and nobody knows. If the response is lost, the next
attempt ends that, `RECOVERED` seconds after the trouble at the latest. If the process is lost (killed, or no
longer the leader) between the mint and the first write, the next mint ends it.
"""

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.installation import Installation
    from tests.simulation.issuer import MintedToken
    from tests.simulation.process import Process
    from tests.simulation.promise import Display

PROVEN = 10.0  # seconds
AT_ONCE = 0.2  # seconds from the decision to mint until the request is sent
PUBLISHED = 10.0  # seconds
RECOVERED = 100.0  # seconds: a hanging write is given up after a minute, and tried again half a minute later
AGAIN = 20.0  # seconds between two looks while a trouble lasts
NEVER = float("-inf")
NOT_SOON = float("inf")


class Exclusivity:
    """Watches the mints of one scenario, and knows until when consumers may lack a valid token."""

    def __init__(self, here: "Installation") -> None:
        self._here = here
        self._proven_at: dict[str, float] = {}  # by output
        self._under_way: dict[int, Process] = {}  # who mints, by the number of the token
        self.seen: Counter[str] = Counter()

    def proven(self, output: str) -> None:
        """A dry run or a write of this output has succeeded."""
        self._proven_at[output] = self._here.world.now

    def mint_begins(self, process: "Process", owner: int) -> None:
        """A request for a token is about to be sent. One of a process that was just suspended may be late."""
        here = self._here
        if not here.wants.exclusive or here.world.now < process.suspended_until + 1.0:
            return
        other = self._under_way.get(owner)
        if other is not None and other is not process and other.alive:
            here.promise.violated(f"{process.name} mints while {other.name} does")
        self._under_way[owner] = process
        since = here.world.now - (PROVEN + AT_ONCE) / process.machine.rate
        for name in here.tokens[owner].outputs:
            self.seen["outputs at a mint"] += 1
            if name in here.disk.held_elsewhere:
                here.promise.violated(f"{process.name} mints, and another process owns {_label(name)}")
            if self._shows_a_valid_token(name) and self._proven_at.get(name, NEVER) < since:
                here.promise.violated(f"{process.name} mints, and {_label(name)} may not be writable")

    def mint_ends(self, process: "Process", owner: int) -> None:
        """The request of this process has ended."""
        if self._under_way.get(owner) is process:
            del self._under_way[owner]

    def check(self, owner: int) -> None:
        """Check what the consumers of this token have now, or as soon as they may not lack it any more."""
        if self._here.wants.exclusive:
            for name in self._here.tokens[owner].outputs:
                self._here.promise.check(self._here.promise.displays[name])

    def may_be_without_until(self, display: "Display", shown: int) -> float:
        """True time until which consumers who see the token `shown` may lack a valid one."""
        here = self._here
        newest = here.issuer.last(display.owner) if display.owner is not None else None
        if newest is None or newest.number == shown:
            return 0.0
        if self._is_lost(newest):
            return NOT_SOON
        if self._cannot_be_written(display.name) or (not newest.got and here.issuer.mood is not None):
            return here.world.now + AGAIN
        suspended = max((each.suspended_until for each in here.living()), default=0.0)
        recovered = max(here.world.disturbed_at, here.last_start, suspended) + RECOVERED
        return max(newest.got_at + PUBLISHED if newest.got else newest.minted + RECOVERED, recovered)

    def _is_lost(self, token: "MintedToken") -> bool:
        """Whether nobody has this token or can find it: the process that asked for it is gone."""
        here, process = self._here, token.by
        if process is None or any(each.shows == token.number for each in here.promise.displays.values()):
            return False
        if not process.alive:
            return True
        state = here.state_of(process, here.tokens[token.owner])
        asked = process.machine.now().boot - (here.world.now - token.minted) * process.machine.rate
        return state is None or not state.leads or state.leads_since > asked

    def _shows_a_valid_token(self, name: str) -> bool:
        """Whether it does for a while: the refresher may believe that a token has ended a moment earlier."""
        here, wants = self._here, self._here.wants
        number = here.promise.displays[name].shows
        early = 1.0 + wants.slow + abs(wants.drift) * wants.lives
        return number >= 0 and here.issuer.minted[number].ends > here.world.now + early

    def _cannot_be_written(self, name: str) -> bool:
        here = self._here
        if here.outputs[name].kind == "file":
            disk = here.disk
            return name in disk.fails_with or disk.hangs(name) or name in disk.held_elsewhere
        path = here.secret_path(here.outputs[name])
        return bool(here.api.fault or here.api.cut_off or (path, "") in here.api.denied)


def _label(name: str) -> str:
    return name.rpartition("/")[2]
