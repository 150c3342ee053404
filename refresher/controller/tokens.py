"""Builds the managed tokens of `AccessToken` objects."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from refresher import assembly
from refresher.config.declarations import Settings
from refresher.config.output_kinds import OutputSettings, SecretOutputSettings
from refresher.controller.known import Known
from refresher.controller.spec import GROUP, KIND, VERSION, Demand
from refresher.controller.watches import WatchedKey, Watches
from refresher.executor import MINTS_AT_ONCE
from refresher.kube.api import KubeApi
from refresher.kube.events import Subject
from refresher.outputs import secret_plan
from refresher.outputs.secret import SecretOutput
from refresher.outputs.secret_plan import Controller
from refresher.ports import Clock, KeySource, ManagedToken, Output, forever


class _Built(NamedTuple):
    """The token of the object with this uid, and what it was built from."""

    uid: str
    demand: Demand
    token: ManagedToken


class ObjectTokens:
    """The managed tokens of objects. Parts that a change of an object leaves alone are the same as before, so
    that the engine leaves them alone, too. Only one thread builds."""

    def __init__(
        self,
        settings: Settings,
        api: KubeApi,
        clock: Clock,
        watches: Watches,
        time_left: Callable[[], float] | None,
    ) -> None:
        """`settings`: of the installation, without tokens. `time_left`: of the elector; None without one."""
        self._issuer_settings = settings.issuer
        self._api, self._watches, self._time_left = api, watches, time_left
        self._issuer = assembly.issuer(settings.issuer, clock, MINTS_AT_ONCE)
        self._verifier = assembly.verifier(settings.issuer, MINTS_AT_ONCE)
        self._built: dict[str, _Built] = {}

    def of(self, objects: Sequence[Known]) -> list[ManagedToken]:
        """The tokens of exactly these objects, each of which demands one. In the same order."""
        before, self._built = self._built, {}
        for known in objects:
            if known.demand is not None:
                self._built[known.token] = self._build(known, known.demand, before.get(known.token))
        return [built.token for built in self._built.values()]

    def current(self, name: str) -> ManagedToken | None:
        """The token with this name, as built last."""
        built = self._built.get(name)
        return built.token if built else None

    def subjects(self, name: str) -> dict[str, Subject]:
        """What Events about the token with this name are about, by output: always its object."""
        known, token = self._watches.object(name), self.current(name)
        if known is None or (self._time_left is not None and self._time_left() <= 0):
            return {}  # the leader writes them
        subject = Subject(KIND, known.namespace, known.name, known.uid, f"{GROUP}/{VERSION}")
        return dict.fromkeys([each.name for each in token.outputs] if token else [""], subject)

    def _build(self, known: Known, demand: Demand, before: _Built | None) -> _Built:
        if before is not None and before.uid == known.uid and before.demand == demand:
            return before
        same = before if before is not None and before.uid == known.uid else None
        settings = demand.token.outputs[0]
        outputs: tuple[Output, ...]
        url = self._issuer_settings.url
        of_adapter = assembly.adapter_settings(settings, url)
        if same is not None and assembly.adapter_settings(same.demand.token.outputs[0], url) == of_adapter:
            outputs = same.token.outputs
        else:
            outputs = (self._output(known, settings),)
        key: KeySource = WatchedKey(demand.key, self._watches)
        if same is not None and same.demand.key == demand.key:
            key = same.token.key
        policy = assembly.policy_of(demand.token, self._issuer_settings, outputs)
        policy = policy._replace(elected=self._time_left is not None)
        time_left = self._time_left or forever
        token = ManagedToken(policy, key, outputs, self._issuer, self._verifier, time_left=time_left)
        return _Built(known.uid, demand, token)

    def _output(self, known: Known, settings: OutputSettings) -> SecretOutput:
        if not isinstance(settings, SecretOutputSettings):
            raise TypeError("an AccessToken has its token in a Secret")
        url = self._issuer_settings.url
        plan = secret_plan.of_settings(settings, self._api.namespace, assembly.owner(), url)
        owner = Controller(f"{GROUP}/{VERSION}", KIND, known.name, known.uid)
        requested = partial(_requested, self._watches, known.token)
        plan = plan._replace(controller=owner)
        watched = partial(self._watches.token_version, plan.namespace, plan.secret)
        time_left = self._time_left or forever
        return SecretOutput(plan, self._api, time_left, requested=requested, watched=watched)


def _requested(watches: Watches, token: str) -> float | None:
    """The wall time of the request that stands at the object of this token."""
    known = watches.object(token)
    return known.refresh if known is not None else None
