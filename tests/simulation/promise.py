"""What is promised (the invariants), checked at every moment at which it could be broken.

A consumer's view changes when its output does, up to a `propagation_delay` later, and when its token ends. So
what is looked at is every change of an output, and every output at the true end of every token
that was ever in it.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from refresher.core.instant import Instant
from refresher.core.notifications import Notification
from refresher.core.process_notifications import Crashed
from tests.simulation.desired import DesiredToken
from tests.simulation.issuer import MARK, Issuer
from tests.simulation.virtual import World

if TYPE_CHECKING:
    from tests.simulation.process import Process

EFFECT = 10.0  # seconds: within this, a new key or an operator's word leads to its mint
NOTHING = -1
NOT_SOON = float("inf")
REQUESTED = "a request at an output"
JUST_AFTER = 0.01  # seconds, when a token has ended
LANDING = 1.0  # seconds: within this, what was under way when its token or its output went has landed
STALE = 40.0  # seconds: within this, the new token of an output has put right what landed there

_TOKEN = re.compile(rf"(?:e30\.[\w-]+\.)?{MARK}-access-(\d+)-[0-9a-f]*")
_REFRESH = re.compile(rf"{MARK}-refresh-(\d+)-x?")


@dataclass
class Display:
    """One output as its consumers see it: (true time, number of the token), the newest last."""

    name: str
    propagation_delay: float
    history: list[tuple[float, int]] = field(default_factory=lambda: [(0.0, NOTHING)])
    excused_until: float = 0.0
    checked_again_at: float = 0.0  # true time
    owner: int | None = 0  # the number of the token that is published there; None: it is not configured
    former: int | None = None  # the owner before
    owned_since: float = 0.0
    deletes: bool = False  # on_remove: delete

    @property
    def label(self) -> str:
        return self.name.rpartition("/")[2]

    @property
    def shows(self) -> int:
        return self.history[-1][1]

    def seen_after(self, lag: float, now: float) -> int:
        """The token that a consumer has who sees everything `lag` later."""
        for at, number in reversed(self.history):
            if at + lag <= now:
                return number
        return NOTHING


class Promise:
    """Watches one scenario. `broken`: every violation; `excuses`: what may cost a mint ahead of its time."""

    def __init__(self, world: World, issuer: Issuer, tokens: list[DesiredToken]) -> None:
        self._world, self._issuer, self._tokens = world, issuer, tokens
        self.displays = {
            name: Display(name, place.propagation_delay, owner=token.number, deletes=place.deletes)
            for token in tokens
            for name, place in token.own.items()
        }
        self.story: list[str] = []
        self.broken: list[str] = []
        self.excuses: list[tuple[float, str, int | None]] = []
        self.seen: Counter[str] = Counter()
        self.shown: set[int] = set()
        # True time until which consumers of an output may lack the newest token: see `Exclusivity`.
        self.may_be_without_until: Callable[[Display, int], float] = lambda _display, _number: 0.0

    def tell(self, text: str) -> None:
        self.story.append(f"{self._world.now:12.1f}  {text}")

    def violated(self, text: str) -> None:
        self.broken.append(f"at {self._world.now:.1f}: {text}")
        self.tell(f"VIOLATED: {text}")

    # --- 1 and 2: what consumers see.

    def excuse(self, seconds: float, *names: str) -> None:
        """For so long nobody is owed a valid token there; then it is owed again."""
        for name in names or tuple(self.displays):
            display = self.displays[name]
            until = self._world.now + seconds
            if until > display.excused_until:
                display.excused_until = until
                for lag in {0.0, display.propagation_delay}:
                    self._world.at(until + lag, lambda display=display: self.check(display))

    def look(self, name: str, content: bytes | None) -> None:
        """The output was perhaps changed: what is in it now?"""
        display = self.displays[name]
        number = self._number(name, content)
        if number == display.shows:
            return
        display.history.append((self._world.now, number))
        self.shown.add(number)
        del display.history[:-8]
        self.tell(f"{display.label} shows " + ("nothing" if number == NOTHING else f"token {number}"))
        if number != NOTHING and self._issuer.minted[number].rejected:
            self.violated(f"{display.label} shows token {number}, which was rejected")
        self._check_writer(display, number)
        if number != NOTHING:
            ends = self._issuer.minted[number].ends + JUST_AFTER
            for lag in {0.0, display.propagation_delay}:
                self._world.at(max(ends, self._world.now + lag), lambda: self.check(display))
        self.check(display)

    def owned(self, tokens: list[DesiredToken]) -> None:
        """The configuration has changed: from now on outputs may belong to other tokens, or to none."""
        owners = {name: token.number for token in tokens for name in token.outputs}
        for name, display in self.displays.items():
            if owners.get(name) != display.owner:
                display.former, display.owner = display.owner, owners.get(name)
                display.owned_since = self._world.now

    def _check_writer(self, display: Display, number: int) -> None:
        """Only the token of an output is written there. What was under way when that changed may land."""
        since = self._world.now - display.owned_since
        if number == NOTHING:
            if display.owner is None and not display.deletes:
                self.violated(f"{display.label} is deleted, and on_remove says: keep")
            return
        writer = self._issuer.minted[number].owner
        lands = STALE if display.owner is not None else LANDING
        if writer != display.owner and not (writer == display.former and since <= lands):
            self.violated(f"{display.label} shows token {number}, of another token than it is configured for")

    def check_removed(self, name: str, failed: int) -> None:
        """An output that is no longer configured was deleted, if that was demanded. `failed`: how often
        deleting had failed before."""
        display = self.displays[name]
        if display.deletes and display.shows != NOTHING and self.seen["OutputNotDeleted"] == failed:
            self.violated(f"{display.label} still shows a token, and on_remove says: delete")

    def check_all(self) -> None:
        for display in self.displays.values():
            self.check(display)

    def check(self, display: Display) -> None:
        now = self._world.now
        for lag in {0.0, display.propagation_delay}:
            self.seen["consumer checks"] += 1
            if now < display.excused_until + lag:
                continue
            number = display.seen_after(lag, now)
            until = self.may_be_without_until(display, number) + lag
            if now < until and not self._is_valid(number):
                self._check_again(display, until)
                continue
            if number == NOTHING:
                self.violated(f"{display.label} shows no token")
            elif self._issuer.minted[number].ends < now:
                ago = now - self._issuer.minted[number].ends
                self.violated(f"{display.label} shows a token that has expired {ago:.1f} s ago")
            else:
                continue
            display.excused_until = now + max(token.lifetime for token in self._tokens)  # told once

    def _check_again(self, display: Display, at: float) -> None:
        """At that time, once: a check plans the next one, so two of them would be thousands after a while."""
        if at < display.checked_again_at or display.checked_again_at <= self._world.now:
            display.checked_again_at = at
            if at < NOT_SOON:
                self._world.at(at, lambda: self.check(display))

    def _is_valid(self, number: int) -> bool:
        return number != NOTHING and self._issuer.minted[number].ends >= self._world.now

    def _number(self, name: str, content: bytes | None) -> int:
        """Whose token it is. Content that is not whole, or of two tokens, is a violation."""
        if content is None:
            return NOTHING
        text = content.decode("utf-8", "replace")
        found = list(_TOKEN.finditer(text))
        numbers = {int(each[1]) for each in found} | {int(each[1]) for each in _REFRESH.finditer(text)}
        if not found:
            return NOTHING
        number = int(found[0][1])
        whole = all(each[0] == self._issuer.minted[int(each[1])].text for each in found)
        if len(numbers) != 1 or not whole:
            self.violated(f"{self.displays[name].label} is torn or mixed")
        return number

    # --- 3: how often is minted.

    def may_cost_a_mint(self, why: str, token: int | None = None) -> None:
        """Each token, or this one, may be minted once ahead of its time."""
        self.excuses.append((self._world.now, why, token))

    def minting(self, process: "Process", token: int) -> None:
        self.seen["mint requests"] += 1
        gone_since = self._tokens[token].gone_since
        if gone_since is not None and self._world.now > max(gone_since, process.suspended_until) + LANDING:
            self.violated(f"{process.name} mints {self._tokens[token].name}, which is not configured")
        if process.here.leads(process):
            return
        if self._world.now < process.suspended_until + 1.0:  # it cannot know yet that its lease has run out
            self.may_cost_a_mint("a leader was suspended")
        else:
            self.violated(f"{process.name} mints and does not lead")

    def check_mints(self, desired: DesiredToken) -> None:
        """At most one mint of this token as often as it may be minted; each excuse pays for one that is too
        early. A request at an output pays only after a pause.

        Counted from when the issuer decides, a whole attempt after the request at most."""
        excuses = sorted(
            (time, why) for time, why, token in self.excuses if token is None or token == desired.number
        )
        last = float("-inf")
        for token in self._issuer.minted:
            if token.owner != desired.number or not token.got or token.rejected:
                continue  # nobody knows of it, or the verifier wanted another one
            pace = desired.fastest(last, token.minted)
            if token.minted - last < pace.earliest - pace.attempt:
                is_paused = token.minted - last < pace.request_pause - pace.attempt
                paid = [
                    (time, why)
                    for time, why in excuses
                    if last - EFFECT <= time <= token.minted and not (is_paused and why == REQUESTED)
                ]
                if paid:
                    excuses.remove(paid[0])
                else:
                    self.violated(
                        f"token {token.number} minted {token.minted - last:.0f} s after the one before,"
                        f" sooner than {pace.earliest:.0f} s, at {token.minted:.1f}"
                    )
            if token.number in self.shown:
                last = token.minted

    def check_requests(self, days: float) -> None:
        """No storm: on the average one retry or probe in 90 s at most."""
        allowed = len(self._issuer.minted) + (40 * days * 24 + 100) * len(self._tokens)
        if self._issuer.requests > allowed:
            self.violated(f"{self._issuer.requests} requests for {len(self._issuer.minted)} tokens: a storm")

    # --- 4: keys.

    def check_key_in_use(self, key: str, token: int) -> None:
        last = self._issuer.last(token)
        if last is None or last.key != key:
            self.violated(f"{EFFECT:.0f} s after its file changed, the new key is not in use")

    def check_minted_since(self, time: float, token: int) -> None:
        """A request at an output was obeyed, or a new lifetime."""
        last = self._issuer.last(token)
        if last is None or last.minted < time:
            self.violated(f"no token was minted since {time:.1f}, although one was requested")

    # --- 5 and 6: no secret anywhere, and no end.

    def on_notification(self, token: str, notification: Notification, now: Instant) -> None:
        """An observer: told what logs, metrics and status are."""
        self.seen[type(notification).__name__] += 1
        self.told(repr(notification))
        if isinstance(notification, Crashed):
            self.violated(f"a mistake of the program while {notification.what}: {notification.error!r}")

    def check_told(self, kind: str, before: int) -> None:
        """Whoever is to act learns of trouble: something of this kind was announced since it was `before`."""
        if self.seen[kind] == before:
            self.violated(f"nobody is told: no {kind}")

    def told(self, text: str) -> None:
        if MARK in text:
            self.violated(f"a secret is told: {text}")
