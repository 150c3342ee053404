"""The schema of the Helm chart's values. `make chart` writes it; a test compares it with the program."""

import json
import re
from pathlib import Path
from typing import Any

from refresher.config.declarations import Settings
from refresher.config.options import json_schema

SCHEMA = Path(__file__).parents[1] / "deploy" / "helm" / "inlive-token-refresher" / "values.schema.json"

# Helm uses RE2 patterns (https://github.com/google/re2/wiki/Syntax); JSON Schema uses ECMA-262.
LOOK_AHEAD = re.compile(r"\(\?[=!](?:[^()]|\([^()]*\))*\)")
CODE_POINT = re.compile(r"\\u([0-9a-fA-F]{4})")


def configuration() -> Any:
    """The schema of the value `config`: the schema of the refresher's configuration without port and Lease,
    which the chart sets, and without patterns that RE2 cannot express. The refresher itself checks those."""
    schema = json_schema(Settings)
    del schema["$schema"], schema["properties"]["listen"]
    election = schema["properties"]["leader_election"]
    del election["properties"]["lease"]
    election["required"] = ["duration"]
    schema["required"] = ["tokens"]  # the Roles name their Secrets
    return _with_re2_patterns(schema)


def _with_re2_patterns(part: Any) -> Any:
    if isinstance(part, list):
        return [_with_re2_patterns(item) for item in part]
    if not isinstance(part, dict):
        return part
    converted = {key: _with_re2_patterns(value) for key, value in part.items()}
    pattern = converted.get("pattern")
    if isinstance(pattern, str):
        converted["pattern"] = CODE_POINT.sub(r"\\x{\1}", LOOK_AHEAD.sub("", pattern))
    return converted


def main() -> None:
    schema = json.loads(SCHEMA.read_text())
    schema["properties"]["config"] = configuration()
    SCHEMA.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
