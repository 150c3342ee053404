"""Names and values of labels and annotations: what Kubernetes accepts, and what the refresher sets itself."""

import pytest

from refresher.config.kube_metadata import ANNOTATIONS, LABELS, LARGEST_ANNOTATIONS
from refresher.config.source_map import Mapping
from refresher.config.value_types import MappingError, read


def mapping(**items):
    found = Mapping()
    found.update(items)
    return found


# The names and values are judged by a real API server too: see tests/kube/test_secret_metadata.py.
GOOD_NAMES = [
    "a", "A", "0", "team", "cost-centre", "a_b.c-D", "n" * 63, "example.com/team", "a/b", "a-b.c/D_e",
    "p" * 253 + "/n", ".".join(["p" * 63] * 3) + "/" + "n" * 63,
    "app.kubernetes.io/name", "app.kubernetes.io/managed-by-x",
    "xtoken-refresher.inlive.app/a", "token-refresher.inlive.app.example/a", "token-refresher.inlive.app",
]  # fmt: skip
BAD_NAMES = [
    "", "-a", "a-", "_a", "a.", "n" * 64, "a b", "tëam", "/a", "a/", "a/b/c", "-a/b", "a-/b", "a..b/c",
    ".a/b", "a_b/c",
    "p" * 254 + "/n", "a:b", "a\n", "\na",
]  # fmt: skip
GOOD_VALUES = ["", "a", "A", "1", "studio", "a_b.c-D", "v" * 63, "true"]
BAD_VALUES = ["-a", "a-", ".a", "a_", "v" * 64, "a b", "a/b", "ä", "a\n", " "]


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_a_valid_name_is_accepted(name):
    assert read(LABELS, mapping(**{name: "x"})) == ((name, "x"),)
    assert read(ANNOTATIONS, mapping(**{name: "x"})) == ((name, "x"),)


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize(("value_type", "noun"), [(LABELS, "label"), (ANNOTATIONS, "annotation")])
def test_an_invalid_name_is_refused_with_what_is_accepted(value_type, noun, name):
    with pytest.raises(MappingError) as refused:
        read(value_type, mapping(**{name: "x"}))
    [(key, problem)] = refused.value.problems
    assert key == (name,)
    assert problem.startswith(f"not the name of a {noun}; accepted: [PREFIX/]NAME")


@pytest.mark.parametrize("value", GOOD_VALUES)
def test_a_valid_value_of_a_label_is_accepted(value):
    assert read(LABELS, mapping(team=value)) == (("team", value),)


@pytest.mark.parametrize("value", BAD_VALUES)
def test_an_invalid_value_of_a_label_is_refused(value):
    with pytest.raises(MappingError, match="is not the value of a label; accepted: at most 63"):
        read(LABELS, mapping(team=value))


def test_the_case_of_a_prefix_matters_only_in_a_label():
    assert read(ANNOTATIONS, mapping(**{"Example.COM/a": "x"}))
    with pytest.raises(MappingError):
        read(LABELS, mapping(**{"Example.COM/a": "x"}))


@pytest.mark.parametrize("value", ["", "a\nb", "ä", "x" * 1000])
def test_the_value_of_an_annotation_is_any_text(value):
    assert read(ANNOTATIONS, mapping(a=value)) == (("a", value),)


@pytest.mark.parametrize("value", [1, True, None, ["a"], mapping(a="b"), "\ud800"])
@pytest.mark.parametrize("value_type", [LABELS, ANNOTATIONS])
def test_a_value_must_be_a_text(value_type, value):
    with pytest.raises(MappingError) as refused:
        read(value_type, mapping(team=value))
    [(_, problem)] = refused.value.problems
    assert "accepted: " in problem
    assert ("write it in quotes" in problem) == isinstance(value, int)


@pytest.mark.parametrize("name", ["token-refresher.inlive.app/owner", "token-refresher.inlive.app/anything"])
@pytest.mark.parametrize("value_type", [LABELS, ANNOTATIONS])
def test_the_prefix_of_the_refresher_is_refused(value_type, name):
    with pytest.raises(
        MappingError, match=r"the refresher itself sets the .*token-refresher.inlive.app/; take it out"
    ):
        read(value_type, mapping(**{name: "x"}))


def test_the_label_of_the_refresher_is_refused_but_is_free_as_an_annotation():
    name = "app.kubernetes.io/managed-by"
    with pytest.raises(MappingError, match="the refresher itself sets this label"):
        read(LABELS, mapping(**{name: "Helm"}))
    assert read(ANNOTATIONS, mapping(**{name: "Helm"}))


def test_annotations_leave_room_for_ours():
    assert read(ANNOTATIONS, mapping(a="x" * (LARGEST_ANNOTATIONS - 1)))
    with pytest.raises(ValueError, match=f"{LARGEST_ANNOTATIONS + 1} bytes are given; accepted: at most"):
        read(ANNOTATIONS, mapping(a="ä" * (LARGEST_ANNOTATIONS // 2)))


@pytest.mark.parametrize("value", ["a=b", ["a"], None, 1])
@pytest.mark.parametrize("value_type", [LABELS, ANNOTATIONS])
def test_anything_but_a_mapping_is_refused(value_type, value):
    with pytest.raises(ValueError, match="accepted: a mapping"):
        read(value_type, value)


def test_no_label_at_all_is_accepted():
    assert read(LABELS, mapping()) == read(ANNOTATIONS, mapping()) == ()
