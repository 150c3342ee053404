"""Renders the chart in `deploy/helm` with Helm."""

import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests import needs
from tests.deploy.rendering import DEPLOY, IMAGE, Document, Objects

CHART = DEPLOY / "helm" / "inlive-token-refresher"
NAMESPACE = "studio"
HOOK = "helm.sh/hook"
BUILDING = 600  # seconds: the first use compiles helm

Values = Mapping[str, Any]


def helm(*words: object, values: Values | None = None) -> subprocess.CompletedProcess[str]:
    """Runs helm with these values."""
    more = [] if values is None else ["--values=-"]
    return subprocess.run(
        [needs.helm(), *map(str, words), *more],
        input=None if values is None else yaml.safe_dump(dict(values)),
        capture_output=True,
        text=True,
        check=False,
    )


def rendered(
    values: Values, release: str = IMAGE, namespace: str = NAMESPACE, *, chart: Path = CHART
) -> Objects:
    """All rendered objects, including hooks."""
    made = helm("template", release, chart, f"--namespace={namespace}", values=values)
    assert made.returncode == 0, made.stderr
    objects = Objects(each for each in yaml.safe_load_all(made.stdout) if each)
    assert objects
    return objects


@cache
def installed(mode: str) -> Objects:
    """The objects of a mode with its defaults, without hooks. Do not change them."""
    return without_hooks(rendered({"mode": mode}))


def without_hooks(objects: Objects) -> Objects:
    return Objects(each for each in objects if not is_hook(each))


def is_hook(each: Document) -> bool:
    return HOOK in each["metadata"].get("annotations", {})
