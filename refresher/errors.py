"""The project's own errors. Adapters turn every foreign exception into one of these, chained with `from`."""

from typing import NamedTuple


class RefresherError(Exception):
    """Base of all of them. The text is fit for a person and never carries a secret."""


class KeyUnreadableError(RefresherError):
    """The application key cannot be had from its source, or what is there cannot be a key."""


class OutputError(RefresherError):
    """An output cannot be read or written. The text says which, why, and what to do about it."""


class UnreachableDaemonError(RefresherError):
    """`refresher status --url` found nobody who answers as a refresher."""


class ListenError(RefresherError):
    """The address for the endpoints cannot be listened on."""


class Mistake(NamedTuple):
    """One mistake in a configuration: where, what was given, what is accepted."""

    where: str  # e.g. "refresher.yaml:12: tokens[0].outputs[1].mode", "--lifetime", "REFRESHER_LIFETIME"
    problem: str  # e.g. "'rwx' is not a file mode; accepted: octal digits in quotes such as \"0640\""

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}"


class ConfigurationError(RefresherError):
    """Every mistake of a configuration at once."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = mistakes
