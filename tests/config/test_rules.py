import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.config.declarations import TokenSettings
from refresher.config.output_kinds import LOCK_FILE, FileOutputSettings, SecretOutputSettings, record_path
from refresher.config.rules import RealPaths, problems_of_namespace, problems_of_period
from refresher.core.instant import Instant
from refresher.core.model import SecretStr, Token, TokenFacts
from refresher.core.schedule import margin
from refresher.core.seal import Sealer
from refresher.outputs.file import FileOutput, Plan

HEAD = "tokens:\n- name: a\n  key_file: k\n  outputs: [{file: t, propagation_delay: 30s}]\n"


def token(lifetime, propagation_delay=0.0, name="studio"):
    return TokenSettings(
        name,
        "/k",
        (FileOutputSettings("/a"), FileOutputSettings("/b", propagation_delay=propagation_delay)),
        lifetime,
    )


def test_a_lifetime_up_to_the_operators_policy_is_accepted(loaded, problems):
    assert loaded(HEAD + "  lifetime: 24h\n").settings.tokens[0].lifetime == 86400.0
    assert problems(HEAD + "  lifetime: 24h1m\n") == [
        "refresher.yaml:5: tokens[0].lifetime: 24h1m is more than max_lifetime of its issuer allows; "
        "accepted: 10s to 24h, or raise issuer.max_lifetime"
    ]


def test_the_operators_policy_can_be_raised_and_lowered(loaded, problems):
    assert loaded("issuer: {max_lifetime: 30d}\n" + HEAD + "  lifetime: 20d\n")
    [problem] = problems("issuer: {max_lifetime: 30m}\n" + HEAD)
    assert problem.startswith(
        "refresher.yaml:3: tokens[0].lifetime: 1h is more than max_lifetime of its issuer allows"
    )
    assert problem.endswith("raise issuer.max_lifetime (line 1)")


def test_a_consumer_slower_than_half_the_lifetime_cannot_be_served(loaded, problems):
    assert loaded(HEAD + "  lifetime: 61s\n")
    assert (
        "tokens[0].outputs[0].propagation_delay: 30s is half of the lifetime 1m or more"
        in problems(HEAD + "  lifetime: 1m\n")[0]
    )


def secret(lifetime, output="secret: s"):
    return f"tokens:\n- name: a\n  key_file: k\n  lifetime: {lifetime}\n  outputs: [{{{output}}}]\n"


def test_a_given_propagation_delay_of_a_secret_follows_the_same_rule(loaded, problems):
    assert loaded(secret("61s", "secret: s, propagation_delay: 30s")).warnings == ()
    assert (
        "propagation_delay: 30s is half of the lifetime 1m or more"
        in problems(secret("1m", "secret: s, propagation_delay: 30s"))[0]
    )


def test_a_lifetime_too_short_for_the_default_delay_leads_to_a_warning(loaded):
    assert loaded(secret("4m1s")).warnings == ()
    found = loaded(secret("4m"))
    assert found.settings.tokens[0].outputs == (SecretOutputSettings("s"),)
    assert [str(warning) for warning in found.warnings] == [
        "refresher.yaml:5: tokens[0].outputs[0].secret: consumers may see a new token 2m late (the default), "
        "half of the lifetime 4m or more; write a lifetime over 4m, or the propagation_delay of your "
        "consumers: 0s if they ask the API server"
    ]
    assert loaded(secret("10s", "secret: s, propagation_delay: 0s")).warnings == ()


def test_a_template_needs_a_format_template_among_the_data(loaded, problems):
    assert loaded(secret("1h", "secret: s, data: {a: token, b: template}, template: $access_token"))
    [problem] = problems(secret("1h", "secret: s, data: {a: token, b: json}, template: $access_token"))
    assert ".template: is for format 'template', and the formats are 'token', 'json'; take one out" in problem
    [problem] = problems(secret("1h", "secret: s, data: {a: template}"))
    assert ".data: 'template' needs template; write a value such as template: " in problem


def test_files_and_leader_election_exclude_each_other(loaded, problems):
    election = "leader_election: {lease: l}\n"
    assert loaded(secret("1h") + election).warnings == ()
    found = problems(secret("1h", "secret: s}, {file: a}, {file: b") + election)
    assert [problem.split(", exclude")[0] for problem in found] == [
        f"refresher.yaml:5: tokens[0].outputs[{number}].file: a file and leader election, "
        "leader_election.lease (line 6)"
        for number in (1, 2)
    ]


def test_a_lifetime_too_short_for_a_change_of_leaders_leads_to_a_warning(loaded):
    def warnings(lifetime, propagation_delay, duration):
        election = f"leader_election: {{lease: l, duration: {duration}}}\n"
        return [
            str(each)
            for each in loaded(
                secret(lifetime, f"secret: s, propagation_delay: {propagation_delay}") + election
            ).warnings
        ]

    assert warnings("90s", "30s", "15s") == []
    assert warnings("24h", "2m", "1m") == []
    assert warnings("89s", "30s", "15s") == [
        "refresher.yaml:4: tokens[0].lifetime: leaves consumers 14.5s if a leader dies at the worst moment"
        ": another one leads after 15s; write 1m30s or more, or a shorter leader_election.duration (line 6)"
    ]


def test_a_period_that_is_too_long_is_reported_with_the_arithmetic():
    assert [str(problem) for problem in problems_of_period(3000.0, [token(3000.0, 30.0), token(7200.0)])] == [
        '--every 50m: 50m + 1m30s margin ≥ lifetime 50m of token "studio"; '
        "accepted: less than 48m30s, or a longer lifetime"
    ]


@pytest.mark.parametrize(("every", "fits"), [(3539.9, True), (3540.0, False), (3600.0, False)])
def test_period_and_margin_together_must_be_shorter_than_the_lifetime(every, fits):
    assert (not problems_of_period(every, [token(3600.0)])) is fits


@given(st.floats(1, 1e5), st.integers(10, 86400), st.floats(0, 1e4))
def test_a_period_is_accepted_exactly_when_it_leaves_the_margin(every, lifetime, propagation_delay):
    accepted = not problems_of_period(every, [token(float(lifetime), propagation_delay)])
    assert accepted == (every + margin(lifetime, propagation_delay) < lifetime)


def test_two_names_of_one_secret_in_the_default_namespace_are_reported():
    first = TokenSettings("one", "/k", (FileOutputSettings("/a"), SecretOutputSettings("a")))
    second = TokenSettings("two", "/k", (SecretOutputSettings("studio/a"), SecretOutputSettings("other/a")))
    assert problems_of_namespace("elsewhere", [first, second]) == ()
    assert [str(problem) for problem in problems_of_namespace("studio", [first, second])] == [
        "Secret studio/a of token 'two': is the target of an output of token 'one' as well; give each its own"
    ]


# Targets

TARGETS = "tokens:\n- name: a\n  key_file: key\n  outputs:\n"


def outputs(*paths):
    return TARGETS + "".join(f"  - file: {path}\n" for path in paths)


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
def test_two_outputs_with_one_target_are_reported_however_it_is_written(tmp_path, problems, other):
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("token")  # dangling: the target need not exist
    (tmp_path / "linked").symlink_to(tmp_path)
    other = other.format(dir=tmp_path, name=tmp_path.name)
    [problem] = problems(outputs("token", other))
    assert problem.startswith("refresher.yaml:6: tokens[0].outputs[1].file: ")
    assert problem.endswith("is the target of tokens[0].outputs[0].file (line 5) as well; give each its own")


def test_outputs_of_two_tokens_with_one_target_are_reported(problems):
    second = "- name: b\n  key_file: key\n  outputs:\n  - file: t\n"
    assert "tokens[1].outputs[0].file: " in problems(outputs("t") + second)[0]


def secrets(*names):
    return TARGETS + "".join(f"  - secret: {name}\n" for name in names)


@pytest.mark.parametrize("name", ["a", "studio/a"])
def test_two_outputs_in_one_secret_are_reported(problems, name):
    assert problems(secrets(name, name)) == [
        f"refresher.yaml:6: tokens[0].outputs[1].secret: {name} is the target of tokens[0].outputs[0].secret "
        "(line 5) as well; give each its own"
    ]


def test_secrets_that_may_be_two_are_accepted(loaded):
    """``a`` is ``studio/a`` only if the process is in the namespace studio."""
    assert loaded(secrets("a", "studio/a", "other/a") + "  - file: a\n")


def test_dots_after_a_symlink_follow_the_symlink(tmp_path, loaded):
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
        ("key", "would overwrite the key, {dir}/key; give the output another path"),
        ("d/../key", "would overwrite the key"),
        ("link-to-key", "would overwrite the key"),
        ("refresher.yaml", "would overwrite the configuration file"),
        ("ca.pem", "would overwrite issuer.ca_file"),
    ],
)
def test_an_output_never_overwrites_what_is_read(tmp_path, problems, path, message):
    (tmp_path / "d").mkdir()
    (tmp_path / "link-to-key").symlink_to("key")
    [problem] = problems("issuer: {ca_file: ca.pem}\n" + outputs(path))
    assert message.format(dir=tmp_path) in problem


def test_an_output_on_the_record_of_another_is_reported(problems):
    [problem] = problems(outputs("t", ".t.meta.json"))
    assert problem.startswith("refresher.yaml:6: tokens[0].outputs[1].file: ")
    assert "is the record beside tokens[0].outputs[0].file (line 5)" in problem


def test_an_output_on_the_lock_file_is_reported(problems):
    [problem] = problems(outputs(f"d/{LOCK_FILE}"))
    assert "is the lock file of the refresher; give another path" in problem


def test_a_key_where_an_output_keeps_its_record_is_reported(problems):
    [problem] = problems(outputs("t").replace("key_file: key", "key_file: .t.meta.json"))
    assert "would put its record over the key" in problem


def test_the_file_output_keeps_its_record_there(tmp_path):
    target = str(tmp_path / "access-token")
    now = Instant(1.0, 1.0)
    secret = SecretStr("t")
    url = "https://api.inlive.app"
    facts = TokenFacts(now, 3600.0, 3600.0, "0" * 16, secret.fingerprint, has_refresh_token=False, issuer=url)
    FileOutput(Plan(target, url)).write(Token(facts, secret), now, Sealer(secret))
    assert record_path(target) in [str(path) for path in tmp_path.iterdir()]


def test_a_real_path_is_that_of_the_system(tmp_path):
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
