"""The mistakes found so far, each with the place where somebody can put it right."""

from functools import lru_cache

from refresher.config.flags import SECTIONS
from refresher.config.located import Path, line_of, written
from refresher.config.options import options_of
from refresher.errors import ConfigurationError, Mistake

MOST = 1000  # mistakes: whoever gives the wrong file altogether need not wait for all of them

Place = str | Path  # "--lifetime", "REFRESHER_LIFETIME", or a path in the file


@lru_cache
def _known_keys() -> frozenset[str]:
    return frozenset(key for section in SECTIONS for key in options_of(section))


class Findings:
    """Collects mistakes; `raise_any` reports them at once, those of the file by line."""

    def __init__(self) -> None:
        self.file = ""  # as messages name it
        self.document: object = None  # what was read from it: where places that are paths are
        self._found: list[tuple[int, Mistake]] = []
        self.warnings: list[Mistake] = []  # to be told, and to stop nothing

    def add(self, place: Place, problem: str) -> None:
        """One mistake more. Raises ConfigurationError when there are more than `MOST`."""
        line = 0 if isinstance(place, str) else line_of(self.document, place) or 0
        self._found.append((line, Mistake(self.where(place), problem)))
        if len(self._found) > MOST:
            self.raise_any(beside=(Mistake(self.file, f"more than {MOST} mistakes; the rest is not told"),))

    def warn(self, place: Place, problem: str) -> None:
        """One warning more."""
        self.warnings.append(Mistake(self.where(place), problem))

    def where(self, place: Place) -> str:
        """`place` in full: ``refresher.yaml:12: tokens[0].outputs[1].mode``."""
        if isinstance(place, str):
            return place
        line = line_of(self.document, place)
        file = self.file if line is None else f"{self.file}:{line}"
        return f"{file}: {written(place, _known_keys())}" if place else file

    def beside(self, place: Place) -> str:
        """`place` as another mistake refers to it: without the file, which is the same one."""
        if isinstance(place, str):
            return place
        line = line_of(self.document, place)
        return written(place, _known_keys()) + (f" (line {line})" if line is not None else "")

    def raise_any(self, beside: tuple[Mistake, ...] = ()) -> None:
        """Raises ConfigurationError when there is any mistake. What is `beside` them may have caused them."""
        if self._found:
            self._found.sort(key=lambda found: found[0])
            raise ConfigurationError((*(mistake for _, mistake in self._found), *beside))
