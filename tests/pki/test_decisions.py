"""Keep, issue or renew, with the reason."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from kubewright.errors import Failed
from pki import certificates
from pki.certificates import Subject
from pki.decisions import Authority, Decision, Leaf, Policy, Verdict, carry_out, decide
from pki.store import Store

NOW = dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC)
CA = Authority(name="ca/kubernetes", common_name="kubernetes-ca")
OTHER = Authority(name="ca/etcd", common_name="etcd-ca")
LEAF = Leaf(
    name="apiserver/m1",
    authority=CA.name,
    subject=Subject(common_name="kube-apiserver", usages=("server",), dns_names=("m1",), addresses=(IPv4Address("192.0.2.11"),)),
)
POLICY = Policy(algorithm="ecdsa-p256", ca_days=3650, leaf_days=365, renew_before_days=90)
PAIR = "service-account"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    carry_out((CA, OTHER), (LEAF,), (PAIR,), made, POLICY, NOW)
    return made


def _about(leaf: Leaf, store: Store, now: dt.datetime = NOW) -> tuple[Verdict, str]:
    decision = next(d for d in decide((CA, OTHER), (leaf,), (PAIR,), store, POLICY, now) if d.name == leaf.name)
    return decision.verdict, decision.reason


def test_everything_is_issued_the_first_time(tmp_path: Path) -> None:
    decisions = decide((CA,), (LEAF,), (PAIR,), Store(tmp_path), POLICY, NOW)
    assert decisions == (
        Decision(name=CA.name, verdict=Verdict.ISSUE, reason="there is none yet"),
        Decision(name=PAIR, verdict=Verdict.ISSUE, reason="there is none yet"),
        Decision(name=LEAF.name, verdict=Verdict.ISSUE, reason="its authority ca/kubernetes is new"),
    )


def test_everything_is_kept_the_second_time(store: Store) -> None:
    before = dict(store.entries)
    assert carry_out((CA, OTHER), (LEAF,), (PAIR,), store, POLICY, NOW) == ()
    assert store.entries == before
    assert _about(LEAF, store) == (Verdict.KEEP, "valid until 2027-11-21")


def test_a_new_leaf_is_issued(store: Store) -> None:
    assert _about(replace(LEAF, name="apiserver/m2"), store) == (Verdict.ISSUE, "there is none yet")


def test_a_leaf_signed_by_another_authority_is_issued_again(store: Store) -> None:
    reason = "it was signed by another authority than ca/etcd"
    assert _about(replace(LEAF, authority=OTHER.name), store) == (Verdict.ISSUE, reason)


def test_a_leaf_of_an_earlier_authority_of_the_same_name_is_issued_again(store: Store, tmp_path: Path) -> None:
    later = Store(tmp_path / "later")
    carry_out((CA,), (), (), later, POLICY, NOW)
    store.add({CA.name: (later.certificate(CA.name), later.key(CA.name))})
    assert _about(LEAF, store) == (Verdict.ISSUE, "it was signed by another authority than ca/kubernetes")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"dns_names": ("m1", "api.example.org")}, "dns_names"),
        ({"addresses": (IPv4Address("192.0.2.12"),)}, "addresses"),
        ({"common_name": "other"}, "common_name"),
        ({"organizations": ("system:nodes",)}, "organizations"),
        ({"usages": ("server", "client")}, "usages"),
    ],
)
def test_a_leaf_whose_subject_changed_is_issued_again_and_the_field_is_named(
    store: Store, changed: dict[str, object], field: str
) -> None:
    leaf = replace(LEAF, subject=replace(LEAF.subject, **changed))  # type: ignore[arg-type]
    assert _about(leaf, store) == (Verdict.ISSUE, f"the spec changed its {field}")


def test_a_leaf_is_renewed_within_the_threshold_and_not_a_second_before(store: Store) -> None:
    threshold = NOW + dt.timedelta(days=365 - 90)
    assert _about(LEAF, store, threshold)[0] is Verdict.KEEP
    assert _about(LEAF, store, threshold + dt.timedelta(seconds=1)) == (
        Verdict.RENEW,
        "it expires 2027-11-21, within 90 days",
    )


def test_renewal_gives_a_new_key_and_leaves_authorities_and_pairs_alone(store: Store) -> None:
    before = dict(store.entries)
    later = NOW + dt.timedelta(days=300)
    done = carry_out((CA, OTHER), (LEAF,), (PAIR,), store, POLICY, later)
    assert [(d.name, d.verdict) for d in done] == [(LEAF.name, Verdict.RENEW)]
    assert store.entries[LEAF.name].key_sha256 != before[LEAF.name].key_sha256
    assert {n: e for n, e in store.entries.items() if n != LEAF.name} == {n: e for n, e in before.items() if n != LEAF.name}
    assert certificates.from_pem(store.certificate(LEAF.name)).not_valid_after_utc == later + dt.timedelta(days=365)


def test_an_authority_is_never_replaced_even_when_it_has_expired(store: Store) -> None:
    after = NOW + dt.timedelta(days=4000)
    kept = [d for d in decide((CA, OTHER), (), (PAIR,), store, POLICY, after) if d.verdict is Verdict.KEEP]
    assert [(d.name, d.reason) for d in kept] == [
        (name, "an authority or key pair is never replaced by apply") for name in (CA.name, OTHER.name, PAIR)
    ]


def test_only_what_is_missing_is_made(store: Store) -> None:
    before = dict(store.entries)
    second = replace(LEAF, name="apiserver/m2")
    carry_out((CA, OTHER), (LEAF, second), (PAIR,), store, POLICY, NOW)
    assert {n: store.entries[n] for n in before} == before
    assert set(store.entries) - set(before) == {second.name}


def test_a_leaf_that_ends_with_its_authority_is_kept_since_no_new_one_would_live_longer(tmp_path: Path) -> None:
    store = Store(tmp_path)
    short = replace(POLICY, ca_days=100)
    carry_out((CA,), (LEAF,), (), store, short, NOW)
    later = NOW + dt.timedelta(days=30)
    found = {d.name: d for d in decide((CA,), (LEAF,), (), store, short, later)}[LEAF.name]
    assert found.verdict is Verdict.KEEP
    assert "ends with its authority" in found.reason
    assert carry_out((CA,), (LEAF,), (), store, short, later) == ()


def test_an_expired_authority_is_named_and_signs_nothing(store: Store) -> None:
    with pytest.raises(Failed, match="ca/kubernetes: this authority expired 2036-11-18"):
        carry_out((CA, OTHER), (replace(LEAF, name="new"),), (PAIR,), store, POLICY, NOW + dt.timedelta(days=4000))
    assert "new" not in Store(store.folder).entries


def test_another_algorithm_issues_leaves_again_and_leaves_authorities_alone(store: Store) -> None:
    rsa = replace(POLICY, algorithm="rsa-2048")
    verdicts = {d.name: (d.verdict, d.reason) for d in decide((CA,), (LEAF,), (), store, rsa, NOW)}
    assert verdicts[LEAF.name] == (Verdict.ISSUE, "the spec changed its key to rsa-2048")
    assert verdicts[CA.name][0] is Verdict.KEEP


def test_the_same_names_in_another_order_are_no_difference(store: Store) -> None:
    names = replace(LEAF, subject=replace(LEAF.subject, dns_names=("a", "m1")))
    carry_out((CA, OTHER), (names,), (PAIR,), store, POLICY, NOW)
    turned = replace(names, subject=replace(names.subject, dns_names=("m1", "a")))
    assert _about(turned, store)[0] is Verdict.KEEP
