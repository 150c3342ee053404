"""`AccessToken` objects: those that are accepted, and those with a mistake. The loader and the API server
judge both: see test_spec.py here and tests/kube/test_access_tokens.py."""

from typing import Any

Spec = dict[str, Any]


def spec(**fields: Any) -> Spec:
    """The shortest spec that is accepted, with other fields. A field that is None is left out."""
    found = {"applicationKeySecretRef": {"name": "key"}, "secret": {"name": "token"}} | fields
    return {name: value for name, value in found.items() if value is not None}


def secret(**fields: Any) -> Spec:
    return spec(secret={"name": "token"} | fields)


def accesstoken(wanted: Spec, name: str = "studio", namespace: str = "studio") -> dict[str, Any]:
    return {
        "apiVersion": "token-refresher.inlive.app/v1alpha1",
        "kind": "AccessToken",
        "metadata": {"name": name, "namespace": namespace},
        "spec": wanted,
    }


GOOD = [
    spec(),
    spec(lifetime="1h", refreshAt="70%", propagationDelay="2m"),
    spec(lifetime="1h30m"),
    spec(lifetime="10s", propagationDelay="4.9s"),
    spec(lifetime="24h"),
    spec(refreshAt="0.7"),
    spec(refreshAt="95%"),
    spec(propagationDelay="0s"),
    spec(propagationDelay="29m59s"),
    spec(applicationKeySecretRef={"name": "a.b-c", "key": "A_b.c-D"}),
    spec(secret={"name": "n" * 253}),
    secret(data={"access-token": "token", "auth.json": "inlive-sdk"}),
    secret(data={"a": "template"}, template="x $access_token"),
    secret(labels={"team": "studio", "example.com/a_B": ""}, annotations={"Example.com/x": "any\ntext"}),
    secret(labels={}, annotations={}),
    secret(labels={"p" * 253 + "/n": "v" * 63}),
]

BAD = [
    (spec(applicationKeySecretRef=None), "spec.applicationKeySecretRef.name"),
    (spec(applicationKeySecretRef={}), "spec.applicationKeySecretRef.name"),
    (spec(applicationKeySecretRef={"name": "A"}), "spec.applicationKeySecretRef.name"),
    (spec(applicationKeySecretRef={"name": "other/key"}), "spec.applicationKeySecretRef.name"),
    (spec(applicationKeySecretRef={"name": "key", "key": "a b"}), "spec.applicationKeySecretRef.key"),
    (spec(applicationKeySecretRef={"name": "key", "key": "..a"}), "spec.applicationKeySecretRef.key"),
    (spec(secret=None), "spec.secret.name"),
    (spec(secret={"name": "other/token"}), "spec.secret.name"),
    (spec(secret={"name": "key"}), "spec.secret.name"),
    (spec(secret={"name": "n" * 254}), "spec.secret.name"),
    (spec(lifetime="9s"), "spec.lifetime"),
    (spec(lifetime="721h"), "spec.lifetime"),
    (spec(lifetime="10.5s"), "spec.lifetime"),
    (spec(lifetime="soon"), "spec.lifetime"),
    (spec(lifetime=""), "spec.lifetime"),
    (spec(refreshAt="19%"), "spec.refreshAt"),
    (spec(refreshAt="96%"), "spec.refreshAt"),
    (spec(refreshAt="70"), "spec.refreshAt"),
    (spec(propagationDelay="30m"), "spec.propagationDelay"),
    (spec(propagationDelay="-1s"), "spec.propagationDelay"),
    (spec(lifetime="2m", propagationDelay="1m"), "spec.propagationDelay"),
    (secret(data={}), "spec.secret.data"),
    (secret(data={"a": "jsn"}), "spec.secret.data.a"),
    (secret(data={"..": "token"}), "spec.secret.data..."),
    (secret(data={"a b": "token"}), "spec.secret.data.'a b'"),
    (secret(data={"a": "template"}), "spec.secret.data"),
    (secret(template="$access_token"), "spec.secret.template"),
    (secret(data={"a": "template"}, template="no token"), "spec.secret.template"),
    (secret(labels={"team": "a b"}), "spec.secret.labels.team"),
    (secret(labels={"a/b/c": "x"}), "spec.secret.labels.a/b/c"),
    (secret(labels={"p" * 254 + "/n": "x"}), "spec.secret.labels.'pppppppppppp'…"),
    (secret(labels={"app.kubernetes.io/managed-by": "x"}), "spec.secret.labels.'app.kubernet'…"),
    (secret(labels={"token-refresher.inlive.app/x": "x"}), "spec.secret.labels.'token-refres'…"),
    (secret(annotations={"token-refresher.inlive.app/x": "x"}), "spec.secret.annotations.'token-refres'…"),
    (secret(annotations={"-": "x"}), "spec.secret.annotations.-"),
]
