"""The project's own errors. Adapters turn every foreign exception into one of these, chained with `from`."""

from typing import NamedTuple


class RefresherError(Exception):
    """Base of all of them. The text is fit for a person and never carries a secret."""


class KeyUnreadableError(RefresherError):
    """The application key cannot be had from its source, or what is there cannot be a key."""


class OutputError(RefresherError):
    """An output cannot be read or written. The text says which, why, and what to do about it.

    `retry_after`: seconds for which whoever keeps it asks to be left alone.
    """

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class OutputHeldError(OutputError):
    """Another running process writes this output; the text says which. For a pass of ``refresher once``
    beside the daemon that is no failure: the daemon serves the consumers."""


class OutputOutOfSightError(OutputError):
    """What an output holds cannot be seen from here, while its consumers have it as before: there is no way
    to where it is kept, or no permission to look."""


class KubeError(RefresherError):
    """Kubernetes does not do what it was asked to. The text holds no Secret's data and no token."""


class KubeConfigError(KubeError):
    """No cluster is configured, or not so that it can be used."""


class KubeUnreachableError(KubeError):
    """No answer, or a 5xx: no connection, no time left, TLS, an API server in trouble.

    What was to be written may have been.
    """


class KubeDeniedError(KubeError):
    """Who we are may not do this (403), or is not known (401). The text says what, where, and what to do."""


class KubeNotFoundError(KubeError):
    """There is no such object."""


class KubeConflictError(KubeError):
    """Somebody else was first: it exists, was changed meanwhile, or the field is another manager's."""


class KubeThrottledError(KubeError):
    """The API server asks us to wait: `retry_after` seconds, if it told."""

    def __init__(self, text: str, retry_after: float | None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class KubeRejectedError(KubeError):
    """The request is not one that this API server takes, as its text says: 400, 413, 422 and their like."""


class UnreachableDaemonError(RefresherError):
    """`refresher status --url` found nobody who answers as a refresher."""


class ListenError(RefresherError):
    """The address for the endpoints cannot be listened on."""


class Problem(NamedTuple):
    """One problem of a configuration or command line: where, what was given, what is accepted."""

    where: str  # e.g. "refresher.yaml:12: tokens[0].outputs[1].mode", "--lifetime", "REFRESHER_LIFETIME"
    text: str  # e.g. "'rwx' is not a file mode; accepted: octal digits in quotes such as \"0640\""

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


class ConfigurationError(RefresherError):
    """Every problem of a configuration at once."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class UsageError(RefresherError):
    """The command line is wrong. `usage`: how the command is used, on one line."""

    def __init__(self, usage: str, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.usage, self.problems = usage, problems


def unforeseen(error: Exception) -> str:
    """How status and messages name an unforeseen error: without its text, which may contain a secret.

    The notification `Crashed` takes the text to the log, which removes secrets.
    """
    return f"internal error (a bug): {type(error).__name__}; the log has the details"
