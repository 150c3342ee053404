"""`refresher status`: show the state of every token and output."""

import argparse
import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from refresher import __version__, assembly, cli_options, exit_codes
from refresher.clock import SystemClock
from refresher.commands import watching
from refresher.config import flags
from refresher.config.daemon_url import local_url, parse_daemon_url
from refresher.config.declarations import Settings
from refresher.config.loader import OUTPUTS
from refresher.config.quoting import shown_host
from refresher.core.rfc3339 import to_second
from refresher.errors import (
    ConfigurationError,
    Problem,
    RefresherError,
    UnreachableDaemonError,
)
from refresher.status.document import OUTPUTS as OUTPUTS_ALONE
from refresher.status.document import Origin, status_document
from refresher.status.outputs import status_of_outputs
from refresher.status.rows import objects, shown
from refresher.status.selection import matches
from refresher.status.table import UNLIMITED, table
from refresher.status.verdict import Level, line, verdict

TIMEOUT = 5.0  # seconds to connect to the daemon of --url, and between two parts of its response
LOCAL_TIMEOUT = 2.0  # seconds, for the daemon at the configured `listen:`: the outputs answer otherwise
WATCH_EVERY = "2s"
TERMINAL_LIMIT = 20  # tokens: with their outputs and problems they fill a screen
LARGEST_BODY = 64 * 1024 * 1024  # bytes of a response; ten thousand tokens take a tenth of it

_BLOCK = 64 * 1024

EXAMPLE = """\
  refresher status --config /etc/inlive/refresher.yaml   # of the daemon at its listen:, or of the outputs
  refresher status --url localhost:9464 --watch
  refresher status --url localhost:9464 'studio-*'   # of these tokens
  refresher status --to-file /var/run/inlive/access-token --json
  refresher status --config /etc/inlive/refresher.yaml --exit-code   # for Nagios and Icinga

Exit code 75 if an output holds no valid token. With --exit-code: 0 OK, 1 WARNING (something fails, but
consumers are served), 2 CRITICAL (an output holds no valid token, or will soon), 3 UNKNOWN."""

Document = Mapping[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "token",
        nargs="?",
        default="",
        metavar="NAME",
        help="show only tokens whose names contain this, or match it as a whole if it has * or ?",
    )
    parser.add_argument(
        "--limit",
        metavar="COUNT",
        help=f"show at most so many tokens in the table. Default: {TERMINAL_LIMIT} on a terminal, else all",
    )
    parser.add_argument(
        "--url", metavar="URL", help="ask the daemon that listens there: HOST, HOST:PORT or http://HOST:PORT"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--watch",
        metavar="DURATION",
        nargs="?",
        const=WATCH_EVERY,
        help=f"show the status again and again until Ctrl-C. Default: every {WATCH_EVERY}",
    )
    parser.add_argument(
        "--exit-code",
        action="store_true",
        help="exit codes and a first line as monitoring plugins have them (Nagios, Icinga)",
    )
    flags.add_flags(parser, ("config", "format", "output", "listen"))


def run(arguments: argparse.Namespace) -> int:
    _limit(arguments)
    if arguments.exit_code:
        return _checked(arguments)
    look = _source(arguments)
    if arguments.watch is not None:
        every = cli_options.duration("--watch", arguments.watch)
        watching.watch(lambda: _text_or_reason(look, arguments), every)
        return exit_codes.DONE
    document = look()
    print(_text(document, arguments))
    return exit_codes.DONE if document.get("valid") is True else exit_codes.TRY_AGAIN


def _checked(arguments: argparse.Namespace) -> int:
    """Print the summary of a monitoring plugin, then the status, and return the plugin's exit code."""
    if arguments.watch is not None:
        raise ConfigurationError((Problem("--watch", "does not go with --exit-code"),))
    try:
        document = _source(arguments)()
    except RefresherError as error:
        print(line(Level.UNKNOWN, str(error)))
        return Level.UNKNOWN
    found, text = verdict(document), _text(document, arguments)
    print(text if arguments.json else f"{found.summary}\n{text}")
    return found.level


def _text(document: Document, arguments: argparse.Namespace) -> str:
    if arguments.json:
        return json.dumps(document, indent=2)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else UNLIMITED
    colour = watching.has_colour(sys.stdout, os.environ)
    return table(document, width, colour=colour, most=_limit(arguments))


def _limit(arguments: argparse.Namespace) -> int:
    """How many tokens the table shows at most. Raises ConfigurationError."""
    given = arguments.limit
    if given is None:
        return TERMINAL_LIMIT if sys.stdout.isatty() else UNLIMITED
    if given.isascii() and given.isdigit() and 0 < len(given) < 10 and int(given) > 0:
        return int(given)
    raise ConfigurationError((Problem("--limit", f"{given!r} is not accepted; accepted: 1 to 999999999"),))


def _text_or_reason(look: Callable[[], Document], arguments: argparse.Namespace) -> str:
    """While watching, a daemon may go and come again."""
    try:
        return _text(look(), arguments)
    except UnreachableDaemonError as error:
        time = to_second(SystemClock().now().wall)
        return json.dumps({"time": time, "error": str(error)}) if arguments.json else f"{time}: {error}"


def _source(arguments: argparse.Namespace) -> Callable[[], Document]:
    """A function that returns the present status of the tokens asked for. Raises ConfigurationError."""
    look = _of_all(arguments)
    return lambda: selected(look(), arguments.token)


def selected(document: Document, pattern: str) -> Document:
    """The document with only the tokens that `pattern` selects, and valid if these are. Raises
    ConfigurationError if it selects none."""
    if not pattern:
        return document
    tokens = [token for token in objects(document, "tokens") if matches(shown(token.get("name")), pattern)]
    if not tokens:
        raise ConfigurationError((Problem("NAME", f"no token has a name that matches {pattern!r}"),))
    return {**document, "tokens": tokens, "valid": all(token.get("valid") is True for token in tokens)}


def _of_all(arguments: argparse.Namespace) -> Callable[[], Document]:
    if arguments.url is not None:
        try:
            url = parse_daemon_url(arguments.url)
        except ValueError as error:
            raise ConfigurationError((Problem("--url", str(error)),)) from error
        return lambda: {**of_daemon(url), "source_detail": f"from the daemon at {_shown(url)}"}
    settings = cli_options.loaded(arguments, command="status", needs=(OUTPUTS,)).settings
    return lambda: _of_settings(settings)


def _of_settings(settings: Settings) -> Document:
    """The status by the daemon at the configured `listen:`, or else by the outputs."""
    address = settings.listen
    if address is None or not address.port:
        return _of_outputs(settings, "read from the outputs: no `listen:` is configured", is_fallback=False)
    url = local_url(address.host, address.port)
    try:
        document = of_daemon(url, LOCAL_TIMEOUT)
    except UnreachableDaemonError as error:
        cause = type(error.__cause__).__name__ if error.__cause__ else "another program does"
        text = f"read from the outputs: no daemon answers at {url} ({cause})"
        return _of_outputs(settings, text, is_fallback=True)
    names = {token.get("name") for token in document["tokens"] if isinstance(token, dict)}
    if names != {token.name for token in settings.tokens}:
        text = f"read from the outputs: the daemon at {url} has other tokens than the configuration"
        return _of_outputs(settings, text, is_fallback=True)
    return {**document, "source_detail": f"from the daemon at {url}"}


def _of_outputs(settings: Settings, detail: str, *, is_fallback: bool) -> Document:
    clock = SystemClock()
    found = assembly.published_tokens(settings)
    statuses = [status_of_outputs(policy, outputs, clock) for policy, outputs in found]
    origin = Origin(OUTPUTS_ALONE, __version__, socket.gethostname())
    document = status_document(statuses, clock.now(), origin)
    return {**document, "source_detail": detail, "is_fallback": is_fallback}


def of_daemon(url: str, timeout: float = TIMEOUT) -> Document:
    """The status document of the daemon at `url`. `timeout`: in seconds, to connect and between two parts of
    the response. Raises UnreachableDaemonError."""
    import requests  # noqa: PLC0415 -- only if a daemon is asked

    with requests.Session() as session:
        session.trust_env = False  # the daemon is nearby: use neither a proxy nor .netrc
        try:
            response = session.get(
                f"{url}/status", headers={"Accept": "application/json"}, timeout=timeout, stream=True
            )
            document = json.loads(_body(response.iter_content(_BLOCK)))
        except (requests.RequestException, ValueError, RecursionError) as error:
            _unreachable(url, error)
    if (
        response.status_code == 200
        and isinstance(document, dict)
        and isinstance(document.get("tokens"), list)
    ):
        return document
    raise UnreachableDaemonError(f"{_shown(url)}: the server there is not a refresher")


def _unreachable(url: str, error: Exception) -> NoReturn:
    raise UnreachableDaemonError(
        f"{_shown(url)}: no refresher responds ({type(error).__name__}); give the address of its "
        "--listen, such as http://localhost:9464"
    ) from error


def _shown(url: str) -> str:
    """Scheme, host and port. A host that may be a secret in the wrong place is cut."""
    scheme, _, rest = url.partition("://")
    host, _, port = rest.partition("/")[0].rpartition(":")
    return f"{scheme}://{shown_host(host)}:{port}"


def _body(blocks: Iterable[bytes]) -> bytearray:
    """The whole body. Raises ValueError if it is longer than LARGEST_BODY."""
    body = bytearray()
    for block in blocks:
        body += block
        if len(body) > LARGEST_BODY:
            raise ValueError
    return body
