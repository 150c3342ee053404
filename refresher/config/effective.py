"""The values in effect, and where each comes from: for ``refresher config show``."""

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from refresher.config import flags
from refresher.config.declarations import KNOWN_KEYS, TokenDefaults
from refresher.config.drafts import Draft
from refresher.config.issuers import IssuerSettings
from refresher.config.loader import KEY, OUTPUTS, merged
from refresher.config.options import options_of
from refresher.config.source_map import Path, Problems


class Effective(NamedTuple):
    """A value in effect. `origin`: a file and line, a flag or a variable; None for a default."""

    path: str  # "tokens[0].outputs[1].mode"
    value: object  # as users would write it, without what may be a secret
    origin: str | None


def effective_values(
    arguments: Mapping[str, object],
    environ: Mapping[str, str],
    cwd: str,
    needs: Collection[str] = (KEY, OUTPUTS),
) -> Iterator[Effective]:
    """Every value that `load` would return for the same arguments, and where it comes from.

    Raises ConfigurationError with every problem.
    """
    problems = Problems(KNOWN_KEYS)
    root, _ = merged(flags.collect(arguments, environ), cwd, problems, needs, "run")
    problems.raise_any()
    yield from _effective(root, (), problems)


def _effective(draft: Draft, path: Path, problems: Problems) -> Iterator[Effective]:
    for key, option in options_of(draft.section).items():
        value = draft.get(key)
        if option.sections == (TokenDefaults,):
            continue  # the values of the tokens show them
        if option.sections == (IssuerSettings,) and not option.named and draft.named("issuers"):
            continue  # it is not in use
        if isinstance(value, Draft):
            yield from _effective(value, (*path, key), problems)
        elif option.named:
            for name, below in draft.named(key).items():
                yield from _effective(below, (*path, key, name), problems)
        elif option.sections:
            for index, below in enumerate(draft.drafts(key)):
                yield from _effective(below, (*path, key, index), problems)
        else:
            origin = draft.origin(key)
            where = problems.position(origin) if isinstance(origin, tuple) else origin
            show = option.value_type.redacted or option.value_type.show
            shown = show(value) if value is not None else None
            yield Effective(problems.path_text((*path, key)), shown, where)
