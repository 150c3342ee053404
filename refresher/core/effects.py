"""What the machine wants done: effects, which take time and I/O, and decisions, which do not.

Named tuples rather than dataclasses: see docs/adr/0001. The executor performs effects with threads and
sockets, the simulator with a simulated world.
"""

from typing import NamedTuple

from refresher.core.model import Holding, Reason, SecretStr, Token
from refresher.core.seal import Sealer
from refresher.core.values import distinct


@distinct
class Mint(NamedTuple):
    """Ask the issuer for a token."""

    key: SecretStr
    reason: Reason


@distinct
class Write(NamedTuple):
    """Publish `token` in one output and seal its record. `reason`: "new", or "repair" of what was altered."""

    output: str
    token: Token
    reason: str
    sealer: Sealer


@distinct
class Inspect(NamedTuple):
    """Look at what one output holds. `first`: claim it, and clear up there, before."""

    output: str
    first: bool = False


@distinct
class DryRun(NamedTuple):
    """Try out whether one output can be written, and leave it as it is."""

    output: str


@distinct
class Adopt(NamedTuple):
    """Take over the valid token that `output` was found to hold. Takes no I/O: starting it is doing it."""

    output: str
    holding: Holding


@distinct
class RaiseAlarm(NamedTuple):
    """Report that these outputs hold no valid token although another process leads. Starting is doing it."""

    outputs: tuple[str, ...]


@distinct
class Wait(NamedTuple):
    """Nothing to do before `until` (boot seconds), and then what."""

    until: float
    reason: str


Effect = Mint | Write | Inspect | DryRun  # takes time, and comes back as an event
Action = Effect | Adopt | RaiseAlarm
Step = Action | Wait
