"""What flags and variables say, judged, and laid over what the file says."""

from collections.abc import Collection

from refresher.config.declarations import (
    FileOutputSettings,
    IssuerSettings,
    LeaderElectionSettings,
    SecretOutputSettings,
    Settings,
    TokenSettings,
)
from refresher.config.findings import Findings, Place
from refresher.config.flags import Given, LogSettings
from refresher.config.options import first_of, options_of
from refresher.config.sections import MISTAKEN, Draft, parsed
from refresher.config.serving import ServeSettings

KEY, OUTPUTS = "key", "outputs"  # what a command may need
DEFAULT_NAME = "default"  # of the one token that flags describe
DEFAULT_KEY = "access-token"  # of a Secret that flags describe
FOR_FILES = {"mode", "group"}


class Overrides:
    """The right values of flags and variables, and where each was given; what is wrong is in the findings."""

    def __init__(self, collected: list[Given], cwd: str, findings: Findings) -> None:
        self.config: str | None = None  # absolute
        self.config_as_given = ""
        self.token = Draft(TokenSettings)
        self.output = Draft(FileOutputSettings)  # but for its path; for a Secret see `_fitting`
        self.targets: list[Draft] = []  # of --to-file and --to-secret, with nothing but the target
        self.issuer = Draft(IssuerSettings)
        self.election = Draft(LeaderElectionSettings)
        self.serve = Draft(ServeSettings)
        self.root = Draft(Settings)
        self.log = Draft(LogSettings)
        sections = (self.token, self.output, self.issuer, self.election, self.serve, self.root, self.log)
        drafts: dict[type | None, Draft] = {draft.section: draft for draft in sections}
        for given in collected:
            value = parsed(given.option, given.text, given.where, cwd, findings)
            if given.section is None:
                self.config = None if value is MISTAKEN else str(value)
                self.config_as_given = given.text
                continue
            if given.option.repeated:
                self.targets.append(Draft(given.section))
            draft = self.targets[-1] if given.option.repeated else drafts[given.section]
            draft.values[given.option.attribute] = value
            draft.places[given.option.attribute] = given.where

    @property
    def describe_a_token(self) -> bool:
        """Whether there is enough to know that a token is meant."""
        return "key_file" in self.token.values or bool(self.targets)

    def lay_over(self, root: Draft, needs: Collection[str], command: str, findings: Findings) -> None:
        """Change `root`, as the file gave it, to what holds."""
        root.overlay(self.root)
        issuer = root.values.get("issuer")
        if not isinstance(issuer, Draft):
            issuer = root.values["issuer"] = Draft(IssuerSettings, ("issuer",))
        issuer.overlay(self.issuer)
        no_election = "only with a Lease there is leader election"
        self._lay_over_section("leader_election", self.election, root, no_election, findings)
        self._lay_over_section("serve", self.serve, root, "nothing is served without an address", findings)
        tokens = root.values.get("tokens")
        if tokens is None:
            root.values["tokens"] = self._token_of_its_own(root, needs, command, findings)
        elif tokens is not MISTAKEN and len(tokens) == 1:
            tokens[0].overlay(self.token)
            if OUTPUTS in needs:
                self._lay_over_outputs(tokens[0], findings)
        elif tokens is not MISTAKEN:
            for place in self._places(with_outputs=OUTPUTS in needs):
                findings.add(
                    place, f"for one token only, and the file has {len(tokens)}; write it into the file"
                )

    def _lay_over_section(self, key: str, over: Draft, root: Draft, problem: str, findings: Findings) -> None:
        """Change a section that may be absent, and that is nothing without its first option."""
        if not over.values:
            return
        section = root.values.get(key)
        if section is None:
            section = root.values[key] = Draft(over.section, places=_at_flags(over.section))
        section.overlay(over)
        first = first_of(over.section)
        if first.attribute not in section.values:
            section.values[first.attribute] = MISTAKEN
            findings.add(str(first.flag), f"is missing; {problem}")

    def _places(self, *, with_outputs: bool) -> list[Place]:
        drafts = [self.token, *self.targets, self.output] if with_outputs else [self.token]
        return list(dict.fromkeys(place for draft in drafts for place in draft.places.values()))

    def _lay_over_outputs(self, token: Draft, findings: Findings) -> None:
        outputs = token.get("outputs")
        if self.targets:
            token.values["outputs"] = self._outputs_of_its_own(findings)
        elif outputs is not MISTAKEN and len(outputs) == 1:
            self._refuse_what_is_for_files(outputs, findings)
            outputs[0].overlay(self._fitting(outputs[0].section))
            of_flags = self.output.values
            if of_flags.get("format", "template") != "template" and "template" not in of_flags:
                outputs[0].values.pop("template", None)  # it was for the format of the file
        elif outputs is not MISTAKEN:
            for place in self.output.places.values():
                problem = f"for one output only, and the file has {len(outputs)}; write it into the file"
                findings.add(place, f"{problem}, or name the outputs with --to-file and --to-secret")

    def _outputs_of_its_own(self, findings: Findings) -> list[Draft]:
        self._refuse_what_is_for_files(self.targets, findings)
        outputs = []
        for target in self.targets:
            output = Draft(target.section, places=_at_flags(target.section))
            output.overlay(self._fitting(target.section))
            output.overlay(target)
            outputs.append(output)
        return outputs

    def _fitting(self, section: type) -> Draft:
        """What flags say about an output of this kind. They give a Secret one key."""
        if section is FileOutputSettings:
            return self.output
        secret = Draft(SecretOutputSettings)
        for attribute, value in self.output.values.items():
            if attribute == "format":
                secret.values["data"] = MISTAKEN if value is MISTAKEN else ((DEFAULT_KEY, value),)
                secret.places["data"] = self.output.places[attribute]
            elif attribute not in FOR_FILES:
                secret.values[attribute] = value
                secret.places[attribute] = self.output.places[attribute]
        return secret

    def _refuse_what_is_for_files(self, outputs: list[Draft], findings: Findings) -> None:
        if {output.section for output in outputs} == {SecretOutputSettings}:
            for attribute in sorted(FOR_FILES & self.output.values.keys()):
                findings.add(self.output.places[attribute], "is for files, and every output is a Secret")

    def _token_of_its_own(
        self, root: Draft, needs: Collection[str], command: str, findings: Findings
    ) -> list[Draft]:
        shortest = f"refresher {command}"
        shortest += " --key-file KEY_FILE" * (KEY in needs) + " --to-file FILE" * (OUTPUTS in needs)
        if not self.describe_a_token:
            if needs:
                place: Place = "--config" if self.config is None else root.place("tokens")
                findings.add(place, f"no token is configured; the shortest that works: {shortest}")
            return []
        if KEY in needs and "key_file" not in self.token.values:
            findings.add("--key-file", f"is missing; the shortest that works: {shortest}")
        if OUTPUTS in needs and not self.targets:
            problem = "is missing, a token needs an output (this, or --to-secret)"
            findings.add("--to-file", f"{problem}; the shortest that works: {shortest}")
        token = Draft(TokenSettings, places=_at_flags(TokenSettings))
        token.values.update(name=DEFAULT_NAME, key_file="")
        token.overlay(self.token)
        token.values["outputs"] = self._outputs_of_its_own(findings) if OUTPUTS in needs else []
        return [token]


def _at_flags(section: type) -> dict[str, Place]:
    """Mistakes in what was not given point at the flag that gives it."""
    return {option.attribute: option.flag for option in options_of(section).values() if option.flag}
