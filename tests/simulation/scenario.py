"""Random days in the life of a refresher, from a seed, and the invariants that hold on every one of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from refresher.core import schedule
from refresher.core.messages import RefreshRequested
from refresher.core.model import Declined, Outcome
from refresher.ports import Letter
from tests.simulation.world import (
    Installation,
    SimulatedIssuer,
    SimulatedKey,
    SimulatedOutput,
    World,
    policy,
)

QUIET = 150.0  # between two troubles: room for the longest wait, an attempt, a write that is retried
EFFECT = 10.0  # within this, a new key or an operator's word leads to its mint

WAYS_TO_FAIL = (
    Declined(Outcome.UNREACHABLE, "connection refused"),
    Declined(Outcome.TIMEOUT, "no answer"),
    Declined(Outcome.SERVER_ERROR, "500"),
    Declined(Outcome.BAD_RESPONSE, "not JSON"),
    Declined(Outcome.KEY_REFUSED, "403 from a proxy that has lost its mind"),
    Declined(Outcome.THROTTLED, "429"),
    Declined(Outcome.THROTTLED, "429", retry_after=5.0),
    Declined(Outcome.THROTTLED, "503", retry_after=7200.0),
)


@dataclass
class Scenario:
    """One installation, its troubles, and what was seen. `broken` lists every violation, readable."""

    seed: int
    days: float
    story: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world = World(self.seed)
        dice = self.world.dice
        lifetime = dice.choice((600.0, 900.0, 3600.0, 7200.0, 6 * 3600.0, 24 * 3600.0))
        runway = dice.choice((0.0, 0.0, 30.0, 120.0))
        kinds: list[dict[str, bool]] = [{}, {"opaque": True}, {"needs_refresh": True}, {"no_refresh": True}]
        self.outputs = tuple(
            SimulatedOutput(f"output-{number}", **dice.choice(kinds)) for number in range(dice.randint(1, 3))
        )
        self.policy = policy(
            self.outputs, lifetime=lifetime, runway=runway, refresh_at=dice.choice((0.5, 0.7, 0.8))
        )
        self.issuer = SimulatedIssuer(self.world, {"key-0"}, slow=dice.choice((0.1, 2.0)))
        self.key = SimulatedKey(self.world, "key-0")
        self.installation = Installation(self.world, self.issuer, self.key, self.policy, self.outputs)
        self.headroom = schedule.headroom(lifetime, self.policy.refresh_at, runway, self.policy.timeout)
        self.end = self.world.boot + self.days * 86400
        self.excused: set[str] = {output.name for output in self.outputs}  # no valid token owed there now
        self.may_mint_early: list[float] = []
        self.keys_made = 0
        self.clock_behind_until = 0.0
        self._plan_next_trouble()

    def run(self) -> "Scenario":
        self.world.watch = self._check_consumers
        self.installation.run(self.end)
        self._check_mints()
        return self

    def tell(self, text: str) -> None:
        self.story.append(f"{self.world.boot:12.1f} {text}")

    def violated(self, text: str) -> None:
        self.broken.append(f"seed {self.seed}, {self.world.boot:.1f}: {text}")
        self.tell(f"VIOLATED: {text}")

    # --- Troubles, one after another, each shorter than the headroom.

    def _plan_next_trouble(self) -> None:
        wait = self.world.dice.uniform(QUIET, 2 * self.policy.lifetime)
        self.world.after(wait, self._trouble)

    def _trouble(self) -> None:
        if self._still_recovering():
            self.world.after(QUIET, self._trouble)
            return
        kinds: tuple[Callable[[], float], ...] = (
            self._outage,
            self._outage,
            self._kill,
            self._new_key,
            self._bad_key,
            self._key_vanishes,
            self._output_breaks,
            self._output_is_deleted,
            self._same_token,
            self._operator_asks,
            self._wall_clock_jumps,
        )
        lasts = self.world.dice.choice(kinds)()
        self.world.after(lasts, self._plan_next_trouble)

    def _still_recovering(self) -> bool:
        """An issuer that asked to be left alone for long is left alone; the promise is about one outage."""
        _, state = next(self.installation.engine.view())
        return state.proven is None or state.proven.failures > 0

    def _outage(self) -> float:
        lasts = self.world.dice.uniform(0, 1) * self.headroom
        self.issuer.failing = self.world.dice.choice(WAYS_TO_FAIL)
        self.tell(f"issuer fails for {lasts:.0f} s: {self.issuer.failing.outcome}")
        self.world.after(lasts, self._issuer_recovers)
        if self.world.dice.random() < 0.3:
            self.world.after(self.world.dice.uniform(0, lasts), self._kill)
        return lasts

    def _issuer_recovers(self) -> None:
        self.tell("issuer recovers")
        self.issuer.failing, self.issuer.same_token = None, False

    def _same_token(self) -> float:
        lasts = self.world.dice.uniform(0, 1) * self.headroom
        self.tell(f"issuer repeats its last token for {lasts:.0f} s")
        self.issuer.same_token = True
        self.world.after(lasts, self._issuer_recovers)
        return lasts

    def _kill(self) -> float:
        if self.world.boot < self.clock_behind_until:
            return 0.0
        self.tell("kill -9")
        in_hand = self.issuer.minted and self.issuer.last_fingerprint not in {
            fingerprint for output in self.outputs for _, fingerprint in output.written
        }
        _, state = next(self.installation.engine.view())
        if in_hand or state.minting is not None:  # a mint under way is answered to nobody
            self.may_mint_early.append(self.world.boot)
        self.installation.kill()
        return 5.0

    def _new_key(self) -> float:
        self.keys_made += 1
        content = f"key-{self.keys_made}"
        self.tell(f"new key {content}")
        self.issuer.keys.add(content)
        self.key.change(content)
        changed = self.world.boot
        self.may_mint_early.append(changed)
        self.world.after(10.0, lambda: self._check_key_in_use(content))
        self.world.after(60.0, lambda: self.issuer.keys.intersection_update({content}))
        return 60.0

    def _check_key_in_use(self, content: str) -> None:
        if self.issuer.minted[-1][1] != content:
            self.violated(f"10 s after its file changed, {content} is not in use")

    def _bad_key(self) -> float:
        good = self.key.content
        lasts = self.world.dice.uniform(1, 4 * self.policy.lifetime)
        self.tell(f"a bad key for {lasts:.0f} s")
        self.key.change("typo")
        self.world.after(lasts, lambda: self.key.change(good))
        return lasts

    def _key_vanishes(self) -> float:
        good = self.key.content
        lasts = self.world.dice.uniform(1, 4 * self.policy.lifetime)
        self.tell(f"the key file is gone for {lasts:.0f} s")
        self.key.change(None)
        self.world.after(lasts, lambda: self.key.change(good))
        return lasts

    def _output_breaks(self) -> float:
        output = self.world.dice.choice(self.outputs)
        lasts = self.world.dice.uniform(0, 1) * self.headroom
        self.tell(f"{output.name} cannot be written for {lasts:.0f} s")
        output.broken = True
        self.world.after(lasts, lambda: setattr(output, "broken", False))
        return lasts

    def _output_is_deleted(self) -> float:
        output = self.world.dice.choice(self.outputs)
        self.tell(f"{output.name} is deleted")
        output.content = None
        self.excused.add(output.name)
        self.may_mint_early.append(self.world.boot)  # where the value of an adopted token is not known
        self.world.after(60.0, lambda: self._check_repaired(output))
        return 60.0

    def _check_repaired(self, output: SimulatedOutput) -> None:
        if output.content is None:
            self.violated(f"{output.name} was not put right within a minute")

    def _operator_asks(self) -> float:
        self.tell("SIGUSR1")
        self.may_mint_early.append(self.world.boot)
        self.installation.mailbox.post(Letter(None, RefreshRequested()))
        return 1.0

    def _wall_clock_jumps(self) -> float:
        by = self.world.dice.choice((-7200.0, -600.0, -1.0, 1.0, 60.0, 600.0, 7200.0))
        self.tell(f"wall clock jumps by {by:+.0f} s")
        self.world.wall_ahead += by
        self.may_mint_early.append(self.world.boot)
        if (
            by < 0
        ):  # a successor would find issues in its future and could believe none: not one trouble but two
            self.clock_behind_until = self.world.boot - by
        return 1.0

    # --- Invariants.

    def _check_consumers(self) -> None:
        """1: every output holds a token that the issuer would accept, at every moment."""
        for output in self.outputs:
            content = output.content
            if content is None:
                valid = False
            else:
                valid = self.issuer.really_lives[content.facts.fingerprint] > self.world.boot
            if valid:
                self.excused.discard(output.name)
            elif output.name not in self.excused:
                self.excused.add(output.name)
                self.violated(f"{output.name} holds no valid token")

    def _check_mints(self) -> None:
        """3: at most one mint in (refresh_at - 10 %) of a lifetime, but for what operator and kills cost."""
        lifetime, refresh_at, runway = self.policy.lifetime, self.policy.refresh_at, self.policy.runway
        latest = schedule.latest_due_age(lifetime, refresh_at, runway)
        shortest = min(latest, (refresh_at - 0.1) * lifetime) - 2 * self.issuer.slow
        times = [at for at, _ in self.issuer.minted]
        for before, after in pairwise(times):
            if after - before < shortest and not any(
                before - EFFECT <= excuse <= after for excuse in self.may_mint_early
            ):
                self.violated(
                    f"minted after {after - before:.0f} s, sooner than {shortest:.0f} s, at {after:.1f}"
                )
        allowed = len(times) + 40 * self.days * 24  # at most one probe or retry in 90 s on the average
        if len(self.issuer.asked) > allowed:
            self.violated(f"{len(self.issuer.asked)} requests for {len(times)} tokens: a storm")
