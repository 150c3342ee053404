"""What is generated from the command line, and where an installation has it."""

from refresher import __version__
from release import bash, fish, manual, zsh
from release.command_line import command_line


def files() -> dict[str, str]:
    """The text of each file, by its path from the prefix of an installation (``/usr``, an environment)."""
    line = command_line()
    return {
        "share/bash-completion/completions/refresher": bash.script(line),
        "share/zsh/site-functions/_refresher": zsh.script(line),
        "share/fish/vendor_completions.d/refresher.fish": fish.script(line),
        "share/man/man1/refresher.1": manual.page(line, __version__),
    }
