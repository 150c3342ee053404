"""A token as the configuration describes it now. It stays the same token when it is renamed."""

from dataclasses import dataclass, field
from typing import NamedTuple

from tests.simulation import design
from tests.simulation.issuer import KeyFile
from tests.simulation.wants import Place


class Pace(NamedTuple):
    """How fast a token may be minted since a moment (true time). See `design`; seconds."""

    since: float
    earliest: float
    attempt: float
    request_pause: float


@dataclass
class DesiredToken:
    """`longest`: see `Issuer`. `outputs`: its places now, by the name of the output; without any, the token
    is not configured. `paces`: one for each change, the present one last."""

    number: int
    name: str
    lifetime: float
    refresh_at: float
    longest: float | None
    key: KeyFile
    own: dict[str, Place]
    outputs: dict[str, Place] = field(default_factory=dict)
    paces: list[Pace] = field(default_factory=list)
    is_exclusive: bool = False
    gone_since: float | None = None  # true time since when it is not configured

    @property
    def is_configured(self) -> bool:
        return bool(self.outputs)

    @property
    def lives(self) -> float:
        return min(self.lifetime, self.longest or self.lifetime)

    @property
    def propagation_delay(self) -> float:
        return max(place.propagation_delay for place in self.outputs.values())

    def configured(self, now: float) -> None:
        """The configuration of the token is another one from now on."""
        if not self.is_configured:
            self.gone_since = now if self.gone_since is None else self.gone_since
        else:
            self.gone_since = None
            earliest = design.earliest_exclusive(self) if self.is_exclusive else design.earliest(self)
            pause = design.request_pause(self)
            self.paces.append(Pace(now, 0.999 * earliest, design.attempt(self.lifetime), 0.999 * pause))

    def fastest(self, since: float, until: float) -> Pace:
        """The fastest that was allowed in this period."""
        later = [pace for pace in self.paces if pace.since > since] or self.paces[-1:]
        first = self.paces.index(later[0])
        known = [pace for pace in self.paces[max(0, first - 1) :] if pace.since <= until] or self.paces[:1]
        return Pace(
            since,
            min(pace.earliest for pace in known),
            max(pace.attempt for pace in known),
            min(pace.request_pause for pace in known),
        )
