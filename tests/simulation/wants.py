"""How a refresher is set up, and what the world around it is like, troubles apart."""

from typing import NamedTuple

from refresher.core.formats import Format

TEMPLATE = "token = $access_token until $expires_at\n"


class Place(NamedTuple):
    """One output. `form`: of a file that of its content, of a Secret that of its one key."""

    kind: str  # "file", "secret"
    form: str
    propagation_delay: float
    number: int
    deletes: bool = False  # on_remove: delete

    @property
    def name(self) -> str:
        return f"output-{self.number}"


class Guest(NamedTuple):
    """A further token, with a key and outputs of its own."""

    lifetime: float
    refresh_at: float
    places: tuple[Place, ...]


class Wants(NamedTuple):
    """Everything that stays as it is."""

    lifetime: float
    refresh_at: float
    places: tuple[Place, ...]
    processes: int
    slow: float  # seconds, the longest that the issuer takes when all is well
    longest: float | None  # seconds, the longest lifetime that the issuer grants
    drift: float  # of the machines' clocks, relative
    dense: bool  # without lulls
    verifies: bool = False  # new tokens are tried out (issuer.verify)
    hooks: bool = False  # each output has a hook
    guests: tuple[Guest, ...] = ()
    narrow: bool = False  # lanes in which tokens often wait for each other
    exclusive: bool = False  # a new token ends the old one

    @property
    def lives(self) -> float:
        return min(self.lifetime, self.longest or self.lifetime)

    @property
    def propagation_delay(self) -> float:
        return max(place.propagation_delay for place in self.all_places)

    @property
    def all_places(self) -> tuple[Place, ...]:
        return (*self.places, *(place for guest in self.guests for place in guest.places))

    @property
    def has_file(self) -> bool:
        return any(place.kind == "file" for place in self.all_places)

    @property
    def has_secret(self) -> bool:
        return any(place.kind == "secret" for place in self.all_places)


def format_of(place: Place) -> Format:
    return Format(place.form, TEMPLATE if place.form == "template" else None)
