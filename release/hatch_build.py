"""A build hook for hatchling: adds completion scripts and the manual page of this tree to the wheel."""

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommandLineHook(BuildHookInterface):  # type: ignore[misc,type-arg,unused-ignore]
    """Adds the files of `release.files` to a wheel, but not to an editable installation, which may change."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        from release.files import files  # noqa: PLC0415 -- importable only now

        self._directory = tempfile.TemporaryDirectory()
        for number, (path, text) in enumerate(files().items()):
            generated = Path(self._directory.name, str(number))
            generated.write_text(text, encoding="utf-8")
            build_data["shared_data"][str(generated)] = path

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        if version != "editable":
            self._directory.cleanup()
