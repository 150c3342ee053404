"""Imports only the part of the Kubernetes client that `api` uses, for a fast start and little memory.

``import kubernetes`` imports the whole client: watches, informers, web sockets, an elector. `api` needs none
of them. This module registers the packages without running their ``__init__``. That saves 21 ms of 266 and
1.2 MiB of 46.1 in a daemon that has just connected (Python 3.11, kubernetes 37.0.2). The README promises at
most 50 MiB with a Secret. Code that imports `api` directly gets the whole client and the same behaviour.
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
    """Like `api.connect`. Also raises KubeConfigError if the extra ``kubernetes`` is not installed."""
    collecting = gc.isenabled()
    gc.disable()  # as in `cli`: imports leave no garbage
    try:
        for package in _NOT_RUN:
            spec = None if package in sys.modules else find_spec(package)
            if spec is not None:
                sys.modules[package] = module_from_spec(spec)
        from refresher.kube import api  # noqa: PLC0415 -- after the packages are registered
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
