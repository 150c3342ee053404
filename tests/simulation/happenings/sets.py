"""Changes of the set of tokens: they come, change and go while they are minted and written."""

from collections.abc import Callable

from tests.simulation.desired import DesiredToken
from tests.simulation.happenings.configuration import SETTLING, OfTheConfiguration
from tests.simulation.happenings.process import OfAProcess
from tests.simulation.troubles import Trouble

LIFETIMES = (0.5, 2.0)  # of the lifetime before
SHORTEST = 300.0  # seconds
MINTED = 30.0  # seconds, within which a token of a new lifetime is minted
AMID = 3.0  # seconds that the mints take at most in whose midst a set changes


class OfTheSet(OfTheConfiguration, OfAProcess):
    """Tokens change, are renamed, give outputs to each other, or are gone for a moment."""

    def token_changes(self, trouble: Trouble) -> float:
        """Its lifetime, or when it is refreshed."""
        token = self._token(trouble)

        def change() -> None:
            before = token.lifetime
            if _variant(trouble, 2):
                lifetime = max(SHORTEST, token.lifetime * self._pick(trouble, LIFETIMES))
                token.lifetime = min(lifetime, 2 * self._lifetimes[token.number])
                if token.lifetime != before:
                    self._expect_mint(token)
            else:
                token.refresh_at = self._pick(trouble, (0.5, 0.7, 0.8))
            self.promise.may_cost_a_mint("its configuration was changed", token.number)
            self._change(f"{token.name}: {token.lifetime:.0f} s, refreshed at {token.refresh_at:.0%}")

        return self._amid_mints(trouble, change)

    def token_is_renamed(self, trouble: Trouble) -> float:
        """Its key and outputs stay. The new name may be a former one, or that of another token, which then
        gets this one's."""
        token = self._token(trouble)
        others = [each for each in self.here.present if each is not token]

        def rename() -> None:
            match _variant(trouble, 4):
                case 0 | 1 if others:
                    token.name, others[0].name = others[0].name, token.name
                case 2 if self._former_names:
                    former = self._former_names.pop(0)
                    self._former_names.append(token.name)
                    token.name = former
                case _:
                    self._former_names.append(token.name)
                    token.name = f"token-{len(self._former_names) + 10}"
            self._change("renamed: " + ", ".join(each.name for each in self.here.present))

        return self._amid_mints(trouble, rename)

    def output_is_taken_over(self, trouble: Trouble) -> float:
        """By another token, until it is given back. A token without an output left is gone meanwhile."""
        token = self._token(trouble)
        others = [each for each in self.here.present if each is not token]
        if not others:
            return 0.0
        name = self._pick(trouble, tuple(token.outputs))
        heir, before = others[0], dict(token.outputs)
        lasts = AMID + trouble.lasts * self._at_most(2 * self.lives)

        def take_over() -> None:
            heir.outputs[name] = token.outputs.pop(name)
            self._change(f"{name.rpartition('/')[2]} is taken over by {heir.name}")

        def give_back() -> None:
            del heir.outputs[name]
            token.outputs = before
            self._change("")

        if not self._amid_mints(trouble, take_over):
            return 0.0
        return self._until(lasts, "an output is with another token", give_back)

    def token_flaps(self, trouble: Trouble) -> float:
        """It goes and comes back at once, or within a second, once or several times."""
        token = self._token(trouble)
        outputs, gap = dict(token.outputs), trouble.lasts if _variant(trouble, 2) else 0.0
        times = 1 + _variant(trouble, 3)

        def go(left: int) -> None:
            if any(place.deletes for place in outputs.values()) and gap:
                self.promise.excuse(gap + SETTLING + token.propagation_delay, *outputs)
            token.outputs = {}
            self._change(f"{token.name} is gone")
            if gap:
                self.world.plan(self.world.now + gap, lambda: come(left))
            else:
                come(left)

        def come(left: int) -> None:
            token.outputs = dict(outputs)
            self._change(f"{token.name} is back")
            if left > 1:
                self.world.plan(self.world.now + gap, lambda: go(left - 1))

        return self._amid_mints(trouble, lambda: go(times)) + times * 2 * gap

    def _amid_mints(self, trouble: Trouble, change: Callable[[], None]) -> float:
        """Half of the changes come while tokens are minted, and a quarter shortly before a kill. None comes
        when a restart would not be believed (`_victim`)."""
        if self.world.now - self._set_back_at < self._remembers_for:
            return 0.0
        after = 0.0
        if _variant(trouble._replace(pick=trouble.pick * 19 % 1), 2):
            self.operator_asks(trouble)
            after = AMID * (trouble.pick * 31 % 1) ** 3
        if _variant(trouble._replace(pick=trouble.pick * 23 % 1), 4) == 0:
            self.world.plan(self.world.now + after + trouble.pick, lambda: self.kill(trouble))
        self.world.plan(self.world.now + after, change)
        return after + 1.0

    def _expect_mint(self, token: DesiredToken) -> None:
        """A token of the new lifetime is minted at once, unless the process is killed meanwhile."""
        since, deaths = self.world.now - 1.0, self.here.deaths.total()

        def check() -> None:
            if self.here.deaths.total() == deaths:
                self.promise.check_minted_since(since, token.number)

        self.world.plan(self.world.now + MINTED, check)

    def _change(self, what: str) -> None:
        """The configuration is changed: have every process follow it."""
        if what:
            self.promise.tell(what)
        for process in self.here.living():
            self.here.lost_mints(process, "a mint under way when the set of tokens changed")
        self.promise.may_cost_a_mint("where the value of an adopted token is not known")
        self.here.forgets_hooks = True
        self.here.reconfigure()


def _variant(trouble: Trouble, number: int) -> int:
    """One of so many variants."""
    return int(trouble.pick * 997) % number
