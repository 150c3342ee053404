"""The project's own errors. Adapters turn every foreign exception into one of these, chained with `from`."""

from typing import NamedTuple


class RefresherError(Exception):
    """Base of all errors. The text is for people and never contains a secret."""


class KeyUnreadableError(RefresherError):
    """The source of the key cannot be read, or its content cannot be a key."""


class OutputError(RefresherError):
    """An output cannot be read or written. The text says why, and what to do. It makes a sentence after the
    output's name: "cannot be written: …".

    `retry_after`: `Retry-After` of the backend, in seconds.
    """

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class OutputHeldError(OutputError):
    """Another running process writes this output. The text names it. For ``refresher once`` beside the
    daemon that is not a failure: the daemon serves the consumers."""


class OutputOutOfSightError(OutputError):
    """This process cannot see the content of an output: its backend is unreachable, or permission is missing.
    Consumers still have the content."""


class HookError(RefresherError):
    """The hook of an output failed. The text says why, and what to do."""


class KubeError(RefresherError):
    """A request to Kubernetes failed. The text contains no token and no data of a Secret."""


class KubeConfigError(KubeError):
    """No cluster is configured, or its configuration is unusable."""


class KubeUnreachableError(KubeError):
    """No answer (connection, TLS, time-out), or a 5xx.

    A write may have succeeded nevertheless.
    """


class KubeDeniedError(KubeError):
    """We lack permission (403), or are not authenticated (401). The text says what, where, and what to do."""


class KubeNotFoundError(KubeError):
    """The object does not exist."""


class KubeConflictError(KubeError):
    """Another writer was first: the object exists, has changed since, or another manager owns the field."""


class KubeExpiredError(KubeError):
    """The API server no longer has the state that a watch or the rest of a list begins at (410)."""


class KubeThrottledError(KubeError):
    """The API server asks us to wait. `retry_after`: in seconds; None if it does not say."""

    def __init__(self, text: str, retry_after: float | None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class KubeRejectedError(KubeError):
    """The API server rejects the request as invalid (400, 413, 422 and similar). The text says why."""


class KubeApiMissingError(KubeRejectedError):
    """The server does not have this API: it is no API server, or a custom resource is not installed."""


class UnreachableDaemonError(RefresherError):
    """`refresher status --url` reached no refresher."""


class ListenError(RefresherError):
    """Listening on a configured address failed. The text says what to do."""


class AddressInUseError(ListenError):
    """Something else has this address already: a process, or a file."""


class Problem(NamedTuple):
    """One problem of a configuration or command line: where, what was given, what is accepted."""

    where: str  # e.g. "refresher.yaml:12: tokens[0].outputs[1].mode", "--lifetime", "REFRESHER_LIFETIME"
    text: str  # e.g. "'rwx' is not a file mode; accepted: octal digits in quotes such as \"0640\""

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


class ConfigurationError(RefresherError):
    """All problems of a configuration."""

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
