"""Whether outputs write over each other, or over what is read. Asks the file system about symlinks."""

import os

from refresher.config.declarations import FileOutputSettings, SecretOutputSettings
from refresher.config.findings import Findings, Place
from refresher.config.options import first_of
from refresher.config.sections import MISTAKEN, Draft
from refresher.config.wording import shown_path

LOCK_FILE = ".token-refresher.lock"  # in each directory with outputs (see `refresher.outputs.directories`)


class RealPaths:
    """`os.path.realpath` with a memory: for ten thousand paths in few directories it asks the system once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def real(self, path: str) -> str:
        """The path behind all symlinks, of an absolute `path` that need not exist."""
        given, real = "", "/"
        for part in path.split("/"):
            if part in ("", "."):
                continue
            given = f"{given}/{part}"
            if given not in self._known:
                self._known[given] = self._step(real, part)
            real = self._known[given]
        return real

    @staticmethod
    def _step(directory: str, part: str) -> str:
        if part == "..":
            return os.path.dirname(directory)
        path = f"{directory.rstrip('/')}/{part}"
        return os.path.realpath(path) if os.path.islink(path) else path


def sidecar(target: str) -> str:
    """The record that a file output keeps beside its target (see `refresher.outputs.file`)."""
    directory, _, name = target.rpartition("/")
    return f"{directory}/.{name}.meta.json"


def check_targets(root: Draft, config_path: str | None, findings: Findings) -> None:
    """Report outputs that share a target, and those that would destroy a key, the CA file, the configuration
    or the sidecar of another output."""
    paths = RealPaths()
    read = _files_read(root, config_path, paths)
    files = [(place, paths.real(path)) for place, path in _given(root, FileOutputSettings)]
    # NAME and NAMESPACE/NAME may be one as well: see `checks.mistakes_of_namespace`.
    secrets = _given(root, SecretOutputSettings)
    taken: dict[str, Place] = {}
    for place, target in files + secrets:  # no Secret's name begins with a slash
        if target in taken:
            other = findings.beside(taken[target])
            shown = shown_path(target) if target.startswith("/") else target
            findings.add(place, f"{shown} is the target of {other} as well; give each its own")
        taken.setdefault(target, place)
    for place, target in files:
        if target.endswith(f"/{LOCK_FILE}"):
            findings.add(place, f"{shown_path(target)} is the lock file of the refresher; give another path")
        record = sidecar(target)
        for written, does in ((target, "would overwrite"), (record, "would have its record over")):
            if written in read:
                findings.add(
                    place, f"{does} {read[written]}, {shown_path(written)}; give the output another path"
                )
        if record in taken:
            other = findings.beside(place)
            findings.add(
                taken[record], f"{shown_path(record)} is the record beside {other}; give another path"
            )


def _given(root: Draft, section: type) -> list[tuple[Place, str]]:
    """The targets of all outputs of one kind, and where each is given."""
    key = first_of(section).key
    return [
        (output.place(key), output.get(key))
        for token in root.drafts("tokens")
        for output in token.drafts("outputs")
        if output.section is section and output.get(key) is not MISTAKEN
    ]


def _files_read(root: Draft, config_path: str | None, paths: RealPaths) -> dict[str, str]:
    """What the refresher reads, by real path, and what to call it."""
    read: dict[str, str] = {}
    if config_path is not None:
        read[paths.real(config_path)] = "the configuration file"
    ca_file = root.values["issuer"].get("ca_file")
    if isinstance(ca_file, str):
        read[paths.real(ca_file)] = "issuer.ca_file"
    for token in root.drafts("tokens"):
        key_file = token.get("key_file")
        if key_file and key_file is not MISTAKEN:
            read[paths.real(key_file)] = "the application key"
    return read
