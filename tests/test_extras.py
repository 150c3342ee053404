"""Without the extra `kubernetes`: files work as usual; a use of a cluster reports what to install."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from refresher.emulator.server import Emulator
from tests.commands.daemon import KEY
from tests.environment import without_extras

INSTALL = "pip install 'inlive-token-refresher[kubernetes]'"
NEEDING_A_CLUSTER = ["run", "once", "check", "status", "wait"]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return without_extras(tmp_path_factory.mktemp("environment") / "venv")


@pytest.fixture
def inlive():
    with Emulator(keys=[KEY]) as started:
        yield started


@pytest.fixture
def refresher(
    python: Path, tmp_path: Path, inlive: Emulator
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``refresher WORDS…`` in that environment, next to a file `key`. A cluster is configured."""
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "kubeconfig").write_text("")

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "-m", "refresher", *words],
            cwd=tmp_path,
            env={"KUBECONFIG": "kubeconfig", "REFRESHER_ISSUER_URL": inlive.url, "REFRESHER_KEY_FILE": "key"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return call


def configured(place: Path, outputs: list[dict[str, str]]) -> None:
    token = {"name": "studio", "key_file": "key", "outputs": outputs}
    (place / "refresher.json").write_text(json.dumps({"tokens": [token]}))


def test_the_environment_has_no_kubernetes_client(python):
    found = subprocess.run(
        [python, "-c", "import requests, kubernetes"], capture_output=True, text=True, check=False
    )
    assert found.stderr.endswith("No module named 'kubernetes'\n")


@pytest.mark.parametrize("command", NEEDING_A_CLUSTER)
def test_a_secret_without_the_extra_is_reported_before_a_mint(refresher, inlive, command):
    ended = refresher(command, "--to-secret", "studio/access-token")
    assert (ended.returncode, ended.stdout) == (78, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("refresher: ")
    assert line.endswith(INSTALL)
    assert inlive.counts.mints == 0


@pytest.mark.parametrize("command", NEEDING_A_CLUSTER)
def test_a_secret_in_the_configuration_file_without_the_extra_is_reported(
    refresher, inlive, tmp_path, command
):
    outputs = [{"file": "token"}, {"secret": "studio/access-token"}, {"secret": "studio/other"}]
    configured(tmp_path, outputs)
    ended = refresher(command, "--config", "refresher.json")
    assert (ended.returncode, ended.stdout) == (78, "")
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.endswith(f"{INSTALL}\n")
    assert inlive.counts.mints == 0
    assert not (tmp_path / "token").exists()


@pytest.mark.parametrize("command", ["run", "check"])
def test_leader_election_without_the_extra_is_reported(refresher, inlive, command):
    ended = refresher(command, "--to-secret", "studio/access-token", "--lease", "studio/refresher")
    assert (ended.returncode, ended.stdout) == (78, "")
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.endswith(f"{INSTALL}\n")
    assert inlive.counts.mints == 0


def test_a_file_works_without_the_extra(refresher, inlive, tmp_path):
    for command in ("check", "once", "status", "wait"):
        ended = refresher(command, "--to-file", "token")
        assert ended.returncode == 0, ended.stdout + ended.stderr
    assert inlive.valid((tmp_path / "token").read_text())
    minted = refresher("mint")
    assert inlive.valid(minted.stdout)


def test_mint_works_with_a_secret_in_the_configuration(refresher, inlive, tmp_path):
    configured(tmp_path, [{"secret": "studio/access-token"}])
    minted = refresher("mint", "--config", "refresher.json")
    assert inlive.valid(minted.stdout)
