"""Troubles of the key file."""

from tests.simulation.desired import DesiredToken
from tests.simulation.happenings.base import Base
from tests.simulation.issuer import TYPO, key_text
from tests.simulation.promise import EFFECT
from tests.simulation.troubles import Trouble


class OfTheKey(Base):
    """A key changes, is wrong, vanishes, or cannot be read."""

    def new_key(self, trouble: Trouble) -> float:
        token = self._token(trouble)
        before, content = token.key.content, self._made_key(token, "a new key")
        self.promise.may_cost_a_mint("the key was changed", token.number)
        token.key.change(content)
        self._expect_use(content, token)
        self.world.plan(self.world.now + 60.0, lambda: self.issuer.keys.discard(before))
        return 60.0

    def _made_key(self, token: DesiredToken, what: str) -> str:
        self._keys_made += 1
        content = key_text(token.number, self._keys_made)
        self.promise.tell(f"{what} of {token.name}: number {self._keys_made}")
        self.issuer.keys.add(content)
        return content

    def _expect_use(self, content: str, token: DesiredToken) -> None:
        if self.plan.wants.slow < 1:
            self.world.after(EFFECT, lambda: self.promise.check_key_in_use(content, token.number))

    def bad_key(self, trouble: Trouble) -> float:
        key = self._token(trouble).key
        good = key.content
        key.change(TYPO.format(self._token(trouble).number))
        return self._until(trouble.lasts * 4 * self.lives, "a bad key", lambda: key.change(good))

    def key_vanishes(self, trouble: Trouble) -> float:
        key = self._token(trouble).key
        good = key.content
        key.change(None)
        return self._until(trouble.lasts * 4 * self.lives, "no key file", lambda: key.change(good))

    def key_hangs(self, trouble: Trouble) -> float:
        """The key's directory does not answer; in half of the cases the key is changed meanwhile."""
        lasts, token = trouble.lasts * 4 * self.lives, self._token(trouble)
        token.key.hangs_until = self.world.now + lasts
        token.key.have_read()
        if trouble.pick < 0.5:
            self.world.plan(self.world.now + lasts / 2, lambda: self._change_unseen(token))
        return self._until(lasts, "the key file hangs", lambda: None) + 60.0

    def _change_unseen(self, token: DesiredToken) -> None:
        """Nobody can read it yet, so the old one goes on being accepted."""
        before, content = token.key.content, self._made_key(token, "a new key, not seen yet,")
        token.key.content = content

        def seen() -> None:
            self.promise.may_cost_a_mint("the key was changed", token.number)
            self._expect_use(content, token)

        self.world.plan(token.key.hangs_until, seen)
        self.world.plan(token.key.hangs_until + 60.0, lambda: self.issuer.keys.discard(before))
