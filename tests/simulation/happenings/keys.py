"""Troubles of the key file."""

from tests.simulation.happenings.base import Base
from tests.simulation.promise import EFFECT
from tests.simulation.troubles import Trouble


class OfTheKey(Base):
    """The key changes, is wrong, vanishes, or cannot be read."""

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
