"""What an option is: the one place from which the loader, the JSON Schema, the flags and their variables are
made."""

from functools import lru_cache
from typing import Any, NamedTuple

from refresher.config import kinds
from refresher.config.kinds import Kind


class Option(NamedTuple):
    """One thing a user can set. ``key`` is its name in the file, ``attribute`` in the settings."""

    doc: str
    kind: Kind = kinds.SECTION
    example: Any = None
    # Instead of a kind: a mapping with options of its own. Of several, the one whose first option is given.
    sections: tuple[type, ...] = ()
    repeated: bool = False  # of a section: a list of such, at least one; of others: so may the flag be
    flag: str | None = None  # sections that are alternatives may share one
    flag_note: str = ""  # what only the help on the flag says
    group: str = ""  # of flags, see `flags`
    key: str = ""
    attribute: str = ""
    default: Any = None
    required: bool = False

    @property
    def variable(self) -> str:
        """The environment variable beside the flag."""
        return "REFRESHER_" + (self.flag or "")[2:].replace("-", "_").upper()

    @property
    def shown_default(self) -> Any:
        """The default as one would write it."""
        return self.kind.show(self.default)


@lru_cache
def options_of(section: type) -> dict[str, Option]:
    """The options of a settings type by their key in the file, in order of declaration."""
    found: dict[str, Option] = {}
    for attribute, annotation in section.__annotations__.items():
        option: Option = annotation.__metadata__[0]
        key = option.key or attribute
        defaults: dict[str, Any] = section._field_defaults  # type: ignore[attr-defined]  # a NamedTuple's
        found[key] = option._replace(
            key=key,
            attribute=attribute,
            default=defaults.get(attribute),
            required=attribute not in defaults,
        )
    return found


def first_of(section: type) -> Option:
    """The option that tells `section` from its alternatives."""
    return next(iter(options_of(section).values()))
