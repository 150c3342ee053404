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
from refresher.outputs import secret_body
from refresher.outputs.secret_body import LARGEST_SECRET, PREFIX, Plan
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

NOTHING = Holding(owner="inlive/refresher")  # that is believed, in a Secret that says whose it is


def plan(forms=BOTH, owner="inlive/refresher", url=URL):
    return Plan("studio", "inlive-access-token", owner, forms, url)


def applied(found=None, token=None, wants=None, now=NOW):
    """What the document is that puts the token there."""
    token, wants = token or a_token(), wants or plan()
    return secret_body.manifest(found, wants, token.facts, wants.render(token, now), SEALER)


def stored(document=None, **others):
    """What the API server makes of an applied document, other keys of the Secret beside it."""
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


def test_names_without_a_namespace_are_at_home():
    made = secret_body.planned("inlive-access-token", "home", "refresher", {}, URL)
    assert (made.namespace, made.secret, made.owner) == ("home", "inlive-access-token", "home/refresher")


def test_names_with_a_namespace_are_where_they_say():
    made = secret_body.planned("studio/token", "home", "inlive/refresher", {}, URL)
    assert (made.namespace, made.secret, made.owner) == ("studio", "token", "inlive/refresher")


def test_the_template_is_for_the_key_of_that_format_alone():
    """What another key's format needs is not to be read out of it."""
    data = (("access-token", "token"), ("t", "template"))
    formats = secret_body.formats_by_key(data, "$refresh_token")
    assert formats == {"access-token": Format("token"), "t": Format("template", "$refresh_token")}


# What is applied


def test_a_secret_says_everything_but_in_its_values_no_secret():
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
def test_without_its_seal_a_secret_proves_nothing(text):
    there = stored()
    if text is None:
        del annotations(there)[f"{PREFIX}seal"]
    else:
        annotations(there)[f"{PREFIX}seal"] = text
    assert not SEALER.accepts(holding(there).proof)


def test_a_template_is_the_operators_own_and_not_told():
    told = json.dumps(annotations(applied(wants=plan({"t": TEMPLATE}))))
    assert "token = " not in told


def test_an_applied_document_is_an_opaque_secret_with_our_label():
    document = applied()
    assert (document["kind"], document["apiVersion"], document["type"]) == ("Secret", "v1", "Opaque")
    assert document["metadata"]["name"] == "inlive-access-token"
    assert document["metadata"]["namespace"] == "studio"
    assert document["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "inlive-token-refresher"}


def test_what_is_applied_is_for_what_was_found_and_nothing_else():
    assert applied(secret_body.seen(stored()))["metadata"]["resourceVersion"] == "42"
    assert applied(None)["metadata"]["resourceVersion"] == "1"  # of no object: see test_secret_output


def test_keys_and_annotations_of_others_are_not_in_what_is_applied():
    there = stored(others=b"o")
    annotations(there)["others.example/annotation"] = "a"
    there["metadata"]["labels"]["others.example/label"] = "l"
    document = applied(secret_body.seen(there))
    assert set(document["data"]) == set(BOTH)
    assert "others.example" not in json.dumps(document)


def test_a_label_that_others_have_set_is_left_to_them():
    there = stored()
    there["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm"
    assert applied(secret_body.seen(there))["metadata"]["labels"] == {}
    assert holding(there).intact


# What is found


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c.json"]), st.sampled_from(formats.NAMES), min_size=1),
    st.floats(min_value=0, max_value=4e9).map(lambda wall: Instant(wall, 0.0)),
    st.floats(min_value=0.5, max_value=LIFETIME),
)
def test_what_was_written_is_told_again(named, issued, lifetime):
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


def test_annotations_of_others_that_are_called_alike_do_not_matter():
    there = stored()
    annotations(there).update({"owner": "somebody", "others.example/sha256": "0" * 64})
    assert holding(there).intact
    assert objection(there) is None


def test_a_secret_that_is_nobodys_holds_nothing():
    assert holding({"metadata": {}, "type": "Opaque"}) == Holding()
    assert holding({"metadata": {"annotations": None}, "data": None, "type": "Opaque"}) == Holding()
    assert holding({"data": {"access-token": encoded(b"acc3ss-1-")}, "type": "Opaque"}) == Holding()


@pytest.mark.parametrize("key", BOTH)
@pytest.mark.parametrize("value", [None, b"", b"acc3ss-2-"])
def test_one_altered_or_missing_value_and_none_is_believed(key, value):
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
def test_without_any_of_the_annotations_nothing_is_believed(name, text):
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
def test_annotations_that_say_something_else_are_not_believed(name, text):
    there = stored()
    annotations(there)[PREFIX + name] = text
    assert holding(there) == NOTHING


def test_a_name_that_is_no_name_is_cut_off():
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
def test_a_good_value_in_disturbed_surroundings_is_told_but_is_not_intact(disturb):
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
def test_a_good_value_for_another_configuration_is_told_but_is_not_intact(wants):
    found = holding(stored(), wants)
    assert found.facts == a_token().facts
    assert found.token is not None
    assert not found.intact


def test_after_a_reboot_the_time_is_told_by_the_new_boot_clock():
    found = holding(stored(), now=Instant(NOW.wall + 60, 10.0))
    assert found.facts is not None
    assert found.facts.issued == Instant(NOW.wall, -50.0)


# What is not written into


def test_a_secret_that_is_to_be_made_is_written():
    assert objection(None) is None


def test_our_own_secret_is_written_altered_or_not():
    assert objection(stored(others=b"o")) is None
    there = stored()
    there["data"]["access-token"] = encoded(b"altered")
    assert objection(there) is None


def test_a_secret_of_another_installation_is_refused_by_name():
    told = objection(stored(), plan(owner="other/refresher"))
    assert "'inlive/refresher'" in told
    assert "'other/refresher'" in told
    assert "token-refresher.inlive.app/owner" in told


def test_a_secret_that_another_installation_gave_up_is_taken_over():
    there = stored()
    del annotations(there)[f"{PREFIX}owner"]
    assert objection(there, plan(owner="other/refresher")) is None


@pytest.mark.parametrize("data", [{}, {"access-token": b""}, {"others": b"o"}])
def test_a_secret_that_an_operator_has_prepared_is_written(data):
    there = {"metadata": {"resourceVersion": "7"}, "type": "Opaque"}
    there["data"] = {key: encoded(value) for key, value in data.items()}
    assert objection(there) is None


def test_a_value_of_somebody_else_is_not_overwritten():
    there = {"type": "Opaque", "data": {"access-token": encoded(b"precious")}}
    told = objection(there)
    assert "access-token" in told
    assert "precious" not in told


def test_a_value_that_was_put_in_the_place_of_an_ownerless_one_is_not_overwritten():
    there = stored()
    del annotations(there)[f"{PREFIX}owner"]
    there["data"]["access-token"] = encoded(b"precious")
    assert "access-token" in objection(there)


def test_not_even_in_our_own_secret_a_key_is_taken_that_was_not_ours():
    there = stored(env=b"precious")
    told = objection(there, plan(BOTH | {"env": Format("env")}))
    assert "under env" in told
    assert objection(stored(env=b""), plan(BOTH | {"env": Format("env")})) is None


def test_a_secret_that_an_operator_has_made_ours_by_hand_is_written():
    there = {"metadata": {"annotations": {f"{PREFIX}owner": "inlive/refresher"}}, "type": "Opaque"}
    there["data"] = {"access-token": encoded(b"to be replaced")}
    assert objection(there) is None


def test_another_type_of_secret_is_refused_by_name():
    there = stored()
    there["type"] = "kubernetes.io/basic-auth"
    assert "'kubernetes.io/basic-auth'" in objection(there)


def test_an_immutable_secret_is_refused_as_such():
    there = stored()
    there["immutable"] = True
    assert "immutable: true" in objection(there)


@pytest.mark.parametrize(
    ("size", "fits"), [(LARGEST_SECRET - 1, True), (LARGEST_SECRET, True), (LARGEST_SECRET + 1, False)]
)
def test_all_values_together_have_room_in_a_secret_or_not(size, fits):
    there = {"type": "Opaque", "data": {"others": encoded(b"o" * 1000)}}
    told = objection(there, values={"access-token": b"x" * (size - 1000)})
    assert (told is None) is fits
    assert fits or ("1048577 bytes" in told and "1000 of them others'" in told)


def test_what_is_replaced_needs_no_room_of_its_own():
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
def test_whatever_annotations_say_nothing_is_raised(texts):
    there = stored()
    annotations(there).update({PREFIX + name: text for name, text in texts.items()})
    assert isinstance(holding(there), Holding)
    objection(there)


def test_values_of_which_one_is_gone_are_not_what_was_written():
    """Not even if the annotations describe those that are left."""
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
def test_what_is_no_secret_is_refused_as_no_answer_of_an_api_server(field, strange):
    with pytest.raises(KubeUnreachableError, match=f"no Secret, by its {field}"):
        secret_body.seen(strange)


@given(st.dictionaries(st.sampled_from(["metadata", "data", "type", "immutable"]), JSON_VALUES))
def test_whatever_an_api_server_gives_is_a_secret_or_refused(document):
    try:
        found = secret_body.seen(document)
    except KubeUnreachableError:
        return
    assert isinstance(secret_body.holding(found, plan(), NOW), Holding)
    secret_body.objection(found, plan(), {})


def test_what_is_seen_does_not_print_its_values():
    found = secret_body.seen(stored(others=b"precious"))
    assert "precious" not in f"{found} {found!r} {[found]}"
    assert "acc3ss" not in f"{found} {found!r} {[found]}"
