"""Rules across options, and about the file system: which outputs would overwrite something."""

import os
from collections.abc import Iterable

from refresher.config.declarations import TokenSettings
from refresher.config.drafts import INVALID, Draft, example_of
from refresher.config.durations import format_duration
from refresher.config.issuer_rules import issuer_of, issuers_of
from refresher.config.options import by_flag, first_of, options_of
from refresher.config.output_kinds import LOCK_FILE, kind_of, record_path, refresh_path, secret_names
from refresher.config.quoting import shown, shown_path
from refresher.config.source_map import Place, Problems
from refresher.core.schedule import margin
from refresher.errors import Problem


def check_rules(root: Draft, problems: Problems) -> None:
    """Report conflicts between the options of `root`. Invalid options are skipped."""
    first_of_name: dict[str, Draft] = {}
    for token in root.drafts("tokens"):
        name = token.get("name")
        first = token if name is INVALID else first_of_name.setdefault(name, token)
        if first is not token:
            other = problems.reference(first.place("name"))
            problems.add(
                token.place("name"), f"{shown(name)} is the name of {other} as well; each token needs its own"
            )
        if issuer := issuer_of(root, token):
            _check_lifetime(token, issuer, problems)
        for output in token.drafts("outputs"):
            check_conditional_options(output, problems)
            _check_propagation_delay(output, token, problems)
    serve, election = root.get("serve"), root.get("leader_election")
    if isinstance(serve, Draft):
        _check_client_secret(serve, problems)
    if isinstance(election, Draft):
        for token in root.drafts("tokens"):
            _check_election(election, token, problems)
        if isinstance(serve, Draft):
            lease = problems.reference(election.place("lease"))
            problem = f"serve and leader election, {lease}, exclude each other"
            problems.add(serve.place("address"), f"{problem}: a standby has no token to serve; take one out")


def _check_client_secret(serve: Draft, problems: Problems) -> None:
    """Every program on this machine reaches a TCP port, so OAuth2 clients need a secret there."""
    address = serve.get("address")
    if address is not INVALID and not address.path and serve.get("secret_file") is None:
        problems.add(
            serve.place("address"),
            f"a TCP port needs secret_file, the client secret of OAuth2 clients; write "
            f"{example_of(options_of(serve.section)['secret_file'])}, or serve on a Unix socket",
        )


def check_conditional_options(draft: Draft, problems: Problems) -> None:
    """Report an option that is given without the choice it belongs to, and the reverse: a template."""
    for key, option in options_of(draft.section).items():
        if option.only_with is None:
            continue
        flag, choice = option.only_with
        condition = by_flag(draft.section)[flag]
        setting, value = draft.get(condition.key), draft.get(key)
        if setting is INVALID or value is INVALID:
            continue
        choices = condition.value_type.choices(setting)
        if choice in choices and value is None:
            problems.add(draft.place(condition.key), f"{choice!r} needs {key}; write {example_of(option)}")
        if choice not in choices and value is not None:
            are = f"{'format is' if len(choices) == 1 else 'formats are'} {', '.join(map(repr, choices))}"
            problems.add(draft.place(key), f"is for format {choice!r}, and the {are}; take one out")


def _check_lifetime(token: Draft, issuer: Draft, problems: Problems) -> None:
    lifetime, longest = token.get("lifetime"), issuer.get("max_lifetime")
    if lifetime is not INVALID and longest is not INVALID and lifetime > longest:
        problems.add(
            token.place("lifetime"),
            f"{format_duration(lifetime)} is more than max_lifetime of its issuer allows; accepted: 10s to "
            f"{format_duration(longest)}, or raise {problems.reference(issuer.place('max_lifetime'))}",
        )


def _check_propagation_delay(output: Draft, token: Draft, problems: Problems) -> None:
    """A token is replaced half a lifetime before its end at the earliest. A slower consumer would be left
    without (see `refresher.core.schedule.margin`).

    A default that is too long only leads to a warning: it is the delay of the slowest usual consumers, and
    these may be faster.
    """
    delay, lifetime = output.get("propagation_delay"), token.get("lifetime")
    if delay is INVALID or lifetime is INVALID or delay < lifetime / 2:
        return
    too_long = f"half of the lifetime {format_duration(lifetime)} or more"
    if "propagation_delay" in output.values:
        accepted = f"accepted: less than {format_duration(lifetime / 2)}"
        problems.add(output.place("propagation_delay"), f"{format_duration(delay)} is {too_long}; {accepted}")
    else:
        problems.warn(
            output.place(first_of(output.section).key),
            f"consumers may see a new token {format_duration(delay)} late (the default), {too_long}; write a "
            f"lifetime over {format_duration(2 * delay)}, or the propagation_delay of your consumers"
            f"{kind_of(output.section).delay_hint}",
        )


def _check_election(election: Draft, token: Draft, problems: Problems) -> None:
    """Only the leader writes, and only to its own machine: a standby would leave its files without a token.
    And a standby that takes over just when the token is due must be in time for the consumers."""
    lease = problems.reference(election.place("lease"))
    outputs = token.drafts("outputs")
    for output in outputs:
        kind, key = kind_of(output.section), first_of(output.section).key
        if kind.is_file and output.get(key) is not INVALID:
            problem = f"a {kind.noun} and leader election, {lease}, exclude each other: a standby writes none"
            problems.add(output.place(key), f"{problem}; publish in a Secret, or take leader election out")
    lifetime, duration = token.get("lifetime"), election.get("duration")
    delays = [output.get("propagation_delay") for output in outputs]
    if INVALID in (lifetime, duration, *delays):
        return
    delay = max(delays, default=0.0)
    spare = margin(lifetime, delay) - delay
    if 0 < spare < duration:
        problems.warn(
            token.place("lifetime"),
            f"leaves consumers {format_duration(spare)} if a leader dies at the worst moment: another one "
            f"leads after {format_duration(duration)}; write {format_duration(2 * (delay + duration))} or "
            f"more, or a shorter {problems.reference(election.place('duration'))}",
        )


def problems_of_period(every: float, tokens: Iterable[TokenSettings]) -> tuple[Problem, ...]:
    """Why `once`, called every `every` seconds, could not keep these tokens valid; empty if it can.

    A token must outlive the period and the margin before its end. Otherwise it ends between two calls.
    """
    problems = []
    for token in tokens:
        delay = max((output.propagation_delay for output in token.outputs), default=0.0)
        spare = margin(token.lifetime, delay)
        if every + spare >= token.lifetime:
            period, lifetime = format_duration(every), format_duration(token.lifetime)
            text = f'{period} + {format_duration(spare)} margin ≥ lifetime {lifetime} of token "{token.name}"'
            accepted = f"less than {format_duration(token.lifetime - spare)}, or a longer lifetime"
            problems.append(Problem(f"--every {period}", f"{text}; accepted: {accepted}"))
    return tuple(problems)


# Outputs that would overwrite something


def check_targets(root: Draft, config_path: str | None, problems: Problems) -> None:
    """Report outputs with the same target. Report files that would overwrite a key, the CA file, the
    configuration, or the record of another output. Asks the file system about symlinks."""
    paths = RealPaths()
    _check_secret_is_no_key(root, paths, problems)
    inputs = _inputs(root, config_path, paths)
    taken: dict[str, Place] = {}
    files: list[tuple[Place, str]] = []
    for place, is_file, target in _targets(root):
        real = paths.real(target) if is_file else target
        if real in taken:  # no Secret's name begins with a slash
            other = problems.reference(taken[real])
            text = shown_path(real) if is_file else real
            problems.add(place, f"{text} is the target of {other} as well; give each its own")
        taken.setdefault(real, place)
        if is_file:
            files.append((place, real))
    for place, target in files:
        if target.endswith(f"/{LOCK_FILE}"):
            problems.add(place, f"{shown_path(target)} is the lock file of the refresher; give another path")
        record = record_path(target)
        for written, does in ((target, "would overwrite"), (record, "would put its record over")):
            if written in inputs:
                text = f"{does} {inputs[written]}, {shown_path(written)}; give the output another path"
                problems.add(place, text)
        for beside, what in ((record, "the record"), (refresh_path(target), "the request file")):
            if beside in taken:
                text = f"{shown_path(beside)} is {what} beside {problems.reference(place)}"
                problems.add(taken[beside], f"{text}; give another path")


def problems_of_namespace(home: str, tokens: Iterable[TokenSettings]) -> tuple[Problem, ...]:
    """Outputs that are the same Secret. `check_targets` cannot know, because it depends on `home`, the
    namespace of Secrets without one."""
    problems = []
    first_of_target: dict[tuple[str, str], str] = {}
    for token in tokens:
        for target in secret_names(token.outputs, home):
            if target in first_of_target:
                text = f"is the target of an output of token {first_of_target[target]!r} as well"
                where = f"Secret {'/'.join(target)} of token {token.name!r}"
                problems.append(Problem(where, f"{text}; give each its own"))
            first_of_target.setdefault(target, token.name)
    return tuple(problems)


class RealPaths:
    """`os.path.realpath` with a memory: ten thousand paths in a few directories need few system calls."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def real(self, path: str) -> str:
        """The absolute `path` with all symlinks followed. It need not exist."""
        given, real = "", "/"
        for part in path.split("/"):
            if part in ("", "."):
                continue
            given = f"{given}/{part}"
            if given not in self._known:
                self._known[given] = self._step(real, part)
            real = self._known[given]
        return real

    @staticmethod
    def _step(directory: str, part: str) -> str:
        if part == "..":
            return os.path.dirname(directory)
        path = f"{directory.rstrip('/')}/{part}"
        return os.path.realpath(path) if os.path.islink(path) else path


def _check_secret_is_no_key(root: Draft, paths: RealPaths, problems: Problems) -> None:
    """OAuth2 clients know the client secret, and must not know the key of a token."""
    serve = root.get("serve")
    secret = serve.get("secret_file") if isinstance(serve, Draft) else None
    if not isinstance(secret, str):
        return
    for token in root.drafts("tokens"):
        key_file = token.get("key_file")
        if key_file and key_file is not INVALID and paths.real(key_file) == paths.real(secret):
            key = problems.reference(token.place("key_file"))
            text = f"is the file of a key, {key}; give the clients a secret of their own"
            problems.add(serve.place("secret_file"), text)
            return


def _targets(root: Draft) -> list[tuple[Place, bool, str]]:
    """Where the target of each output is given, whether it is a file, and the target."""
    found = []
    for token in root.drafts("tokens"):
        for output in token.drafts("outputs"):
            key = first_of(output.section).key
            if (target := output.get(key)) is not INVALID:
                found.append((output.place(key), kind_of(output.section).is_file, target))
    return found


def _inputs(root: Draft, config_path: str | None, paths: RealPaths) -> dict[str, str]:
    """The files that the refresher reads, by real path, with their names for messages."""
    read: dict[str, str] = {}
    if config_path is not None:
        read[paths.real(config_path)] = "the configuration file"
    for path, issuer in issuers_of(root).items():
        ca_file = issuer.get("ca_file")
        if isinstance(ca_file, str):
            read[paths.real(ca_file)] = f"{path}.ca_file"
    serve = root.get("serve")
    if isinstance(serve, Draft) and isinstance(secret_file := serve.get("secret_file"), str):
        read[paths.real(secret_file)] = "serve.secret_file"
    for token in root.drafts("tokens"):
        key_file = token.get("key_file")
        if key_file and key_file is not INVALID:
            read[paths.real(key_file)] = "the key"
    return read
