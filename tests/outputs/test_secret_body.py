import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.core import formats
from refresher.core.formats import Format
from refresher.core.instant import Instant
from refresher.core.model import Holding, Proof
from refresher.errors import KubeUnreachableError
from refresher.outputs import secret_body, secret_plan
from refresher.outputs.secret_body import LARGEST_SECRET, PREFIX
from refresher.outputs.secret_plan import Controller, Plan
from tests.outputs.tokens import LIFETIME, NOW, SEALER, a_token

URL = "https://api.inlive.app"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner)
    | st.dictionaries(st.sampled_from(["annotations", "labels", "resourceVersion"]) | st.text(), inner),
    max_leaves=6,
)
TEMPLATE = Format("template", "token = $access_token\n")
BOTH = {"access-token": Format("token"), "auth.json": Format("inlive-sdk")}

NOTHING = Holding(owner="inlive/refresher")  # nothing is trusted, but the owner is known


def plan(forms=BOTH, owner="inlive/refresher", url=URL, **own):
    return Plan("studio", "inlive-access-token", owner, forms, url, **own)


def applied(found=None, token=None, wants=None, now=NOW):
    """The manifest that publishes the token."""
    token, wants = token or a_token(), wants or plan()
    return secret_body.manifest(found, wants, token.facts, wants.render(token, now), SEALER)


def stored(document=None, **others):
    """The Secret that the API server stores for a manifest, with other keys in it."""
    stands = json.loads(json.dumps(document or applied()))
    stands["metadata"] |= {"resourceVersion": "42", "uid": "u", "managedFields": []}
    stands["data"] |= {key: encoded(value) for key, value in others.items()}
    return stands


def encoded(value):
    return base64.b64encode(value).decode()


def annotations(document):
    return document["metadata"]["annotations"]


def holding(document, wants=None, now=NOW):
    return secret_body.holding(secret_body.seen(document), wants or plan(), now)


def objection(document, wants=None, values=None):
    wants = wants or plan()
    found = None if document is None else secret_body.seen(document)
    return secret_body.objection(found, wants, values or wants.render(a_token(2), NOW))


# The plan


def test_names_without_a_namespace_are_in_our_own():
    made = secret_plan.planned("inlive-access-token", "home", "refresher", {}, URL)
    assert (made.namespace, made.secret, made.owner) == ("home", "inlive-access-token", "home/refresher")


def test_names_with_a_namespace_are_in_that_namespace():
    made = secret_plan.planned("studio/token", "home", "inlive/refresher", {}, URL)
    assert (made.namespace, made.secret, made.owner) == ("studio", "token", "inlive/refresher")


def test_the_template_is_for_the_key_of_that_format_alone():
    """Otherwise a key in another format would seem to include what only the template names."""
    data = (("access-token", "token"), ("t", "template"))
    formats = secret_plan.formats_by_key(data, "$refresh_token")
    assert formats == {"access-token": Format("token"), "t": Format("template", "$refresh_token")}


# The manifest


def test_annotations_contain_everything_but_secrets():
    document = applied()
    assert base64.b64decode(document["data"]["access-token"]) == b"acc3ss-1-"
    told = annotations(document)
    assert told == {
        f"{PREFIX}owner": "inlive/refresher",
        f"{PREFIX}issued-at": "2026-11-05T10:00:00.250000Z",
        f"{PREFIX}expires-at": "2026-11-05T11:00:00.250000Z",
        f"{PREFIX}lifetime": "3600.0",
        f"{PREFIX}requested-lifetime": "3600.0",
        f"{PREFIX}key-fingerprint": a_token().facts.key_fingerprint,
        f"{PREFIX}token-fingerprint": a_token().facts.fingerprint,
        f"{PREFIX}has-refresh-token": "true",
        f"{PREFIX}issuer": URL,
        f"{PREFIX}format": told[f"{PREFIX}format"],
        f"{PREFIX}sha256": told[f"{PREFIX}sha256"],
        f"{PREFIX}seal": told[f"{PREFIX}seal"],
    }
    assert SEALER.accepts(Proof(holding(stored(document)).proof.statement, told[f"{PREFIX}seal"]))
    assert json.loads(told[f"{PREFIX}format"])["access-token"] == "token"
    del document["data"]
    for secret in ("acc3ss", "r3fresh", "k3y"):
        assert secret not in json.dumps(document)
        assert base64.b64encode(secret.encode()).decode()[:6] not in json.dumps(document)


@pytest.mark.parametrize("text", [None, "", "{}", "\x00", "[" * 60_000])
def test_a_secret_without_its_seal_proves_nothing(text):
    there = stored()
    if text is None:
        del annotations(there)[f"{PREFIX}seal"]
    else:
        annotations(there)[f"{PREFIX}seal"] = text
    assert not SEALER.accepts(holding(there).proof)


def test_annotations_do_not_contain_the_template():
    told = json.dumps(annotations(applied(wants=plan({"t": TEMPLATE}))))
    assert "token = " not in told


def test_an_applied_document_is_an_opaque_secret_with_our_label():
    document = applied()
    assert (document["kind"], document["apiVersion"], document["type"]) == ("Secret", "v1", "Opaque")
    assert document["metadata"]["name"] == "inlive-access-token"
    assert document["metadata"]["namespace"] == "studio"
    assert document["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "inlive-token-refresher"}


def test_a_manifest_applies_only_to_the_version_that_was_read():
    assert applied(secret_body.seen(stored()))["metadata"]["resourceVersion"] == "42"
    assert applied(None)["metadata"]["resourceVersion"] == "1"  # no object has it: see test_secret_output


def test_a_manifest_omits_the_keys_and_annotations_of_others():
    there = stored(others=b"o")
    annotations(there)["others.example/annotation"] = "a"
    there["metadata"]["labels"]["others.example/label"] = "l"
    document = applied(secret_body.seen(there))
    assert set(document["data"]) == set(BOTH)
    assert "others.example" not in json.dumps(document)


def test_a_label_set_by_others_stays_theirs():
    there = stored()
    there["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm"
    assert applied(secret_body.seen(there))["metadata"]["labels"] == {}
    assert holding(there).intact


# Labels and annotations of the user

OWN = {"labels": (("team", "studio"),), "annotations": (("example.com/contact", "studio@example.com"),)}


def test_a_manifest_has_the_labels_and_annotations_of_the_plan_beside_ours():
    metadata = applied(wants=plan(**OWN))["metadata"]
    assert metadata["labels"] == {"team": "studio", "app.kubernetes.io/managed-by": "inlive-token-refresher"}
    assert metadata["annotations"]["example.com/contact"] == "studio@example.com"
    assert metadata["annotations"].items() > annotations(applied()).items()


@pytest.mark.parametrize(
    ("field", "name"), [("labels", "team"), ("annotations", "example.com/contact")], ids=str
)
@pytest.mark.parametrize("change", ["changed", "gone"])
def test_a_label_or_annotation_that_differs_from_the_plan_alters_the_secret(field, name, change):
    wants = plan(**OWN)
    there = stored(applied(wants=wants))
    assert holding(there, wants).intact
    there["metadata"][field] = {name: "other"} | {
        key: text for key, text in there["metadata"][field].items() if key != name
    }
    if change == "gone":
        del there["metadata"][field][name]
    held = holding(there, wants)
    assert not held.intact
    assert held.token is not None, "so it is written with the token in hand, without a mint"


# Reading a Secret


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c.json"]), st.sampled_from(formats.NAMES), min_size=1),
    st.floats(min_value=0, max_value=4e9).map(lambda wall: Instant(wall, 0.0)),
    st.floats(min_value=0.5, max_value=LIFETIME),
)
def test_a_written_secret_is_read_back(named, issued, lifetime):
    wants = plan({key: TEMPLATE if name == "template" else Format(name) for key, name in named.items()})
    token = a_token(issued=issued, lifetime=lifetime)
    found = holding(stored(applied(None, token, wants, issued)), wants, issued)
    assert found.intact
    assert found.facts is not None
    assert found.facts.issued.wall == pytest.approx(issued.wall, abs=1e-6, rel=0)
    assert found.facts._replace(issued=issued) == token.facts
    if set(named.values()) == {"template"}:
        assert found.token is None
    else:
        assert found.token is not None
        assert found.token.access == token.access
        assert (found.token.refresh_token == token.refresh_token) is ("inlive-sdk" in named.values())


def test_other_keys_of_the_secret_do_not_matter():
    assert holding(stored(others=b"o")).intact


def test_annotations_of_others_with_similar_names_do_not_matter():
    there = stored()
    annotations(there).update({"owner": "somebody", "others.example/sha256": "0" * 64})
    assert holding(there).intact
    assert objection(there) is None


def test_a_secret_without_annotations_holds_nothing():
    assert holding({"metadata": {}, "type": "Opaque"}) == Holding()
    assert holding({"metadata": {"annotations": None}, "data": None, "type": "Opaque"}) == Holding()
    assert holding({"data": {"access-token": encoded(b"acc3ss-1-")}, "type": "Opaque"}) == Holding()


@pytest.mark.parametrize("key", BOTH)
@pytest.mark.parametrize("value", [None, b"", b"acc3ss-2-"])
def test_one_altered_or_missing_value_invalidates_all(key, value):
    there = stored()
    if value is None:
        del there["data"][key]
    else:
        there["data"][key] = encoded(value)
    assert holding(there) == NOTHING


@pytest.mark.parametrize(
    "name", [name for name in annotations(applied()) if not name.endswith(("owner", "seal"))]
)
@pytest.mark.parametrize("text", [None, "", "{}", "null", "[]", "1e999", "NaN", "\x00", "[" * 60_000])
def test_a_missing_annotation_invalidates_all(name, text):
    there = stored()
    if text is None:
        del annotations(there)[name]
    else:
        annotations(there)[name] = text
    assert holding(there) == NOTHING


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("token-fingerprint", "0" * 16),
        ("format", json.dumps({"access-token": "token"})),
        ("format", json.dumps({"access-token": "token", "auth.json": 1})),
        ("format", json.dumps({"access-token": "token", "other": "token"})),
        ("expires-at", "2026-11-05T12:00:00.250000Z"),
        ("sha256", "0" * 64),
    ],
)
def test_inconsistent_annotations_are_ignored(name, text):
    there = stored()
    annotations(there)[PREFIX + name] = text
    assert holding(there) == NOTHING


def test_an_overlong_owner_is_cut():
    there = stored()
    annotations(there)[f"{PREFIX}owner"] = "x" * 200_000
    assert holding(there).owner == "x" * 320


DISTURBED = {
    "owner of another": lambda there: annotations(there).update({f"{PREFIX}owner": "other/refresher"}),
    "no owner": lambda there: annotations(there).pop(f"{PREFIX}owner"),
    "no label": lambda there: there["metadata"].pop("labels"),
    "immutable": lambda there: there.update(immutable=True),
    "of another type": lambda there: there.update(type="kubernetes.io/basic-auth"),
}


@pytest.mark.parametrize("disturb", DISTURBED.values(), ids=DISTURBED)
def test_a_good_value_in_a_changed_secret_is_known_but_not_intact(disturb):
    there = stored()
    disturb(there)
    found = holding(there)
    assert found.facts == a_token().facts
    assert not found.intact


@pytest.mark.parametrize(
    "wants",
    [
        plan({"access-token": Format("token")}),
        plan(BOTH | {"env": Format("env")}),
        plan({"token": Format("token"), "auth.json": Format("inlive-sdk")}),
        plan(BOTH | {"access-token": Format("bearer")}),
        plan(url="https://other.example"),
    ],
    ids=["fewer keys", "more keys", "other keys", "other format", "other issuer"],
)
def test_a_good_value_for_another_configuration_is_known_but_not_intact(wants):
    found = holding(stored(), wants)
    assert found.facts == a_token().facts
    assert found.token is not None
    assert not found.intact


def test_times_are_on_the_new_boot_clock_after_a_reboot():
    found = holding(stored(), now=Instant(NOW.wall + 60, 10.0))
    assert found.facts is not None
    assert found.facts.issued == Instant(NOW.wall, -50.0)


# Refused writes


def test_a_missing_secret_may_be_written():
    assert objection(None) is None


def test_our_own_secret_may_be_written_even_if_altered():
    assert objection(stored(others=b"o")) is None
    there = stored()
    there["data"]["access-token"] = encoded(b"altered")
    assert objection(there) is None


def test_a_secret_of_another_installation_is_refused():
    told = objection(stored(), plan(owner="other/refresher"))
    assert "'inlive/refresher'" in told
    assert "'other/refresher'" in told
    assert "token-refresher.inlive.app/owner" in told


def test_a_secret_without_its_owner_annotation_is_taken_over():
    there = stored()
    del annotations(there)[f"{PREFIX}owner"]
    assert objection(there, plan(owner="other/refresher")) is None


@pytest.mark.parametrize("data", [{}, {"access-token": b""}, {"others": b"o"}])
def test_a_prepared_secret_may_be_written(data):
    there = {"metadata": {"resourceVersion": "7"}, "type": "Opaque"}
    there["data"] = {key: encoded(value) for key, value in data.items()}
    assert objection(there) is None


def test_a_value_of_another_client_is_not_overwritten():
    there = {"type": "Opaque", "data": {"access-token": encoded(b"precious")}}
    told = objection(there)
    assert "access-token" in told
    assert "precious" not in told


def test_a_replaced_value_in_an_ownerless_secret_is_not_overwritten():
    there = stored()
    del annotations(there)[f"{PREFIX}owner"]
    there["data"]["access-token"] = encoded(b"precious")
    assert "access-token" in objection(there)


def test_a_key_of_others_in_our_own_secret_is_not_overwritten():
    there = stored(env=b"precious")
    told = objection(there, plan(BOTH | {"env": Format("env")}))
    assert "under env" in told
    assert objection(stored(env=b""), plan(BOTH | {"env": Format("env")})) is None


def test_a_secret_that_an_operator_gave_us_may_be_written():
    there = {"metadata": {"annotations": {f"{PREFIX}owner": "inlive/refresher"}}, "type": "Opaque"}
    there["data"] = {"access-token": encoded(b"to be replaced")}
    assert objection(there) is None


def test_another_type_of_secret_is_refused():
    there = stored()
    there["type"] = "kubernetes.io/basic-auth"
    assert "'kubernetes.io/basic-auth'" in objection(there)


def test_an_immutable_secret_is_refused():
    there = stored()
    there["immutable"] = True
    assert "immutable: true" in objection(there)


@pytest.mark.parametrize(
    ("size", "fits"), [(LARGEST_SECRET - 1, True), (LARGEST_SECRET, True), (LARGEST_SECRET + 1, False)]
)
def test_the_limit_of_a_secret_is_for_all_values_together(size, fits):
    there = {"type": "Opaque", "data": {"others": encoded(b"o" * 1000)}}
    told = objection(there, values={"access-token": b"x" * (size - 1000)})
    assert (told is None) is fits
    assert fits or ("1048577 bytes" in told and "1000 of them" in told)


def test_replaced_values_do_not_count_against_the_limit():
    there = stored(applied(token=a_token(size=LARGEST_SECRET // 2), wants=plan({"old": Format("token")})))
    assert objection(there, values={"access-token": b"x" * LARGEST_SECRET}) is None


@given(
    st.dictionaries(
        st.sampled_from([name.removeprefix(PREFIX) for name in annotations(applied())]),
        st.text()
        | st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(list(BOTH)) | st.text(), inner),
        ).map(json.dumps),
    )
)
def test_any_annotations_raise_nothing(texts):
    there = stored()
    annotations(there).update({PREFIX + name: text for name, text in texts.items()})
    assert isinstance(holding(there), Holding)
    objection(there)


def test_a_secret_with_a_missing_value_is_altered():
    """Even if the annotations describe the remaining values."""
    there = stored()
    annotations(there)[f"{PREFIX}format"] = json.dumps({"access-token": "token", "gone": "token"})
    left = {"access-token": base64.b64decode(there["data"]["access-token"])}
    annotations(there)[f"{PREFIX}sha256"] = secret_body.digest(left)
    assert holding(there) == NOTHING


@pytest.mark.parametrize(
    ("field", "strange"),
    [
        ("metadata", {"metadata": ["n"]}),
        ("metadata", {"metadata": "n"}),
        ("annotations", {"metadata": {"annotations": ["a"]}}),
        ("annotations", {"metadata": {"annotations": {f"{PREFIX}owner": 1}}}),
        ("labels", {"metadata": {"labels": "l"}}),
        ("data", {"data": ["d"]}),
        ("data", {"data": {"k": None}}),
        ("data", {"data": {"k": "a"}}),
        ("data", {"data": {"k": "\u00e1"}}),
    ],
)
def test_a_malformed_secret_is_refused_as_no_response_of_an_api_server(field, strange):
    with pytest.raises(KubeUnreachableError, match=f"no Secret, because its {field}"):
        secret_body.seen(strange)


@given(st.dictionaries(st.sampled_from(["metadata", "data", "type", "immutable"]), JSON_VALUES))
def test_any_response_is_a_secret_or_an_error(document):
    try:
        found = secret_body.seen(document)
    except KubeUnreachableError:
        return
    assert isinstance(secret_body.holding(found, plan(), NOW), Holding)
    secret_body.objection(found, plan(), {})


def test_the_repr_of_a_secret_has_no_values():
    found = secret_body.seen(stored(others=b"precious"))
    assert "precious" not in f"{found} {found!r} {[found]}"
    assert "acc3ss" not in f"{found} {found!r} {[found]}"


OBJECT = Controller("token-refresher.inlive.app/v1alpha1", "AccessToken", "studio", "uid-1")


def test_a_secret_of_an_object_refers_to_it_and_is_not_intact_without():
    wants = plan(controller=OBJECT)
    document = stored(applied(wants=wants))
    assert document["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "token-refresher.inlive.app/v1alpha1", "kind": "AccessToken", "name": "studio",
            "uid": "uid-1", "controller": True,
        }
    ]  # fmt: skip
    assert holding(document, wants).intact
    document["metadata"]["ownerReferences"][0]["uid"] = "uid-of-a-former-object"
    assert not holding(document, wants).intact
    del document["metadata"]["ownerReferences"]
    assert not holding(document, wants).intact
    assert "ownerReferences" not in applied()["metadata"]


def test_a_remembered_token_has_the_age_that_its_annotations_state():
    """A wall clock that was wrong at the reading makes no token older for good."""
    token = a_token()
    held = Holding(token.facts, token, intact=True)
    set_back = Instant(NOW.wall + 60 - 1000, NOW.boot + 60)
    found = secret_body.as_of(held, set_back)
    assert found.facts.issued.wall == token.facts.issued.wall
    assert found.facts.issued.age(set_back) == pytest.approx(token.facts.issued.age(NOW + 60) - 1000)
    assert found.token.facts == found.facts


def test_a_remembered_token_is_in_memory_once():
    held = Holding(a_token().facts, a_token(), intact=True)
    assert secret_body.as_of(held, NOW + 60) is held
