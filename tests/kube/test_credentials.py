"""The token that kubelet mounts into a Pod."""

import base64
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.errors import KubeConfigError
from refresher.kube.credentials import Pod, TokenFile

JSON = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner), max_leaves=4
)
PODS = JSON | st.dictionaries(st.sampled_from(["name", "uid"]), JSON)
CLAIMS = JSON | st.builds(lambda pod: {"kubernetes.io": {"pod": pod}}, PODS)


def encoded(claims):
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


def token(**claims: object) -> str:
    """An unsigned JWT."""
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.sig"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    mounted = tmp_path / "token"
    mounted.write_text("first")
    return mounted


def test_the_token_is_in_the_header(path):
    assert TokenFile(str(path)).authorization() == "Bearer first"


def test_white_space_around_the_token_is_removed(path):
    path.write_text("\n first \n")
    assert TokenFile(str(path)).authorization() == "Bearer first"


def test_a_new_token_is_used_at_once(path):
    credentials = TokenFile(str(path))
    path.write_text("second")
    assert credentials.authorization() == "Bearer second"


def test_a_new_token_behind_a_swapped_link_is_used(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(name)
    (tmp_path / "..data").symlink_to("one")
    credentials = TokenFile(str(tmp_path / "..data" / "token"))
    (tmp_path / "swap").symlink_to("two")
    os.replace(tmp_path / "swap", tmp_path / "..data")
    assert credentials.authorization() == "Bearer two"


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"line\nbreak", b"\xff\xfe", b"nul\0"])
def test_a_malformed_file_keeps_the_last_good_token(path, content):
    credentials = TokenFile(str(path))
    path.write_bytes(content)
    assert credentials.authorization() == "Bearer first"


def test_a_missing_file_keeps_the_last_good_token(path):
    credentials = TokenFile(str(path))
    path.unlink()
    assert credentials.authorization() == credentials.after_refusal() == "Bearer first"


def test_the_last_of_several_good_tokens_stays(path):
    credentials = TokenFile(str(path))
    path.write_text("second")
    credentials.authorization()
    path.write_text("")
    assert credentials.authorization() == "Bearer second"


@pytest.mark.parametrize("content", [None, "", "two words"])
def test_a_start_without_a_token_is_refused(path, content):
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(KubeConfigError, match=f"{path} contains no token"):
        TokenFile(str(path))


def test_a_bound_token_names_its_pod(path):
    path.write_text(token(**{"kubernetes.io": {"namespace": "ns", "pod": {"name": "p-1", "uid": "u-1"}}}))
    assert TokenFile(str(path)).pod() == Pod("p-1", "u-1")


@pytest.mark.parametrize(
    "text",
    [
        "opaque",
        "a.b.c",
        "a.!!!.c",
        "e30.bnVsbA.sig",  # null
        token(sub="somebody"),
        token(**{"kubernetes.io": {"namespace": "ns"}}),
        token(**{"kubernetes.io": {"pod": "p-1"}}),
        f"a.{base64.urlsafe_b64encode(b'[' * 30_000).decode()}.c",
    ],
)
def test_a_token_that_is_bound_to_no_pod_names_none(path, text):
    path.write_text(text)
    assert TokenFile(str(path)).pod() is None


@given(st.binary(max_size=40) | CLAIMS.map(lambda claims: f"e30.{encoded(claims)}.x".encode()))
def test_any_file_content_is_a_token_or_an_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "token"
    path.write_bytes(content)
    try:
        credentials = TokenFile(str(path))
    except KubeConfigError:
        return
    assert credentials.authorization().isprintable()
    assert credentials.pod() is None or all(isinstance(each, str) for each in credentials.pod())
