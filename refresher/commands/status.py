"""`refresher status`: show the state of every token and output."""

import argparse
import json
from collections.abc import Iterable, Mapping
from typing import Any

from refresher import __version__, assembly, cli_options, exit_codes
from refresher.clock import SystemClock
from refresher.config import flags
from refresher.config.loader import OUTPUTS
from refresher.config.quoting import shown_url
from refresher.core.events import Event, Found, InspectFailed
from refresher.core.machine import observe
from refresher.core.state import State
from refresher.core.status import TokenStatus, status_of
from refresher.errors import OutputError, UnreachableDaemonError
from refresher.ports import Clock, Output
from refresher.status.document import status_document
from refresher.status.table import table

TIMEOUT = 5.0  # seconds to connect to the daemon, and between two parts of its response
LARGEST_BODY = 64 * 1024 * 1024  # bytes of a response; ten thousand tokens take a tenth of it

_BLOCK = 64 * 1024

EXAMPLE = """\
  refresher status --url http://localhost:9464   # of a running daemon
  refresher status --config /etc/inlive/refresher.yaml
  refresher status --to-file /var/run/inlive/access-token --json

Exit code 75 if an output holds no valid token."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", metavar="URL", help="ask the daemon that listens at this URL (its --listen)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    flags.add_flags(parser, ("config", "format", "output"))


def run(arguments: argparse.Namespace) -> int:
    document: Mapping[str, Any]
    if arguments.url is not None:
        document = of_daemon(arguments.url)
    else:
        settings = cli_options.loaded(arguments, command="status", needs=(OUTPUTS,)).settings
        clock = SystemClock()
        statuses = [_of_outputs(published, clock) for published in assembly.published_tokens(settings)]
        document = status_document(statuses, clock.now(), __version__)
    print(json.dumps(document, indent=2) if arguments.json else table(document))
    return exit_codes.DONE if document.get("valid") is True else exit_codes.TRY_AGAIN


def _of_outputs(published: assembly.Published, clock: Clock) -> TokenStatus:
    """The status from the outputs alone: this needs neither the key nor a running daemon."""
    state = State.initial(published.policy)
    for output in published.outputs:
        state, _ = observe(state, published.policy, _inspected(output, clock), clock.now())
    return status_of(state, published.policy, clock.now())


def _inspected(output: Output, clock: Clock) -> Event:
    try:
        return Found(output.name, output.inspect(clock.now()))
    except OutputError as error:
        return InspectFailed(output.name, str(error))


def of_daemon(url: str) -> Mapping[str, Any]:
    """The status document of the daemon at `url`. Raises UnreachableDaemonError."""
    import requests  # noqa: PLC0415 -- for --url only

    with requests.Session() as session:
        session.trust_env = False  # the daemon is nearby: use neither a proxy nor .netrc
        try:
            response = session.get(
                f"{url.rstrip('/')}/status",
                headers={"Accept": "application/json"},
                timeout=TIMEOUT,
                stream=True,
            )
            document = json.loads(_body(response.iter_content(_BLOCK)))
        except (requests.RequestException, ValueError, RecursionError) as error:
            raise UnreachableDaemonError(
                f"{shown_url(url)}: no refresher responds ({type(error).__name__}); give the address of "
                "its --listen, such as http://localhost:9464"
            ) from error
    if (
        response.status_code == 200
        and isinstance(document, dict)
        and isinstance(document.get("tokens"), list)
    ):
        return document
    raise UnreachableDaemonError(f"{shown_url(url)}: the server there is not a refresher")


def _body(blocks: Iterable[bytes]) -> bytearray:
    """The whole body. Raises ValueError if it is longer than LARGEST_BODY."""
    body = bytearray()
    for block in blocks:
        body += block
        if len(body) > LARGEST_BODY:
            raise ValueError
    return body
