"""What is installed somewhere: one process or two, their machines, key, outputs, and a Lease if it is two."""

import base64
import math
import os
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from refresher.core import rfc3339, status
from refresher.core.effects import Effect, Mint, RunHook, Verify, Write
from refresher.core.election import Election, timing_of
from refresher.core.formats import includes_refresh_token
from refresher.core.instant import Instant
from refresher.core.machine import why_write
from refresher.core.state import OutputPolicy, State, TokenPolicy
from refresher.kube import paths
from refresher.outputs import refresh_file, secret_body, secret_plan
from refresher.outputs.file import FileOutput, Plan
from refresher.outputs.secret import SecretOutput
from refresher.ports import ManagedToken
from tests.simulation.apiserver import ApiLine, ApiServer, VirtualElector
from tests.simulation.desired import DesiredToken
from tests.simulation.disk import Disk, FileOnDisk
from tests.simulation.exclusivity import Exclusivity
from tests.simulation.hooks import HookLine, Hooks
from tests.simulation.issuer import Issuer, IssuerLine, KeyFile, VerifierLine, key_text
from tests.simulation.machine import Machine
from tests.simulation.process import Process, keeps_better
from tests.simulation.promise import Promise
from tests.simulation.virtual import World
from tests.simulation.wants import Guest, Place, Wants, format_of

URL = "https://api.inlive.app"
OWNER = LEASE = "inlive/token-refresher"
LEASE_DURATION = 15.0
LULL = 10.0  # seconds, the shortest that is worth while


@dataclass
class Parts:
    """What one process's tokens are made of; `made`, by the name of the output, are kept over changes."""

    api: ApiLine
    time_left: Callable[[], float]
    made: dict[str, object] = field(default_factory=dict)


class Installation:
    """Everything there is. Processes that are killed are replaced after a while."""

    def __init__(self, world: World, wants: Wants) -> None:
        self.world, self.wants = world, wants
        self.hooks = Hooks(world)
        self.issuer = Issuer(world, set(), wants.slow, wants.longest, wants.exclusive)
        self.disk, self.api = Disk(), ApiServer(world)
        self.outputs = {self._output_name(place): place for place in wants.all_places}
        self.tokens: list[DesiredToken] = []  # configured or not
        self.key_watchers: list[Callable[[], None]] = []
        for guest in (Guest(wants.lifetime, wants.refresh_at, wants.places), *wants.guests):
            self._add_token(guest)
        self.promise = Promise(world, self.issuer, self.tokens)
        self.exclusivity = Exclusivity(self)
        if wants.exclusive:
            self.promise.may_be_without_until = self.exclusivity.may_be_without_until
        for token in self.tokens:
            token.configured(world.now)
        alone = wants.processes == 1  # else wall clocks are kept right: who takes over relies on them
        self.machines = [
            Machine(world, 1 + wants.drift * (-1) ** n, 1 + wants.drift * alone, wall_ahead=0.3 * n)
            for n in range(wants.processes)
        ]
        self._parts: dict[Process, Parts] = {}
        self.processes: list[Process | None] = [None] * wants.processes
        self.electors: dict[Process, VirtualElector] = {}
        self.threads_refused = False  # by the system, to every process
        self.lull = 0.0
        self.forgets_hooks = False  # what a Secret owed was in the memory of a process or token that is gone
        self.downtime = 0.0
        self.deaths: Counter[str] = Counter()
        self.last_suspension: dict[str, float] = {}
        self._started = 0
        self.last_start = 0.0  # true time

    def _add_token(self, guest: Guest) -> None:
        number = len(self.tokens)
        content = key_text(number, 0)
        self.issuer.keys.add(content)
        key = KeyFile(self.world, content, f"key {number}", f"key:{number}", self.key_watchers)
        own = {self._output_name(place): place for place in guest.places}
        self.tokens.append(
            DesiredToken(
                number,
                f"token-{number}",
                guest.lifetime,
                guest.refresh_at,
                self.wants.longest,
                key,
                own,
                dict(own),
                is_exclusive=self.wants.exclusive,
            )
        )

    @property
    def present(self) -> list[DesiredToken]:
        """The tokens that are configured now."""
        return [token for token in self.tokens if token.is_configured]

    @property
    def configured(self) -> dict[str, Place]:
        """The outputs that are configured now, by name."""
        return {name: place for token in self.tokens for name, place in token.outputs.items()}

    def owner_of(self, output: str) -> DesiredToken:
        """The token of a configured output."""
        return next(token for token in self.tokens if output in token.outputs)

    # --- Processes.

    def start(self, number: int) -> None:
        self._started += 1
        self.last_start = self.world.now
        process = Process(self, self.machines[number], f"process-{self._started}")
        self.processes[number] = process
        time_left = lambda: math.inf  # noqa: E731
        api = ApiLine(self.api, process)
        if self.wants.processes > 1:
            elector = VirtualElector(process, api, LEASE, Election(process.name, timing_of(LEASE_DURATION)))
            self.electors[process] = elector
            time_left = elector.time_left
        self._parts[process] = Parts(api, time_left)
        process.start(self._desired(process), [self.promise])
        if process in self.electors:
            self.electors[process].start()

    def _desired(self, process: Process) -> list[ManagedToken]:
        """What the configuration says now, for this process. Its parts are kept while they are needed."""
        parts = self._parts[process]
        before, parts.made = parts.made, {}

        def part(name: str, make: Callable[[], object]) -> Any:  # as in `refresher.parts`
            parts.made[name] = before[name] if name in before else make()
            return parts.made[name]

        def managed(token: DesiredToken) -> ManagedToken:
            outputs = token.outputs.items()
            return ManagedToken(
                self._policy(token),
                token.key,
                tuple(
                    part(name, partial(self._build, place, process, parts.api, parts.time_left))
                    for name, place in outputs
                ),
                part("issuer", partial(IssuerLine, self.issuer, process)),
                part("verifier", partial(VerifierLine, self.issuer, process))
                if self.wants.verifies
                else None,
                parts.time_left,
                tuple(
                    part(
                        f"hook of {token.name}, {name}",
                        partial(HookLine, self.hooks, process, name, place.kind),
                    )
                    for name, place in outputs
                    if self.wants.hooks
                ),
            )

        return [managed(token) for token in self.present]

    def _policy(self, token: DesiredToken) -> TokenPolicy:
        return TokenPolicy(
            token.name,
            lifetime=token.lifetime,
            refresh_at=token.refresh_at,
            timeout=10.0,
            issuer=URL,
            outputs=tuple(
                OutputPolicy(
                    name, place.propagation_delay, includes_refresh_token(format_of(place)), self.wants.hooks
                )
                for name, place in token.outputs.items()
            ),
            elected=self.wants.processes > 1,
            verifies=self.wants.verifies,
            exclusive=self.wants.exclusive,
        )

    def reconfigure(self, anew: Collection[str] = ()) -> None:
        """Have every process follow the configuration as it is now, with the parts `anew` made once more."""
        self.world.disturb()
        for token in self.tokens:
            token.configured(self.world.now)
        self.promise.owned(self.tokens)
        for process in self.living():
            for name in anew:
                self._parts[process].made.pop(name, None)
            process.engine.apply(self._desired(process))

    def state_of(self, process: Process, token: DesiredToken) -> State | None:
        """How the token stands in this process; None if it is unknown there."""
        return next((state for policy, state in process.engine.view() if policy.name == token.name), None)

    def buried(self, process: Process) -> None:
        """It was killed; a successor comes after `downtime`."""
        self.world.disturb()
        self.deaths[process.died_before or "at rest"] += 1
        self.promise.tell(
            f"{process.name} is killed" + f" before: {process.died_before}" * bool(process.died_before)
        )
        self.lost_mints(process, "killed between a mint and its first write")
        self.forgets_hooks = True
        if self.threads_refused or self.disk.hang is not None:
            self.promise.may_cost_a_mint("killed while its successor cannot inspect the outputs")
        self.electors.pop(process, None)
        del self._parts[process]
        number = self.processes.index(process)
        self.world.at(self.world.now + self.downtime, lambda: self.start(number))
        self.world.plan(self.world.now + self.downtime, self.world.disturb)
        self.downtime = 0.5

    def lost_mints(self, process: Process, why: str, *, unpublished: bool = True) -> None:
        """What the process does is lost: a mint under way, or a token that it has not published yet."""
        for token in self.present:
            state = self.state_of(process, token)
            is_minting = state is not None and state.is_minting
            if is_minting or (unpublished and self._holds_unpublished(state, token)):
                self.promise.may_cost_a_mint(why, token.number)

    def _holds_unpublished(self, state: State | None, token: DesiredToken) -> bool:
        """Whether it has minted a token that is lost with it: none shows as much of it as another needs."""
        if state is None or state.facts is None or not state.minted_here:
            return False
        number = self.issuer.of_fingerprint[state.facts.fingerprint].number
        shown = {name for name in token.outputs if self.promise.displays[name].shows == number}
        forms = {self.outputs[name].form for name in shown}
        readable, whole = bool(forms - {"template"}), "inlive-sdk" in forms
        missing = [place.form for name, place in token.outputs.items() if name not in shown]
        return any(not (whole if form == "inlive-sdk" else readable) for form in missing)

    def living(self) -> list[Process]:
        return [each for each in self.processes if each is not None and each.alive]

    def leads(self, process: Process) -> bool:
        elector = self.electors.get(process)
        return self.wants.processes == 1 or (elector is not None and elector.leads())

    def leader(self) -> Process | None:
        return next((each for each in self.living() if self.leads(each)), None)

    def time_suspended(self, process: Process) -> float:
        return self.last_suspension.get(process.name, 0.0)

    def sending_a_write(self, process: Process) -> None:
        """Whoever sends a write to a Secret leads, and nobody else does."""
        leading = [each.name for each in self.living() if self.leads(each)]
        if leading != [process.name]:
            self.promise.violated(f"{process.name} sends a write while {leading} lead")

    def is_well(self) -> bool:
        """Whether the last trouble has been got over: the promise is about one at a time."""
        leader = self.leader()
        if (
            len(self.living()) < self.wants.processes
            or leader is None
            or leader.suspended_until > self.world.now
        ):
            return False
        now, view = leader.machine.now(), leader.engine.view()
        names = {policy.name for policy, _ in view}
        return names == {token.name for token in self.present} and all(
            _is_well(policy, state, now) for policy, state in view
        )

    def spy(self) -> None:
        """What status and readiness would tell."""
        for process in self.living():
            for policy, state in process.engine.view():
                self.promise.told(repr(status.status_of(state, policy, process.machine.now())) + repr(state))

    # --- Lulls.

    def lull_until(self) -> float:
        if self.wants.dense:
            return 0.0
        if self.wants.processes > 1:
            return self.lull
        return min([self.world.next_planned, *(each.quiet_until() for each in self.living())])

    def perhaps_a_lull(self, process: Process) -> None:
        """Every engine is at rest and every candidate knows who leads: nothing happens until the next due."""
        electors = list(self.electors.values())
        now = self.world.now
        is_no_time = self.wants.dense or self.api.fault or self.api.cut_off
        if is_no_time or len(electors) < self.wants.processes or self.world.next_planned < now + LULL:
            return
        holders = {each.election.seen.holder if each.election.seen else "" for each in electors}
        at_rest = all(each.is_pausing for each in electors) and len(holders) == 1
        if not at_rest or self.leader() is None or holders != {self.leader().name}:
            return
        until = min([self.world.next_planned, *(each.quiet_until() for each in self.living())]) - 2.0
        if until < now + LULL:
            return
        self.lull = until
        for each in electors:
            each.move_on((until - now) * each._process.machine.rate)
            if each._process is not process:
                self.world.postpone(each.strand, until - now)

    # --- Outputs.

    def takes_time(self, effect: Effect) -> bool:
        if isinstance(effect, Mint | Verify | RunHook):
            return True
        if self.outputs[effect.output].kind == "file":
            return self.disk.hangs(effect.output)
        return isinstance(effect, Write) or bool(self.api.fault or self.api.cut_off)

    def releasing_takes_time(self, output: str) -> bool:
        return self.outputs[output].kind == "secret" or self.disk.hangs(output)

    def look(self, name: str, *, missed: bool = False) -> None:
        """The output was perhaps changed. `missed`: no poll of any process will report that."""
        self.promise.look(name, self.content(name))
        for process in self.living():
            (process.miss_change if missed else process.poll_outputs)()

    def look_at_path(self, path: str) -> None:
        for name, place in self.outputs.items():
            if place.kind == "secret" and self.secret_path(place) == path:
                self.look(name)
                self.promise.told(
                    repr(self.api.objects[path].get("metadata")) if path in self.api.objects else ""
                )

    def proven_at_path(self, path: str) -> None:
        """A dry run or a write of this object has succeeded."""
        for name, place in self.outputs.items():
            if place.kind == "secret" and self.secret_path(place) == path:
                self.exclusivity.proven(name)

    def content(self, name: str) -> bytes | None:
        place = self.outputs[name]
        if place.kind == "file":
            with suppress(FileNotFoundError), open(self.file_path(place), "rb") as file:
                return file.read()
            return None
        stored = self.api.objects.get(self.secret_path(place))
        if stored is None:
            return None
        seen = secret_body.seen(stored)
        return b"\n".join(seen.values.values())

    def damage(self, name: str, content: bytes | None, *, missed: bool = False) -> None:
        """Somebody else deletes an output, or puts `content` there. `missed`: see `look`."""
        place = self.outputs[name]
        if place.kind == "file":
            if content is None:
                with suppress(FileNotFoundError):
                    os.unlink(self.file_path(place))
            else:
                with open(self.file_path(place), "wb") as file:
                    file.write(content)
        elif content is None:
            self.api.delete(self.secret_path(place))
        elif self.secret_path(place) in self.api.objects:
            stored = self.api.get(self.secret_path(place))
            stored["data"] = dict.fromkeys(stored.get("data", ()), base64.b64encode(content).decode())
            self.api.put(self.secret_path(place), stored)
        self.look(name, missed=missed)

    def request_refresh(self, name: str, at: float) -> None:
        """A writer of the output requests there a token that is issued at wall time `at` or later."""
        place = self.outputs[name]
        if place.kind == "file":
            refresh_file.place(self.file_path(place), at)
            self.look(name)
        elif self.secret_path(place) in self.api.objects:
            stored = self.api.get(self.secret_path(place))
            requested = {secret_body.REFRESH: rfc3339.to_microsecond(at)}
            stored["metadata"]["annotations"] = stored["metadata"]["annotations"] | requested
            self.api.put(self.secret_path(place), stored)

    def file_path(self, place: Place) -> str:
        return os.path.join(self.disk.path, place.name)

    def secret_path(self, place: Place) -> str:
        return paths.secret_path("inlive", place.name)

    def _output_name(self, place: Place) -> str:
        return f"file:{self.file_path(place)}" if place.kind == "file" else f"secret:inlive/{place.name}"

    def _build(self, place: Place, process: Process, api: ApiLine, time_left: object) -> object:
        form = format_of(place)
        if place.kind == "file":
            output = FileOutput(Plan(self.file_path(place), URL, form, deletes=place.deletes))
            return FileOnDisk(output, self.disk, process)
        plan = secret_plan.planned(f"inlive/{place.name}", "inlive", OWNER, {"value": form}, URL)
        return SecretOutput(plan, api, time_left, deletes=place.deletes)

    def close(self) -> None:
        for process in self.living():
            process.alive = False
        self.world.close()
        self.disk.close()


def _is_well(policy: TokenPolicy, state: State, now: Instant) -> bool:
    """Whether nothing is left to do for this token, at the leader."""
    if state.proven is None or state.candidate or not state.leads:
        return False
    if state.proven.retry.failures and state.proven.retry.next_try > now.boot:
        return False
    if state.facts is None or state.is_minting:
        return False
    return not any(
        output.holding is None
        or output.holding.facts is None
        or (
            output.holding.facts.fingerprint != state.facts.fingerprint
            and not keeps_better(state, output, now)
        )
        or why_write(state, output, wants, now)
        or output.hook.is_owed
        for output, wants in zip(state.outputs, policy.outputs, strict=True)
    )


def lease() -> str:
    namespace, name = LEASE.split("/")
    return paths.lease_path(namespace, name)
