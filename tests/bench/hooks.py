"""How late a token is replaced beside hooks that hang, flood or fork: no later than without a hook."""

import json
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

from tests.commands.daemon import Daemon, eventually

LIFETIME = 10.0  # seconds; replaced after 5 at the latest
TOKENS = 8

Report = Callable[[str, str, str], None]


def lateness(url: str, folder: Path, report: Report) -> None:
    """One daemon for each kind of hook, side by side."""
    with socket.create_server(("127.0.0.1", 0)) as silent, ExitStack() as running:
        hooks: dict[str, Mapping[str, object] | None] = {
            "no hook": None,
            "a hook that hangs": {"exec": ["sleep", "1000"]},
            "a hook that prints without end": {"exec": ["yes"]},
            "a hook that forks and ignores SIGTERM": {
                "exec": ["sh", "-c", "trap '' TERM; sleep 1000 & wait"]
            },
            "a hook whose server is silent": {"http": f"http://127.0.0.1:{silent.getsockname()[1]}/"},
        }
        daemons = {
            what: running.enter_context(_daemon(url, folder / f"hooks-{number}", after))
            for number, (what, after) in enumerate(hooks.items())
        }
        for what, daemon in daemons.items():
            minted = eventually(partial(_minted, daemon), f"{TOKENS} tokens", 2 * TOKENS * LIFETIME)
            moments = [datetime.fromisoformat(entry["ts"]).timestamp() for entry in minted]
            ages = [later - before for before, later in pairwise(moments)]
            failed = len(daemon.entries("HookFailed"))
            assert failed or what == "no hook"
            report(
                f"{what}: oldest token of {TOKENS}, when replaced", f"{max(ages):.2f} s", "5 s at the latest"
            )


def _minted(daemon: Daemon) -> list[dict[str, str]]:
    minted = daemon.entries("TokenMinted")
    return minted if len(minted) >= TOKENS else []


def _daemon(url: str, folder: Path, after: Mapping[str, object] | None) -> Daemon:
    folder.mkdir()
    output = {"file": str(folder / "token"), **({"after": after} if after else {})}
    key = str(folder.parent / "key")
    token = {"name": "studio", "key_file": key, "lifetime": f"{LIFETIME:g}s", "outputs": [output]}
    (folder / "config.json").write_text(json.dumps({"issuer": {"url": url}, "tokens": [token]}))
    return Daemon("--config", folder / "config.json")
