"""`refresher completion SHELL`: print the completion script for a shell."""

import argparse

from refresher import exit_codes
from refresher.parser import Parser

EXAMPLE = """\
  source <(refresher completion bash)    # in ~/.bashrc
  source <(refresher completion zsh)     # in ~/.zshrc, after compinit
  refresher completion fish | source     # in ~/.config/fish/config.fish"""


def add_arguments(parser: Parser) -> None:
    shells = ("bash", "zsh", "fish")
    parser.usage = f"%(prog)s {'|'.join(shells)}"
    parser.add_argument("shell", metavar="SHELL", choices=shells, help="the shell to make it for")
    parser.set_defaults(whole=parser.whole)


def run(arguments: argparse.Namespace) -> int:
    from refresher import completion  # noqa: PLC0415 -- not for `--help`

    print(completion.SHELLS[arguments.shell](arguments.whole()), end="")
    return exit_codes.DONE
