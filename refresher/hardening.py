"""What keeps key and tokens in this process, from its start on."""

import os

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def keep_secrets_in() -> None:
    """Let no core be dumped, no process of the same user read our memory or trace us, and no TLS session be
    written down for decryption. Root can do all of that all the same."""
    import resource  # noqa: PLC0415 -- signals have handlers first

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ.pop("SSLKEYLOGFILE", None)  # `ssl` and urllib3 heed it
    try:
        # Not by `ctypes`: its import takes memory both writable and executable, which the unit forbids.
        import _ctypes  # noqa: PLC0415

        prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]
    except (ImportError, OSError):  # not Linux
        return
    _ctypes.call_function(prctl, (_PR_SET_DUMPABLE, 0, 0, 0, 0))
