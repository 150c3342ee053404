"""What each trouble does to the world, and for how long: one method for each kind, named as in `troubles`."""

from tests.simulation.happenings.configuration import OfTheConfiguration
from tests.simulation.happenings.issuer import OfTheIssuer
from tests.simulation.happenings.keys import OfTheKey
from tests.simulation.happenings.leadership import OfTheApiServer
from tests.simulation.happenings.outputs import OfTheOutputs
from tests.simulation.happenings.process import OfAProcess


class Happenings(OfTheIssuer, OfAProcess, OfTheKey, OfTheOutputs, OfTheConfiguration, OfTheApiServer):
    """Every kind of trouble. See `Base.happen`."""
