import os
import re
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refresher.config.declarations import LeaderElectionSettings, ListenAddress, Settings, TokenSettings
from refresher.config.flags import LogSettings
from refresher.config.issuers import IssuerSettings
from refresher.config.loader import load
from refresher.config.output_kinds import FileOutputSettings, SecretOutputSettings
from refresher.config.source_map import MOST_PROBLEMS
from refresher.errors import ConfigurationError

SHORTEST = "tokens:\n- name: studio\n  key_file: key\n  outputs:\n  - file: token\n"


def test_the_shortest_file_takes_every_default(tmp_path, loaded):
    token = TokenSettings("studio", f"{tmp_path}/key", (FileOutputSettings(f"{tmp_path}/token"),))
    found = loaded(SHORTEST)
    assert found.settings == Settings((token,))
    assert found.config_path == f"{tmp_path}/refresher.yaml"
    assert found.warnings == ()
    assert (token.lifetime, token.refresh_at, token.outputs[0].mode) == (3600.0, 0.7, 0o600)


def test_every_option_of_a_file_reaches_the_settings(tmp_path, loaded):
    text = """
        issuer: {url: 'https://proxy.example/', timeout: 1m30s, ca_file: /ca.pem, max_lifetime: 2d}
        listen: "[::1]:9464"
        tokens:
        - name: studio
          key_file: /keys/./studio
          lifetime: 36h
          refresh_at: 50%
          outputs:
          - {file: out//a, format: template, template: $access_token, mode: "0640", group: 33,
             propagation_delay: 2m}
          - {file: b, format: json}
        - {name: two, key_file: /keys/studio, outputs: [{file: c}]}
    """
    outputs = (
        FileOutputSettings(f"{tmp_path}/out/a", "template", "$access_token", 0o640, "33", 120.0),
        FileOutputSettings(f"{tmp_path}/b", "json"),
    )
    assert loaded(text).settings == Settings(
        (
            TokenSettings("studio", "/keys/studio", outputs, 129_600.0, 0.5),
            TokenSettings("two", "/keys/studio", (FileOutputSettings(f"{tmp_path}/c"),)),
        ),
        IssuerSettings("https://proxy.example", 90.0, "/ca.pem", 172_800.0),
        listen=ListenAddress("::1", 9464),
    )


def test_every_option_about_kubernetes_reaches_the_settings(loaded):
    text = """
        leader_election: {lease: inlive/token-refresher, duration: 20s}
        tokens:
        - name: studio
          key_file: /k
          outputs:
          - secret: studio/inlive
            data: {access-token: token, auth.json: inlive-sdk, conf: template}
            template: x $access_token
            propagation_delay: 30s
          - secret: inlive
    """
    data = (("access-token", "token"), ("auth.json", "inlive-sdk"), ("conf", "template"))
    outputs = (
        SecretOutputSettings("studio/inlive", data, "x $access_token", 30.0),
        SecretOutputSettings("inlive", (("access-token", "token"),), None, 120.0),
    )
    assert loaded(text).settings == Settings(
        (TokenSettings("studio", "/k", outputs),),
        leader_election=LeaderElectionSettings("inlive/token-refresher", 20.0),
    )


def test_a_lease_holds_fifteen_seconds_by_default(loaded):
    text = "leader_election: {lease: a}\n" + SHORTEST.replace("file: token", "secret: token")
    assert loaded(text).settings.leader_election == LeaderElectionSettings("a", 15.0)


BAD_OUTPUTS = """\
leader_election: {duration: 2m}
tokens:
- name: studio
  key_file: k
  outputs:
  - secret: Studio/Inlive_Token
    data: {access token: token, auth.json: jsn, ..: token, a: token, a: bearer}
    propagation_delay: 30m
  - {file: a, secret: b, mode: rwx, data: {}}
  - {mode: "0640"}
  - {scret: s, data: {a: token}}
  - {secret: c, format: json, mode: "0600"}
  - {file: ~/d, data: {a: token}}
  - {secret: e, template: $access_token}
  - {secret: f, data: {a: template, b: token}}
  - [g]
"""


def test_all_problems_about_kubernetes_are_reported_at_once_with_line_and_path(problems):
    found = [
        re.split("[;?] accepted", problem.removeprefix("refresher.yaml:"))[0]
        for problem in problems(BAD_OUTPUTS)
    ]
    output = "tokens[0].outputs"
    assert found == [
        "1: leader_election.duration: '2m' is out of range",
        "1: leader_election.lease: is missing; write a value such as lease: inlive/token-refresher",
        f"6: {output}[0].secret: 'Studio/Inliv'… is not the name of a Secret",
        f"7: {output}[0].data.a: given twice, first in line 7; keep one",
        f"7: {output}[0].data.'access token': not a valid key of a Secret; did you mean access-token",
        f"7: {output}[0].data.auth.json: 'jsn' is not a format; did you mean json",
        f"7: {output}[0].data...: not a valid key of a Secret",
        f"8: {output}[0].propagation_delay: 30m is half of the lifetime 1h or more",
        f"9: {output}[1]: both file and secret are given",
        f"9: {output}[1].mode: 'rwx' is not a file mode",
        f"9: {output}[1].data: an empty mapping is given",
        f"9: {output}[1].file: a file and leader election, leader_election.lease (line 1), exclude each "
        "other: a standby writes none; publish in a Secret, or take leader election out",
        f"10: {output}[2]: neither file nor secret is given; write a value such as file: "
        "/var/run/inlive/access-token",
        f"11: {output}[3]: neither file nor secret is given; write a value such as secret: "
        "studio/inlive-access-token",
        f"11: {output}[3].scret: no option; did you mean secret",
        f"12: {output}[4].format: no option beside secret; write a value such as data: "
        "{access-token: token, auth.json: inlive-sdk}",
        f"12: {output}[4].mode: no option beside secret",
        f"13: {output}[5].file: '~/d' begins with ~, which is not expanded; write the whole path",
        f"13: {output}[5].data: no option beside file; write a value such as format: json",
        f"14: {output}[6].template: is for format 'template', and the format is 'token'; take one out",
        f"15: {output}[7].data: 'template' needs template; write a value such as template: "
        "token = $access_token",
        f"16: {output}[8]: a list is given",
    ]


def test_relative_paths_start_where_they_are_given(tmp_path, written):
    (tmp_path / "etc").mkdir()
    written(SHORTEST, "etc/refresher.yaml")
    arguments = {"config": "etc/refresher.yaml", "ca_file": "ca.pem"}
    found = load(arguments, {}, str(tmp_path)).settings
    assert found.tokens[0].key_file == f"{tmp_path}/etc/key"
    assert found.issuer.ca_file == f"{tmp_path}/ca.pem"


BAD = """\
issuer:
  url: http://api.inlive.app
  timeout: 1:30
  tmeout: 3s
listen: 9464
tokens:
- name: no
  key: hunter2
  lifetime: 1h
  lifetime: 25h
  refresh_at: 70
  outputs:
  - file: ~/token
    mode: 0640
    format: jsn
  - file: a
    propagation_delay: 13h
- name: two
  key_file:
  lifetime: 30s
  outputs: []
- name: two
  keyFile: k
  timeout: 3s
  outputs:
  - {file: a, template: $access_token}
secret: studio/inlive
"""


def test_all_problems_are_reported_at_once_with_line_and_path(tmp_path, problems):
    assert [problem.split(";")[0] for problem in problems(BAD)] == [
        "refresher.yaml:2: issuer.url: 'http://api.i'… would send the key unencrypted",
        "refresher.yaml:3: issuer.timeout: '1:30' could be minutes or hours",
        "refresher.yaml:4: issuer.tmeout: no option",
        "refresher.yaml:5: listen: '9464' is not an address",
        "refresher.yaml:7: tokens[0].name: YAML reads no as a boolean",
        "refresher.yaml:7: tokens[0].key_file: is missing",
        "refresher.yaml:8: tokens[0].key: no option",
        "refresher.yaml:10: tokens[0].lifetime: given twice, first in line 9",
        "refresher.yaml:10: tokens[0].lifetime: 25h is more than max_lifetime of its issuer allows",
        "refresher.yaml:11: tokens[0].refresh_at: 70 is not a share",
        "refresher.yaml:13: tokens[0].outputs[0].file: '~/token' begins with ~, which is not expanded",
        "refresher.yaml:14: tokens[0].outputs[0].mode: YAML reads 0640 as the number 416",
        "refresher.yaml:15: tokens[0].outputs[0].format: 'jsn' is not a format",
        "refresher.yaml:17: tokens[0].outputs[1].propagation_delay: 13h is half of the lifetime 25h or more",
        "refresher.yaml:19: tokens[1].key_file: nothing is given",
        "refresher.yaml:21: tokens[1].outputs: an empty list is given",
        "refresher.yaml:22: tokens[2].key_file: is missing",
        "refresher.yaml:22: tokens[2].name: 'two' is the name of tokens[1].name (line 18) as well",
        "refresher.yaml:23: tokens[2].keyFile: no option",
        "refresher.yaml:24: tokens[2].timeout: no option here",
        "refresher.yaml:26: tokens[2].outputs[0].template: is for format 'template', and the format is "
        "'token'",
        f"refresher.yaml:26: tokens[2].outputs[0].file: {tmp_path}/a is the target of "
        "tokens[0].outputs[1].file (line 16) as well",
        "refresher.yaml:27: secret: no option here",
    ]


def test_an_inline_key_is_not_quoted_and_key_file_is_suggested(problems):
    found = problems(SHORTEST.replace("key_file: key", "key: hunter2"))
    assert "hunter2" not in "".join(found)
    assert "a key or client secret is read from the key_file of a token" in found[1]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("keyfile: k", "did you mean key_file?"),
        ("keyFile: k", "did you mean key_file?"),
        ("Key-File: k", "did you mean key_file?"),
        ("lifetme: 1h", "did you mean lifetime?"),
        ("refresh: 70%", "did you mean refresh_at?"),
        ("format: json", "it belongs at tokens[].outputs[].format"),
        ("url: https://a", "it belongs at issuer.url"),
        ("listen: ':1'", "it belongs at listen"),
        ("data: {}", "it belongs at tokens[].outputs[].data"),
        ("lease: a", "it belongs at leader_election.lease"),
        ("zzz: 1", "no option; accepted: name, key_file, outputs, lifetime, refresh_at"),
    ],
)
def test_an_unknown_option_is_reported_with_a_suggestion(problems, given, meant):
    assert meant in problems(f"{SHORTEST}  {given}\n")[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "refresher.yaml: is empty"),
        (
            "a b c",
            "refresher.yaml: a text is given; accepted: a mapping with tokens, issuer, issuers, listen",
        ),
        ("- a", "refresher.yaml: a list is given"),
        ("tokens: {studio: {}}", "refresher.yaml:1: tokens: a mapping is given; accepted: a list"),
        ("tokens:", "refresher.yaml:1: tokens: nothing is given; accepted: a list"),
        (
            "tokens: [x]",
            "refresher.yaml:1: tokens[0]: a text is given; accepted: a mapping with name, key_file",
        ),
        ("issuer:\n" + SHORTEST, "refresher.yaml:1: issuer: nothing is given; accepted: a mapping with url"),
        ("issuer: {url: }\n" + SHORTEST, "issuer.url: nothing is given; write a value such as url: https://"),
        ("a: 1\n\tb: 2", "refresher.yaml:2:1: a tab; YAML is indented with spaces"),
        ("a: &a [*a]", "refresher.yaml:1:8: aliases (*name) are not supported"),
        (
            "listen: :1",
            "refresher.yaml: tokens: no token is configured; the shortest command that works: refresher run",
        ),
    ],
)
def test_a_file_of_the_wrong_shape_is_reported(problems, text, message):
    [problem] = problems(text)
    assert message in problem


def test_a_token_without_an_output_is_reported(problems):
    [problem] = problems("tokens: [{name: a, key_file: k}]")
    assert "tokens[0].outputs: is missing; write a value such as outputs: [{file: " in problem


def test_json_has_the_same_problems_without_lines(problems):
    [mode, twice] = problems(
        '{"tokens": [{"name": "a", "name": "b", "key_file": "k", "outputs": [{"file": "a", "mode": 416}]}]}',
        "c.json",
    )
    assert twice.startswith("c.json: tokens[0].outputs[0].mode: 416 is not a text; accepted: octal digits")
    assert mode == "c.json: tokens[0].name: given twice, in the same mapping; keep one"


def test_a_missing_file_is_reported_with_the_other_problems(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        load({"config": "none.yaml", "listen": "x"}, {}, str(tmp_path))
    listen, config = map(str, caught.value.problems)
    assert listen.startswith("--listen: ")
    assert config == f"none.yaml: cannot be read, at {tmp_path}/none.yaml: No such file or directory"


def test_a_wholly_wrong_file_does_not_report_a_million_problems(problems):
    found = problems("".join(f"wrong_{number}: 1\n" for number in range(50_000)))
    assert len(found) == MOST_PROBLEMS + 2
    assert found[-1] == f"refresher.yaml: more than {MOST_PROBLEMS} problems; not all shown"


@pytest.mark.parametrize("name", ["many.yaml", "many.json"])
def test_ten_thousand_tokens_load(loaded, name):
    token = '{{"name": "t{0}", "key_file": "k{0}", "outputs": [{{"file": "out/{0}", "mode": "0640"}}]}}'
    tokens = ",\n".join(token.format(number) for number in range(10_000))
    assert len(loaded(f'{{"tokens": [\n{tokens}\n]}}', name).settings.tokens) == 10_000


def test_a_second_load_sees_the_changed_file(loaded):
    assert loaded(SHORTEST).settings.tokens[0].lifetime == 3600.0
    assert loaded(SHORTEST + "  lifetime: 2h\n").settings.tokens[0].lifetime == 7200.0


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=2000)
@given(
    st.binary()
    | st.text().map(str.encode)
    | st.text(alphabet="ab:- \n\t{}[]&*!|>'\"#%@`,?0123456789~<tokens").map(
        lambda text: f"tokens: {text}".encode()
    ),
    st.sampled_from(["c.yaml", "c.json"]),
)
def test_any_content_of_a_file_raises_only_a_configuration_error(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load({"config": name}, {}, str(tmp_path))
    assert all("\n" not in str(problem) for problem in caught.value.problems)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=2000)
@given(st.data())
def test_any_damage_to_a_file_raises_only_a_configuration_error(tmp_path, data):
    position = data.draw(st.integers(0, len(BAD)))
    cut = data.draw(st.integers(0, 5))
    text = BAD[:position] + data.draw(st.text(max_size=5)) + BAD[position + cut :]
    (tmp_path / "c.yaml").write_text(text, "utf-8", newline="")
    with pytest.raises(ConfigurationError):
        load({"config": "c.yaml"}, {}, str(tmp_path))


def test_flags_alone_import_nothing_that_only_files_and_problems_need():
    program = (
        "import sys\n"
        "from refresher.config.loader import load\n"
        "load({'key_file': 'k', 'to_file': ['t'], 'listen': ':0', 'lifetime': '1h'}, {}, '/')\n"
        "print(sorted({'yaml', 'jsonschema', 'difflib', 'ipaddress', 'urllib.parse'} & set(sys.modules)))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ
    )
    assert ran.stdout == "[]\n"


def test_flags_and_variables_say_how_to_log_and_are_checked_with_all_others():
    token = {"key_file": "k", "to_file": ["t"]}
    assert load(token, {}, "/").log == LogSettings("auto", None)
    variables = {"REFRESHER_LOG_FORMAT": "JSON", "REFRESHER_LOG_LEVEL": "Error"}
    assert load(token | {"log_level": "debug"}, variables, "/").log == LogSettings("json", "debug")
    with pytest.raises(ConfigurationError) as refusal:
        load(token | {"log_format": "jsn", "lifetime": "1x"}, {"REFRESHER_LOG_LEVEL": "loud"}, "/")
    found = {problem.where: problem.text for problem in refusal.value.problems}
    assert set(found) == {"--log-format", "REFRESHER_LOG_LEVEL", "--lifetime"}
    assert found["--log-format"] == "'jsn' is not a log format; did you mean json? accepted: auto, text, json"
