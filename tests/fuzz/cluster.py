"""Responses of an API server, with Secrets and Leases."""

import base64
import json
import math
from collections.abc import Iterator
from typing import Any

from refresher.core.election import Election, WriteLease, timing_of
from refresher.core.formats import Format
from refresher.core.http_response import Response
from refresher.core.model import SecretStr, fingerprint
from refresher.core.seal import Sealer
from refresher.errors import KubeError, KubeThrottledError
from refresher.kube import elector
from refresher.kube.paths import secret_path
from refresher.kube.responses import Request, parse
from refresher.outputs import secret_body
from refresher.outputs.secret_body import PREFIX
from refresher.outputs.secret_plan import Plan
from tests.fuzz.target import (
    HEADERS,
    JSON_WORDS,
    NOW,
    URL,
    Target,
    a_token,
    answer_in,
    expect_printable,
    expect_sound,
    expires,
    loaded,
    placed,
)

CREDENTIAL = "Bearer hEader.c2VydmljZS1hY2NvdW50.sIgnature"
VALUE = "pr3cious-value-of-a-Secret"
SENT = {"data": {"k": base64.b64encode(VALUE.encode()).decode()}}
APPLY = Request("PATCH", secret_path("studio", "s"), SENT)
PLAN = Plan("studio", "s", "inlive/refresher", {"k": Format(), "auth.json": Format("inlive-sdk")}, URL)


def api_server(octets: bytes) -> None:
    code, headers, body = answer_in(octets)
    for request in (APPLY, Request("GET", "/readyz")):
        try:
            found = parse(request, Response(code, headers, body), CREDENTIAL, NOW.wall)
        except KubeError as error:
            secrets = [CREDENTIAL.split()[-1], *([VALUE] if request is APPLY else [])]
            assert str(error).isprintable()
            assert not any(secret in str(error) for secret in secrets)
            assert len(str(error)) < 6000
            if isinstance(error, KubeThrottledError):
                assert error.retry_after is None or 0 <= error.retry_after < math.inf
        else:
            assert 200 <= code <= 299
            assert isinstance(found, dict)


def _api_seeds() -> Iterator[bytes]:
    says = 'secrets is forbidden: User "u" cannot patch resource "secrets" in the namespace "studio"'
    for code, message in (
        (403, says),
        (409, "changed"),
        (422, f"Invalid value: {VALUE}"),
        (429, "wait"),
        (500, ""),
    ):
        document = {"kind": "Status", "apiVersion": "v1", "message": message, "reason": "R", "code": code}
        yield f"{code}\nRetry-After: 1\n\n{json.dumps(document)}".encode()
    yield b"200\n\n" + json.dumps({"kind": "Secret", "data": {}}).encode()
    yield b"502\ncontent-type: text/html\n\n<html>Bad Gateway</html>"


def secret(octets: bytes) -> None:
    stands = loaded(octets)
    if not isinstance(stands, dict):
        return
    _settle(stands)
    try:
        found = secret_body.seen(stands)
    except KubeError as error:
        expect_printable(str(error))
        return
    held = secret_body.holding(found, PLAN, NOW)
    expect_sound(held)
    token = a_token()
    values = PLAN.render(token, NOW)
    said = secret_body.objection(found, PLAN, values)
    if said is not None:
        assert said.isprintable(), ascii(said)
        return
    applied = json.loads(
        json.dumps(secret_body.manifest(found, PLAN, token.facts, values, Sealer(SecretStr("k3y"))))
    )
    applied["metadata"]["labels"].setdefault(secret_body.LABEL, found.labels.get(secret_body.LABEL))
    assert secret_body.holding(secret_body.seen(applied), PLAN, NOW).intact


def _settle(stands: dict[str, Any]) -> None:
    """Replace the value "=" of an annotation by the correct value, which no mutation finds by chance."""
    annotations = placed(stands, "metadata", "annotations")
    values = placed(stands, "data")
    if not isinstance(annotations, dict) or not isinstance(values, dict):
        return
    raw = {}
    for key, value in values.items():
        try:
            raw[key] = base64.b64decode(value)
        except (ValueError, TypeError):
            return
    forms = annotations.get(f"{PREFIX}format")
    recorded = loaded(forms.encode(errors="replace")) if isinstance(forms, str) else None
    ours = {key: raw[key] for key in recorded if key in raw} if isinstance(recorded, dict) else {}
    if annotations.get(f"{PREFIX}expires-at") == "=":
        issued, lifetime = annotations.get(f"{PREFIX}issued-at"), annotations.get(f"{PREFIX}lifetime")
        annotations[f"{PREFIX}expires-at"] = expires(issued, lifetime)
    if annotations.get(f"{PREFIX}sha256") == "=":
        annotations[f"{PREFIX}sha256"] = secret_body.digest(ours)
    if annotations.get(f"{PREFIX}token-fingerprint") == "=" and ours:
        text = next(iter(ours.values())).decode(errors="replace")
        annotations[f"{PREFIX}token-fingerprint"] = fingerprint(text)


def _secret_seeds() -> Iterator[bytes]:
    token = a_token()
    stands = secret_body.manifest(None, PLAN, token.facts, PLAN.render(token, NOW), Sealer(SecretStr("k3y")))
    yield json.dumps(stands).encode()
    stands["metadata"]["annotations"] |= {
        f"{PREFIX}{name}": "=" for name in ("expires-at", "sha256", "token-fingerprint")
    }
    yield json.dumps(stands).encode()
    yield json.dumps({**stands, "immutable": True, "type": "kubernetes.io/tls"}).encode()
    prepared = {"metadata": {"resourceVersion": "7", "labels": {secret_body.LABEL: "Helm"}}, "type": "Opaque"}
    yield json.dumps({**prepared, "data": {"k": ""}}).encode()
    yield json.dumps({**prepared, "data": {"k": "dg=="}, "metadata": {"annotations": None}}).encode()


def lease(octets: bytes) -> None:
    stands = loaded(octets)
    if not isinstance(stands, dict):
        return
    try:
        found = elector.record_of(stands)
    except KubeError as error:
        expect_printable(str(error))
        return
    assert 0 <= found.duration < math.inf
    election = Election("we", timing_of(15.0)).observed(found, 0.0, 0.1)
    for now in (0.1, 1e4):
        step = election.next_step(now)
        if isinstance(step, WriteLease):
            json.dumps(elector.document(stands, step.record, "n", "l", NOW.wall))


def _lease_seeds() -> Iterator[bytes]:
    spec = {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "leaseTransitions": 3,
        "renewTime": "2026-11-05",
    }
    yield json.dumps({"metadata": {"resourceVersion": "42"}, "spec": spec}).encode()
    yield json.dumps({"metadata": {"resourceVersion": "42"}, "spec": {"holderIdentity": None}}).encode()
    yield json.dumps({"metadata": {"resourceVersion": "42"}}).encode()


TARGETS = {
    "api-server": Target(
        api_server,
        _api_seeds,
        (*HEADERS, *JSON_WORDS, '"Status"', '"kind"', '"message"', 'cannot get resource "'),
        document=b"\n\n",
    ),
    "secret": Target(
        secret,
        _secret_seeds,
        (
            *JSON_WORDS,
            PREFIX,
            "token",
            "template",
            "inlive-sdk",
            "envoy-sds",
            '"="',
            '"data"',
            '"immutable"',
            "Opaque",
            '\\"',
        ),
        document=b"",
    ),
    "lease": Target(
        lease,
        _lease_seeds,
        (*JSON_WORDS, '"spec"', '"metadata"', '"resourceVersion"', '"leaseDurationSeconds"'),
        document=b"",
    ),
}
