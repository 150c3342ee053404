"""`refresher emulator`: run an Inlive API and other issuers on this machine, to develop and test against."""

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
from refresher.emulator.kinds import ANSWER, JSON_PATH, OAUTH2_PATH
from refresher.emulator.server import Emulator
from refresher.errors import ConfigurationError, Problem
from refresher.keys.keyfile import KeyFile

EXAMPLE = """\
  refresher emulator --write-key emulator.key
  refresher run --issuer-url http://127.0.0.1:8787 --key-file emulator.key --to-file token --lifetime 1m
  curl -X PUT http://127.0.0.1:8787/_emulator/faults -H 'X-Emulator-Control: 1' \\
      -d '{"status": 503, "retry_after": 5, "count": 3}'
  curl -X POST http://127.0.0.1:8787/_emulator/tokens/expire -H 'X-Emulator-Control: 1' -d '{"all": true}'

other kinds of issuers, with the same keys:
  /oauth2/token  OAuth2 client credentials: any client_id, a key as client_secret, in the header or the form
  /v1/tokens     JSON: a key in a header or in the body, the first whole number in the body as lifetime

faults, alone or combined; a list of faults is a script:
  latency, status, retry_after, body, garbage, redirect, endless, reset, hang, same_token, lifetime,
  content_type, drip, drip_head, cut_body, clock_offset
  scope (mint, product, all) and count select the requests that a fault applies to

tokens/expire and tokens/revoke end a token before its time: {"access_token": TOKEN}, {"fingerprint": HEX} or
{"all": true}. The product API then answers 403, for an expired token with X-Access-Token-Expired."""


EXPOSED = """\
WARNING: --listen {} is not on loopback. Everyone who can reach this machine can control the emulator, and so
choose the tokens that your programs get from it. Listen on 127.0.0.1 unless you trust the network."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen",
        metavar="[HOST]:PORT",
        default="127.0.0.1:8787",
        help="address to listen on; port 0 chooses a free port. Default: 127.0.0.1:8787",
    )
    keys = parser.add_mutually_exclusive_group()
    keys.add_argument(
        "--key-file",
        metavar="FILE",
        action="append",
        default=[],
        help="file with an application key to accept; may be repeated. Default: a new key, printed at start",
    )
    keys.add_argument(
        "--write-key", metavar="FILE", help="create this file with the new key instead of printing the key"
    )
    _add_tls_arguments(parser)
    _add_token_arguments(parser)


def _add_tls_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cert", metavar="FILE", help="serve HTTPS with this certificate (PEM)")
    parser.add_argument(
        "--key",
        metavar="FILE",
        dest="cert_key",
        help="the private key of --cert (PEM), if not in the same file",
    )


def _add_token_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jwt", action="store_true", help="issue JWTs instead of opaque tokens")
    parser.add_argument(
        "--min-lifetime",
        metavar="DURATION",
        default="1s",
        help="refuse to mint tokens with a shorter lifetime. Default: 1s",
    )
    parser.add_argument(
        "--lifetime",
        metavar="DURATION",
        default="1h",
        help="lifetime of tokens whose request states none, as in OAuth2. Default: 1h",
    )
    parser.add_argument(
        "--exclusive", action="store_true", help="a new token ends the former one of the same client"
    )
    parser.add_argument(
        "--json-answer",
        metavar="JSON",
        default=ANSWER,
        help="response of the JSON endpoint, with $access_token, $expires_in and $expires_at. "
        f"Default: {ANSWER}",
    )


def run(arguments: argparse.Namespace) -> int:
    emulator = _emulator(arguments)
    # Before any thread starts: threads inherit the mask, so the signal stays pending until `sigwait`.
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
        lifetime=cli_options.duration("--lifetime", arguments.lifetime),
        exclusive=arguments.exclusive,
        json_answer=arguments.json_answer,
        log=_log,
    )


def _log(line: str) -> None:
    """Write one line of the access log, in one call: many threads write."""
    with contextlib.suppress(OSError):  # the reader of the log has gone; keep serving
        sys.stderr.write(f"{line}\n")


def _write_key(path: str, key: SecretStr) -> None:
    """Write to a new file only: an existing file may hold a real key. Raises ConfigurationError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(key.reveal())
    except FileExistsError as error:
        accepted = "accepted: a new file, or --key-file to use the key in it"
        problem = f"{shown_path(path)} exists and is not overwritten; {accepted}"
        raise ConfigurationError((Problem("--write-key", problem),)) from error
    except OSError as error:
        raise ConfigurationError(
            (Problem("--write-key", f"{shown_path(path)}: {error.strerror}"),)
        ) from error


def _welcome(emulator: Emulator, arguments: argparse.Namespace) -> Iterator[str]:
    """Where the emulator listens, and commands to try next, ready to copy into a shell."""
    files = [*arguments.key_file, *([arguments.write_key] if arguments.write_key else [])]
    new_key = emulator.keys[0].reveal() if not files else ""
    bearer = new_key or f"$(cat {shlex.quote(files[0])})"
    trust = f" --cacert {shlex.quote(arguments.cert)}" if arguments.cert else ""
    url, json = emulator.url, "-H 'Content-Type: application/json' -d"
    yield f"emulating an Inlive API at {url} until Ctrl-C; use this URL as issuer.url"
    if new_key:
        yield f"application key, valid only for this emulator: {new_key}"
    yield "mint:"
    authorization = f'-H "Authorization: Bearer {bearer}"'
    yield f"""  curl{trust} {emulator.mint_url} {authorization} {json} '{{"expiry_seconds": 60}}'"""
    if files:
        flags = (
            f"--issuer-url {url} --key-file {shlex.quote(files[0])}{trust.replace('--cacert', '--ca-file')}"
        )
        yield f"  refresher mint --lifetime 1m {flags}"
    yield "mint as an OAuth2 client, or at a JSON endpoint:"
    client = f'-u "any-client:{bearer}" -d grant_type=client_credentials'
    yield f"  curl{trust} {url}{OAUTH2_PATH} {client}"
    yield f"""  curl{trust} {url}{JSON_PATH} {authorization} {json} '{{"ttl": 60}}'"""
    yield "use the token; once it has expired, the response is 403 with X-Access-Token-Expired:"
    authorization = '-H "Authorization: Bearer $TOKEN"'
    yield f"""  curl{trust} -i {url}/v1/rooms/create {authorization} {json} '{{"name": "My Room"}}'"""
    yield "let it fail, then inspect what it saw:"
    fault = '{"status": 503, "retry_after": 5, "count": 3}'
    yield f"  curl{trust} -X PUT {url}/_emulator/faults -H '{HEADER}: 1' -d '{fault}'"
    yield f"  curl{trust} {url}/_emulator/state"
