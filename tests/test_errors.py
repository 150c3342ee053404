"""The project's own errors: fit for a person, and all of one family."""

import pytest

from refresher import errors
from refresher.errors import ConfigurationError, Problem, RefresherError

MISTAKES = (
    Problem("--lifetime", "'soon' is no duration; accepted: 90s, 15m, 1h30m"),
    Problem("refresher.yaml:12: tokens[0].outputs[1].mode", "'rwx' is not a file mode"),
)


@pytest.mark.parametrize(
    "error",
    [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)],
    ids=lambda error: error.__name__,
)
def test_every_error_can_be_caught_as_one_of_ours(error):
    assert issubclass(error, RefresherError)


def test_a_mistake_tells_where_and_what():
    assert str(MISTAKES[0]) == "--lifetime: 'soon' is no duration; accepted: 90s, 15m, 1h30m"


def test_a_configuration_error_tells_every_mistake_on_a_line_of_its_own():
    assert str(ConfigurationError(MISTAKES)) == (
        "--lifetime: 'soon' is no duration; accepted: 90s, 15m, 1h30m\n"
        "refresher.yaml:12: tokens[0].outputs[1].mode: 'rwx' is not a file mode"
    )


def test_the_mistakes_of_a_configuration_error_can_be_had_one_by_one():
    assert ConfigurationError(MISTAKES).problems == MISTAKES
