"""What a change of a token's configuration means for its state."""

from collections.abc import Collection

from refresher.core.effects import OUTPUT, Slot
from refresher.core.state import Credential, OutputState, State, TokenPolicy


def adapted(
    state: State, before: TokenPolicy, after: TokenPolicy, replaced: Collection[Slot], *, same_key: bool
) -> State:
    """The state under the policy `after`. What has not changed is kept.

    `replaced`: slots whose adapter is another one now. An output there is inspected like a new one; a step in
    flight there does not count any more. `same_key`: the key comes from the same source as before.

    The token in hand stays in use only if the present issuer was asked for it with the present lifetime. A
    restart adopts no other one either (core/adoption.py). Consumers keep the published one until the next is
    there.
    """
    known = {output.name: output for output in state.outputs if output.slot not in replaced}
    outputs = tuple(known.get(output.name, OutputState(output.name)) for output in after.outputs)
    slots = {Slot(OUTPUT, output.name) for output in after.outputs}
    gone = {
        each.effect.slot
        for each in state.in_flight
        if each.effect.slot in replaced or (each.effect.slot.kind == OUTPUT and each.effect.slot not in slots)
    }
    state = state.without_flights(gone)._replace(outputs=outputs)
    if not same_key:
        state = state._replace(key_problem=None)
    if before.issuer != after.issuer:
        state = _with_another_issuer(state)
    if not after.verifies:
        state = state._replace(trial=None)
    if (before.issuer, before.lifetime) != (after.issuer, after.lifetime):
        state = state._replace(facts=None, token=None, minted_here=False, trial=None)
    return state


def _with_another_issuer(state: State) -> State:
    """What the issuer before has said of the key, and of how long tokens live, says nothing of this one."""
    newest = state.newest
    return state._replace(
        candidate=Credential(newest.key) if newest else None,
        proven=None,
        observed_lifetime=None,
        requested_reason=None,
        requested_during_mint=False,
    )
