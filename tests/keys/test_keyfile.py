"""An application key in a file."""

import os
import threading
from pathlib import Path

import pytest

from refresher.core.keytext import LONGEST_KEY
from refresher.errors import KeyUnreadableError
from refresher.keys.keyfile import KeyFile


def failure(path: Path) -> str:
    with pytest.raises(KeyUnreadableError) as failed:
        KeyFile(str(path)).read()
    return str(failed.value)


def test_a_key_file_is_named_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "application-key"
    path.write_bytes(b"sesame\n")
    key_file = KeyFile(str(path))
    assert key_file.read().reveal() == "sesame"
    assert key_file.name == f"file:{path}"


def test_each_reading_returns_the_present_key(tmp_path: Path) -> None:
    path = tmp_path / "application-key"
    path.write_bytes(b"old")
    key_file = KeyFile(str(path))
    key_file.read()
    path.write_bytes(b"new")
    assert key_file.read().reveal() == "new"


@pytest.mark.parametrize(
    "key", ["Zq1f0WcT5d9XyZ28bDa7", "Zq1f0WcT5d9/XyZ28bDa7", "sk.live.abcdefghijklm", "without-a-digit-in-it"]
)
def test_a_key_given_instead_of_its_file_is_not_shown(tmp_path: Path, key: str) -> None:
    shown = f"{tmp_path}/{key[:12]}…"
    assert failure(tmp_path / key) == (
        f"the key file {shown} cannot be read: "
        "No such file or directory; create or mount it, or name another file"
    )


def test_the_error_for_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "absent"
    assert failure(path) == (
        f"the key file {path} cannot be read: No such file or directory; "
        "create or mount it, or name another file"
    )


def test_a_directory_is_not_a_key_file(tmp_path: Path) -> None:
    assert "Is a directory; name the file in it" in failure(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "application-key"
    path.write_bytes(b"sesame")
    path.chmod(0)
    assert "Permission denied; make it readable for the user of this process" in failure(path)


@pytest.mark.timeout(10)
def test_a_named_pipe_is_refused_and_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert "not a regular file" in failure(path)


def test_a_device_is_refused() -> None:
    assert "not a regular file" in failure(Path("/dev/null"))


def test_a_circular_link_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "circle"
    path.symlink_to(path)
    assert "symbolic links" in failure(path)


def test_an_impossible_path_is_unreadable() -> None:
    assert "cannot be read" in failure(Path("a\0b"))


def test_an_endless_file_is_read_only_up_to_the_longest_key(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse
    assert f"holds no key: longer than {LONGEST_KEY} bytes" in failure(path)


def test_the_error_for_an_invalid_key_has_path_and_reason_but_not_the_content(tmp_path: Path) -> None:
    path = tmp_path / "application-key"
    path.write_bytes(b"ses ame")
    message = failure(path)
    assert message.startswith(f"the key file {path} holds no key: white space")
    assert "ses" not in message.replace(str(path), "")


@pytest.mark.parametrize(
    ("mode", "hint"), [(0o600, None), (0o400, None), (0o640, "(mode 0640)"), (0o644, "(mode 0644)")]
)
def test_a_file_open_to_others_causes_a_hint_and_is_still_read(
    tmp_path: Path, mode: int, hint: str | None
) -> None:
    path = tmp_path / "application-key"
    path.write_bytes(b"sesame")
    path.chmod(mode)
    warning = KeyFile(str(path)).permissions_warning()
    assert warning is None if hint is None else hint in str(warning)
    assert KeyFile(str(path)).read().reveal() == "sesame"


def test_permissions_of_a_missing_file_are_unreadable(tmp_path: Path) -> None:
    with pytest.raises(KeyUnreadableError):
        KeyFile(str(tmp_path / "absent")).permissions_warning()


def test_while_kubelet_swaps_the_mounted_secret_every_reading_is_a_whole_key(tmp_path: Path) -> None:
    """The volume as kubelet's AtomicWriter makes it: application-key -> ..data/application-key, and ..data ->
    a directory per generation, swapped by renaming a new link over it; the old directory is removed after."""
    keys = [character * 4000 for character in "ab"]

    def publish(generation: int) -> None:
        directory = tmp_path / f"..2026_{generation}"
        directory.mkdir()
        (directory / "application-key").write_text(keys[generation % 2])
        (tmp_path / "..data_tmp").symlink_to(directory.name)
        before = (tmp_path / "..data").readlink() if generation else None
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        if before:
            (tmp_path / before / "application-key").unlink()
            (tmp_path / before).rmdir()

    publish(0)
    (tmp_path / "application-key").symlink_to("..data/application-key")
    key_file = KeyFile(str(tmp_path / "application-key"))
    swapping = threading.Thread(target=lambda: [publish(generation) for generation in range(1, 200)])
    swapping.start()
    seen = set()
    while swapping.is_alive():
        seen.add(key_file.read().reveal())
    swapping.join()
    assert seen == set(keys)
