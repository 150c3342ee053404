"""Several issuers, by name, and the one that mints each token."""

import pytest

from refresher.config.effective import effective_values
from refresher.config.issuers import IssuerSettings
from refresher.config.loader import load
from refresher.core.issuer_plans import JsonPlan, OAuth2Plan
from refresher.errors import ConfigurationError

COMMON = "timeout, ca_file, max_lifetime, verify, max_rate, exclusive"
TWO = """\
issuers:
  studio: {url: "https://a.example"}
  hub: {url: "https://b.example", timeout: 5s, ca_file: ca.pem, max_lifetime: 2h, verify: "https://b.example/v1"}
"""
OAUTH2 = """\
issuers:
  zoom:
    token_url: https://zoom.example/oauth/token
    client_id: refresher
    auth_method: client_secret_post
    scopes: [read, write]
    endpoint_params: {grant_type: account_credentials, account_id: "42"}
    timeout: 5s
"""
MINT = """\
issuers:
  in-house:
    mint: https://api.example/v1/tokens
    headers: {authorization: Bearer $key, X-Team: a$$b}
    json: {ttl: $lifetime, scope: [read, null, 1.5], nested: {"on": true}}
    answer: {access_token: data.token, expires_in: data.ttl}
    timeout: 5s
"""


def token(name, **more):
    fields = "".join(f", {key}: {value}" for key, value in more.items())
    return f"- {{name: {name}, key_file: key, outputs: [{{file: {name}}}]{fields}}}\n"


@pytest.fixture
def loaded(tmp_path):
    def load_text(text, environ=None, **flags):
        (tmp_path / "c.yaml").write_text(text)
        return load({"config": "c.yaml"} | flags, environ or {}, str(tmp_path))

    return load_text


@pytest.fixture
def problems(loaded):
    def problems_of(text, environ=None, **flags):
        with pytest.raises(ConfigurationError) as caught:
            loaded(text, environ, **flags)
        return [str(problem) for problem in caught.value.problems]

    return problems_of


def issuers_by_token(found):
    return {token.name: found.settings.issuer_of(token) for token in found.settings.tokens}


def test_each_token_has_the_issuer_that_it_names(loaded, tmp_path):
    found = loaded(f"{TWO}tokens:\n{token('a', issuer='studio')}{token('b', issuer='hub')}")
    hub = IssuerSettings(
        "https://b.example", 5.0, str(tmp_path / "ca.pem"), max_lifetime=7200.0, verify="https://b.example/v1"
    )
    assert issuers_by_token(found) == {"a": IssuerSettings("https://a.example"), "b": hub}
    assert set(found.settings.all_issuers) == {IssuerSettings("https://a.example"), hub}
    assert found.warnings == ()


def test_the_name_may_come_from_the_defaults(loaded):
    found = loaded(f"{TWO}defaults: {{issuer: hub}}\ntokens:\n{token('a')}{token('b', issuer='studio')}")
    assert {name: issuer.url for name, issuer in issuers_by_token(found).items()} == {
        "a": "https://b.example",
        "b": "https://a.example",
    }


def test_the_only_issuer_needs_no_name(loaded):
    found = loaded(f"issuers: {{studio: {{url: 'https://a.example'}}}}\ntokens:\n{token('a')}")
    assert issuers_by_token(found) == {"a": IssuerSettings("https://a.example")}


def test_without_issuers_there_is_one(loaded):
    found = loaded(f"tokens:\n{token('a')}")
    assert issuers_by_token(found) == {"a": IssuerSettings()}
    assert found.settings.all_issuers == (IssuerSettings(),)


@pytest.mark.parametrize(
    ("given", "place"),
    [({"issuer_url": "https://x.example"}, "--issuer-url"), ({}, "REFRESHER_ISSUER_URL")],
)
def test_a_flag_for_one_issuer_is_refused_beside_several(problems, given, place):
    environ = {} if given else {"REFRESHER_ISSUER_URL": "https://x.example"}
    assert problems(f"{TWO}tokens:\n{token('a', issuer='hub')}", environ, **given) == [
        f"{place}: is for one issuer, and there are issuers: studio, hub; write it there"
    ]


def test_an_issuer_without_a_token_is_a_warning(loaded):
    found = loaded(f"{TWO}tokens:\n{token('a', issuer='hub')}")
    assert [str(warning) for warning in found.warnings] == [
        "c.yaml:2: issuers.studio: no token has this issuer"
    ]


@pytest.mark.parametrize(("rate", "interval"), [("10/s", 0.1), ("90/min", 60 / 90), ("1/min", 60.0)])
def test_a_rate_is_an_interval_between_requests(loaded, rate, interval):
    found = loaded(f"issuer: {{max_rate: {rate}}}\ntokens:\n{token('a')}")
    assert found.settings.issuer.max_rate.interval == pytest.approx(interval)
    assert found.warnings == ()


def test_a_rate_below_what_the_tokens_need_is_a_warning(loaded):
    """A token of ten minutes is replaced after 6.5 minutes on average: twenty of them need 3.1 a minute."""
    many = "".join(token(f"t{number}", lifetime="10m") for number in range(20))
    found = loaded(f"issuer: {{max_rate: 3/min}}\ntokens:\n{many}")
    assert [str(warning) for warning in found.warnings] == [
        "c.yaml:1: issuer.max_rate: 3/min is too slow: the 20 tokens of issuer need 4/min; allow more, or "
        "write a longer lifetime"
    ]
    assert loaded(f"issuer: {{max_rate: 4/min}}\ntokens:\n{many}").warnings == ()


def test_the_ca_file_of_any_issuer_is_no_output(problems):
    text = f"{TWO}tokens:\n{token('a', issuer='hub').replace('file: a', 'file: ca.pem')}"
    assert any("would overwrite issuers.hub.ca_file" in problem for problem in problems(text))


def test_show_lists_the_issuers_and_not_the_one_that_is_not_used(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(f"{TWO}tokens:\n{token('a', issuer='hub')}{token('b', issuer='studio')}")
    shown = {value.path: value for value in effective_values({"config": str(path)}, {}, str(tmp_path))}
    assert shown["issuers.hub.timeout"].value == "5s"
    assert shown["issuers.studio.timeout"].origin is None
    assert not any(path.startswith("issuer.") for path in shown)


def test_an_oauth2_issuer_reaches_the_settings(loaded):
    found = loaded(f"{OAUTH2}tokens:\n{token('a')}")
    [issuer] = found.settings.all_issuers
    params = (("grant_type", "account_credentials"), ("account_id", "42"))
    assert issuer.plan == OAuth2Plan(
        "https://zoom.example/oauth/token", "refresher", "body", ("read", "write"), params
    )
    assert (issuer.timeout, issuer.url) == (5.0, "https://zoom.example/oauth/token")


def test_a_json_issuer_reaches_the_settings(loaded):
    found = loaded(f"{MINT}tokens:\n{token('a')}")
    [issuer] = found.settings.all_issuers
    body = '{"nested": {"on": true}, "scope": ["read", null, 1.5], "ttl": "$lifetime"}'
    headers = (("authorization", "Bearer $key"), ("X-Team", "a$$b"))
    url = "https://api.example/v1/tokens"
    assert issuer.plan == JsonPlan(url, headers, body, "data.token", "data.ttl", None)
    assert (issuer.timeout, issuer.url, found.warnings) == (5.0, url, ())


def changed_issuers(loaded, text, option, other):
    """The issuer in `text`, and the one with `other` in place of `option`."""
    assert text.count(option) == 1
    texts = (text, text.replace(option, other))
    return [loaded(f"{each}tokens:\n{token('a')}").settings.all_issuers[0] for each in texts]


@pytest.mark.parametrize(
    ("text", "option", "other"),
    [
        (OAUTH2, "/oauth/token", "/oauth"),
        (OAUTH2, "client_id: refresher", "client_id: other"),
        (OAUTH2, "[read, write]", "[read]"),
        (OAUTH2, 'account_id: "42"', 'account_id: "43"'),
        (MINT, "/v1/tokens", "/v1"),
        (MINT, "X-Team: a$$b", "X-Team: b"),
        (MINT, "scope: [read", "scope: [write"),
        (MINT, "data.token", "data.other"),
    ],
)
def test_what_decides_about_a_token_is_its_issuers_identity(loaded, text, option, other):
    first, second = changed_issuers(loaded, text, option, other)
    assert first.identity != second.identity
    assert first.identity.startswith(first.url + "#")


@pytest.mark.parametrize(
    ("text", "option", "other"),
    [
        (OAUTH2, "client_secret_post", "client_secret_basic"),
        (OAUTH2, "timeout: 5s", "timeout: 6s"),
        (OAUTH2, "[read, write]", "[write, read]"),
        (MINT, "timeout: 5s", "timeout: 6s"),
        (MINT, "X-Team", "x-team"),
        (MINT, "expires_in: data.ttl", "expires_at: data.end"),
    ],
)
def test_how_it_is_asked_is_not(loaded, text, option, other):
    first, second = changed_issuers(loaded, text, option, other)
    assert first != second
    assert first.identity == second.identity


def test_the_order_in_a_request_is_not(loaded):
    first, second = changed_issuers(
        loaded,
        MINT,
        "{authorization: Bearer $key, X-Team: a$$b}",
        "{X-Team: a$$b, authorization: Bearer $key}",
    )
    assert first.identity == second.identity
    _, second = changed_issuers(
        loaded, MINT, "ttl: $lifetime, scope: [read, null, 1.5]", "scope: [read, null, 1.5], ttl: $lifetime"
    )
    assert first == second


def test_show_has_no_text_that_may_be_a_secret(tmp_path):
    path = tmp_path / "c.yaml"
    secrets = {
        "mint": "headers: {x: s3cret, authorization: Bearer $key, y: '$$s3cret ${lifetime}'}\n    "
        "json: {a: s3cret$key, b: [s3cret, 5334], c: {d: true}}\n    answer: {access_token: t}",
        "token_url": "client_id: c\n    endpoint_params: {password: s3cret, grant_type: password}",
    }
    issuers = "".join(
        f"  {kind.replace('_', '-')}:\n    {kind}: https://a.example/t\n    {more}\n"
        for kind, more in secrets.items()
    )
    output = "{file: f, format: template, template: 's3cret $access_token', after: {exec: [a, s3cret]}}"
    path.write_text(
        f"issuers:\n{issuers}tokens:\n- {{name: t, issuer: mint, key_file: k, outputs: [{output}]}}\n"
    )
    shown = {value.path: value.value for value in effective_values({"config": str(path)}, {}, str(tmp_path))}
    assert "3cret" not in repr(shown)
    assert shown["issuers.mint.headers"] == {"x": "…", "authorization": "Bearer $key", "y": "…${lifetime}"}
    assert shown["issuers.mint.json"] == {"a": "…$key", "b": ["…", "…"], "c": {"d": True}}
    assert shown["issuers.token-url.endpoint_params"] == {"password": "…", "grant_type": "password"}
    assert shown["tokens[0].outputs[0].template"] == "…$access_token"
    assert shown["tokens[0].outputs[0].after.exec"] == ["a", "…"]


ONE = f"tokens:\n{token('a')}"
VARIABLES = "$key, $lifetime, and $$ for a dollar sign"
PATH = "accepted: names of object keys with dots between them, such as data.token; no lists, no expressions"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"{TWO}tokens:\n{token('a')}",
            "c.yaml:5: tokens[0].issuer: is missing; accepted: studio, hub",
        ),
        (
            f"{TWO}tokens:\n{token('a', issuer='studoi')}",
            "c.yaml:5: tokens[0].issuer: 'studoi' is not one of issuers; did you mean studio? "
            "accepted: studio, hub",
        ),
        (
            f"tokens:\n{token('a', issuer='studio')}",
            "c.yaml:2: tokens[0].issuer: 'studio' is not declared; write it under issuers, or take this line "
            "out",
        ),
        (
            f"{TWO}issuer: {{timeout: 3s}}\ntokens:\n{token('a', issuer='studio')}",
            "c.yaml:4: issuer.timeout: is for one issuer, and there are issuers: studio, hub; write it there",
        ),
        (
            f"{TWO}tokens:\n{token('a', issuer='hub', lifetime='3h')}",
            "c.yaml:5: tokens[0].lifetime: 3h is more than max_lifetime of its issuer allows; accepted: "
            "10s to 2h, or raise issuers.hub.max_lifetime (line 3)",
        ),
        (
            f"issuers: {{}}\ntokens:\n{token('a')}",
            "c.yaml:1: issuers: an empty mapping is given; accepted: a mapping of names to mappings with "
            f"url, {COMMON}; or with token_url, client_id, auth_method, scopes, endpoint_params, {COMMON}; "
            f"or with mint, answer, headers, json, {COMMON}",
        ),
        (
            f"issuers:\n  Hub: {{url: 'https://a.example'}}\ntokens:\n{token('a')}",
            "c.yaml:2: issuers.Hub: 'Hub' is not a name; accepted: 1 to 63 of a-z, 0-9 and -, neither "
            "beginning nor ending in -",
        ),
        (
            f"issuers:\n  hub: {{url: 'https://a.example'}}\n  hub: {{url: 'https://b.example'}}\ntokens:\n{token('a')}",
            "c.yaml:3: issuers.hub: given twice, first in line 2; keep one",
        ),
        (
            f"issuers:\n  hub: {{url: 'https://a.example', time_out: 3s}}\ntokens:\n{token('a')}",
            f"c.yaml:2: issuers.hub.time_out: no option; did you mean timeout? accepted: url, {COMMON}",
        ),
        (
            "issuers:\n  hub: {url: 'https://a.example', exclusive: true, verify: 'https://a.example/v'}\n"
            f"tokens:\n{token('a')}",
            "c.yaml:2: issuers.hub.verify: excludes exclusive: a new token is published at once, because the "
            "old one has ended; take one out",
        ),
        (
            f"issuer: {{exclusive: true}}\ntokens:\n{token('a')}{token('b')}",
            "c.yaml:4: tokens[1].name: has the same exclusive issuer and key_file as tokens[0].name (line 3)"
            ": each of their new tokens would end the other; list all outputs in one token",
        ),
        (
            f"{OAUTH2}    exclusive: true\ntokens:\n{token('a')}{token('b').replace('key,', 'key2,')}",
            "c.yaml:12: tokens[1].name: has the same exclusive issuer and client_id as tokens[0].name (line "
            "11): each of their new tokens would end the other; list all outputs in one token",
        ),
        (
            f"issuers:\n  hub: {{url: 'https://a.example', max_rate: 10}}\ntokens:\n{token('a')}",
            "c.yaml:2: issuers.hub.max_rate: '10'; accepted: 1/min to 999/s, such as 10/s or 90/min",
        ),
        (
            f"issuers:\n  hub: {{url: 'https://a.example', max_rate: 0/s}}\ntokens:\n{token('a')}",
            "c.yaml:2: issuers.hub.max_rate: '0/s'; accepted: 1/min to 999/s, such as 10/s or 90/min",
        ),
        (
            f"issuers: {{zoom: {{token_url: 'https://a.example/t'}}}}\ntokens:\n{token('a')}",
            "c.yaml:1: issuers.zoom.client_id: is missing; write a value such as client_id: token-refresher",
        ),
        (
            f"{OAUTH2.replace('account_id', 'client_secret')}tokens:\n{token('a')}",
            "c.yaml:7: issuers.zoom.endpoint_params.'client_secre'…: another option sets this field "
            "(client_id, key_file, scopes); take it out",
        ),
        (
            f"{OAUTH2.replace('[read, write]', '[read write]')}tokens:\n{token('a')}",
            "c.yaml:6: issuers.zoom.scopes: item 1 is not a scope; accepted: a list of scopes, such as "
            "[read, write]; a scope has no space, quote or backslash",
        ),
        (
            f"{OAUTH2}    url: https://a.example\ntokens:\n{token('a')}",
            "c.yaml:2: issuers.zoom: both url and token_url are given; accepted: an item for each",
        ),
        (
            f"{OAUTH2}tokens:\n{token('a').replace('{file: a}', '{file: a, format: inlive-sdk}')}",
            "c.yaml:10: tokens[0].outputs[0].format: 'inlive-sdk' needs a refresh token, and the issuer of "
            "this token gives none; write another format",
        ),
        (
            MINT.replace("/v1/tokens", "/v1/$key") + ONE,
            "c.yaml:3: issuers.in-house.mint: variables do not go into a URL, which logs may contain; write "
            "$key in headers or json",
        ),
        (
            MINT.replace("/v1/tokens", "/v1?key=$key") + ONE,
            "c.yaml:3: issuers.in-house.mint: a URL with a query or a fragment (not shown here); accepted: "
            "https://HOST[:PORT][/PATH], or http:// to this machine (localhost, 127.0.0.1, [::1])",
        ),
        (
            MINT.replace("https://", "http://") + ONE,
            "c.yaml:3: issuers.in-house.mint: 'http://api.e'… would send the key unencrypted; accepted: "
            "https://HOST[:PORT][/PATH], or http:// to this machine (localhost, 127.0.0.1, [::1])",
        ),
        (
            MINT.replace("$key", "key") + ONE,
            "c.yaml:3: issuers.in-house.mint: no request contains $key; write it in headers or json: "
            "headers: {authorization: Bearer $key}",
        ),
        (
            MINT.replace("$key", "$$key") + ONE,
            "c.yaml:3: issuers.in-house.mint: no request contains $key; write it in headers or json: "
            "headers: {authorization: Bearer $key}",
        ),
        (
            MINT.replace("$key", "$kye") + ONE,
            "c.yaml:4: issuers.in-house.headers.'authorizatio'…: $kye is not a placeholder; did you mean "
            f"$key? accepted: {VARIABLES}",
        ),
        (
            MINT.replace("a$$b", "a$ b") + ONE,
            "c.yaml:4: issuers.in-house.headers.X-Team: a lone $ in line 1; write $$ for a dollar; "
            f"accepted: {VARIABLES}",
        ),
        (
            MINT.replace("a$$b", '"a\\nb"') + ONE,
            "c.yaml:4: issuers.in-house.headers.X-Team: a text of 3 characters is given; "
            f"accepted: 1 to 1000 ASCII characters, no space at either end; {VARIABLES}",
        ),
        (
            MINT.replace("a$$b", "ä") + ONE,
            "c.yaml:4: issuers.in-house.headers.X-Team: a text of 1 characters is given; "
            f"accepted: 1 to 1000 ASCII characters, no space at either end; {VARIABLES}",
        ),
        (
            MINT.replace("a$$b", "5") + ONE,
            "c.yaml:4: issuers.in-house.headers.X-Team: a number is given; write it in quotes; "
            f"accepted: 1 to 1000 ASCII characters, no space at either end; {VARIABLES}",
        ),
        (
            MINT.replace("X-Team", "x team") + ONE,
            "c.yaml:4: issuers.in-house.headers.'x team': not the name of a header; accepted: a name of "
            "letters, digits, -, _ and ., such as authorization",
        ),
        (
            MINT.replace("X-Team", "Host") + ONE,
            "c.yaml:4: issuers.in-house.headers.Host: the HTTP client sets this header itself; take it out",
        ),
        (
            MINT.replace("X-Team", "Authorization") + ONE,
            "c.yaml:4: issuers.in-house.headers.'Authorizatio'…: the same header as authorization; keep one",
        ),
        (
            MINT.replace("ttl: $lifetime", "ttl: $life") + ONE,
            "c.yaml:5: issuers.in-house.json.ttl: $life is not a placeholder; did you mean $lifetime? "
            f"accepted: {VARIABLES}",
        ),
        (
            MINT.replace("[read,", "[$,") + ONE,
            "c.yaml:5: issuers.in-house.json.scope[0]: a lone $ in line 1; write $$ for a dollar; "
            f"accepted: {VARIABLES}",
        ),
        (
            MINT.replace('"on": true', "$key: x") + ONE,
            "c.yaml:5: issuers.in-house.json.nested.$key: a variable in a name; write it in the value",
        ),
        (
            MINT.replace('"on": true', "a: no") + ONE,
            "c.yaml:5: issuers.in-house.json.nested.a: YAML reads it as a boolean; write it in quotes",
        ),
        (
            MINT.replace('"on": true', "a: 1, a: 2") + ONE,
            "c.yaml:5: issuers.in-house.json.nested.a: given twice, first in line 5; keep one",
        ),
        (
            MINT.replace("1.5", "1e999") + ONE,
            "c.yaml:5: issuers.in-house.json.scope[2]: a number too large for JSON is given; accepted: "
            "numbers up to 1e308",
        ),
        (
            MINT.replace("1.5", "[" * 9 + "]" * 9) + ONE,
            f"c.yaml:5: issuers.in-house.json.scope[2]{'[0]' * 8}: nested too deep; accepted: at most 10 "
            "levels",
        ),
        (
            MINT.replace("read", "x" * 65536) + ONE,
            "c.yaml:5: issuers.in-house.json: 65606 characters of JSON are given; accepted: at most 65536",
        ),
        (
            MINT.replace("{ttl:", "[ttl:").replace("true}}", "true}]") + ONE,
            "c.yaml:5: issuers.in-house.json: a list is given; accepted: a mapping, such as {ttl: $lifetime}",
        ),
        (
            MINT.replace("data.token", "$.data.token") + ONE,
            "c.yaml:6: issuers.in-house.answer.access_token: '$.data.token' is not a dotted path; did you "
            f"mean data.token? {PATH}",
        ),
        (
            MINT.replace("data.ttl", "data..ttl") + ONE,
            "c.yaml:6: issuers.in-house.answer.expires_in: 'data..ttl' is not a dotted path; " + PATH,
        ),
        (
            MINT.replace("data.ttl", '"data[0]"') + ONE,
            "c.yaml:6: issuers.in-house.answer.expires_in: 'data[0]' is not a dotted path; " + PATH,
        ),
        (
            MINT.replace("access_token: data.token, ", "") + ONE,
            "c.yaml:6: issuers.in-house.answer.access_token: is missing; write a value such as access_token: "
            "data.token",
        ),
        (
            MINT.replace("answer:", "anwser:") + ONE,
            "c.yaml:2: issuers.in-house.answer: is missing; write a value such as answer: {access_token: "
            "data.token}",
        ),
        (
            MINT + ONE.replace("{file: a}", "{file: a, format: inlive-sdk}"),
            "c.yaml:9: tokens[0].outputs[0].format: 'inlive-sdk' needs a refresh token, and the issuer of "
            "this token gives none; write another format",
        ),
        (
            f"{MINT}tokens:\n{token('a', serve_refresh_token='true')}",
            "c.yaml:9: tokens[0].serve_refresh_token: the issuer of this token gives no refresh token; take "
            "this line out",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_place(problems, text, expected):
    assert expected in problems(text)


def test_tokens_with_keys_of_their_own_may_have_one_exclusive_issuer(loaded):
    found = loaded(f"issuer: {{exclusive: true}}\ntokens:\n{token('a')}{token('b').replace('key,', 'key2,')}")
    assert found.settings.issuer.exclusive
