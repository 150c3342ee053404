"""What flags and variables say, judged, and laid over what the file says."""

from collections.abc import Collection

from refresher.config.declarations import (
    FileOutputSettings,
    IssuerSettings,
    Settings,
    TokenSettings,
    options_of,
)
from refresher.config.findings import Findings, Place
from refresher.config.flags import Given, is_repeatable
from refresher.config.sections import MISTAKEN, Draft, parsed

KEY, OUTPUTS = "key", "outputs"  # what a command may need
DEFAULT_NAME = "default"  # of the one token that flags describe


class Overrides:
    """The right values of flags and variables, and where each was given; what is wrong is in the findings."""

    def __init__(self, collected: list[Given], cwd: str, findings: Findings) -> None:
        self.config: str | None = None  # absolute
        self.config_as_given = ""
        self.token = Draft(TokenSettings)
        self.output = Draft(FileOutputSettings)
        self.issuer = Draft(IssuerSettings)
        self.root = Draft(Settings)
        # Of --to-file: where each was given, and the path or MISTAKEN.
        self.files: list[tuple[Place, object]] = []
        drafts = {draft.section: draft for draft in (self.token, self.output, self.issuer, self.root)}
        for given in collected:
            value = parsed(given.option, given.text, given.where, cwd, findings)
            if given.section is None:
                self.config = None if value is MISTAKEN else str(value)
                self.config_as_given = given.text
            elif is_repeatable(given.option):
                self.files.append((given.where, value))
            else:
                drafts[given.section].values[given.option.attribute] = value
                drafts[given.section].places[given.option.attribute] = given.where

    @property
    def describe_a_token(self) -> bool:
        """Whether there is enough to know that a token is meant."""
        return "key_file" in self.token.values or bool(self.files)

    def lay_over(self, root: Draft, needs: Collection[str], command: str, findings: Findings) -> None:
        """Change `root`, as the file gave it, to what holds."""
        root.overlay(self.root)
        issuer = root.values.get("issuer")
        if not isinstance(issuer, Draft):
            issuer = root.values["issuer"] = Draft(IssuerSettings, ("issuer",))
        issuer.overlay(self.issuer)
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

    def _places(self, *, with_outputs: bool) -> list[Place]:
        outputs = [*(place for place, _ in self.files), *self.output.places.values()] if with_outputs else []
        return list(dict.fromkeys([*self.token.places.values(), *outputs]))

    def _lay_over_outputs(self, token: Draft, findings: Findings) -> None:
        outputs = token.get("outputs")
        if self.files:
            token.values["outputs"] = self._outputs_of_its_own()
        elif outputs is not MISTAKEN and len(outputs) == 1:
            outputs[0].overlay(self.output)
            if "format" in self.output.values and "template" not in self.output.values:
                _drop_template_of_another_format(outputs[0])
        elif outputs is not MISTAKEN:
            for place in self.output.places.values():
                problem = f"for one output only, and the file has {len(outputs)}"
                findings.add(place, f"{problem}; write it into the file, or name the outputs with --to-file")

    def _outputs_of_its_own(self) -> list[Draft]:
        outputs = []
        for place, path in self.files:
            output = Draft(FileOutputSettings, places=_at_flags(FileOutputSettings))
            output.overlay(self.output)
            output.values["path"], output.places["path"] = path, place
            outputs.append(output)
        return outputs

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
        if OUTPUTS in needs and not self.files:
            findings.add(
                "--to-file", f"is missing, a token needs an output; the shortest that works: {shortest}"
            )
        token = Draft(TokenSettings, places=_at_flags(TokenSettings))
        token.values.update(name=DEFAULT_NAME, key_file="")
        token.overlay(self.token)
        token.values["outputs"] = self._outputs_of_its_own() if OUTPUTS in needs else []
        return [token]


def _at_flags(section: type) -> dict[str, Place]:
    """Mistakes in what was not given point at the flag that gives it."""
    return {option.attribute: option.flag for option in options_of(section).values() if option.flag}


def _drop_template_of_another_format(output: Draft) -> None:
    if output.values["format"] != "template":
        output.values.pop("template", None)
