"""`refresher config show`: what is in effect, and where each value comes from."""

import json
from pathlib import Path

from tests.commands.daemon import refresher

FILE = """\
issuer: {verify: "https://hub.inlive.app/v1/rooms/r"}
tokens:
  - name: studio
    key_file: key
    outputs:
      - file: token
        after: {exec: [/bin/curl, -H, c0nfidential]}
"""


def test_each_value_is_shown_with_its_source_and_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(FILE)
    (tmp_path / "key").write_text("c0nfidential-key")
    shown = refresher("config", "show", "--config", path, "--lifetime", "2h", REFRESHER_LISTEN=":9464")
    lines = {line.split()[0]: line.split()[1:] for line in shown.said.splitlines()}
    assert shown.code == 0
    assert lines["tokens[0].lifetime"] == ['"2h"', "--lifetime"]
    assert lines["listen"][-1] == "REFRESHER_LISTEN"
    assert lines["tokens[0].name"] == ['"studio"', f"{path}:3"]
    assert lines["tokens[0].refresh_at"] == ['"70%"', "default"]
    assert "c0nfidential" not in shown.said
    document = json.loads(refresher("config", "show", "--config", path, "--json").said)
    assert {"path": "tokens[0].refresh_at", "value": "70%", "origin": None} in document
    assert "c0nfidential" not in json.dumps(document)


def test_every_mistake_is_reported_instead(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("tokens: [{name: 1 1, key_file: k, lifetime: 1 parsec, outputs: [{file: f}]}]")
    shown = refresher("config", "show", "--config", path)
    assert shown.code == 78
    assert "tokens[0].name" in shown.said
    assert "tokens[0].lifetime" in shown.said
