"""Connecting soon after the start of a process that is to stay small.

``import kubernetes`` imports all that there is of the client: watches, informers, web sockets, an elector.
`api` needs none of that, and what it does need imports what it needs itself. So the packages are put in place
without running their ``__init__``: 56 ms and 13.8 MB instead of 87 ms and 17.1 MB (Python 3.11, kubernetes
37.0.2). Whoever imports `api` without this gets all of it, and the same behaviour.
"""

import gc
import sys
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING

from refresher.errors import KubeConfigError
from refresher.ports import Clock

if TYPE_CHECKING:
    from refresher.kube.api import KubeApi

_NOT_RUN = ("kubernetes", "kubernetes.utils")


def connect(clock: Clock) -> "KubeApi":
    """As `api.connect`. Raises KubeConfigError also if the Kubernetes client, an extra, is not installed."""
    collecting = gc.isenabled()
    gc.disable()  # as in `cli`: imports make no garbage
    try:
        for package in _NOT_RUN:
            spec = None if package in sys.modules else find_spec(package)
            if spec is not None:
                sys.modules[package] = module_from_spec(spec)
        from refresher.kube import api  # noqa: PLC0415 -- the point of all this
    except ModuleNotFoundError as error:
        raise KubeConfigError(
            f"Secrets and leader election need the Python package {error.name}, which is not installed: "
            "pip install 'inlive-token-refresher[kubernetes]'"
        ) from error
    finally:
        gc.freeze()
        if collecting:
            gc.enable()
    return api.connect(clock)
