"""The contents of the image."""

import shutil
import subprocess
import tomllib

import pytest

from refresher import __version__
from tests.image.engine import BASE, IMAGE, RESTRICTED
from tests.image.materials import PYTHON, ROOT

OURS = "opt/refresher/"
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def added(engine, tmp_path_factory):
    """The layers on top of the base: one that hides its pip, the dependencies, the program."""
    count = len(engine.settings(BASE)["RootFS"]["Layers"])
    return engine.layers(IMAGE, tmp_path_factory.mktemp("layers"))[count:]


def test_the_image_adds_at_most_40_megabytes(added):
    assert sum(layer.size for layer in added) <= 40 * MEGABYTE


def test_all_added_files_are_in_one_directory(added):
    assert [
        path for layer in added for path, size in layer.files.items() if size and not path.startswith(OURS)
    ] == []


def test_the_program_is_a_small_layer_on_top_of_its_dependencies(added):
    _, dependencies, program = added
    assert any("/site-packages/requests/" in path for path in dependencies.files)
    assert not any("/site-packages/refresher/" in path for path in dependencies.files)
    packages = {
        path.split("/site-packages/")[1].split("/")[0] for path in program.files if "/site-packages/" in path
    }
    assert packages == {"refresher", f"inlive_token_refresher-{__version__}.dist-info"}
    assert program.size < 4 * MEGABYTE


def test_every_module_is_compiled(added):
    files = {path for layer in added for path in layer.files}
    modules = [path for path in files if path.endswith(".py")]
    assert len(modules) > 500

    def compiled(path):
        folder, _, name = path.rpartition("/")
        return f"{folder}/__pycache__/{name.removesuffix('.py')}.cpython-{PYTHON.replace('.', '')}.pyc"

    assert [path for path in modules if compiled(path) not in files] == []


def test_byte_code_is_used_unchecked(engine):
    ask = "from refresher.cli import __cached__ as it; print(open(it, 'rb').read(8)[4], it)"
    ended = engine.run(*RESTRICTED, "--network=none", "--entrypoint=python3", IMAGE, "-c", ask)
    flags, path = ended.stdout.split()
    assert flags == "1"  # by hash, unchecked: https://peps.python.org/pep-0552/
    assert path.startswith(f"/{OURS}")


def test_the_image_has_no_installer_and_no_compiler(engine):
    programs = "for name in pip pip3 uv gcc cc make; do ! command -v $name || exit; done"
    ended = engine.run(*RESTRICTED, "--network=none", "--entrypoint=sh", IMAGE, "-c", programs)
    assert ended.returncode == 0, ended.stdout


def test_the_pip_of_the_base_is_removed(engine):
    """Also the wheels of ensurepip; and there is no cache. Only dpkg's records of it stay."""
    look = "find / -xdev '(' -name pip -o -name 'pip-*' -o -name .cache ')' ! -path '/var/lib/dpkg/*'"
    inside = {}
    for image in (BASE, IMAGE):
        ended = engine.run("--network=none", "--user=0", "--entrypoint=sh", image, "-c", look)
        assert (ended.returncode, ended.stderr) == (0, "")
        inside[image] = ended.stdout.split()
    assert any(path.endswith("-packages/pip") for path in inside[BASE])
    assert any(path.endswith(".whl") for path in inside[BASE])
    assert inside[IMAGE] == []


def test_the_labels_agree_with_pyproject(engine):
    settings = engine.settings(IMAGE)["Config"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in settings["Labels"].items()
        if name.startswith("org.opencontainers.image.")
    }
    assert labels.pop("created").endswith("Z")
    assert labels == {
        "title": project["name"],
        "description": project["description"],
        "licenses": project["license"],
        "version": __version__,
        "revision": head.stdout.strip(),
        "base.name": BASE,
    }


def test_a_second_build_gives_an_identical_image(engine, tmp_path):
    """From another copy of the sources: newer files, another umask, and stray files."""
    copy = tmp_path / "copy"
    ignored = shutil.ignore_patterns(".venv", ".*_cache", ".hypothesis", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=ignored, copy_function=shutil.copyfile)
    for path in copy.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    for where in (copy, copy / "refresher", copy / "deploy" / "image"):
        (where / "application-key").write_text("not for everybody")
    (copy / "refresher" / "__pycache__").mkdir()
    (copy / "refresher" / "__pycache__" / "stale.cpython-311.pyc").write_bytes(b"stale")
    second = "localhost/built-again"
    engine.build(second, copy)
    one, other = engine.settings(IMAGE), engine.settings(second)
    assert one["RootFS"]["Layers"] == other["RootFS"]["Layers"]
    assert one["Id"] == other["Id"]
