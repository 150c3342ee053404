"""Keeps the key and the tokens inside this process, from its start on."""

import os

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def keep_secrets_in() -> None:
    """Disable core dumps, the log of TLS session keys, and access to our memory by other processes of the
    same user. Root can still do all of that."""
    import resource  # noqa: PLC0415 -- install signal handlers first

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ.pop("SSLKEYLOGFILE", None)  # `ssl` and urllib3 heed it
    try:
        # Do not import `ctypes`: it needs memory that is writable and executable, which the unit forbids.
        import _ctypes  # noqa: PLC0415

        prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]
    except (ImportError, OSError):  # not Linux
        return
    _ctypes.call_function(prctl, (_PR_SET_DUMPABLE, 0, 0, 0, 0))
