"""Contents of files: keys, configurations, tokens with their records."""

import atexit
import base64
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import yaml

from refresher.config import files as configuration_files
from refresher.config.files import read_yaml
from refresher.config.loader import load
from refresher.config.output_kinds import FileOutputSettings, SecretOutputSettings
from refresher.config.source_map import MalformedError
from refresher.core import formats
from refresher.core.formats import Format
from refresher.core.keytext import LONGEST_KEY, parse_key
from refresher.core.model import SecretStr, fingerprint
from refresher.core.seal import Sealer
from refresher.errors import ConfigurationError, KeyUnreadableError, KubeConfigError, OutputError
from refresher.keys.keyfile import KeyFile
from refresher.kube.credentials import TokenFile
from refresher.outputs import record
from refresher.outputs.file import FileOutput, Plan
from refresher.outputs.record import Entry, Record
from tests.fuzz.target import (
    JSON_WORDS,
    NOW,
    URL,
    Target,
    a_token,
    expect_sound,
    expires,
    loaded,
    placed,
    words,
)

TEMPLATE = "say $access_token $refresh_token"
FORM = {name: Format(name, TEMPLATE if name == "template" else None) for name in formats.NAMES}


@cache
def _folder() -> Path:
    """In memory if possible: a target does this thousands of times a second."""
    path = tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return Path(path)


def written(name: str, octets: bytes) -> str:
    path = _folder() / name
    path.write_bytes(octets)
    return str(path)


def key(octets: bytes) -> None:
    try:
        found = KeyFile(written("key", octets)).read().reveal()
    except KeyUnreadableError as error:
        reason = str(error).rpartition("holds no key: ")[2]
        assert reason.isprintable()
        assert len(reason) < 100
        return
    assert 0 < len(found) <= LONGEST_KEY
    assert re.fullmatch(r"[!-~]+", found)
    assert octets.startswith(found.encode())
    assert parse_key(found.encode()).reveal() == found


def service_account(octets: bytes) -> None:
    """As the whole of a token, and as the claims of one."""
    inside = base64.urlsafe_b64encode(octets).rstrip(b"=")
    for content in (octets, b"e30." + inside + b".x"):
        try:
            token = TokenFile(written("service-account", content))
        except KubeConfigError:
            continue
        assert re.fullmatch(r"Bearer [!-~]+", token.authorization())
        pod = token.pod()
        assert pod is None or (isinstance(pod.name, str) and isinstance(pod.uid, str))


def configuration(octets: bytes) -> None:
    """The first octet selects one of the two languages."""
    name = "c.json" if octets[:1] == b"j" else "c.yaml"
    path = written(name, octets[1:])
    try:
        found = load({"config": name}, {}, str(_folder())).settings
    except ConfigurationError as error:
        for mistake in error.problems:
            assert str(mistake).isprintable(), ascii(str(mistake))
            assert len(str(mistake)) < 2000
    else:
        assert 10 <= found.issuer.max_lifetime <= 30 * 86400
        assert len({token.name for token in found.tokens}) == len(found.tokens) >= 1
        for token in found.tokens:
            assert 10 <= token.lifetime <= found.issuer.max_lifetime
            assert 0.2 <= token.refresh_at <= 0.95
            assert token.key_file.startswith("/")
            _expect_writable(token.outputs)
    if name == "c.yaml":  # the parser used without libyaml
        try:
            read_yaml(configuration_files._content(path).decode("utf-8-sig"), yaml.SafeLoader)
        except (MalformedError, UnicodeDecodeError):
            return


def _expect_writable(outputs: tuple[FileOutputSettings | SecretOutputSettings, ...]) -> None:
    assert outputs
    for output in outputs:
        assert 0 <= output.propagation_delay < 30 * 86400
        if isinstance(output, FileOutputSettings):
            assert output.path.startswith("/")
            assert output.mode & ~0o775 == 0
            assert output.mode & 0o600 == 0o600
            forms = [output.format]
        else:
            forms = [format_ for _, format_ in output.data]
        for format_ in forms:
            formats.render(Format(format_, output.template), a_token(), NOW, URL)


def _configuration_seeds() -> Iterator[bytes]:
    yield b"ytokens:\n- key_file: k\n  outputs:\n  - file: t\n"
    document = {
        "issuer": {"url": "https://a.example", "timeout": "5s", "ca_file": "ca", "max_lifetime": "24h"},
        "listen": ":9464",
        "leader_election": {"lease": "inlive/refresher", "duration": "15s"},
        "tokens": [
            {"name": "a", "key_file": "k", "lifetime": "1h30m", "refresh_at": "70%", "outputs": [
                {"secret": "studio/s", "data": {"access-token": "token", "t": "template"},
                 "propagation_delay": "2m", "template": "x $access_token"}]},
        ],
    }  # fmt: skip
    yield b"j" + json.dumps(document).encode()
    yield b"y" + yaml.safe_dump(document).encode()
    document["tokens"][0]["outputs"] = [
        {"file": "t", "format": "template", "template": "$access_token", "mode": "0640", "group": 33},
        {"file": "u", "format": "inlive-sdk", "group": "www-data", "propagation_delay": 2.5},
    ]
    del document["leader_election"]
    yield b"j" + json.dumps(document).encode()
    yield b"y" + yaml.safe_dump(document).encode()
    yield b"yissuer: {url: http://a, timeout: 1:30}\ntokens:\n- name: no\n  key: x\n  lifetime: 0640\n"
    yield b"y&a [*a, !b c, <<: d, 1_0, 0x1F, .inf, 2026-01-01]\n---\n? {a: b}\n: |-\n  x\n"


def output(octets: bytes) -> None:
    """A token's file and, after an empty line, the record beside it."""
    content, _, beside = octets.partition(b"\n\n")
    beside = _settled(content, beside)
    path = _folder() / "token"
    path.write_bytes(content)
    (_folder() / ".token.meta.json").write_bytes(beside)
    out = FileOutput(Plan(str(path), URL))
    expect_sound(out.inspect(NOW))
    for format_ in FORM.values():
        found = formats.read_back(format_, content)
        if found is not None and format_.name in ("token", "bearer", "env"):
            assert formats.render(format_, a_token(found[0].reveal()), NOW, URL) == content
    believed = record.load(beside, NOW)
    if believed.owner not in ("", record.DEFAULT_OWNER):
        with suppress(OutputError):
            out.write(a_token(), NOW, Sealer(SecretStr("k3y")))
            raise AssertionError("another installation's file was written")
    elif believed.entries:
        assert record.load(record.dump(believed), NOW) == believed
        out.write(a_token(), NOW, Sealer(SecretStr("k3y")))
        assert out.inspect(NOW).intact


def _settled(content: bytes, beside: bytes) -> bytes:
    """Replace the value "=" in a record by the correct value, which no mutation finds by chance."""
    document = loaded(beside)
    contents = placed(document, "contents")
    if not isinstance(contents, list):
        return beside
    for each in contents:
        if not isinstance(each, dict):
            continue
        right = {
            "sha256": record.digest(content),
            "token_fingerprint": fingerprint(content.decode("latin-1")),
            "expires_at": expires(each.get("issued_at"), each.get("lifetime")),
        }
        each.update({name: value for name, value in right.items() if each.get(name) == "="})
    return json.dumps(document).encode()


def _output_seeds() -> Iterator[bytes]:
    token = a_token()
    for name, format_ in FORM.items():
        content = formats.render(format_, token, NOW, URL)
        identity = format_.identity(URL)
        yield (
            content + b"\n\n" + record.dump(Record({record.digest(content): Entry(identity, token.facts)}))
        )
        described = {
            **record.fields("=", Entry(name, token.facts)),
            "token_fingerprint": "=",
            "expires_at": "=",
        }
        yield content + b"\n\n" + json.dumps({"version": 1, "contents": [described]}).encode()


YAML_WORDS = (
    *words(
        "tokens: outputs: - : &a *a !!str << --- ... |- > ? # %YAML key_file lifetime data template 0640 1:30"
    ),
    *words('1h yes ~ $access_token "file" "data" "outputs" \ufeff'),
    *("  ", "\n", "\t", "\u2028"),
)

TARGETS = {
    "key": Target(key, lambda: [b"app-key_1~\n", b"a" * 8192, b"\xff\xfea\0", b"k k", b"\n"]),
    "service-account": Target(
        service_account,
        lambda: [b'{"kubernetes.io": {"pod": {"name": "p", "uid": "u"}}}', b"e30.e30.x\n", b"opaque"],
        (*JSON_WORDS, '"kubernetes.io"', '"pod"'),
        document=b"",
    ),
    "configuration": Target(configuration, _configuration_seeds, (*YAML_WORDS, *JSON_WORDS), document=b"j"),
    "output": Target(
        output,
        _output_seeds,
        (*JSON_WORDS, '"="', '"contents"', "9999-12-31T23:59:59", "-23:59"),
        document=b"\n\n",
    ),
}
