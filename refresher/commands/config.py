"""`refresher config schema`: print the JSON Schema of the configuration file, for editors."""

import argparse
import json

from refresher import exit_codes

EXAMPLE = """\
  refresher config schema > refresher.schema.json
  # first line of the configuration file, for your editor:
  # yaml-language-server: $schema=refresher.schema.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s schema"
    parser.add_argument("what", metavar="schema", choices=("schema",), help="what to print")


def run(_arguments: argparse.Namespace) -> int:
    from refresher.config.declarations import Settings  # noqa: PLC0415 -- not for `--help`
    from refresher.config.options import json_schema  # noqa: PLC0415

    print(json.dumps(json_schema(Settings), indent=2, ensure_ascii=False))
    return exit_codes.DONE
