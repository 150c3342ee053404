"""How a change of a token's configuration affects its state."""

from collections.abc import Collection

from refresher.core.effects import Slot
from refresher.core.state import NO_FAILURES, Credential, OutputState, State, TokenPolicy


def adapted(
    state: State, before: TokenPolicy, after: TokenPolicy, replaced: Collection[Slot], *, same_key: bool
) -> State:
    """The state under the policy `after`. Unchanged parts are kept.

    `replaced`: slots whose adapter is new or gone. Their outputs are inspected like new ones, and their
    effects in flight no longer count. `same_key`: the key comes from the same source as before.

    Keep the token in hand only if it was requested from the present issuer with the present lifetime. A
    restart adopts no other token either (core/adoption.py). Consumers keep the published token until the next
    one is written.
    """
    known = {output.name: output for output in state.outputs if output.slot not in replaced}
    outputs = tuple(known.get(output.name, OutputState(output.name)) for output in after.outputs)
    state = state.without_flights(replaced)._replace(outputs=outputs)
    if not same_key:
        state = state._replace(key_reads=NO_FAILURES)
    if before.issuer != after.issuer:
        state = _with_new_issuer(state)
    if not after.verifies:
        state = state._replace(trial=None)
    if (before.issuer, before.lifetime) != (after.issuer, after.lifetime):
        state = state._replace(facts=None, token=None, minted_here=False, trial=None)
    return state


def _with_new_issuer(state: State) -> State:
    """Forget what the former issuer revealed about the key and the lifetime of tokens."""
    newest = state.newest
    return state._replace(
        candidate=Credential(newest.key) if newest else None,
        proven=None,
        observed_lifetime=None,
        requested_reason=None,
        requested_during_mint=False,
    )
