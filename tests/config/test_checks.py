import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.config.checks import mistakes_of_namespace, mistakes_of_period
from refresher.config.declarations import FileOutputSettings, SecretOutputSettings, TokenSettings
from refresher.core.schedule import margin

HEAD = "tokens:\n- name: a\n  key_file: k\n  outputs: [{file: t, propagation_delay: 30s}]\n"


def token(lifetime, propagation_delay=0.0, name="studio"):
    return TokenSettings(
        name,
        "/k",
        (FileOutputSettings("/a"), FileOutputSettings("/b", propagation_delay=propagation_delay)),
        lifetime,
    )


def test_a_lifetime_up_to_the_operators_policy_is_accepted(loaded, mistakes):
    assert loaded(HEAD + "  lifetime: 24h\n").settings.tokens[0].lifetime == 86400.0
    assert mistakes(HEAD + "  lifetime: 24h1m\n") == [
        "refresher.yaml:5: tokens[0].lifetime: 24h1m is more than issuer.max_lifetime allows; "
        "accepted: 10s to 24h, or raise issuer.max_lifetime"
    ]


def test_the_operators_policy_can_be_raised_and_lowered(loaded, mistakes):
    assert loaded("issuer: {max_lifetime: 30d}\n" + HEAD + "  lifetime: 20d\n")
    [mistake] = mistakes("issuer: {max_lifetime: 30m}\n" + HEAD)
    assert mistake.startswith(
        "refresher.yaml:3: tokens[0].lifetime: 1h is more than issuer.max_lifetime allows"
    )
    assert mistake.endswith("raise issuer.max_lifetime (line 1)")


def test_a_consumer_slower_than_half_the_lifetime_cannot_be_served(loaded, mistakes):
    assert loaded(HEAD + "  lifetime: 61s\n")
    assert (
        "tokens[0].outputs[0].propagation_delay: 30s is half of the lifetime 1m or more"
        in mistakes(HEAD + "  lifetime: 1m\n")[0]
    )


def secret(lifetime, output="secret: s"):
    return f"tokens:\n- name: a\n  key_file: k\n  lifetime: {lifetime}\n  outputs: [{{{output}}}]\n"


def test_a_propagation_delay_given_for_a_secret_is_held_to_the_same(loaded, mistakes):
    assert loaded(secret("61s", "secret: s, propagation_delay: 30s")).warnings == ()
    assert (
        "propagation_delay: 30s is half of the lifetime 1m or more"
        in mistakes(secret("1m", "secret: s, propagation_delay: 30s"))[0]
    )


def test_a_lifetime_too_short_for_kubelets_is_warned_of_and_the_propagation_delay_stays_true(loaded):
    assert loaded(secret("4m1s")).warnings == ()
    found = loaded(secret("4m"))
    assert found.settings.tokens[0].outputs == (SecretOutputSettings("s"),)
    assert [str(warning) for warning in found.warnings] == [
        "refresher.yaml:5: tokens[0].outputs[0].secret: pods that mount it may see a new token 2m late, half "
        "of the lifetime 4m or more; write a lifetime over 4m, or as propagation_delay how late your "
        "consumers see it: 0s for those that ask the API server"
    ]
    assert loaded(secret("10s", "secret: s, propagation_delay: 0s")).warnings == ()


def test_a_template_belongs_to_a_format_template_among_the_data(loaded, mistakes):
    assert loaded(secret("1h", "secret: s, data: {a: token, b: template}, template: $access_token"))
    [mistake] = mistakes(secret("1h", "secret: s, data: {a: token, b: json}, template: $access_token"))
    assert ".template: is for format 'template', the formats are 'token', 'json'; take one out" in mistake
    [mistake] = mistakes(secret("1h", "secret: s, data: {a: template}"))
    assert ".data: 'template' needs template: the text with $access_token in it" in mistake


def test_files_and_leader_election_exclude_each_other(loaded, mistakes):
    election = "leader_election: {lease: l}\n"
    assert loaded(secret("1h") + election).warnings == ()
    found = mistakes(secret("1h", "secret: s}, {file: a}, {file: b") + election)
    assert [mistake.split(", exclude")[0] for mistake in found] == [
        f"refresher.yaml:5: tokens[0].outputs[{number}].file: a file and leader election, "
        "leader_election.lease (line 6)"
        for number in (1, 2)
    ]


def test_a_lifetime_too_short_for_a_change_of_leaders_is_warned_of(loaded):
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
        "refresher.yaml:4: tokens[0].lifetime: leaves consumers 14.5s when a leader dies in the worst moment"
        ", and another leads after 15s; write 1m30s or more, or a shorter leader_election.duration (line 6)"
    ]


def test_a_period_that_cannot_hold_the_promise_is_told_with_its_arithmetic():
    assert [str(mistake) for mistake in mistakes_of_period(3000.0, [token(3000.0, 30.0), token(7200.0)])] == [
        '--every 50m: 50m + 1m30s margin ≥ lifetime 50m of token "studio"; '
        "accepted: less than 48m30s, or a longer lifetime"
    ]


@pytest.mark.parametrize(("every", "fits"), [(3539.9, True), (3540.0, False), (3600.0, False)])
def test_period_and_margin_together_must_be_shorter_than_the_lifetime(every, fits):
    assert (not mistakes_of_period(every, [token(3600.0)])) is fits


@given(st.floats(1, 1e5), st.integers(10, 86400), st.floats(0, 1e4))
def test_a_period_is_accepted_exactly_when_it_leaves_the_margin(every, lifetime, propagation_delay):
    accepted = not mistakes_of_period(every, [token(float(lifetime), propagation_delay)])
    assert accepted == (every + margin(lifetime, propagation_delay) < lifetime)


def test_secrets_that_turn_out_to_be_one_in_the_namespace_of_the_process_are_told():
    first = TokenSettings("one", "/k", (FileOutputSettings("/a"), SecretOutputSettings("a")))
    second = TokenSettings("two", "/k", (SecretOutputSettings("studio/a"), SecretOutputSettings("other/a")))
    assert mistakes_of_namespace("elsewhere", [first, second]) == ()
    assert [str(mistake) for mistake in mistakes_of_namespace("studio", [first, second])] == [
        "output studio/a of token 'two': is studio/a, the target of an output of token 'one' as well; "
        "give each its own"
    ]
