"""The mutations of ``make mutants`` keep up with the source."""

import ast
from pathlib import Path

import pytest

from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.wrong_kinds import wrong_kinds

PACKAGE = Path(__file__).resolve().parents[2] / "refresher"


@pytest.mark.parametrize("mutation", [*MUTATIONS, *wrong_kinds(PACKAGE)], ids=lambda mutation: mutation.name)
def test_there_is_exactly_one_place_for_each_mutation_and_it_leaves_python(mutation: Mutation) -> None:
    source = (PACKAGE / mutation.module).read_text()
    mutated = mutation.applied(source)
    assert mutated != source
    compile(mutated, mutation.module, "exec")


def test_a_mutation_that_does_not_fit_any_more_is_told() -> None:
    with pytest.raises(ValueError, match="has 0 times"):
        Mutation("gone", "core/backoff.py", "no such line", "").applied("something else")


def test_values_of_the_wrong_kind_are_planted_where_tests_once_did_not_notice() -> None:
    planted = {mutation.name.partition(" ")[2] for mutation in wrong_kinds(PACKAGE)}
    assert "makes OutputDisturbed in place of KeyProven" in planted


def test_only_the_value_of_the_wrong_kind_is_changed() -> None:
    for mutation in wrong_kinds(PACKAGE):
        wrong, _, right = mutation.name.partition(" makes ")[2].partition(" in place of ")
        mutated, _, imported = mutation.new.rpartition("\n\nfrom ")
        before, after = (ast.unparse(ast.parse(source)) for source in (mutation.old, mutated))
        lines = zip(before.splitlines(), after.splitlines(), strict=True)
        changed = [(one.replace(f"{right}(", f"{wrong}("), other) for one, other in lines if one != other]
        assert [one == other for one, other in changed] == [True]
        assert imported.endswith(f" import {wrong}\n")
