"""What the machine knows about one token, and what it was told to keep to. Frozen values, nothing else."""

from collections.abc import Collection
from typing import NamedTuple, Self

from refresher.core.effects import Mint
from refresher.core.instant import Instant
from refresher.core.model import Declined, Holding, Reason, SecretStr, Token, TokenFacts
from refresher.core.values import distinct

NEVER = float("-inf")
ISSUER = "issuer"  # what a mint is about, as a write is about an output


@distinct
class OutputPolicy(NamedTuple):
    """`propagation_delay`: the longest, in seconds, that its consumers take to see a new value."""

    name: str
    propagation_delay: float
    includes_refresh_token: bool


@distinct
class TokenPolicy(NamedTuple):
    """What the operator wants for one token. Seconds; `refresh_at` is a fraction of the lifetime; `issuer` is
    the base URL of the issuer that mints it.

    `horizon`: what would come due within it is minted now (``once --every``). `elected`: nothing is minted or
    written before this process has been elected leader.
    """

    name: str
    lifetime: float
    refresh_at: float
    timeout: float
    issuer: str
    outputs: tuple[OutputPolicy, ...]
    horizon: float = 0.0
    elected: bool = False

    @property
    def propagation_delay(self) -> float:
        """The longest of its outputs' propagation delays."""
        return max(output.propagation_delay for output in self.outputs)


@distinct
class Credential(NamedTuple):
    """A key and how minting with it goes. `next_try` is in boot seconds.

    `declined`: how the last attempt failed. `is_refused`: the issuer's last word on the key itself was no;
    what merely keeps us from asking again does not take that back.
    """

    key: SecretStr
    failures: int = 0
    next_try: float = NEVER
    declined: Declined | None = None
    is_refused: bool = False


@distinct
class OutputState(NamedTuple):
    """One output as last seen. Times are boot seconds.

    `holding`: what it held at the last inspection; None before the first one. `published`: the fingerprint of
    the token last written or adopted there. `busy_since`: when the step in flight began; None if none is.
    `write_problem`, `read_problem`: why the last write or inspection failed; None if it did not. `writable`:
    the last write or dry run succeeded. `forged`: its record names our key but does not carry its seal.
    `held`: the other process that owns it; empty if there is none.
    `failed_looks`: consecutive inspections that could not reach the output; `failed_looks_at`: when the last
    of these ended.
    """

    name: str
    holding: Holding | None = None
    published: str | None = None
    looked_at: float = NEVER
    busy_since: float | None = None
    failures: int = 0
    next_try: float = NEVER
    write_problem: str | None = None
    read_problem: str | None = None
    writable: bool = False
    forged: bool = False
    held: str = ""
    failed_looks: int = 0
    failed_looks_at: float = NEVER

    @property
    def facts(self) -> TokenFacts | None:
        """Of the token that it is believed to hold; None where it holds none whose end is known."""
        return self.holding.facts if self.holding else None

    def is_without(self, now: Instant) -> bool:
        """Whether it is known to hold no valid token."""
        return self.holding is not None and self.holding.remaining(now) <= 0

    @property
    def problem(self) -> str | None:
        """What ails it: what keeps it from being written, before what keeps it from being read."""
        return self.write_problem or self.held or self.read_problem


@distinct
class State(NamedTuple):
    """All that is known about one token.

    `proven`: the key that has minted or whose token was adopted. `candidate`: a newer key not proven yet.
    `facts` and `token`: the token to publish; an adopted one may lack its value. `minted_here`: this process
    minted it. `requested_reason`: why a refresh was requested, if one was; `requested_during_mint`: the
    request came while a mint was in flight.
    `observed_lifetime`: the shortest time, in seconds, after which a token was reported expired too early.
    `leads`: whether this process mints and writes; `leads_since`: when (boot seconds) leadership was gained.
    Anything observed earlier may be stale. `unserved_since`: since when (boot seconds) an output holds no
    valid token while this process stands by; `alarmed`: that was reported.
    """

    outputs: tuple[OutputState, ...]
    proven: Credential | None = None
    candidate: Credential | None = None
    key_problem: str | None = None
    facts: TokenFacts | None = None
    token: Token | None = None
    minted_here: bool = False
    minting: Mint | None = None
    requested_reason: Reason | None = None
    requested_during_mint: bool = False
    observed_lifetime: float | None = None
    stopping: bool = False
    leads: bool = True
    leads_since: float = NEVER
    unserved_since: float | None = None
    alarmed: bool = False

    @classmethod
    def initial(cls, policy: TokenPolicy) -> Self:
        """Knowing nothing yet."""
        return cls(tuple(OutputState(output.name) for output in policy.outputs), leads=not policy.elected)

    @property
    def newest(self) -> Credential | None:
        """The key that the source held last."""
        return self.candidate or self.proven

    def key_of(self, facts: TokenFacts) -> SecretStr | None:
        """The key with which that token was minted, if it is one of ours."""
        held = (credential.key for credential in (self.candidate, self.proven) if credential is not None)
        return next((key for key in held if key.fingerprint == facts.key_fingerprint), None)

    def output(self, name: str) -> OutputState:
        return next(output for output in self.outputs if output.name == name)

    def with_output(self, output: OutputState) -> Self:
        """The state with this one in the place of the output of its name."""
        outputs = tuple(output if known.name == output.name else known for known in self.outputs)
        return self._replace(outputs=outputs)

    def awaits_another(self, now: Instant) -> bool:
        """Whether another process owns an output and has not published a valid token there yet."""
        return any(output.held and output.is_without(now) for output in self.outputs)

    def waiting_for(self, targets: Collection[str]) -> Self:
        """The state in which nothing is in flight but on these targets: outputs, and `ISSUER` for a mint."""
        outputs = tuple(
            output if output.name in targets else output._replace(busy_since=None) for output in self.outputs
        )
        return self._replace(outputs=outputs, minting=self.minting if ISSUER in targets else None)

    @property
    def is_busy(self) -> bool:
        """Whether a step is in flight."""
        return self.minting is not None or any(output.busy_since is not None for output in self.outputs)
