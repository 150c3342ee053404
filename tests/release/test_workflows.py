"""The workflows: GitHub takes them, nothing foreign in them can change, no job may do more than it does."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import needs

WORKFLOWS = sorted((Path(__file__).parents[2] / ".github" / "workflows").glob("*.yaml"))
RELEASE = next(each for each in WORKFLOWS if each.stem == "release")


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load(path.read_text())["jobs"])


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(path).values() for step in job.get("steps", [])]


(PUSH,) = [step for step in steps(RELEASE) if "build-push-action" in step.get("uses", "")]
MAKEFILE = (Path(__file__).parents[2] / "Makefile").read_text()


def test_actionlint_takes_them():
    module = Path(__file__).parent / "actionlint"
    done = needs.go(module, "tool", "actionlint", "-no-color", *map(str, WORKFLOWS), timeout=110)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_is_not_ours_is_known_by_its_commit(path):
    """A tag can be moved to other code."""
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", each)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_rights_are_had_but_those_that_a_job_names(path):
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    writing = {
        name: [*job.get("permissions", {})] for name, job in jobs(path).items() if "permissions" in job
    }
    assert writing == (
        {
            "image": ["contents", "packages", "id-token", "attestations"],
            "chart": ["packages", "id-token", "attestations"],
            "publish": ["id-token", "attestations"],
            "announce": ["contents"],
        }
        if path == RELEASE
        else {}
    )


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_nothing_that_somebody_else_wrote_is_pasted_into_a_script(path):
    assert [step["run"] for step in steps(path) if "${{" in step.get("run", "")] == []


def test_nothing_is_published_that_was_not_tested():
    release = jobs(RELEASE)
    assert release["tests"]["uses"] == "./.github/workflows/tests.yaml"
    assert release["build"]["needs"] == "tests"
    assert release["image"]["needs"] == "build"
    assert release["chart"]["needs"] == ["build", "image"]
    assert release["publish"]["needs"] == ["build", "chart"]
    assert release["announce"]["needs"] == "publish"
    assert ".ci/run" in " ".join(step.get("run", "") for step in steps(WORKFLOWS[-1]))


def test_whoever_may_sign_or_publish_installs_nothing():
    """What comes from a registry by its version alone runs where there are no rights worth stealing."""
    trusted = [job for job in jobs(RELEASE).values() if "permissions" in job]
    told = "\n".join(step.get("run", "") for job in trusted for step in job["steps"])
    assert "cosign" in told
    assert re.findall(r"\b(?:apt-get|go|make|npm|pip|pipx|uv)\b.*", told) == []


def test_what_is_handed_on_between_jobs_is_named():
    """build-push-action leaves a record among the artifacts that download-artifact cannot unpack:
    https://github.com/docker/build-push-action/issues/1167"""
    taken = [step["with"] for step in steps(RELEASE) if "download-artifact" in step.get("uses", "")]
    left = [step["with"]["name"] for step in steps(RELEASE) if "upload-artifact" in step.get("uses", "")]
    *singly, all_of_them = [each.get("name") or each.get("pattern") for each in taken]
    assert set(singly) <= set(left)
    assert all_of_them == f"{{{','.join(left)}}}"


def test_the_image_is_for_two_platforms_and_comes_with_what_tells_its_origin():
    assert PUSH["with"]["platforms"] == "linux/amd64,linux/arm64"
    assert (PUSH["with"]["provenance"], PUSH["with"]["sbom"]) == ("mode=max", True)


@pytest.mark.parametrize("name", ["image", "chart"])
def test_what_goes_to_the_registry_is_signed_and_attested_by_its_digest(name):
    *_, signed, attested = (
        step for step in jobs(RELEASE)[name]["steps"] if "cosign-installer" not in str(step)
    )
    assert signed["run"].startswith("cosign sign --yes")
    assert signed["env"]["DIGEST"] == attested["with"]["subject-digest"] == "${{ steps.push.outputs.digest }}"
    assert "@$DIGEST" in signed["run"]
    assert attested["uses"].startswith("actions/attest-build-provenance@")


def test_the_image_is_built_as_make_image_builds_it():
    def made(name: str) -> str:
        (found,) = re.findall(rf"^{name} \??= ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
        return str(found)

    assert PUSH["env"]["SOURCE_DATE_EPOCH"] == made("SOURCE_DATE_EPOCH")
    assert "rewrite-timestamp=true" in PUSH["with"]["outputs"]
    labels = set(re.findall(r"^org\.opencontainers\.image\.(\w+)=", PUSH["with"]["labels"], re.MULTILINE))
    assert labels == {*re.findall(r"(\w+)=\$", made("ANNOTATED")), "source"}


def test_no_secret_is_needed():
    """But the token that GitHub gives each run: what publishes is trusted for what it is."""
    assert set(re.findall(r"secrets\.(\w+)", RELEASE.read_text())) == {"GITHUB_TOKEN"}
    assert "password" not in str([step for step in steps(RELEASE) if "pypi" in step.get("uses", "")])
