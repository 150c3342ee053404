"""Finds and builds the Kubernetes binaries of the tests. `make kube` runs this file.

No package registry has kube-apiserver, but Go's module proxy has its source. go.mod in this directory lists
the commands to build, as `tool`, and pins their sources. go.sum has the hashes. This module uses only the
standard library, so that `make kube` needs no environment.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("kube-apiserver", "etcd", "kubectl")
MODULE = Path(__file__).with_name("go.mod")
GO = {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""}  # ignores the user's settings, needs no C compiler


def version() -> str:
    """The Kubernetes release in go.mod, such as v1.34.4."""
    asked = re.search(r"^\s*(?:require )?k8s\.io/kubernetes (v\S+)", MODULE.read_text(), re.MULTILINE)
    assert asked is not None, f"{MODULE} does not require k8s.io/kubernetes"
    return asked[1]


def cache() -> Path:
    """The directory for what is built from this very go.mod: another etcd is another directory."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    pins = hashlib.sha256(MODULE.read_bytes()).hexdigest()[:8]
    return home / "inlive-token-refresher" / "kube" / f"{version()}-{pins}"


def directory() -> Path:
    """The directory of the binaries. KUBEBUILDER_ASSETS wins, as in the tests of other projects."""
    given = os.environ.get("KUBEBUILDER_ASSETS")
    return Path(given) if given else cache()


def missing() -> list[str]:
    """The binaries in NAMES that are not in `directory()`."""
    return [name for name in NAMES if not os.access(directory() / name, os.X_OK)]


def build(into: Path) -> None:
    """Compile NAMES into this directory. It appears only when all are there.

    Without cgo, so that no C compiler is needed, and without debugging tables: they are half of the size. The
    version is linked in, because a build that is not of Kubernetes' own calls itself v0.0.0-master.
    """
    partial = into.with_name(f"{into.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    stamps = [
        f"-X k8s.io/{package}/version.{name}={text}"
        for package in ("component-base", "client-go/pkg")
        for name, text in (("gitVersion", version()), ("gitTreeState", "clean"))
    ]
    command = ["go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false"]
    command += ["-ldflags", " ".join(["-s", "-w", *stamps]), "-o", f"{partial}/", "tool"]
    subprocess.run(command, cwd=MODULE.parent, env=os.environ | GO, check=True)
    (partial / "server").rename(partial / "etcd")  # go.etcd.io/etcd/server/v3, called after its path
    shutil.rmtree(into, ignore_errors=True)
    partial.rename(into)


def obtain() -> str:
    """Build the `missing()` binaries, or report why not. A second process waits for the first."""
    if not os.environ.get("KUBEBUILDER_ASSETS") and missing():
        if shutil.which("go") is None:
            return "cannot build kube-apiserver: there is no go; see https://go.dev/doc/install"
        cache().parent.mkdir(parents=True, exist_ok=True)
        with open(cache().parent / "lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                if missing():
                    build(cache())
            except subprocess.CalledProcessError as failed:
                return f"go build ended with {failed.returncode}; {MODULE} says from which Go on it builds"
    if missing():
        return f"{directory()} (of KUBEBUILDER_ASSETS) has no {', '.join(missing())}"
    return ""


if __name__ == "__main__":
    if problem := obtain():
        sys.exit(problem)
    sys.stdout.write(f"{directory()} has {', '.join(NAMES)}\n")
