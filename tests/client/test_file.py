"""A file of the refresher's as the source of a token."""

import os
from pathlib import Path

import pytest

from refresher.client.file import TokenFile
from refresher.client.source import TokenUnavailableError
from refresher.clock import SystemClock
from refresher.core.formats import Format
from refresher.core.model import SecretStr, Token, TokenFacts
from refresher.core.seal import Sealer
from refresher.outputs.file import FileOutput, Plan
from tests.commands.daemon import KEY

FIRST, SECOND = "first.token_of-many~1+/==", "second-token"


def write(path: Path, access: str, format_: str = "token") -> None:
    """As the daemon does."""
    clock, secret = SystemClock(), SecretStr(access)
    facts = TokenFacts(
        issued=clock.now(),
        lifetime=3600.0,
        requested=3600.0,
        key_fingerprint=SecretStr(KEY).fingerprint,
        fingerprint=secret.fingerprint,
        has_refresh_token=False,
        issuer="https://issuer.test",
    )
    output = FileOutput(Plan(str(path), "https://issuer.test", format=Format(format_)))
    output.write(Token(facts, secret), clock.now(), Sealer(SecretStr(KEY)))


@pytest.mark.parametrize("format_", ["token", "bearer", "json"])
def test_the_format_is_recognised(tmp_path, format_):
    write(tmp_path / "token", FIRST, format_)
    assert TokenFile(tmp_path / "token").token() == FIRST


def test_a_header_is_recognised(tmp_path):
    (tmp_path / "token").write_text(f"Authorization: Bearer {FIRST}\n")
    assert TokenFile(tmp_path / "token").token() == FIRST


@pytest.mark.parametrize("format_", ["token", "json"])
def test_the_next_call_has_the_new_token(tmp_path, format_):
    path = tmp_path / "token"
    write(path, FIRST, format_)
    source = TokenFile(str(path))
    assert source.token() == FIRST
    write(path, SECOND, format_)
    assert source.token() == SECOND


def test_a_mounted_secret_is_followed(tmp_path):
    """The kubelet swaps a symbolic link to the directory of the file."""
    for name, access in (("1", FIRST), ("2", SECOND)):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "access-token", access)
    (tmp_path / "data").symlink_to("1")
    source = TokenFile(tmp_path / "data" / "access-token")
    assert source.token() == FIRST
    (tmp_path / "new").symlink_to("2")
    (tmp_path / "new").rename(tmp_path / "data")
    assert source.token() == SECOND


def test_an_unchanged_file_is_not_read_again(tmp_path):
    """What has the same identity, size and time counts as unchanged, here falsely."""
    path = tmp_path / "token"
    path.write_text("one")
    source, before = TokenFile(path), path.stat()
    assert source.token() == "one"
    path.write_text("two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert source.token() == "one"
    os.utime(path)
    assert source.token() == "two"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"two words",
        b"a\x00b",
        b"\xff\xfe",
        b"INLIVE_ACCESS_TOKEN=hidden",
        b'{"access_token": "hidden',
        b'{"access_token": 17}',
        b'{"data": {"accessToken": "hidden"}}',
        b"first\nX-Injected: hidden",
        b"[" * 10_000,
    ],
)
def test_other_content_is_no_token(tmp_path, content):
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(TokenUnavailableError, match=r"token holds no token; accepted: ") as caught:
        TokenFile(tmp_path / "token").token()
    assert "hidden" not in str(caught.value)


def test_a_missing_file_is_reported_and_used_once_it_is_there(tmp_path):
    source = TokenFile(tmp_path / "token")
    with pytest.raises(TokenUnavailableError, match="token cannot be read: No such file or directory"):
        source.token()
    write(tmp_path / "token", FIRST)
    assert source.token() == FIRST


def test_only_a_new_value_replaces_an_expired_one(tmp_path, caplog):
    write(tmp_path / "token", FIRST)
    source = TokenFile(tmp_path / "token")
    assert source.replacement(source.token()) is None
    assert "has expired, and there is no new one yet" in caplog.text
    write(tmp_path / "token", SECOND)
    assert source.replacement(FIRST) == SECOND
    (tmp_path / "token").unlink()
    assert source.replacement(SECOND) is None
    assert "No such file" in caplog.text
    assert FIRST not in caplog.text
    assert SECOND not in caplog.text
