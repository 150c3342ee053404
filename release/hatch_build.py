"""hatchling's hook: completion and manual page into the wheel, made from the command line in this tree."""

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommandLineHook(BuildHookInterface):  # type: ignore[misc,type-arg,unused-ignore]
    """A wheel brings what `release.files` says; an editable installation, which changes, does not."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        from release.files import files  # noqa: PLC0415 -- found only now

        self._place = tempfile.TemporaryDirectory()
        for number, (path, text) in enumerate(files().items()):
            made = Path(self._place.name, str(number))
            made.write_text(text, encoding="utf-8")
            build_data["shared_data"][str(made)] = path

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        if version != "editable":
            self._place.cleanup()
