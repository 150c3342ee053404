"""Troubles that matter where a new token ends the old one."""

import errno
from functools import partial

from refresher.core.effects import Write
from tests.simulation.happenings.process import OfAProcess
from tests.simulation.installation import LEASE_DURATION, lease
from tests.simulation.issuer import MOODS
from tests.simulation.troubles import Trouble

REHEARSED_BEFORE = 1.5  # seconds from a first attempt, which fails, until the output cannot be written
LONGEST_ANSWER = 30.0  # seconds for which answers get lost
SHORTER = 0.8  # of the lifetime, which the issuer grants to one token
AFTER_IT_IS_SHOWN = {"file": 0.6, "secret": 0.2}  # of the effects of a write
YOUNG = 20.0  # seconds
OVER = 160.0  # seconds, longer than what `exclusivity.RECOVERED` allows


class OfAnExclusiveIssuer(OfAProcess):
    """A mint is due when it would do harm."""

    def mint_without_an_output(self, trouble: Trouble) -> float:
        """An output cannot be written when a new token is requested. In half of the cases it could at a first
        attempt, which fails."""
        name = self._pick(trouble, tuple(self.here.configured))
        lasts = trouble.lasts * self._bearable(spare=60.0)
        code = errno.EIO if trouble.pick * 17 % 1 < 0.4 else errno.ENOSPC
        fails = partial(self._deny, name, code)
        if trouble.pick * 7 % 1 < 0.5:
            fails()
        else:
            self.issuer.mood = next(mood for mood in MOODS if mood.name == "500")
            self.world.plan(self.world.now + REHEARSED_BEFORE, fails)
            self.world.plan(self.world.now + 2.0 + 0.8 * lasts * (trouble.pick * 13 % 1), self._recover)
        self.operator_asks(trouble)
        undo = partial(self._deny, name, None)
        return self._until(
            REHEARSED_BEFORE + 1.0 + lasts, f"{name.rpartition('/')[2]} cannot be written", undo
        )

    def _recover(self) -> None:
        self.issuer.mood = None

    def _deny(self, name: str, code: int | None) -> None:
        """Have writes of this output fail, and reads of a file too if that is an I/O error; None: no more."""
        disk, denied = self.here.disk, self.here.api.denied
        if self.here.outputs[name].kind == "file":
            disk.fails_with, disk.fails_reads = ({name: code} if code else {}), code == errno.EIO
        elif code:
            denied.add((self.here.secret_path(self.here.outputs[name]), ""))
        else:
            denied.clear()

    def answer_is_lost(self, trouble: Trouble) -> float:
        """The issuer mints, and nobody gets the token."""
        self.issuer.mood = next(mood for mood in MOODS if mood.name == "answers get lost")
        self.operator_asks(trouble)
        return self._until(trouble.lasts * LONGEST_ANSWER, "answers get lost", self._recover)

    def output_is_held(self, trouble: Trouble) -> float:
        """After a kill, another process owns an output for a while, and publishes nothing. In half of
        the cases no output has a token then."""
        name = self._pick(trouble, tuple(self.here.configured))
        lasts = 6.0 + trouble.lasts * self._bearable(spare=60.0)
        held = self.here.disk.held_elsewhere
        self.kill(trouble)
        held.add(name)
        if trouble.pick * 7 % 1 < 0.5:
            self.promise.excuse(lasts + 60.0)
            self.promise.may_cost_a_mint("all outputs were deleted")
            for each in self.here.configured:
                self.here.damage(each, None)
        self.world.plan(self.world.now + 0.9 * lasts, lambda: self.operator_asks(trouble))
        return self._until(lasts, f"another process owns {name.rpartition('/')[2]}", held.clear)

    def mint_as_leadership_ends(self, trouble: Trouble) -> float:
        """A leader may not renew its Lease. It is asked for a token shortly before its leadership ends, the
        issuer takes long to answer, and the next leader is asked for a token too."""
        leader = self.here.leader()
        self.issuer.dawdles = True
        self._may_change_leader(leader)
        self.here.api.denied.add((lease(), leader.name))
        for seconds in (LEASE_DURATION * 2 / 3 - 3.0 * trouble.pick, LEASE_DURATION + 1.5):
            self.world.plan(self.world.now + seconds, lambda: self.operator_asks(trouble))

        def end() -> None:
            self.issuer.dawdles = False
            self.here.api.denied.clear()

        return self._until(2 * LEASE_DURATION, f"{leader.name} cannot renew its Lease", end)

    def shorter_token(self, trouble: Trouble) -> float:
        """A young token is ended by one that lives shorter, whose writer is killed after the first write."""
        before, kind = self.issuer.longest, self.plan.wants.places[0].kind
        self.operator_asks(trouble)

        def replace() -> None:
            self.issuer.longest = SHORTER * self.lives
            self._light_fuse(trouble._replace(pick=AFTER_IT_IS_SHOWN[kind]), Write, 11)
            self.operator_asks(trouble)
            self.promise.may_cost_a_mint("a token that lives shorter is due sooner")

        def end() -> None:
            self.issuer.longest = before
            self.operator_asks(trouble)

        self.world.plan(self.world.now + YOUNG, replace)
        return self._until(YOUNG + OVER, "a young token is replaced by a shorter one", end) + OVER
