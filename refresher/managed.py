"""One token to keep fresh, with all that it needs: what the operator wants, and the adapters."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from refresher.core.effects import MINT_SLOT, OUTPUT, VERIFY_SLOT, Slot
from refresher.core.state import TokenPolicy
from refresher.ports import Issuer, KeySource, Output, Verifier


def _forever() -> float:
    return math.inf


class ManagedToken(NamedTuple):
    """`verifier`: tries new tokens out, where `policy.verifies`. `time_left`: seconds for which this process
    may still act as the leader, as of this very moment."""

    policy: TokenPolicy
    key: KeySource
    outputs: tuple[Output, ...]
    issuer: Issuer
    verifier: Verifier | None = None
    time_left: Callable[[], float] = _forever

    def output(self, name: str) -> Output:
        return next(output for output in self.outputs if output.name == name)

    def lane(self, slot: Slot) -> str:
        """The lane of the effects in this slot."""
        return self.lanes()[slot]

    def lanes(self) -> dict[Slot, str]:
        """Each slot of this token, with its lane."""
        return {slot: adapter.lane for slot, adapter in self.adapters().items()}

    def adapters(self) -> dict[Slot, Issuer | Verifier | Output]:
        """What performs the effects of each slot."""
        adapters: dict[Slot, Issuer | Verifier | Output] = {MINT_SLOT: self.issuer}
        if self.verifier is not None:
            adapters[VERIFY_SLOT] = self.verifier
        return adapters | {Slot(OUTPUT, output.name): output for output in self.outputs}

    def replaced_by(self, other: "ManagedToken") -> set[Slot]:
        """The slots whose adapter `other` does not share: effects in flight there are of no use to it."""
        before, after = self.adapters(), other.adapters()
        return {slot for slot in before.keys() | after.keys() if before.get(slot) is not after.get(slot)}

    def may_act(self) -> bool:
        """Whether this process may mint for this token now."""
        return not self.policy.elected or self.time_left() > 0


class Desired(NamedTuple):
    """The tokens to manage from now on, by name: an event for the engine. See `Engine.apply`."""

    tokens: Mapping[str, ManagedToken]
