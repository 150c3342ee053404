"""Loads the configuration: merges file, environment and flags into settings, or reports every problem."""

import hashlib
import os
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Self

from refresher.config import flags
from refresher.config.declarations import (
    KNOWN_KEYS,
    LeaderElectionSettings,
    Settings,
    TokenSettings,
)
from refresher.config.drafts import INVALID, Draft, find_missing, parsed, read_section
from refresher.config.issuer_rules import choose_issuers
from refresher.config.issuers import IssuerSettings
from refresher.config.options import by_flag, first_of
from refresher.config.output_kinds import KINDS, PRINTED, kind_of
from refresher.config.quoting import shown_path
from refresher.config.rules import check_conditional_options, check_rules, check_targets
from refresher.config.serving import ServeSettings
from refresher.config.source_map import MalformedError, Place, Problems
from refresher.errors import Problem

KEY, OUTPUTS = "key", "outputs"  # what a command may need
DEFAULT_NAME = "default"  # of the one token that flags describe

_TARGET_FLAGS = [str(first_of(kind.settings).flag) for kind in KINDS]


class Loaded(NamedTuple):
    """The result of loading. `warnings` stop nothing.

    `format` and `template` are the values of their flags or variables, for a command that prints a token.
    """

    settings: Settings
    warnings: tuple[Problem, ...]
    config_path: str | None  # absolute; None without a file
    format: str
    template: str | None
    log: flags.LogSettings
    digest: str  # of the content of the file; empty without a file

    def without_tokens(self) -> Self:
        """The rest, to keep: ten thousand tokens have 5 MB of settings, which nothing needs once the adapters
        are built."""
        return self._replace(settings=self.settings._replace(tokens=()))


def load(
    arguments: Mapping[str, object],
    environ: Mapping[str, str],
    cwd: str,
    *,
    needs: Collection[str] = (KEY, OUTPUTS),
    command: str = "run",
) -> Loaded:
    """The settings from `arguments` (parsed; see `flags.add_flags`), `environ` and the file.

    For each option flag beats variable beats file beats default. Relative paths in flags and variables start
    at `cwd`, an absolute path; those in the file start at its directory.

    `needs`: what flags must give where no file does. Without KEY the key file of a token may be missing,
    which makes it empty. Without OUTPUTS its outputs may be missing, and flags change none. Without both,
    there may be no token. `command` is named in messages.

    Raises ConfigurationError with every problem. Each call reads the file anew.
    """
    problems, doubtful = Problems(KNOWN_KEYS), flags.doubtful_variables(environ)
    root, over = merged(flags.collect(arguments, environ), cwd, problems, needs, command)
    problems.raise_any(beside=doubtful)
    settings: Settings = root.built()
    output = over.output(PRINTED)
    return Loaded(
        settings=settings,
        warnings=(*problems.warnings, *doubtful),
        config_path=over.config,
        format=output.get("format"),
        template=output.get("template"),
        log=over.log.built(),
        digest=over.digest,
    )


def merged(
    given: list[flags.Given], cwd: str, problems: Problems, needs: Collection[str], command: str
) -> "tuple[Draft, Overlay]":
    """All three sources as one draft, checked; and the values of flags and variables alone."""
    over = Overlay(given, cwd, problems)
    root = _from_file(over, cwd, problems)
    over.lay_over(root, needs, command, problems)
    defaults = root.values.get("defaults")
    if isinstance(defaults, Draft):
        for token in root.drafts("tokens"):
            token.underlay(defaults)
    find_missing(root, problems)
    choose_issuers(root, problems)
    check_rules(root, problems)
    if OUTPUTS not in needs:
        check_conditional_options(over.output(PRINTED), problems)
    check_targets(root, over.config, problems)
    return root, over


def _from_file(over: "Overlay", cwd: str, problems: Problems) -> Draft:
    """The file's values. If the file cannot be read, its tokens are invalid."""
    root = Draft(Settings, ())
    if over.config is None:
        if over.config_as_given:  # it is not a path
            root.values["tokens"] = INVALID
        return root
    from refresher.config.files import content_of, document_of  # noqa: PLC0415 - only with a file

    problems.file = shown_path(over.config_as_given, cwd)
    try:
        content = content_of(over.config)
        over.digest = hashlib.sha256(content).hexdigest()
        document = document_of(content, over.config)
    except MalformedError as error:
        position = "".join(f":{number}" for number in (error.line, error.column) if number is not None)
        problems.add(problems.file + position, error.problem)
        root.values["tokens"] = INVALID
        return root
    problems.document = document
    return read_section((Settings,), document, (), os.path.dirname(over.config), problems)


class Overlay:
    """The valid values of flags and variables, to be laid over those of the file. Problems are reported."""

    def __init__(self, collected: list[flags.Given], cwd: str, problems: Problems) -> None:
        self.config: str | None = None  # absolute
        self.config_as_given = ""
        self.digest = ""
        self.token = Draft(TokenSettings)
        self.issuer = Draft(IssuerSettings)
        self.election = Draft(LeaderElectionSettings)
        self.serve = Draft(ServeSettings)
        self.root = Draft(Settings)
        self.log = Draft(flags.LogSettings)
        self.targets: list[Draft] = []  # outputs with nothing but their target
        self._for_outputs: dict[str, tuple[Any, str]] = {}  # by flag: value and place
        sections = (self.token, self.issuer, self.election, self.serve, self.root, self.log)
        drafts = {draft.section: draft for draft in sections}
        for section, option, text, where in collected:
            value = parsed(option, text, where, cwd, problems)
            if section is None:
                self.config = None if value is INVALID else str(value)
                self.config_as_given = text
            elif section in drafts:
                drafts[section].set(option.attribute, value, where)
            elif option.repeated:
                self.targets.append(Draft(section))
                self.targets[-1].set(option.attribute, value, where)
            else:
                self._for_outputs[str(option.flag)] = value, where

    @property
    def describes_a_token(self) -> bool:
        """Whether flags and variables describe a token of their own."""
        return "key_file" in self.token.values or bool(self.targets)

    def output(self, section: type) -> Draft:
        """The values for an output with these settings. Flags that it does not have are left out."""
        draft = Draft(section)
        for flag, (value, where) in self._for_outputs.items():
            option = by_flag(section).get(flag)
            if option is not None:
                convert = option.from_flag if value is not INVALID else None
                draft.set(option.attribute, convert(value) if convert else value, where)
        return draft

    def lay_over(self, root: Draft, needs: Collection[str], command: str, problems: Problems) -> None:
        """Change `root`, the values of the file, to the values in effect."""
        root.overlay(self.root)
        issuer = root.values.get("issuer")
        if not isinstance(issuer, Draft):
            issuer = root.values["issuer"] = Draft(IssuerSettings, ("issuer",))
        issuer.overlay(self.issuer)
        needs_lease = "leader election needs a Lease"
        self._lay_over_section("leader_election", self.election, root, needs_lease, problems)
        self._lay_over_section("serve", self.serve, root, "the listener needs an address", problems)
        tokens = root.values.get("tokens")
        if tokens is None:
            root.values["tokens"] = self._own_token(root, needs, command, problems)
        elif tokens is not INVALID and len(tokens) == 1:
            tokens[0].overlay(self.token)
            if OUTPUTS in needs:
                self._lay_over_outputs(tokens[0], problems)
        elif tokens is not INVALID:
            for place in self._places(with_outputs=OUTPUTS in needs):
                problems.add(
                    place, f"for one token only, and the file has {len(tokens)}; write it into the file"
                )

    def _lay_over_section(self, key: str, over: Draft, root: Draft, why: str, problems: Problems) -> None:
        """Change a section that may be absent, and that needs its first option."""
        if not over.values:
            return
        section = root.values.setdefault(key, Draft(over.section))
        section.overlay(over)
        first = first_of(over.section)
        if first.attribute not in section.values:
            section.values[first.attribute] = INVALID
            problems.add(str(first.flag), f"is missing; {why}")

    def _places(self, *, with_outputs: bool) -> list[Place]:
        drafts = [self.token, *self.targets] if with_outputs else [self.token]
        places: list[Place] = [place for draft in drafts for place in draft.places.values()]
        places += [place for _, place in self._for_outputs.values()] if with_outputs else []
        return list(dict.fromkeys(places))

    def _lay_over_outputs(self, token: Draft, problems: Problems) -> None:
        outputs = token.get("outputs")
        if self.targets:
            token.values["outputs"] = self._own_outputs(problems)
        elif outputs is not INVALID and len(outputs) == 1:
            [output] = outputs
            self._refuse_what_fits_none(outputs, problems)
            over = self.output(output.section)
            output.overlay(over)
            self._drop_conditional_options(output, over)
        elif outputs is not INVALID:
            for _, place in self._for_outputs.values():
                problem = f"for one output only, and the file has {len(outputs)}; write it into the file"
                problems.add(place, f"{problem}, or name the outputs with {' and '.join(_TARGET_FLAGS)}")

    def _drop_conditional_options(self, output: Draft, over: Draft) -> None:
        """Without the file's format, its template goes too."""
        for option in by_flag(output.section).values():
            if option.only_with is not None and option.attribute not in over.values:
                flag, choice = option.only_with
                if self.given(flag, choice) != choice:
                    output.values.pop(option.attribute, None)

    def given(self, flag: str, default: Any = None) -> Any:
        """The value of a flag about outputs, as given."""
        return self._for_outputs[flag][0] if flag in self._for_outputs else default

    def _own_outputs(self, problems: Problems) -> list[Draft]:
        self._refuse_what_fits_none(self.targets, problems)
        outputs = []
        for target in self.targets:
            output = self.output(target.section)
            output.overlay(target)
            outputs.append(output)
        return outputs

    def _refuse_what_fits_none(self, outputs: list[Draft], problems: Problems) -> None:
        sections = dict.fromkeys(output.section for output in outputs)
        nouns = " or ".join(kind_of(section).noun for section in sections)
        for flag, (_, place) in sorted(self._for_outputs.items()):
            if outputs and not any(flag in by_flag(section) for section in sections):
                fitting = " or ".join(kind.noun for kind in KINDS if flag in by_flag(kind.settings))
                problems.add(place, f"is for a {fitting}, and every output is a {nouns}")

    def _own_token(
        self, root: Draft, needs: Collection[str], command: str, problems: Problems
    ) -> list[Draft]:
        shortest = f"refresher {command}"
        shortest += " --key-file KEY_FILE" * (KEY in needs) + " --to-file FILE" * (OUTPUTS in needs)
        if not self.describes_a_token:
            if needs:
                place: Place = "--config" if self.config is None else root.place("tokens")
                problems.add(place, f"no token is configured; the shortest command that works: {shortest}")
            return []
        defaults = root.values.get("defaults")
        has_default = isinstance(defaults, Draft) and "key_file" in defaults.values
        has_key = has_default or "key_file" in self.token.values
        if KEY in needs and not has_key:
            problems.add("--key-file", f"is missing; the shortest command that works: {shortest}")
        if OUTPUTS in needs and not self.targets:
            first, *others = _TARGET_FLAGS
            problem = f"is missing, a token needs an output (this, or {' or '.join(others)})"
            problems.add(first, f"{problem}; the shortest command that works: {shortest}")
        token = Draft(TokenSettings)
        token.values.update({"name": DEFAULT_NAME} | ({} if has_key else {"key_file": ""}))
        token.overlay(self.token)
        token.values["outputs"] = self._own_outputs(problems) if OUTPUTS in needs else []
        return [token]
