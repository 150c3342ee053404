"""What is loaded before the first token, and who may do what nobody else may."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from refresher.emulator.server import Emulator
from tests.commands.daemon import KEY, free_port

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "refresher").rglob("*.py"))

# A token is minted and published, and then the process tells what it has loaded for that.
ONCE = """\
import json, sys
from refresher.cli import main
code = main(sys.argv[1:])
print(json.dumps(list(sys.modules)))
sys.exit(code)
"""

NOT_FOR_THE_FIRST_TOKEN = {
    "difflib": "for mistakes in a configuration",
    "concurrent.futures": "for a scrape",
    "http.server": "for nothing",
    "jsonschema": "for tests",
    "kubernetes": "for Secrets",
    "prometheus_client": "for a scrape",
    "pydantic": "for Kubernetes",
    "refresher.controller": "for AccessToken objects",
    "refresher.emulator": "for development",
    "refresher.hooks": "for an output with a hook",
    "refresher.http.server": "for the endpoints",
    "refresher.issuer.json_mint": "for an issuer of this kind",
    "refresher.issuer.oauth2": "for an issuer of this kind",
    "refresher.keys.followed": "for the consumers' listener",
    "refresher.kube": "for Secrets",
    "refresher.metrics": "for a scrape",
    "refresher.outputs.memory": "for the consumers' listener",
    "refresher.status": "for the endpoints",
    "refresher.systemd": "for a service manager",
    "refresher.web": "for the endpoints",
    "tenacity": "for a failure that passes",
    "yaml": "for a configuration in YAML",
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The modules in a process that has just published its first token."""
    place = tmp_path_factory.mktemp("once")
    (place / "key").write_text(KEY)
    with Emulator(keys=[KEY]) as inlive:
        files = ["--key-file", str(place / "key"), "--to-file", str(place / "token")]
        command = [sys.executable, "-c", ONCE, "once", "--issuer-url", inlive.url, *files]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
        assert ended.returncode == 0, ended.stderr
        assert inlive.valid((place / "token").read_text())
    return set(json.loads(ended.stdout))


@pytest.mark.parametrize("name", NOT_FOR_THE_FIRST_TOKEN)
def test_what_the_first_token_does_not_need_is_not_loaded_before_it(loaded, name):
    assert {each for each in loaded if each == name or each.startswith(f"{name}.")} == set()


def test_what_it_needs_is(loaded):
    """That the test above looks at the right process."""
    assert {"requests", "refresher.engine", "refresher.issuer.client", "refresher.outputs.file"} <= loaded


FOR_CONSUMERS = ("outputs.memory", "keys.followed", "web.consumers", "web.guard", "web.oauth2")


@pytest.mark.parametrize("serves", [False, True])
def test_a_daemon_without_a_listener_for_consumers_loads_none_of_its_modules(serves, tmp_path):
    """With one it does, so the test sees them."""
    port = free_port()
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "secret").write_text("client-secret")
    with Emulator(keys=[KEY]) as inlive:
        words = ["--issuer-url", inlive.url, "--key-file", tmp_path / "key", "--to-file", tmp_path / "token"]
        words += ["--listen", f"127.0.0.1:{port}"]
        if serves:
            words += ["--serve", f"127.0.0.1:{free_port()}", "--serve-secret-file", tmp_path / "secret"]
        command = [sys.executable, "-X", "importtime", "-m", "refresher", "run", *map(str, words)]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
            loaded = set()
            for line in process.stderr:
                loaded.add(line.rpartition("|")[2].strip())
                if {"refresher.web.endpoints"} | {
                    f"refresher.{name}" for name in FOR_CONSUMERS if serves
                } <= loaded:
                    process.terminate()
    assert "refresher.web.endpoints" in loaded
    assert {name for name in FOR_CONSUMERS if f"refresher.{name}" in loaded} == set(
        FOR_CONSUMERS if serves else ()
    )


# --- Rules about the source that import contracts cannot hold


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT / "refresher"))


def full_names(module: ast.Module) -> dict[str, str]:
    """What each imported name stands for: ``{"now": "time.time"}`` after ``from time import time as now``."""
    names = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {each.asname or each.name.partition(".")[0]: each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    return names


def uses(module: ast.Module) -> Iterator[str]:
    """The dotted name of every imported thing that is used."""
    imported = full_names(module)
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute | ast.Name):
            first, *rest = ast.unparse(node).split(".")
            if first in imported:
                yield ".".join([imported[first], *rest])


# What reads the wall clock or CLOCK_BOOTTIME. `time.monotonic` is not among them: it is for time-outs, which
# concern nobody but who waits.
CLOCKS = {
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "time.clock_gettime",
    "time.clock_gettime_ns",
    "time.ctime",
    "time.gmtime",
    "time.localtime",
    "time.strftime",
    "time.time",
    "time.time_ns",
}


def test_one_module_reads_the_clocks():
    assert {named(path) for path in MODULES if CLOCKS & set(uses(tree(path)))} == {"clock.py"}


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.time()",
        "from time import time as now\nnow()",
        "import datetime as d\nd.datetime.now()",
    ],
)
def test_a_clock_that_is_read_in_disguise_is_seen(source):
    assert CLOCKS & set(uses(ast.parse(source)))


def catches_all(node: ast.AST) -> bool:
    """Whether it is an ``except`` for every error there is."""
    if not isinstance(node, ast.ExceptHandler):
        return False
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(kind is None or ast.unparse(kind) in ("Exception", "BaseException") for kind in kinds)


def test_every_error_there_is_is_caught_in_fourteen_places_only():
    """The rules of one token, one observer, the effects, the reading of one key, the comparison of an output,
    a request over HTTP, a scrape, one step of an election, one Event, a line of the log, a reload, a step of
    a watch, a look at the objects, one of their statuses: a bug must end no more than what it happened in."""
    found = {named(path) for path in MODULES if any(catches_all(node) for node in ast.walk(tree(path)))}
    assert found == {
        "tokens.py",
        "ports.py",
        "executor.py",
        "keys/poller.py",
        "outputs/poller.py",
        "http/server/loop.py",
        "web/background.py",
        "kube/elector.py",
        "kube/events.py",
        "logs/setup.py",
        "reload.py",
        "kube/watch.py",
        "controller/reconciler.py",
        "controller/statuses.py",
    }


def test_every_module_is_small_enough_to_be_read_in_one_go():
    lengths = {named(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name for name, length in lengths.items() if length > 300} == set()


def test_every_function_is_small_enough_to_be_one_idea():
    """Forty lines, what its docstring promises apart."""
    too_long = set()
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef):
                documented = ast.get_docstring(node) is not None
                first = node.body[1] if documented and len(node.body) > 1 else node.body[0]
                if (node.end_lineno or 0) - first.lineno >= 40:
                    too_long.add(f"{named(path)}: {node.name}")
    assert too_long == set()
