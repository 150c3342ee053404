"""Flags, environment and file to frozen settings: everything right, or every mistake at once."""

import os
from collections.abc import Collection, Mapping
from typing import NamedTuple

from refresher.config import flags
from refresher.config.checks import check_rules, check_template
from refresher.config.declarations import Settings
from refresher.config.documents import read_document
from refresher.config.findings import Findings
from refresher.config.located import MalformedError
from refresher.config.overrides import KEY, OUTPUTS, Overrides
from refresher.config.sections import MISTAKEN, Draft, find_missing, read_section
from refresher.config.targets import check_targets
from refresher.config.wording import shown_path
from refresher.errors import Mistake


class Loaded(NamedTuple):
    """What loading came to.

    ``warnings`` are to be told and stop nothing. ``format`` and ``template`` are what the flags of these
    names or their variables say, for a command that prints a token itself.
    """

    settings: Settings
    warnings: tuple[Mistake, ...]
    config_path: str | None  # absolute; None when there is no file
    format: str
    template: str | None
    log: flags.LogSettings


def load(
    arguments: Mapping[str, object],
    environ: Mapping[str, str],
    cwd: str,
    *,
    needs: Collection[str] = (KEY, OUTPUTS),
    command: str = "run",
) -> Loaded:
    """The settings that `arguments` (parsed; see `flags.add_flags`), `environ` and the file say together.

    Flag beats variable beats file beats default, each option by itself. `cwd`, an absolute path, is where
    relative paths of flags and variables begin; those in the file begin in the file's directory.

    `needs` tells what flags must give where no file does: without KEY a token may lack its key file, which is
    then empty; without OUTPUTS it lacks outputs, and flags change none; without either there may be no token.
    `command` is named in messages.

    Raises ConfigurationError with every mistake there is. May be called again, to read the file anew.
    """
    findings = Findings()
    over = Overrides(flags.collect(arguments, environ), cwd, findings)
    root = _root(over, cwd, findings)
    over.lay_over(root, needs, command, findings)
    find_missing(root, findings)
    check_rules(root, findings)
    if OUTPUTS not in needs:
        check_template(over.output, findings)
    check_targets(root, over.config, findings)
    doubtful = flags.doubtful_variables(environ)
    findings.raise_any(beside=doubtful)
    settings: Settings = root.built()
    return Loaded(
        settings=settings,
        warnings=(*findings.warnings, *doubtful),
        config_path=over.config,
        format=over.output.get("format"),
        template=over.output.get("template"),
        log=over.log.built(),
    )


def _root(over: Overrides, cwd: str, findings: Findings) -> Draft:
    """What the file says; what it says about tokens counts as mistaken when the file cannot be read."""
    if over.config is None:
        root = Draft(Settings)
        if over.config_as_given:  # and not a path
            root.values["tokens"] = MISTAKEN
        return root
    findings.file = shown_path(over.config_as_given, cwd)
    try:
        document = read_document(over.config)
    except MalformedError as error:
        position = "".join(f":{number}" for number in (error.line, error.column) if number is not None)
        findings.add(findings.file + position, error.problem)
        root = Draft(Settings)
        root.values["tokens"] = MISTAKEN
        return root
    findings.document = document
    return read_section((Settings,), document, (), os.path.dirname(over.config), findings)
