"""What each trouble does to the world, and for how long: one method a kind."""

import errno
from collections import Counter
from collections.abc import Callable

from refresher.core.backoff import INSPECT_EVERY
from refresher.core.effects import Mint, Write
from refresher.core.events import ExpiryReported, RefreshRequested
from refresher.core.machine import STALLED
from refresher.core.model import Verdict
from refresher.engine import MOMENT
from refresher.executor import GIVE_UP, MINT_GRACE
from refresher.lanes import COUNTS_FOR
from refresher.ports import Message
from tests.simulation import design
from tests.simulation.apiserver import FAULTS
from tests.simulation.disk import Hang
from tests.simulation.installation import LEASE_DURATION, Installation, lease
from tests.simulation.issuer import MOODS
from tests.simulation.promise import EFFECT
from tests.simulation.troubles import Plan, Trouble
from tests.simulation.virtual import World

JUMPS = (-7200.0, -600.0, -30.0, -1.0, 1.0, 30.0, 600.0, 7200.0)
LONG_ENOUGH = 600.0
SETTLING = 150.0  # seconds, after the start of a token: room for a look, an attempt, a write tried again
NOT_SOON = float("inf")
HANGS = ("goes on", "fails", "for ever")
REPORTED = INSPECT_EVERY + STALLED + 5.0  # seconds within which it is told that an output hangs
LONG_FOR_EVER = 3 * GIVE_UP  # what hangs on a server that is gone holds its thread, and there are four
DISK_ERRORS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO)


class Happenings:
    """Lets troubles happen; `faults` counts them by kind."""

    def __init__(self, plan: Plan, world: World, here: Installation) -> None:
        self.plan, self.world, self.here = plan, world, here
        self.promise, self.issuer, self.key = here.promise, here.issuer, here.key
        self.lives = plan.wants.lives
        self.faults: Counter[str] = Counter()
        self._keys_made = 0
        self._hung_for_ever: Counter[str] = Counter()  # by process
        self._set_back_at = float("-inf")
        self._spare = NOT_SOON  # how long what comes along with a trouble may last

    def happen(self, trouble: Trouble) -> float:
        """Begin it; returns how many seconds it lasts."""
        self.world.disturb()
        self.faults[trouble.kind] += 1
        happening: Callable[[Trouble], float] = getattr(self, trouble.kind)
        return happening(trouble)

    def _until(self, seconds: float, text: str, undo: Callable[[], None]) -> float:
        """It lasts so long, and then is undone."""
        self.promise.tell(f"{text}, for {seconds:.0f} s")

        def end() -> None:
            self.world.disturb()
            undo()
            self.promise.tell("… is over")

        self.world.plan(self.world.now + seconds, end)
        return seconds

    def _bearable(self, *, spare: float = 0.0) -> float:
        """How long the issuer, an output or we ourselves may fail: the headroom, less how far a clock drifts,
        a write that fails along with it, and with two processes the time to take over."""
        wants = self.plan.wants
        if wants.processes > 1:
            spare += LEASE_DURATION + 5.0
        less = spare + abs(wants.drift) * wants.lives + 2 * wants.slow
        return max(0.0, design.headroom(wants) - less)

    def _along_with(self, trouble: Trouble, lasts: float) -> None:
        """Another one may come on the way."""
        also = trouble.also
        if also is not None:
            self._spare = (1 - also.lasts) * lasts  # what the other one may last
            self.world.plan(self.world.now + also.lasts * lasts, lambda: self.happen(also))

    def _at_most(self, seconds: float) -> float:
        """While a Lease is contended every second is played: not for days."""
        return seconds if self.plan.wants.processes == 1 else min(seconds, LONG_ENOUGH)

    def _pick(self, trouble: Trouble, among: tuple) -> object:
        return among[min(len(among) - 1, int(trouble.pick * len(among)))]

    # --- The issuer.

    def outage(self, trouble: Trouble) -> float:
        lasts = trouble.lasts * self._bearable()
        mood = self._pick(trouble, MOODS)
        self.issuer.mood = mood

        def end() -> None:
            self.issuer.mood = None

        self._along_with(trouble, lasts)
        return self._until(lasts, f"the issuer fails: {mood.name}", end)

    def resolver_hangs(self, trouble: Trouble) -> float:
        """An attempt that hangs is given up a while after its budget has run out, and tried anew."""
        lasts = trouble.lasts * self._bearable(spare=MINT_GRACE + 2.0)
        takes = self._pick(trouble, (0.0, 1.0, 30.0))
        self.issuer.resolver_hangs_until, self.issuer.resolving_takes = self.world.now + lasts, takes
        self._along_with(trouble, lasts)
        return self._until(lasts, f"no name is resolved ({takes:.0f})", lambda: None)

    def slow_answers(self, trouble: Trouble) -> float:
        self.issuer.dawdles = True
        lasts = trouble.lasts * 3 * self.lives
        return self._until(lasts, "the issuer is slow", lambda: setattr(self.issuer, "dawdles", False))

    def same_token(self, trouble: Trouble) -> float:
        self.issuer.repeats = True
        lasts = trouble.lasts * self._bearable()
        return self._until(
            lasts, "the issuer repeats its last token", lambda: setattr(self.issuer, "repeats", False)
        )

    def token_ends_early(self, trouble: Trouble) -> float:
        """A consumer is told that its token has expired, and reports it."""
        leader = self.here.leader()
        state = self.here.state_of(leader) if leader else None
        facts = state.facts if state else None
        if facts is None:
            return 0.0
        token = self.issuer.of_fingerprint[facts.fingerprint]
        token.ends = min(token.ends, self.world.now)
        age = self.world.now - token.minted
        replaced = max(0.0, design.soonest(self.plan.wants) * 1.001 - age)
        until = replaced + EFFECT + 2 * self.plan.wants.slow
        self.promise.excuse(until + self.plan.wants.propagation_delay)
        self.promise.tell(f"token {token.number} ends early, and that is reported")
        self.promise.may_cost_a_mint("its end was reported")
        self.world.after(
            replaced, lambda: self.promise.may_cost_a_mint("the next is believed to live as short")
        )
        leader.mailbox.post(Message(None, ExpiryReported(facts.fingerprint)))
        self.world.plan(self.world.now + until, lambda: self._ask(leader))
        return until + 1.0

    def _ask(self, process: object) -> None:
        """Have all minted anew: else no later token is believed to live longer than this one did."""
        self.promise.tell(f"SIGUSR1 for {process.name}")
        self.promise.may_cost_a_mint("an operator asked")
        process.mailbox.post(Message(None, RefreshRequested()))

    # --- The process and its machine.

    def kill(self, trouble: Trouble) -> float:
        victim = self._victim(trouble)
        if victim is None:
            return 0.0
        self.here.downtime = 0.1 + 5.0 * trouble.pick
        victim.kill()
        return self.here.downtime

    def kill_in_a_write(self, trouble: Trouble) -> float:
        return self._light_fuse(trouble, Write, 11)  # a file takes ten, and one to tell

    def kill_in_a_mint(self, trouble: Trouble) -> float:
        return self._light_fuse(trouble, Mint, 3)

    def _light_fuse(self, trouble: Trouble, effect: type, most: int) -> float:
        victim = self._victim(trouble)
        if victim is not None:
            effects = int(trouble.pick * most)
            self.promise.tell(
                f"{victim.name} is to be killed at effect {effects} of its next {effect.__name__}"
            )
            victim.light_fuse(effect, effects)
        return 0.9 * self.lives

    def _victim(self, trouble: Trouble) -> object:
        """Whose clock was set back while it held a token is spared: its successor would believe that the
        token is younger than it is, or of the future. That is two troubles."""
        if self.world.now - self._set_back_at < 1.1 * self.lives + 7200:
            return None
        living = self.here.living()
        return self.here.leader() or (living[0] if living else None)

    def suspended(self, trouble: Trouble) -> float:
        victim = self.here.leader()
        if victim is None:
            return 0.0
        spare = min(self._spare, self._bearable(spare=15.0))
        self._spare = NOT_SOON
        return self._suspend(victim, self._at_most(trouble.lasts * spare))

    def suspended_too_long(self, trouble: Trouble) -> float:
        lasts = self._at_most(trouble.lasts * 2 * self.lives)
        if self.plan.wants.processes == 1:
            self.promise.excuse(
                lasts + EFFECT + 2 * self.plan.wants.slow + self.plan.wants.propagation_delay + 10.0
            )
        return self._suspend(self.here.leader(), lasts)

    def _suspend(self, victim: object, lasts: float) -> float:
        self.here.last_suspension[victim.name] = lasts
        victim.suspended_until = self.world.now + lasts
        state = self.here.state_of(victim)
        if state and state.is_minting:
            self.promise.may_cost_a_mint("suspended between a mint and its first write")
        return self._until(lasts, f"{victim.name} is suspended", lambda: None)

    def threads_refused(self, trouble: Trouble) -> float:
        """What was not begun meanwhile is begun a moment later; what was given up is tried anew."""
        lasts = trouble.lasts * self._bearable(spare=MINT_GRACE + 2 * MOMENT)
        self.here.threads_refused = True
        self._along_with(trouble, lasts)
        undo = lambda: setattr(self.here, "threads_refused", False)  # noqa: E731
        return self._until(lasts, "the system refuses threads", undo)

    def reboot(self, trouble: Trouble) -> float:
        """The boot clock begins anew."""
        victim = self._victim(trouble)
        if victim is None:
            return 0.0
        lasts = trouble.lasts * self._bearable(spare=15.0)
        self.here.downtime = lasts
        machine = victim.machine
        victim.kill()
        return self._until(lasts, "the machine is down", machine.reboot)

    def wall_clock_jumps(self, trouble: Trouble) -> float:
        """With two processes, whose clocks must agree to a second or so, only by that."""
        by = self._pick(trouble, JUMPS if self.plan.wants.processes == 1 else (-1.0, 1.0))
        self.promise.tell(f"the wall clock jumps by {by:+.0f} s")
        for machine in self.here.machines:
            machine.wall_ahead += by
        self.promise.may_cost_a_mint("the wall clock was set")
        if by < 0:
            self._set_back_at = self.world.now
        return 1.0

    # --- Keys.

    def new_key(self, trouble: Trouble) -> float:
        self._keys_made += 1
        content = f"s3cr3t-key-{self._keys_made}"
        self.promise.tell(f"a new key: number {self._keys_made}")
        self.issuer.keys.add(content)
        self.promise.may_cost_a_mint("the key was changed")
        self.key.change(content)
        if self.plan.wants.slow < 1:
            self.world.after(EFFECT, lambda: self.promise.check_key_in_use(content))
        self.world.plan(
            self.world.now + 60.0, lambda: self.issuer.keys.intersection_update({content, self.key.content})
        )
        return 60.0

    def bad_key(self, trouble: Trouble) -> float:
        good = self.key.content
        self.key.change("s3cr3t-typo")
        return self._until(trouble.lasts * 4 * self.lives, "a bad key", lambda: self.key.change(good))

    def key_vanishes(self, trouble: Trouble) -> float:
        good = self.key.content
        self.key.change(None)
        return self._until(trouble.lasts * 4 * self.lives, "no key file", lambda: self.key.change(good))

    def key_hangs(self, trouble: Trouble) -> float:
        """The key's directory does not answer; in half of the cases the key is changed meanwhile."""
        lasts = trouble.lasts * 4 * self.lives
        self.key.hangs_until = self.world.now + lasts
        self.key.have_read()
        if trouble.pick < 0.5:
            self.world.plan(self.world.now + lasts / 2, self._change_unseen)
        return self._until(lasts, "the key file hangs", lambda: None) + 60.0

    def _change_unseen(self) -> None:
        """Nobody can read it yet, so the old one goes on being accepted."""
        self._keys_made += 1
        before, content = self.key.content, f"s3cr3t-key-{self._keys_made}"
        self.promise.tell(f"a new key, not seen yet: number {self._keys_made}")
        self.issuer.keys.add(content)
        self.key.content = content

        def seen() -> None:
            self.promise.may_cost_a_mint("the key was changed")
            if self.plan.wants.slow < 1:
                self.world.after(EFFECT, lambda: self.promise.check_key_in_use(content))

        self.world.plan(self.key.hangs_until, seen)
        self.world.plan(self.key.hangs_until + 60.0, lambda: self.issuer.keys.discard(before))

    # --- Outputs.

    def output_hangs(self, trouble: Trouble) -> float:
        """A step in flight is given up after a while at the latest, and tried anew within half a minute."""
        files = tuple(name for name, place in self.here.outputs.items() if place.kind == "file")
        which = self._pick(trouble, (*((name,) for name in files), files))
        how = self._pick(trouble._replace(pick=trouble.pick * 7 % 1), HANGS)
        spare = 40.0
        if how == "for ever":
            holder = self.here.leader().name
            before = self._hung_for_ever[holder]
            self._hung_for_ever[holder] += 1
            spare += GIVE_UP + before * 8 * COUNTS_FOR  # it is the longer, the more threads are lost already
        lasts = trouble.lasts * self._bearable(spare=spare)
        if how == "for ever":
            lasts = min(lasts, LONG_FOR_EVER) if before < 2 else 0.0
        self.here.disk.hang = Hang(which, self.world.now + lasts, how == "fails", how == "for ever")
        self._along_with(trouble, lasts)
        if trouble.also is None and lasts > REPORTED:
            told = self.promise.seen["OutputFailed"]
            self.world.plan(self.world.now + REPORTED, lambda: self.promise.check_told("OutputFailed", told))
        undo = lambda: setattr(self.here.disk, "hang", None)  # noqa: E731
        return self._until(lasts, f"{len(which)} of the files hang; what hangs {how}", undo)

    def output_cannot_be_written(self, trouble: Trouble) -> float:
        name = self._pick(trouble, tuple(self.here.outputs))
        code = self._pick(trouble._replace(pick=trouble.pick * 7 % 1), DISK_ERRORS)
        disk = self.here.disk
        disk.fails_with[name], disk.fails_reads = code, code == errno.EIO
        lasts = trouble.lasts * self._bearable(spare=20.0)
        text = f"{self.here.outputs[name].name} cannot be written: {errno.errorcode[code]}"
        return self._until(lasts, text, disk.fails_with.clear)

    def output_is_deleted(self, trouble: Trouble) -> float:
        return self._damage(trouble, None)

    def output_is_altered(self, trouble: Trouble) -> float:
        return self._damage(trouble, b"something else")

    def _damage(self, trouble: Trouble, content: bytes | None) -> float:
        name = self._pick(trouble, tuple(self.here.outputs))
        self.promise.tell(f"{self.here.outputs[name].name} is {'deleted' if content is None else 'altered'}")
        self.promise.excuse(60.0, name)
        self.promise.may_cost_a_mint("where the value of an adopted token is not known")
        self.here.damage(name, content)
        return 60.0

    def operator_asks(self, trouble: Trouble) -> float:
        self.promise.tell("SIGUSR1")
        self.promise.may_cost_a_mint("an operator asked")
        for process in self.here.living():
            process.mailbox.post(Message(None, RefreshRequested()))
        return 1.0

    # --- Trials, and the configuration.

    def verifier_fails(self, trouble: Trouble) -> float:
        """Rejected tokens are no tokens, so that is an outage. What has no clear end holds nothing up."""
        verdict = self._pick(trouble, (Verdict.REJECTED, Verdict.REJECTED, Verdict.INCONCLUSIVE, None))
        self.issuer.verdict = verdict or Verdict.INCONCLUSIVE
        self.issuer.trials_hang = verdict is None
        lasts = trouble.lasts * (self._bearable() if verdict is Verdict.REJECTED else 3 * self.lives)

        def end() -> None:
            self.issuer.verdict, self.issuer.trials_hang = Verdict.GOOD, False

        return self._until(lasts, f"trials: {verdict}", end)

    def configuration_changes(self, trouble: Trouble) -> float:
        """A part is made anew, an output goes and comes back, or the whole token does."""
        name = self._pick(trouble, tuple(self.here.outputs))
        is_along = trouble.gap == 0.0  # with another trouble: nothing that outlasts it
        kind = int(trouble.pick * 997) % (2 if is_along else 4)
        leader = self.here.leader()
        if leader is not None:  # a mint under way may be lost with its issuer, or with its token
            self._may_change_leader(leader)
        self.promise.may_cost_a_mint("where the value of an adopted token is not known")
        if kind == 0:
            self.promise.tell("all outputs are made anew")
            self.here.reconfigure(anew=tuple(self.here.outputs))
            return 1.0
        if kind == 1:
            self.promise.tell("the clients of the issuer are made anew")
            self.here.reconfigure(anew=("issuer", "verifier"))
            return 1.0
        lasts = trouble.lasts * self._at_most(2 * self.lives)
        gone = tuple(self.here.outputs) if kind == 2 or len(self.here.outputs) == 1 else (name,)
        self.promise.excuse(lasts + SETTLING + self.plan.wants.propagation_delay, *gone)
        self.here.is_configured = len(gone) < len(self.here.outputs)
        self.here.configured -= set(gone) if self.here.is_configured else set()
        self.here.reconfigure()

        def end() -> None:
            self.promise.may_cost_a_mint("where the value of an adopted token is not known")
            self.here.is_configured, self.here.configured = True, set(self.here.outputs)
            self.here.reconfigure()

        return self._until(lasts, f"not configured: {', '.join(map(self._label, gone))}", end)

    def _label(self, output: str) -> str:
        return output.rpartition("/")[2]

    # --- The API server and the Lease.

    def api_fault(self, trouble: Trouble) -> float:
        fault = self._pick(trouble, FAULTS)
        self.here.api.fault = fault
        lasts = self._at_most(trouble.lasts * self._bearable(spare=40.0))
        return self._until(lasts, f"the API server: {fault}", lambda: setattr(self.here.api, "fault", None))

    def leader_cut_off(self, trouble: Trouble) -> float:
        lasts = trouble.lasts * LONG_ENOUGH
        return self._cut_off(self.here.leader(), self._pick(trouble, FAULTS), lasts)

    def _cut_off(self, leader: object, fault: object, lasts: float) -> float:
        self._may_change_leader(leader)
        self.here.api.cut_off[leader.name] = fault
        return self._until(
            lasts,
            f"{leader.name} and the API server: {fault}",
            lambda: self.here.api.cut_off.pop(leader.name),
        )

    def _may_change_leader(self, leader: object) -> None:
        state = self.here.state_of(leader)
        if (state and state.is_minting) or self.here.holds_unpublished(leader):
            self.promise.may_cost_a_mint("leadership went between a mint and its first write")

    def leadership_flaps(self, trouble: Trouble) -> float:
        times = 2 + int(trouble.lasts * 6)

        def flap(left: int) -> None:
            leader = self.here.leader()
            if leader is not None:
                self._cut_off(leader, self._pick(trouble, FAULTS), LEASE_DURATION + 10.0)
            if left > 1:
                self.world.plan(self.world.now + LEASE_DURATION + 15.0, lambda: flap(left - 1))

        flap(times)
        return times * (LEASE_DURATION + 15.0)

    def lease_is_deleted(self, trouble: Trouble) -> float:
        self.promise.tell("the Lease is deleted")
        self.here.api.delete(lease())
        return 30.0
