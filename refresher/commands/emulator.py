"""`refresher emulator`: an Inlive API on this machine, to develop and test against."""

import argparse
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Iterator

from refresher import cli_options, exit_codes, signals
from refresher.config.addresses import split_listen
from refresher.config.quoting import shown_path
from refresher.core.model import SecretStr
from refresher.emulator.control import HEADER
from refresher.emulator.server import Emulator
from refresher.errors import ConfigurationError, Problem
from refresher.keys.keyfile import KeyFile

EXAMPLE = """\
  refresher emulator --write-key emulator.key
  refresher run --issuer-url http://127.0.0.1:8787 --key-file emulator.key --to-file token --lifetime 1m
  curl -X PUT http://127.0.0.1:8787/_emulator/faults -H 'X-Emulator-Control: 1' \\
      -d '{"status": 503, "retry_after": 5, "count": 3}'

faults, alone or combined; a list of them is a script:
  latency, status, retry_after, body, garbage, redirect, endless, reset, hang, same_token, lifetime,
  content_type, drip, drip_head, cut_body, clock_offset; scope (mint, product, all) and count say to which
  requests they apply"""


EXPOSED = """\
WARNING: --listen {} is not on loopback. Everybody who can reach this machine can control the emulator, and so
choose the tokens that your programs get from it. Listen on 127.0.0.1 unless the network is your own."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen",
        metavar="[HOST]:PORT",
        default="127.0.0.1:8787",
        help="where to listen; port 0 takes a free one. Default: 127.0.0.1:8787",
    )
    keys = parser.add_mutually_exclusive_group()
    keys.add_argument(
        "--key-file",
        metavar="FILE",
        action="append",
        default=[],
        help="an application key to accept; may be given several times. Without, one is made up and printed",
    )
    keys.add_argument(
        "--write-key", metavar="FILE", help="write the made-up key to this new file instead of printing it"
    )
    parser.add_argument("--cert", metavar="FILE", help="speak HTTPS with this certificate (PEM)")
    parser.add_argument(
        "--key",
        metavar="FILE",
        dest="cert_key",
        help="the private key of --cert (PEM), if not in the same file",
    )
    parser.add_argument("--jwt", action="store_true", help="issue JWTs instead of opaque tokens")
    parser.add_argument(
        "--min-lifetime",
        metavar="DURATION",
        default="1s",
        help="refuse to mint tokens that live shorter. Default: 1s",
    )


def run(arguments: argparse.Namespace) -> int:
    emulator = _emulator(arguments)
    # Before any thread is there: all inherit it, so that the signal waits for `sigwait`.
    signals.take_over({})
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        _serve(emulator, arguments)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return exit_codes.DONE


def _serve(emulator: Emulator, arguments: argparse.Namespace) -> None:
    """Serve until a signal comes."""
    with emulator:
        if arguments.write_key:
            _write_key(arguments.write_key, emulator.keys[0])
        if not emulator.on_loopback:
            print(EXPOSED.format(arguments.listen), file=sys.stderr, flush=True)
        for line in _welcome(emulator, arguments):
            print(line, flush=True)
        signal.sigwait((signal.SIGTERM, signal.SIGINT))


def _emulator(arguments: argparse.Namespace) -> Emulator:
    """Raises ConfigurationError, KeyUnreadableError."""
    try:
        host, port = split_listen(arguments.listen)
    except ValueError as error:
        raise ConfigurationError((Problem("--listen", str(error)),)) from error
    return Emulator(
        host,
        port,
        [KeyFile(path).read() for path in arguments.key_file],
        jwt=arguments.jwt,
        cert=arguments.cert,
        key=arguments.cert_key,
        min_expiry=cli_options.duration("--min-lifetime", arguments.min_lifetime),
        log=_log,
    )


def _log(line: str) -> None:
    """One line of the access log, in one piece: many threads write."""
    with contextlib.suppress(OSError):  # whoever read the log has gone; that is no reason not to answer
        sys.stderr.write(f"{line}\n")


def _write_key(path: str, key: SecretStr) -> None:
    """Into a new file only: one that is there may hold somebody's real key. Raises ConfigurationError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(key.reveal())
    except FileExistsError as error:
        accepted = "accepted: a new file, or --key-file for the key that is in it"
        told = f"{shown_path(path)} exists and is left alone; {accepted}"
        raise ConfigurationError((Problem("--write-key", told),)) from error
    except OSError as error:
        raise ConfigurationError(
            (Problem("--write-key", f"{shown_path(path)}: {error.strerror}"),)
        ) from error


def _welcome(emulator: Emulator, arguments: argparse.Namespace) -> Iterator[str]:
    """What it is, and what to do with it next, to be copied into a shell."""
    files = [*arguments.key_file, *([arguments.write_key] if arguments.write_key else [])]
    made_up = emulator.keys[0].reveal() if not files else ""
    bearer = made_up or f"$(cat {shlex.quote(files[0])})"
    trust = f" --cacert {shlex.quote(arguments.cert)}" if arguments.cert else ""
    url, json = emulator.url, "-H 'Content-Type: application/json' -d"
    yield f"an Inlive API is emulated at {url} until Ctrl-C; use it as issuer.url"
    if made_up:
        yield f"application key, made up by this emulator and of no worth elsewhere: {made_up}"
    yield "mint:"
    bearing = f'-H "Authorization: Bearer {bearer}"'
    yield f"""  curl{trust} {emulator.mint_url} {bearing} {json} '{{"expiry_seconds": 60}}'"""
    if files:
        ours = (
            f"--issuer-url {url} --key-file {shlex.quote(files[0])}{trust.replace('--cacert', '--ca-file')}"
        )
        yield f"  refresher mint --lifetime 1m {ours}"
    yield "use the token; once it has expired the answer is 403 with X-Access-Token-Expired:"
    bearing = '-H "Authorization: Bearer $TOKEN"'
    yield f"""  curl{trust} -i {url}/v1/rooms/create {bearing} {json} '{{"name": "My Room"}}'"""
    yield "let it fail, and look at what it saw:"
    fault = '{"status": 503, "retry_after": 5, "count": 3}'
    yield f"  curl{trust} -X PUT {url}/_emulator/faults -H '{HEADER}: 1' -d '{fault}'"
    yield f"  curl{trust} {url}/_emulator/state"
