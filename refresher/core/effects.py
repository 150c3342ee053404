"""The steps of the machine: effects, which take time, and decisions, which apply at once.

The executor performs effects with threads and sockets, the simulator in a simulated world. docs/adr/0001 says
why these are named tuples.
"""

from typing import NamedTuple

from refresher.core.model import Holding, Reason, SecretStr, Token
from refresher.core.seal import Sealer
from refresher.core.values import distinct

MINT, VERIFY, OUTPUT, HOOK = "mint", "verify", "output", "hook"


@distinct
class Slot(NamedTuple):
    """The place of an effect while it is in flight. One slot holds one effect at a time.

    `kind`: MINT, VERIFY, OUTPUT or HOOK. `target`: the output's name; empty for the issuer and the verifier.
    """

    kind: str
    target: str = ""


MINT_SLOT, VERIFY_SLOT = Slot(MINT), Slot(VERIFY)


@distinct
class Mint(NamedTuple):
    """Ask the issuer for a token."""

    key: SecretStr
    reason: Reason

    @property
    def slot(self) -> Slot:
        return MINT_SLOT


@distinct
class Verify(NamedTuple):
    """Check a new token at the ``verify`` URL, within `budget` seconds."""

    token: Token
    budget: float

    @property
    def slot(self) -> Slot:
        return VERIFY_SLOT


@distinct
class Write(NamedTuple):
    """Publish `token` in one output and seal its record. `reason`: "new", or "repair" after an alteration."""

    output: str
    token: Token
    reason: str
    sealer: Sealer

    @property
    def slot(self) -> Slot:
        return Slot(OUTPUT, self.output)


@distinct
class Inspect(NamedTuple):
    """Read what one output holds. `first`: claim the output and remove stale files before."""

    output: str
    first: bool = False

    @property
    def slot(self) -> Slot:
        return Slot(OUTPUT, self.output)


@distinct
class DryRun(NamedTuple):
    """Check that one output can be written, without changing its content."""

    output: str

    @property
    def slot(self) -> Slot:
        return Slot(OUTPUT, self.output)


@distinct
class RunHook(NamedTuple):
    """Run the hook of one output after its write number `write` (`HookState.writes`)."""

    output: str
    write: int

    @property
    def slot(self) -> Slot:
        return Slot(HOOK, self.output)


@distinct
class Adopt(NamedTuple):
    """Use the valid token that `output` holds instead of minting."""

    output: str
    holding: Holding


@distinct
class RaiseAlarm(NamedTuple):
    """Report that these outputs hold no valid token while another process leads."""

    outputs: tuple[str, ...]


@distinct
class Wait(NamedTuple):
    """Nothing to do before `until` (boot seconds). `reason`: what to do then."""

    until: float
    reason: str


Effect = Mint | Verify | Write | Inspect | DryRun | RunHook  # ends with an event
Decision = Adopt | RaiseAlarm  # applies when `Started` is observed
Action = Effect | Decision
Step = Action | Wait
