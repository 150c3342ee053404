"""The mutations of ``make mutants`` keep up with the source."""

from pathlib import Path

import pytest

from tests.simulation.mutations import MUTATIONS, Mutation

PACKAGE = Path(__file__).resolve().parents[2] / "refresher"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_there_is_exactly_one_place_for_each_mutation_and_it_leaves_python(mutation: Mutation) -> None:
    source = (PACKAGE / mutation.module).read_text()
    mutated = mutation.applied(source)
    assert mutated != source
    compile(mutated, mutation.module, "exec")


def test_a_mutation_that_does_not_fit_any_more_is_told() -> None:
    with pytest.raises(ValueError, match="has 0 times"):
        Mutation("gone", "core/backoff.py", "no such line", "").applied("something else")
