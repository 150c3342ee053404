import os

import pytest

from refresher.config.documents import LARGEST, read_document
from refresher.config.located import MalformedError, line_of


def problem(path):
    with pytest.raises(MalformedError) as caught:
        read_document(str(path))
    return caught.value


def test_yaml_and_json_give_the_same_document(written):
    assert read_document(str(written("a: [1, {b: x}]"))) == {"a": [1, {"b": "x"}]}
    assert read_document(str(written('{"a": [1, {"b": "x"}]}', "c.json"))) == {"a": [1, {"b": "x"}]}


def test_a_byte_order_mark_is_no_part_of_the_text(written):
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
def test_what_is_no_document_is_told_with_its_line(written, name, content, message, line):
    found = problem(written(content, name))
    assert message in found.problem
    assert found.line == line


def test_json_knows_a_key_given_twice_and_no_lines(written):
    document = read_document(str(written('{"a": 1, "b": {"c": 1, "c": 2, "c": 3}}', "c.json")))
    assert document["b"].duplicates == [("c", None), ("c", None)]
    assert line_of(document, ("b", "c")) is None


def test_a_file_that_cannot_be_read_is_told_with_the_reason(tmp_path):
    assert "No such file or directory" in problem(tmp_path / "none.yaml").problem
    assert "Is a directory" in problem(tmp_path).problem
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    assert "symbolic links" in problem(loop).problem


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_told(written):
    path = written("a: 1")
    path.chmod(0)
    assert "Permission denied" in problem(path).problem


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "c.yaml")
    assert "not a regular file" in problem(tmp_path / "c.yaml").problem


def test_a_file_of_more_than_sixteen_mebibytes_is_refused_unparsed(written):
    assert "larger than 16 MiB" in problem(written(b"[" * (LARGEST + 1))).problem
