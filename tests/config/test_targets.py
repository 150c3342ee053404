import os

import pytest

from refresher.config.declarations import FileOutputSettings
from refresher.config.targets import LOCK_FILE, RealPaths, sidecar
from refresher.core.instant import Instant
from refresher.core.model import SecretStr, Token, TokenFacts
from refresher.core.seal import Sealer
from refresher.outputs.file import FileOutput

HEAD = "tokens:\n- name: a\n  key_file: key\n  outputs:\n"


def outputs(*paths):
    return HEAD + "".join(f"  - file: {path}\n" for path in paths)


@pytest.mark.parametrize(
    "other",
    [
        "token",
        "./token",
        "d//../token",
        "d/../token",
        "link",
        "linked/token",
        "linked/../{name}/token",
        "{dir}/token",
    ],
)
def test_two_outputs_with_one_target_are_a_mistake_by_whatever_way(tmp_path, mistakes, other):
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("token")  # dangling: the target need not exist
    (tmp_path / "linked").symlink_to(tmp_path)
    other = other.format(dir=tmp_path, name=tmp_path.name)
    [mistake] = mistakes(outputs("token", other))
    assert mistake.startswith("refresher.yaml:6: tokens[0].outputs[1].file: ")
    assert mistake.endswith("is the target of tokens[0].outputs[0].file (line 5) as well; give each its own")


def test_outputs_of_two_tokens_must_not_meet_either(mistakes):
    second = "- name: b\n  key_file: key\n  outputs:\n  - file: t\n"
    assert "tokens[1].outputs[0].file: " in mistakes(outputs("t") + second)[0]


def secrets(*names):
    return HEAD + "".join(f"  - secret: {name}\n" for name in names)


@pytest.mark.parametrize("name", ["a", "studio/a"])
def test_two_outputs_in_one_secret_are_a_mistake(mistakes, name):
    assert mistakes(secrets(name, name)) == [
        f"refresher.yaml:6: tokens[0].outputs[1].secret: {name} is the target of tokens[0].outputs[0].secret "
        "(line 5) as well; give each its own"
    ]


def test_secrets_that_may_be_two_are_none(loaded):
    """Whether ``a`` is ``studio/a`` is known to who knows the namespace of the process."""
    assert loaded(secrets("a", "studio/a", "other/a") + "  - file: a\n")


def test_dots_after_a_symlink_lead_to_where_they_lead(tmp_path, loaded):
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "linked").symlink_to("d/e")
    settings = loaded(outputs("token", "linked/../token")).settings  # the second is d/token
    assert [output.path for output in settings.tokens[0].outputs] == [
        f"{tmp_path}/token",
        f"{tmp_path}/linked/../token",
    ]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("key", "would overwrite the application key, {dir}/key; give the output another path"),
        ("d/../key", "would overwrite the application key"),
        ("link-to-key", "would overwrite the application key"),
        ("refresher.yaml", "would overwrite the configuration file"),
        ("ca.pem", "would overwrite issuer.ca_file"),
    ],
)
def test_an_output_never_overwrites_what_is_read(tmp_path, mistakes, path, message):
    (tmp_path / "d").mkdir()
    (tmp_path / "link-to-key").symlink_to("key")
    [mistake] = mistakes("issuer: {ca_file: ca.pem}\n" + outputs(path))
    assert message.format(dir=tmp_path) in mistake


def test_an_output_on_the_record_of_another_is_a_mistake(mistakes):
    [mistake] = mistakes(outputs("t", ".t.meta.json"))
    assert mistake.startswith("refresher.yaml:6: tokens[0].outputs[1].file: ")
    assert "is the record beside tokens[0].outputs[0].file (line 5)" in mistake


def test_an_output_on_the_lock_file_is_a_mistake(mistakes):
    [mistake] = mistakes(outputs(f"d/{LOCK_FILE}"))
    assert "is the lock file of the refresher; give another path" in mistake


def test_a_key_where_an_output_has_its_record_is_a_mistake(mistakes):
    [mistake] = mistakes(outputs("t").replace("key_file: key", "key_file: .t.meta.json"))
    assert "would have its record over the application key" in mistake


def test_the_record_is_where_the_file_output_really_keeps_it(tmp_path):
    target = str(tmp_path / "access-token")
    now = Instant(1.0, 1.0)
    secret = SecretStr("t")
    url = "https://api.inlive.app"
    facts = TokenFacts(now, 3600.0, 3600.0, "0" * 16, secret.fingerprint, has_refresh_token=False, issuer=url)
    FileOutput(FileOutputSettings(target), url).write(Token(facts, secret), now, Sealer(secret))
    assert sidecar(target) in [str(path) for path in tmp_path.iterdir()]


def test_a_real_path_is_what_the_system_says(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a/b")
    (tmp_path / "loop").symlink_to("loop")
    paths = RealPaths()
    for path in (
        "a/b",
        "link",
        "link/..",
        "link/../x",
        "link/x/../../y",
        "none/../a",
        "a/./b",
        "../../../../../../..",
    ):
        assert paths.real(f"{tmp_path}/{path}") == os.path.realpath(tmp_path / path), path
    assert paths.real(f"{tmp_path}/loop/x").startswith(str(tmp_path)), "a loop is no reason to fail"
