"""`refresher mint`: print one fresh token on standard output."""

import argparse
import sys

from refresher import assembly, cli_options, exit_codes
from refresher.clock import SystemClock
from refresher.config import flags
from refresher.config.loader import KEY
from refresher.core.advice import ADVICE
from refresher.core.formats import Format, render
from refresher.core.mints import token_of
from refresher.core.model import Declined
from refresher.core.schedule import attempt_budget
from refresher.errors import ConfigurationError, Problem
from refresher.keys.keyfile import KeyFile

EXAMPLE = """\
  TOKEN=$(refresher mint --key-file /etc/inlive/key --lifetime 15m)
  curl -H "$(refresher mint --key-file /etc/inlive/key --format template \\
      --template 'Authorization: Bearer $access_token')" https://hub.inlive.app/v1/rooms/ID"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [NAME] [OPTION]..."
    parser.add_argument(
        "token", nargs="?", metavar="NAME", help="token to mint; required if the configuration has several"
    )
    parser.add_argument(
        "--force", action="store_true", help="mint although that ends the token in use (exclusive issuers)"
    )
    flags.add_flags(parser, ("config", "key", "format", "issuer"))


def run(arguments: argparse.Namespace) -> int:
    found = cli_options.loaded(arguments, command="mint", needs=(KEY,))
    token_settings = cli_options.chosen_token(found.settings, arguments.token)
    clock = SystemClock()
    key = KeyFile(token_settings.key_file).read()
    minted_by = found.settings.issuer_of(token_settings)
    if minted_by.exclusive and not arguments.force:
        problem = (
            f"the issuer of {token_settings.name} is exclusive: a new token ends the one in use; to do it"
        )
        raise ConfigurationError((Problem("mint", f"{problem} all the same, add --force"),))
    url, issuer = minted_by.url, assembly.issuer(minted_by, clock)
    budget = attempt_budget(minted_by.timeout, token_settings.lifetime)
    result = issuer.mint(key, token_settings.lifetime, budget)
    if isinstance(result.answer, Declined):
        outcome = result.answer.outcome
        why = f"{outcome}: {result.answer.message}; {ADVICE[outcome]}"
        print(f"refresher: {url}: {why}", file=sys.stderr)
        return exit_codes.of_outcome(outcome)
    token = token_of(result, result.answer, key, minted_by.identity, token_settings.lifetime)
    text = render(Format(found.format, found.template), token, clock.now(), url)
    needs_newline = sys.stdout.isatty() and not text.endswith(b"\n")  # the prompt starts on its own line
    sys.stdout.buffer.write(text + b"\n" * needs_newline)
    return exit_codes.DONE
