"""`refresher config`: print the configuration in effect, or the JSON Schema of the file."""

import argparse
import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from refresher import exit_codes
from refresher.config import flags

if TYPE_CHECKING:
    from refresher.config.effective import Effective

SCHEMA, SHOW = "schema", "show"

EXAMPLE = """\
  refresher config show --config /etc/inlive/refresher.yaml     # what is in effect, and from where
  refresher config schema > refresher.schema.json
  # first line of the configuration file, for your editor:
  # yaml-language-server: $schema=refresher.schema.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s show|schema [OPTION]..."
    parser.add_argument("what", metavar="show|schema", choices=(SHOW, SCHEMA), help="what to print")
    parser.add_argument("--json", action="store_true", help="of show: print JSON")
    flags.add_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.what == SCHEMA:
        from refresher.config.declarations import Settings  # noqa: PLC0415 -- not for `--help`
        from refresher.config.options import json_schema  # noqa: PLC0415

        print(json.dumps(json_schema(Settings), indent=2, ensure_ascii=False))
        return exit_codes.DONE
    from refresher.config.effective import effective_values  # noqa: PLC0415 -- as above

    values = list(effective_values(vars(arguments), os.environ, os.getcwd(), needs=()))
    print(json.dumps([value._asdict() for value in values], indent=2) if arguments.json else _table(values))
    return exit_codes.DONE


def _table(values: "Iterable[Effective]") -> str:
    """One line for each value: its path, the value as JSON, and where it comes from."""
    rows = []
    for path, value, origin in values:
        text = "-" if value is None else json.dumps(value, ensure_ascii=False)
        rows.append((path, text, origin or "default"))
    path_width, text_width = (min(max(len(row[column]) for row in rows), 60) for column in (0, 1))
    return "\n".join(f"{path:{path_width}}  {text:{text_width}}  {origin}" for path, text, origin in rows)
