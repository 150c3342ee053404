"""What is installed somewhere: one process or two, their machines, key, outputs, and a Lease if it is two."""

import base64
import math
import os
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field

from refresher.core import rfc3339, status
from refresher.core.effects import Effect, Mint, RunHook, Verify, Write
from refresher.core.election import Election, timing_of
from refresher.core.formats import Format, includes_refresh_token
from refresher.core.machine import why_write
from refresher.core.state import OutputPolicy, State, TokenPolicy
from refresher.kube.paths import lease_path, secret_path
from refresher.outputs import refresh_file, secret_body, secret_plan
from refresher.outputs.file import FileOutput, Plan
from refresher.outputs.secret import SecretOutput
from refresher.ports import ManagedToken
from tests.simulation.apiserver import ApiLine, ApiServer, VirtualElector
from tests.simulation.disk import Disk, FileOnDisk
from tests.simulation.hooks import HookLine, Hooks
from tests.simulation.issuer import Issuer, IssuerLine, KeyFile, VerifierLine
from tests.simulation.machine import Machine
from tests.simulation.process import Process
from tests.simulation.promise import Promise
from tests.simulation.virtual import World
from tests.simulation.wants import TEMPLATE, Place, Wants, format_of

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
        self.issuer = Issuer(world, {"s3cr3t-key-0"}, wants.slow, wants.longest)
        self.key = KeyFile(world, "s3cr3t-key-0")
        self.disk, self.api = Disk(), ApiServer(world)
        self.outputs = {self._output_name(place): place for place in wants.places}
        self.policy = TokenPolicy(
            "studio",
            lifetime=wants.lifetime,
            refresh_at=wants.refresh_at,
            timeout=10.0,
            issuer=URL,
            outputs=tuple(
                OutputPolicy(
                    name, place.propagation_delay, includes_refresh_token(format_of(place)), wants.hooks
                )
                for name, place in self.outputs.items()
            ),
            elected=wants.processes > 1,
            verifies=wants.verifies,
        )
        propagation_delays = {name: place.propagation_delay for name, place in self.outputs.items()}
        self.promise = Promise(world, self.issuer, self.policy, propagation_delays)
        alone = wants.processes == 1  # else wall clocks are kept right: who takes over relies on them
        self.machines = [
            Machine(world, 1 + wants.drift * (-1) ** n, 1 + wants.drift * alone, wall_ahead=0.3 * n)
            for n in range(wants.processes)
        ]
        self.is_configured = True  # the token; without it nothing is done
        self.configured = set(self.outputs)  # by name
        self._parts: dict[Process, Parts] = {}
        self.processes: list[Process | None] = [None] * wants.processes
        self.electors: dict[Process, VirtualElector] = {}
        self.threads_refused = False  # by the system, to every process
        self.lull = 0.0
        self.downtime = 0.0
        self.deaths: Counter[str] = Counter()
        self.last_suspension: dict[str, float] = {}
        self._started = 0

    # --- Processes.

    def start(self, number: int) -> None:
        self._started += 1
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
        made: dict[str, object] = parts.made
        if "issuer" not in made:
            made["issuer"] = IssuerLine(self.issuer, process)
            made["verifier"] = VerifierLine(self.issuer, process) if self.wants.verifies else None
        for name, place in self.outputs.items():
            if not self.is_configured or name not in self.configured:  # it is released; as in `Parts`
                made.pop(name, None)
                made.pop(f"hook of {name}", None)
            elif name not in made:
                made[name] = self._build(place, process, parts.api, parts.time_left)
                made[f"hook of {name}"] = HookLine(self.hooks, process, name, place.kind)
        if not self.is_configured:
            return []
        outputs = tuple(each for each in self.policy.outputs if each.name in self.configured)
        managed = ManagedToken(
            self.policy._replace(outputs=outputs),
            self.key,
            tuple(made[each.name] for each in outputs),
            made["issuer"],
            made["verifier"],
            parts.time_left,
            tuple(made[f"hook of {each.name}"] for each in outputs if each.has_hook),
        )
        return [managed]

    def reconfigure(self, anew: Collection[str] = ()) -> None:
        """Have every process follow the configuration as it is now, with the parts `anew` made once more."""
        self.world.disturb()
        for process in self.living():
            for name in anew:
                self._parts[process].made.pop(name, None)
            process.engine.apply(self._desired(process))

    def state_of(self, process: Process) -> State | None:
        """How the token stands in this process; None while it has none."""
        return next((state for _, state in process.engine.view()), None)

    def buried(self, process: Process) -> None:
        """It was killed; a successor comes after `downtime`."""
        self.world.disturb()
        self.deaths[process.died_before or "at rest"] += 1
        self.promise.tell(
            f"{process.name} is killed" + f" before: {process.died_before}" * bool(process.died_before)
        )
        state = self.state_of(process)
        if (state and state.is_minting) or self.holds_unpublished(process):
            self.promise.may_cost_a_mint("killed between a mint and its first write")
        if self.threads_refused or self.disk.hang is not None:
            self.promise.may_cost_a_mint("killed while its successor cannot inspect the outputs")
        self.electors.pop(process, None)
        del self._parts[process]
        number = self.processes.index(process)
        self.world.at(self.world.now + self.downtime, lambda: self.start(number))
        self.world.plan(self.world.now + self.downtime, self.world.disturb)
        self.downtime = 0.5

    def holds_unpublished(self, process: Process) -> bool:
        """Whether it has minted a token that is lost with it: none shows as much of it as another needs."""
        state = self.state_of(process)
        if state is None or state.facts is None or not state.minted_here:
            return False
        number = self.issuer.of_fingerprint[state.facts.fingerprint].number
        shown = {name for name, display in self.promise.displays.items() if display.shows == number}
        forms = {self.outputs[name].form for name in shown}
        readable, whole = bool(forms - {"template"}), "inlive-sdk" in forms
        missing = [place.form for name, place in self.outputs.items() if name not in shown]
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
        if not leader.engine.view():
            return False
        policy, state = leader.engine.view()[0]
        now = leader.machine.now()
        if state.proven is None or state.candidate or not state.leads:
            return False
        if state.proven.retry.failures and state.proven.retry.next_try > now.boot:
            return False
        if state.facts is None or state.is_minting:
            return False
        return not any(
            output.holding is None
            or output.holding.facts is None
            or output.holding.facts.fingerprint != state.facts.fingerprint
            or why_write(state, output, wants, now)
            or output.hook.is_owed
            for output, wants in zip(state.outputs, policy.outputs, strict=True)
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

    def look(self, name: str) -> None:
        self.promise.look(name, self.content(name))

    def look_at_path(self, path: str) -> None:
        for name, place in self.outputs.items():
            if place.kind == "secret" and self._secret_path(place) == path:
                self.look(name)
                self.promise.told(
                    repr(self.api.objects[path].get("metadata")) if path in self.api.objects else ""
                )

    def content(self, name: str) -> bytes | None:
        place = self.outputs[name]
        if place.kind == "file":
            with suppress(FileNotFoundError), open(self.file_path(place), "rb") as file:
                return file.read()
            return None
        stored = self.api.objects.get(self._secret_path(place))
        if stored is None:
            return None
        seen = secret_body.seen(stored)
        return b"\n".join(seen.values.values())

    def damage(self, name: str, content: bytes | None) -> None:
        """Somebody else deletes an output, or puts `content` there."""
        place = self.outputs[name]
        if place.kind == "file":
            if content is None:
                with suppress(FileNotFoundError):
                    os.unlink(self.file_path(place))
            else:
                with open(self.file_path(place), "wb") as file:
                    file.write(content)
        elif content is None:
            self.api.delete(self._secret_path(place))
        elif self._secret_path(place) in self.api.objects:
            stored = self.api.get(self._secret_path(place))
            stored["data"] = dict.fromkeys(stored["data"], base64.b64encode(content).decode())
            self.api.put(self._secret_path(place), stored)
        self.look(name)

    def request_refresh(self, name: str, at: float) -> None:
        """A writer of the output requests there a token that is issued at wall time `at` or later."""
        place = self.outputs[name]
        if place.kind == "file":
            refresh_file.place(self.file_path(place), at)
        elif self._secret_path(place) in self.api.objects:
            stored = self.api.get(self._secret_path(place))
            requested = {secret_body.REFRESH: rfc3339.to_microsecond(at)}
            stored["metadata"]["annotations"] = stored["metadata"]["annotations"] | requested
            self.api.put(self._secret_path(place), stored)

    def file_path(self, place: Place) -> str:
        return os.path.join(self.disk.path, place.name)

    def _secret_path(self, place: Place) -> str:
        return secret_path("inlive", place.name)

    def _output_name(self, place: Place) -> str:
        return f"file:{self.file_path(place)}" if place.kind == "file" else f"secret:inlive/{place.name}"

    def _build(self, place: Place, process: Process, api: ApiLine, time_left: object) -> object:
        form = Format(place.form, TEMPLATE if place.form == "template" else None)
        if place.kind == "file":
            output = FileOutput(Plan(self.file_path(place), URL, form))
            return FileOnDisk(output, self.disk, process)
        plan = secret_plan.planned(f"inlive/{place.name}", "inlive", OWNER, {"value": form}, URL)
        return SecretOutput(plan, api, time_left)

    def close(self) -> None:
        for process in self.living():
            process.alive = False
        self.world.close()
        self.disk.close()


def lease() -> str:
    namespace, name = LEASE.split("/")
    return lease_path(namespace, name)
