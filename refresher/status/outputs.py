"""The status of a token from its outputs alone. This needs neither the key nor a running daemon."""

from collections.abc import Iterable

from refresher.core.events import Event, Found, InspectFailed
from refresher.core.machine import observe
from refresher.core.state import State, TokenPolicy
from refresher.core.status import TokenStatus, status_of
from refresher.errors import OutputError
from refresher.ports import Clock, Output


def status_of_outputs(policy: TokenPolicy, outputs: Iterable[Output], clock: Clock) -> TokenStatus:
    """Inspects the outputs now. The key, the next refresh and the history of failures are unknown."""
    state = State.initial(policy)
    for output in outputs:
        state, _ = observe(state, policy, _inspected(output, clock), clock.now())
    return status_of(state, policy, clock.now())


def _inspected(output: Output, clock: Clock) -> Event:
    try:
        return Found(output.name, output.inspect(clock.now()))
    except OutputError as error:
        return InspectFailed(output.name, str(error))
