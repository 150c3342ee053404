"""Keeps the key and the tokens inside this process, from its start on."""

import os

TYPE_CHECKING = False  # importing `typing` takes 5 ms; type checkers know this name too
if TYPE_CHECKING:
    from collections.abc import Mapping

_PR_SET_DUMPABLE = 4  # linux/prctl.h


class _Before:
    """What the process started with, for a program that takes its place."""

    def __init__(self) -> None:
        self.core: tuple[int, int] | None = None  # soft and hard limit, in bytes
        self.variables: Mapping[str, str] = {}


before = _Before()


def keep_secrets_in(*, for_good: bool = True) -> None:
    """Disable core dumps, the log of TLS session keys, and access to our memory by other processes of the
    same user. Root can still do all of that. Unless `for_good`, `undo` may follow: a lowered hard limit could
    never be raised again."""
    import resource  # noqa: PLC0415 -- install signal handlers first

    before.core = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0 if for_good else before.core[1]))
    key_log = os.environ.pop("SSLKEYLOGFILE", None)  # `ssl` and urllib3 heed it
    before.variables = {} if key_log is None else {"SSLKEYLOGFILE": key_log}
    try:
        # Do not import `ctypes`: it needs memory that is writable and executable, which the unit forbids.
        import _ctypes  # noqa: PLC0415

        prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]
    except (ImportError, OSError):  # not Linux
        return
    _ctypes.call_function(prctl, (_PR_SET_DUMPABLE, 0, 0, 0, 0))


def undo() -> None:
    """Restore the limit of core dumps for a program that takes our place. The kernel makes that program
    dumpable again by itself. Our own memory stays closed."""
    import resource  # noqa: PLC0415 -- as above

    if before.core is not None:
        resource.setrlimit(resource.RLIMIT_CORE, before.core)
