"""A secret in a file that may be replaced: the last readable content stays in use."""

import logging
from pathlib import Path

import pytest

from refresher.core.model import SecretStr
from refresher.keys.followed import FollowedSecret
from refresher.keys.keyfile import KeyFile


def test_a_changed_file_is_read_and_a_missing_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "secret"
    followed = FollowedSecret(KeyFile(str(file), "client secret"))
    with caplog.at_level(logging.WARNING, "refresher"):
        followed.read()
        assert followed.value is None
        assert caplog.messages == [
            f"the client secret file {file} cannot be read: No such file or directory; create or mount it, "
            "or name another file; OAuth2 clients get no token until then"
        ]
        file.write_text("first-secret\n")
        followed.read()
        assert followed.value == SecretStr("first-secret")
        file.write_text("second-secret")
        followed.read()
        assert followed.value == SecretStr("second-secret")
        file.write_text("two lines\nof s3cret text")
        for _ in range(3):
            followed.read()
        assert followed.value == SecretStr("second-secret")
    [message] = caplog.messages[1:]
    assert message.startswith(f"the client secret file {file} holds no client secret: ")
    assert message.endswith("; its last content stays in use")
    assert "s3cret" not in message
