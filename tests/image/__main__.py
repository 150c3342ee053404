"""`make bench-image`: the size that the image adds to its base, and the time to start the program in it."""

import subprocess
import sys
import tempfile
import venv
from collections import Counter
from pathlib import Path
from statistics import median

from refresher.emulator.server import Emulator
from tests.commands.daemon import KEY
from tests.image import materials
from tests.image.engine import BASE, IMAGE, RESTRICTED, Engine, Layer

LAYERS = ("hides the base's pip", "dependencies", "program")
ROUNDS, STARTS = 5, 5  # inside and outside in turn, several starts each
VOLUME = "/run/inlive"

# Arguments: the command. Prints the seconds that each start took until its end.
STARTING = f"""\
import subprocess, sys, time
for _ in range({STARTS}):
    began = time.perf_counter()
    subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    print(time.perf_counter() - began)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Engine() as engine:
        engine.build(IMAGE)
        count = len(engine.settings(BASE)["RootFS"]["Layers"])
        _sizes(engine.layers(IMAGE, _made(folder, "layers"))[count:])
        _starts(engine, _made(folder, "volume"), _installed(Path(folder, "installed")))


def _made(folder: str, name: str) -> Path:
    path = Path(folder, name)
    path.mkdir()
    return path


def _sizes(added: list[Layer]) -> None:
    for name, layer in zip(LAYERS, added, strict=True):
        print(f"{name}: {layer.size / 1e6:.1f} MB")
        for package, size in _packages(layer).most_common():
            print(f"    {size / 1e6:4.1f} MB  {package}")
    print(f"together: {sum(layer.size for layer in added) / 1e6:.1f} MB")


def _packages(layer: Layer) -> Counter[str]:
    """Bytes by imported package; small packages count as `others`."""
    found: Counter[str] = Counter()
    for path, size in layer.files.items():
        _, _, inside = path.partition("/site-packages/")
        name = inside.split("/")[0]
        found["metadata" if name.endswith(".dist-info") else name or "others"] += size
    small = [name for name, size in found.items() if size < 200_000]
    found["others"] += sum(found.pop(name) for name in small)
    return found


def _installed(where: Path) -> Path:
    """The program outside any container, installed by pip as in the image."""
    venv.create(where, with_pip=True)
    pip = [where / "bin" / "pip", "install", "--quiet", "--no-deps", "--no-index"]
    pip += [f"--find-links={materials.wheels()}"]
    for what in (["--requirement", materials.REQUIREMENTS[0]], [materials.ROOT]):
        subprocess.run([*pip, *what], check=True)
    return where / "bin" / "refresher"


def _starts(engine: Engine, place: Path, program: Path) -> None:
    """The time of `refresher mint`, which imports as much as a daemon does until its first token."""
    (place / "key").write_text(KEY)
    place.chmod(0o755)
    inside, outside = [], []
    with Emulator(keys=[KEY]) as issuer:
        words = ["mint", f"--issuer-url={issuer.url}"]
        options = (*RESTRICTED, "--network=host", f"--volume={place}:{VOLUME}", "--entrypoint=python3", IMAGE)
        for _ in range(ROUNDS):
            ended = engine.run(*options, "-c", STARTING, "refresher", *words, f"--key-file={VOLUME}/key")
            assert ended.returncode == 0, ended.stderr
            inside += map(float, ended.stdout.split())
            here = [program, *words, f"--key-file={place}/key"]
            printed = subprocess.run(
                [sys.executable, "-c", STARTING, *here], capture_output=True, text=True, check=True
            )
            outside += map(float, printed.stdout.split())
    ratio = median(inside) / median(outside)
    print(f"refresher mint, inside: {median(inside) * 1000:.0f} ms, {ratio:.2f} x what it takes outside")


if __name__ == "__main__":
    main()
