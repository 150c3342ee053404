"""What the values of the Helm chart may be. `make chart` writes it; a test holds it to the program."""

import json
import re
from pathlib import Path
from typing import Any

from refresher.config.declarations import Settings
from refresher.config.options import json_schema

SCHEMA = Path(__file__).parents[1] / "deploy" / "helm" / "inlive-token-refresher" / "values.schema.json"

# Helm's patterns are of RE2 (https://github.com/google/re2/wiki/Syntax), those of a JSON Schema of ECMA-262.
LOOK_AHEAD = re.compile(r"\(\?[=!](?:[^()]|\([^()]*\))*\)")
CODE_POINT = re.compile(r"\\u([0-9a-fA-F]{4})")


def configuration() -> Any:
    """The schema of the value `config`: that of the refresher's configuration, but for port and Lease, which
    are the chart's, and for what RE2 cannot express. What that forbids the refresher itself refuses."""
    schema = json_schema(Settings)
    del schema["$schema"], schema["properties"]["listen"]
    election = schema["properties"]["leader_election"]
    del election["properties"]["lease"]
    election["required"] = ["duration"]
    schema["required"] = ["tokens"]  # whose Secrets the Roles name
    return _readable(schema)


def _readable(part: Any) -> Any:
    if isinstance(part, list):
        return [_readable(each) for each in part]
    if not isinstance(part, dict):
        return part
    found = {key: _readable(each) for key, each in part.items()}
    pattern = found.get("pattern")
    if isinstance(pattern, str):
        found["pattern"] = CODE_POINT.sub(r"\\x{\1}", LOOK_AHEAD.sub("", pattern))
    return found


def main() -> None:
    schema = json.loads(SCHEMA.read_text())
    schema["properties"]["config"] = configuration()
    SCHEMA.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
