"""The health check for Argo CD in docs/controller.md, in the Lua interpreter of Argo CD."""

import json
import subprocess
from typing import Any

import pytest
import yaml

from refresher.controller.conditions import object_status
from tests import needs
from tests.controller.objects import accesstoken, spec
from tests.controller.test_conditions import NOW, nothing, token
from tests.deploy.rendering import DEPLOY, blocks

PAGE = DEPLOY.parent / "docs" / "controller.md"
KEY = "resource.customizations.health.token-refresher.inlive.app_AccessToken"


def health(found: Any) -> tuple[str, str]:
    """The health of an object with this status, and why."""
    (config,) = [yaml.safe_load(block) for block in blocks(PAGE) if block.startswith("# argocd-cm.yaml")]
    wanted = accesstoken(spec()) | ({} if found is None else {"status": found})
    wanted["metadata"]["generation"] = 2
    script = f"""
        function check(obj) {config["data"][KEY]} end
        local found = check({lua(wanted)})
        print(found.status)
        print(found.message)
    """
    ran = subprocess.run([needs.glua(), "-e", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    status, message = ran.stdout.splitlines()
    return status, message


def lua(value: Any) -> str:
    """A literal of Lua."""
    if isinstance(value, dict):
        return "{" + ",".join(f"[{lua(key)}]={lua(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ",".join(map(lua, value)) + "}"
    return json.dumps(value)


def written(of: Any, *mistakes: str, generation: int = 2) -> Any:
    """The status that the controller writes."""
    document = accesstoken(spec())
    document["metadata"]["generation"] = generation
    return object_status(document, of, mistakes, NOW)


@pytest.mark.parametrize(
    ("found", "status", "message"),
    [
        (None, "Progressing", "waiting for the controller"),
        ({"observedGeneration": -1}, "Progressing", "waiting for the controller"),
        (written(token(), generation=1), "Progressing", "waiting for the controller"),
        (written(nothing()), "Progressing", "not_started: "),
        (written(token()), "Healthy", "valid: the Secret holds a valid token"),
        (written(token(), "spec.lifetime: is wrong"), "Healthy", "invalid: spec.lifetime: is wrong"),
        (written(None, "spec.lifetime: is wrong"), "Degraded", "invalid: spec.lifetime: is wrong"),
    ],
)
def test_the_health_follows_the_condition_of_the_present_generation(found, status, message):
    told = health(found)
    assert told[0] == status
    assert told[1].startswith(message)
