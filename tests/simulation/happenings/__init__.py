"""What each trouble does to the world, and for how long: one method for each kind, named as in `troubles`."""

from tests.simulation.happenings.exclusive import OfAnExclusiveIssuer
from tests.simulation.happenings.issuer import OfTheIssuer
from tests.simulation.happenings.keys import OfTheKey
from tests.simulation.happenings.leadership import OfTheApiServer
from tests.simulation.happenings.outputs import OfTheOutputs
from tests.simulation.happenings.sets import OfTheSet


class Happenings(OfTheIssuer, OfTheKey, OfTheOutputs, OfTheSet, OfAnExclusiveIssuer, OfTheApiServer):
    """Every kind of trouble. See `Base.happen`."""
