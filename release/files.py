"""The files that are generated from the command line, and their paths in an installation."""

from refresher import __version__
from refresher.cli import build_parser
from refresher.completion import bash, fish, zsh
from release import manual


def files() -> dict[str, str]:
    """The text of each file, by its path below the prefix of an installation (``/usr``, an environment)."""
    parser = build_parser()
    return {
        "share/bash-completion/completions/refresher": bash(parser),
        "share/zsh/site-functions/_refresher": zsh(parser),
        "share/fish/vendor_completions.d/refresher.fish": fish(parser),
        "share/man/man1/refresher.1": manual.page(parser, __version__),
    }
