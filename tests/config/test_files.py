import os

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from refresher.config.files import LARGEST, content_of, document_of, read_yaml
from refresher.config.source_map import Ambiguous, MalformedError, line_of


def read_document(path: str) -> object:
    return document_of(content_of(path), path)


def problem(path):
    with pytest.raises(MalformedError) as caught:
        read_document(str(path))
    return caught.value


def test_yaml_and_json_give_the_same_document(written):
    assert read_document(str(written("a: [1, {b: x}]"))) == {"a": [1, {"b": "x"}]}
    assert read_document(str(written('{"a": [1, {"b": "x"}]}', "c.json"))) == {"a": [1, {"b": "x"}]}


def test_a_byte_order_mark_is_ignored(written):
    assert read_document(str(written("a: 1".encode("utf-8-sig")))) == {"a": 1}
    assert read_document(str(written('{"a": 1}'.encode("utf-8-sig"), "c.json"))) == {"a": 1}


@pytest.mark.parametrize(
    ("name", "content", "message", "line"),
    [
        ("c.yaml", b"", "is empty", None),
        ("c.yaml", b"# nothing\n", "is empty", None),
        ("c.json", b" ", "is empty", None),
        ("c.json", b"null", "is empty", None),
        ("c.yaml", b"a: 1\nb: \xff\n", "not UTF-8 text", 2),
        ("c.yaml", "a: 1".encode("utf-16"), "not UTF-8 text", 1),
        ("c.yaml", b"a: 1\nb: \0\n", "a NUL character", 2),
        ("c.json", b'{"a": 1,\n "b": }', "not JSON: Expecting value", 2),
        ("c.json", b"[" * 100_000, "nested too deep", None),
        ("c.json", b"1" * 5000, "thousands of digits", None),
        ("c.json", b'{"a": NaN}', "not JSON: NaN", None),
    ],
)
def test_a_malformed_file_is_reported_with_its_line(written, name, content, message, line):
    found = problem(written(content, name))
    assert message in found.problem
    assert found.line == line


def test_json_reports_a_repeated_key_but_no_lines(written):
    document = read_document(str(written('{"a": 1, "b": {"c": 1, "c": 2, "c": 3}}', "c.json")))
    assert document["b"].duplicates == [("c", None), ("c", None)]
    assert line_of(document, ("b", "c")) is None


def test_an_unreadable_file_is_reported_with_the_reason(tmp_path):
    assert "No such file or directory" in problem(tmp_path / "none.yaml").problem
    assert "Is a directory" in problem(tmp_path).problem
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    assert "symbolic links" in problem(loop).problem


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_is_reported(written):
    path = written("a: 1")
    path.chmod(0)
    assert "Permission denied" in problem(path).problem


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "c.yaml")
    assert "not a regular file" in problem(tmp_path / "c.yaml").problem


def test_a_file_of_more_than_sixteen_mebibytes_is_refused_unparsed(written):
    assert "larger than 16 MiB" in problem(written(b"[" * (LARGEST + 1))).problem


# YAML

LOADERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if yaml.__with_libyaml__ else [])]


@pytest.fixture(params=LOADERS, ids=lambda loader: loader.__name__)
def read(request):
    return lambda text: read_yaml(text, request.param)


def test_values_are_those_that_every_yaml_and_json_agree_on(read):
    text = "{a: b, n: 12, f: 0.7, neg: -1, t: true, null: ~, empty: , list: [1, x], quoted: 'no'}"
    values = {"a": "b", "n": 12, "f": 0.7, "neg": -1, "t": True, "null": None, "empty": None}
    assert read(text) == values | {"list": [1, "x"], "quoted": "no"}


@pytest.mark.parametrize("word", ["1h", "70%", ":9464", "127.0.0.1:9464", "/a/b", "a:b", "y"])
def test_a_word_that_resembles_a_number_is_a_text(read, word):
    assert read(f"- {word}") == [word]


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("no", "a boolean"),
        ("On", "a boolean"),
        ("YES", "a boolean"),
        ("012", "the number 10"),
        ("0640", "the number 416"),
        ("0o640", "the number 416"),
        ("1:30", "a number to the base of sixty"),
        ("1:30:00.5", "a number to the base of sixty"),
        ("0x1F", "a number"),
        ("1_000", "a number"),
        ("+5", "a number"),
        (".5", "a number"),
        ("089", "a number"),
        (".inf", "a number"),
        (".NaN", "a number"),
        ("1" * 41, "a number"),
        ("2026-01-01", "a date"),
        ("2026-01-01 10:00:00", "a date"),
    ],
)
def test_an_ambiguous_word_is_kept_with_its_meaning_in_yaml(read, word, meaning):
    [value] = read(f"- {word}")
    assert isinstance(value, Ambiguous)
    assert (value.text, value.meaning) == (word, meaning)


def test_the_line_of_every_value_is_known(read):
    document = read("a: 1\n\ntokens:\n- name: x\n  outputs:\n  - file: a\n\n  -\n    file: b\n")
    assert line_of(document, ("a",)) == 1
    assert line_of(document, ("tokens",)) == 3
    assert line_of(document, ("tokens", 0)) == 4
    assert line_of(document, ("tokens", 0, "outputs", 1, "file")) == 9
    assert line_of(document, ("tokens", 0, "outputs", 0, "mode")) == 6, "the nearest there is"


def test_a_repeated_key_is_kept_with_its_first_line(read):
    document = read("a: 1\nb: 2\na: 3\n")
    assert document.duplicates == [("a", 1)]
    assert line_of(document, ("a",)) == 3


@pytest.mark.parametrize(
    ("text", "problem", "line"),
    [
        ("a: &x 1\nb: *x\n", "aliases (*name) are not supported; write the value out", 2),
        ("*x : 1\n", "aliases", 1),
        ("a:\n  <<: {b: 1}\n", "merge keys (<<) are not supported", 2),
        ("a: !!str 1\n", "tags (!name) are not supported", 1),
        ("a: !!python/object:os.system {}\n", "tags", 1),
        ("a: 1\n---\nb: 2\n", "a second document (---)", 2),
        ("\n{[a]: 1}\n", "a list in the place of a key", 2),
        ("? {a: 1}\n: 2\n", "a mapping in the place of a key", 1),
        ("a:\n\tb: 1\n", "a tab; YAML is indented with spaces", 2),
        ("a:\n  b: 1\n\t c: 1\n", "a tab; YAML is indented with spaces", 3),
        ("a: [1\n", "not YAML: ", 2),
        ("a: b: c\n", "not YAML: mapping values are not allowed", 1),
        ("a: '\n", "not YAML: ", 2),
        ("[" * 100, "nested more than 20 deep", 1),
        ("- " * 1000 + "x", "nested more than 20 deep", 1),
    ],
)
def test_unsupported_yaml_is_refused_with_its_line(read, text, problem, line):
    with pytest.raises(MalformedError) as caught:
        read(text)
    assert problem in caught.value.problem
    assert caught.value.line == line


def test_an_alias_bomb_is_refused_at_its_first_alias(read):
    bomb = "a: &a [x, x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(MalformedError, match="aliases") as caught:
        read(bomb)
    assert (caught.value.line, caught.value.column) == (2, 8)


def test_a_character_that_yaml_forbids_is_reported(read):
    with pytest.raises(MalformedError, match="control character"):
        read("a: \x07")


def test_messages_of_the_parser_do_not_quote_the_document(read):
    with pytest.raises(MalformedError) as caught:
        read("key: hunter2\n  : - [hunter2\n")
    assert "hunter2" not in caught.value.problem


def test_an_empty_document_is_none(read):
    assert read("") is None
    assert read("# only a remark\n---\n") is None


MARKS = st.sampled_from(
    ["\n", " ", "\t", ": ", "- ", "[", "]", "{", "}", "&a", "*a", "!!x ", "<<", "---\n", "|", "? ", "'"]
)


@pytest.mark.parametrize("loader", LOADERS, ids=lambda loader: loader.__name__)
@given(st.lists(MARKS | st.text(max_size=4) | st.just("hunter2"), max_size=20).map("".join))
def test_any_text_is_a_document_or_malformed_and_never_quoted(loader, text):
    try:
        read_yaml(text, loader)
        problem = ""
    except MalformedError as error:
        problem = error.problem
    assert problem.isprintable()
    assert "hunter2" not in problem
