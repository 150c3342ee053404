"""What a program loads with the client."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOADED = (
    "import json, sys; before = set(sys.modules); {}; print(json.dumps(sorted(set(sys.modules) - before)))"
)
OF_REQUESTS = {"requests", "urllib3", "idna", "charset_normalizer", "certifi", "chardet"}
OF_HTTPX = {"httpx", "httpcore", "anyio", "h11", "idna", "certifi", "sniffio", "typing_extensions"}
OF_ITS_COMMAND = {"click", "rich", "pygments"}  # httpx loads them if they are there


def loaded(statement: str) -> set[str]:
    command = [sys.executable, "-c", LOADED.format(statement)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(ended.stdout))


def foreign(modules: set[str]) -> set[str]:
    """The packages among them that are neither ours nor Python's."""
    tops = {name.partition(".")[0] for name in modules}
    compiled = {name for name in tops if "__mypyc" in name or "cython" in name}  # of charset_normalizer
    return tops - set(sys.stdlib_module_names) - {"refresher"} - compiled


@pytest.mark.parametrize(
    ("name", "packages"), [("InliveAuth", OF_REQUESTS), ("InliveHttpxAuth", OF_HTTPX | OF_ITS_COMMAND)]
)
def test_the_client_loads_nothing_of_the_daemon(name: str, packages: set[str]) -> None:
    modules = loaded(f"from refresher.client import {name}")
    ours = {module for module in modules if module.startswith("refresher")}
    assert {module for module in ours if not module.startswith("refresher.client")} == {"refresher"}
    assert foreign(modules) <= packages


def test_the_package_alone_loads_only_the_standard_library() -> None:
    assert foreign(loaded("import refresher.client")) == set()


def test_a_misspelt_name_is_reported() -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        loaded("from refresher.client import InliveAuht")
    assert "cannot import name 'InliveAuht'" in caught.value.stderr
