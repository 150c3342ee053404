"""The workflows: valid for GitHub, with every foreign part pinned, and each job with the least rights."""

import json
import os
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import needs

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
RELEASE = next(each for each in WORKFLOWS if each.stem == "release")


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load(path.read_text())["jobs"])


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(path).values() for step in job.get("steps", [])]


MAY_WRITE = {  # workflow, job, rights
    "release": {
        "image": ["attestations", "id-token", "packages"],
        "chart": ["attestations", "id-token", "packages"],
        "publish": ["attestations", "id-token"],
        "announce": ["contents"],
    },
    "security": {"image": ["security-events"], "code": ["security-events"]},
    "scorecard": {"scorecard": ["id-token", "security-events"]},
}

(PUSH,) = [step for step in steps(RELEASE) if "build-push-action" in step.get("uses", "")]
MAKEFILE = (ROOT / "Makefile").read_text()


def test_actionlint_accepts_them():
    module = Path(__file__).parent / "actionlint"
    done = needs.go(module, "tool", "actionlint", "-no-color", *map(str, WORKFLOWS), timeout=110)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_foreign_actions_are_pinned_to_a_commit(path):
    """A tag can be moved to other code."""
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", each)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_job_names_its_rights(path):
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    writing = {
        name: sorted(right for right, how in job["permissions"].items() if how == "write")
        for name, job in jobs(path).items()
        if "permissions" in job
    }
    assert writing == MAY_WRITE.get(path.stem, {})


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_foreign_text_is_inserted_into_a_script(path):
    assert [step["run"] for step in steps(path) if "${{" in step.get("run", "")] == []


def test_publishing_needs_the_tests():
    release = jobs(RELEASE)
    assert release["tests"]["uses"] == "./.github/workflows/tests.yaml"
    assert release["build"]["needs"] == "tests"
    assert release["image"]["needs"] == "build"
    assert release["package"]["needs"] == ["build", "image"]
    assert release["chart"]["needs"] == ["build", "package"]
    assert release["publish"]["needs"] == ["build", "chart"]
    assert release["announce"]["needs"] == "publish"
    (tests,) = [each for each in WORKFLOWS if each.stem == "tests"]
    assert ".ci/run" in " ".join(step.get("run", "") for step in steps(tests))


def test_jobs_that_sign_or_publish_install_nothing():
    """Packages pinned by version alone run only in jobs without valuable rights."""
    trusted = [job for job in jobs(RELEASE).values() if "permissions" in job]
    scripts = "\n".join(step.get("run", "") for job in trusted for step in job["steps"])
    assert "cosign" in scripts
    assert re.findall(r"\b(?:apt-get|go|make|npm|pip|pipx|uv)\b.*", scripts) == []


def test_jobs_download_artifacts_by_name():
    """build-push-action leaves a record among the artifacts that download-artifact cannot unpack:
    https://github.com/docker/build-push-action/issues/1167"""
    taken = [step["with"] for step in steps(RELEASE) if "download-artifact" in step.get("uses", "")]
    left = [step["with"]["name"] for step in steps(RELEASE) if "upload-artifact" in step.get("uses", "")]
    *singly, all_of_them = [each.get("name") or each.get("pattern") for each in taken]
    assert set(singly) <= set(left)
    pattern = re.fullmatch(r"\{(.*)\}", all_of_them)
    assert pattern
    assert set(pattern[1].split(",")) == set(left)


def test_the_image_has_two_platforms_and_its_provenance():
    assert PUSH["with"]["platforms"] == "linux/amd64,linux/arm64"
    assert PUSH["with"]["provenance"] == "mode=max"
    assert PUSH["with"]["sbom"].startswith("generator=docker/buildkit-syft-scanner:")


# Pinned by hash


RENOVATE = json.loads((ROOT / ".github" / "renovate.json").read_text())
INSTALLS = [*WORKFLOWS, ROOT / "Makefile", ROOT / "Dockerfile", ROOT / ".ci" / "run"]


@pytest.mark.parametrize("path", INSTALLS, ids=lambda path: path.name)
def test_pip_installs_only_pinned_packages(path):
    """Pinned by hash, or from a directory. And no job runs a registry's package by its version alone."""
    text = path.read_text().replace("\\\n", " ")
    installed = re.findall(r"\bpip3? .*\b(?:install|download)\b [^;&|]*", text)
    assert [each for each in installed if not re.search(r"--(require-hashes|no-index)\b", each)] == []
    assert (
        re.findall(
            r"\b(?:uvx|npx|pipx|uv tool|uv pip|npm (?:i|install|exec|x)|go install|go run|curl|wget)\b.*",
            text,
        )
        == []
    )


def test_some_workflow_uses_pip():
    assert "pip install" in MAKEFILE + (ROOT / "Dockerfile").read_text()


def test_images_of_tools_are_pinned_by_digest_and_known_to_renovate():
    (manager,) = RENOVATE["customManagers"]
    (files,) = manager["managerFilePatterns"]
    assert all(re.search(files.strip("/"), f".github/workflows/{each.name}") for each in WORKFLOWS)
    patterns = [each.replace("(?<", "(?P<") for each in manager["matchStrings"]]  # Python's syntax
    text = RELEASE.read_text()
    found = {match["depName"] for each in patterns for match in re.finditer(each, text)}
    assert found == {"docker.io/tonistiigi/binfmt", "moby/buildkit", "docker/buildkit-syft-scanner"}
    for action, option in (("setup-qemu", "image"), ("setup-buildx", "driver-opts"), ("build-push", "sbom")):
        (step,) = [each for each in steps(RELEASE) if f"docker/{action}-action@" in each.get("uses", "")]
        assert re.search(r"@sha256:[0-9a-f]{64}$", step["with"][option])


@pytest.mark.parametrize("pinned", ["", f"@sha256:{64 * '1'}"], ids=["by its tag", "by its digest"])
def test_the_base_of_a_released_image_is_pinned_by_digest(tmp_path, pinned):
    """Runs the script of the step, with a docker that knows only one digest."""
    (base,) = [step for step in steps(RELEASE) if step.get("id") == "base"]
    (named,) = re.findall(r"^ARG BASE_IMAGE=([^@\n]*)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    (tmp_path / "Dockerfile").write_text(
        f"ARG BASE_IMAGE={named}{pinned}\nFROM ${{BASE_IMAGE}}\nARG BASE_IMAGE\n"
    )
    digest = pinned or f"@sha256:{64 * '2'}"
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\ntest "$4" = "{named}{pinned}" && echo "{digest[1:]}"\n')
    docker.chmod(0o755)
    given = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GITHUB_OUTPUT": str(tmp_path / "output")}
    subprocess.run(["bash", "-e", "-c", base["run"]], cwd=tmp_path, env=given, check=True)
    assert (tmp_path / "output").read_text() == f"image={named}{digest}\n"
    assert PUSH["with"]["build-args"] == "BASE_IMAGE=${{ steps.base.outputs.image }}"


def test_a_released_chart_names_its_image_by_digest():
    release = jobs(RELEASE)
    (made,) = [step for step in release["package"]["steps"] if "helm package" in step.get("run", "")]
    assert made["env"]["DIGEST"] == "${{ needs.image.outputs.digest }}"
    assert release["image"]["outputs"]["digest"] == "${{ steps.push.outputs.digest }}"
    assert ".image.digest = strenv(DIGEST)" in made["run"]


def test_renovate_sees_every_pin_and_no_generated_file():
    """config:recommended ignores tests; `ignorePaths` here replaces that."""
    ignored = RENOVATE["ignorePaths"]
    pinned = [ROOT / "uv.lock", ROOT / "Dockerfile", *WORKFLOWS, *ROOT.glob("tests/**/go.mod")]
    assert len(pinned) > 8
    generated = re.findall(r"--output-file (\S+)", MAKEFILE)
    assert generated
    for path, expected in [
        *((each.relative_to(ROOT), False) for each in pinned),
        *((Path(each), True) for each in generated),
    ]:
        assert any(fnmatch(str(path), each) for each in ignored) == expected, path
    assert {"docker:pinDigests", "helpers:pinGitHubActionDigestsToSemver"} <= set(RENOVATE["extends"])


@pytest.mark.parametrize("name", ["image", "chart"])
def test_released_artifacts_are_signed_and_attested_by_digest(name):
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
    """Except the token that GitHub gives each run: publishing uses OIDC."""
    assert set(re.findall(r"secrets\.(\w+)", RELEASE.read_text())) == {"GITHUB_TOKEN"}
    assert "password" not in str([step for step in steps(RELEASE) if "pypi" in step.get("uses", "")])
