"""The binaries of the tests' API server, and the message if they are missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import needs
from tests.kube import binaries


def test_given_binaries_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    (tmp_path / "etcd").symlink_to("/bin/true")
    missing = "needs kube-apiserver and kubectl: make kube builds it"
    for continuous, outcome in (("", pytest.skip.Exception), ("true", pytest.fail.Exception)):
        monkeypatch.setenv("CI", continuous)
        with pytest.raises((pytest.skip.Exception, pytest.fail.Exception), match=missing) as ended:
            needs.kubernetes()
        assert ended.type is outcome
    for name in binaries.NAMES[::2]:
        (tmp_path / name).symlink_to("/bin/true")
    assert needs.kubernetes() == tmp_path


def test_existing_binaries_are_not_built_again(tmp_path: Path) -> None:
    for name in binaries.NAMES:
        (tmp_path / name).symlink_to("/bin/true")
    environ = {"PATH": "/nowhere", "KUBEBUILDER_ASSETS": str(tmp_path)}
    make = [sys.executable, binaries.__file__]
    there = subprocess.run(make, env=environ, capture_output=True, text=True, check=True)
    assert there.stdout == f"{tmp_path} has kube-apiserver, etcd, kubectl\n"
    (tmp_path / "etcd").unlink()
    missing = subprocess.run(make, env=environ, capture_output=True, text=True, check=False)
    assert (missing.returncode, missing.stderr) == (1, f"{tmp_path} (of KUBEBUILDER_ASSETS) has no etcd\n")
    environ = {"PATH": "/nowhere", "XDG_CACHE_HOME": str(tmp_path)}
    without_go = subprocess.run(make, env=environ, capture_output=True, text=True, check=False)
    assert without_go.returncode == 1
    assert "there is no go" in without_go.stderr
