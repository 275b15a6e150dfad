"""The rotation of an authority: trust, signatures and served chains in each stage, from the rows alone."""

from __future__ import annotations

import datetime as dt
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509

from kubewright.errors import Failed
from kubewright.observe.text import certificates
from pki import rotation, status, trust
from pki.certificates import Subject
from pki.decisions import Authority, Given, Leaf, Policy, Verdict, carry_out, decide
from pki.stages import Stage
from pki.store import Store
from tests.pki.brought import CHAIN, MIDDLE, OURS, ROOT, make

NOW = dt.datetime.now(dt.UTC)
POLICY = Policy(algorithm="ecdsa-p256", ca_days=3650, leaf_days=365, renew_before_days=90)
CA, PAIR = Authority(name="ca/etcd", common_name="etcd-ca"), "service-account"
LEAF = Leaf(name="server/m1", authority=CA.name, subject=Subject(common_name="m1", usages=("server",), dns_names=("m1",)))
NAMES = pytest.mark.parametrize("name", [CA.name, PAIR])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    _apply(made)
    return made


def _apply(store: Store) -> None:
    carry_out((CA,), (LEAF,), (PAIR,), store, POLICY, NOW)


def _begin(store: Store, name: str) -> None:
    rotation.begin(store, name, CA.common_name, POLICY, NOW)


def _verifies(folder: Path, trusted: bytes, shown: bytes) -> bool:
    """Whether OpenSSL, trusting only `trusted`, accepts a server that sends `shown` (its own certificate first)."""
    for name, content in (("trusted", trusted), ("leaf", trust.first(shown.decode()).encode()), ("shown", shown)):
        (folder / name).write_bytes(content)
    command = ["openssl", "verify", "-CAfile", "trusted", "-untrusted", "shown", "-purpose", "sslserver", "leaf"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


@NAMES
def test_the_rows_show_the_stage_of_a_rotation(store: Store, name: str) -> None:
    seen = [rotation.stage(store.entries, name)]
    for step in (partial(_begin, store, name), partial(rotation.switch, store, name, NOW), partial(rotation.drop, store, name)):
        step()
        seen.append(rotation.stage(Store(store.folder).entries, name))
    rotation.finish(store, name)
    assert seen == [Stage.SETTLED, Stage.INTRODUCED, Stage.SWITCHED, Stage.RETIRED]
    assert rotation.stage(store.entries, name) is Stage.SETTLED
    assert {row for row in store.entries if row.startswith(name)} == {name, f"{name}/{trust.FORMER}"}


@NAMES
def test_both_are_trusted_until_the_drop_and_trust_does_not_change_at_the_switch(store: Store, name: str) -> None:
    old = trust.bundle(store.entries, name)
    _begin(store, name)
    both = trust.bundle(store.entries, name)
    assert both.startswith(old) and len(both) > len(old)
    rotation.switch(store, name, NOW)
    assert trust.bundle(store.entries, name) == trust.anchors(store.entries, name) == both, "nor for those who want roots"
    rotation.drop(store, name)
    assert trust.bundle(store.entries, name) == both.removeprefix(old)


def test_after_the_switch_leaves_are_issued_again_and_clients_of_the_old_authority_accept_them(
    store: Store, tmp_path: Path
) -> None:
    old = trust.bundle(store.entries, CA.name)
    _begin(store, CA.name)
    assert {d.verdict for d in decide((CA,), (LEAF,), (PAIR,), store, POLICY, NOW)} == {Verdict.KEEP}
    rotation.switch(store, CA.name, NOW)
    decision = next(d for d in decide((CA,), (LEAF,), (PAIR,), store, POLICY, NOW) if d.name == LEAF.name)
    assert decision.verdict is Verdict.ISSUE
    _apply(store)
    shown = store.certificate(LEAF.name)
    assert _verifies(tmp_path, old, shown)
    rotation.drop(store, CA.name)
    new = trust.bundle(store.entries, CA.name)
    bare = Store(store.folder).certificate(LEAF.name)
    assert _verifies(tmp_path, new, shown) and _verifies(tmp_path, new, bare)
    assert not _verifies(tmp_path, old, bare)


def test_certificates_of_only_the_old_authority_are_refused_after_the_drop(store: Store, tmp_path: Path) -> None:
    shown = store.certificate(LEAF.name)
    _begin(store, CA.name)
    rotation.switch(store, CA.name, NOW)
    assert _verifies(tmp_path, trust.bundle(store.entries, CA.name), shown)
    rotation.drop(store, CA.name)
    assert not _verifies(tmp_path, trust.bundle(store.entries, CA.name), shown)


def test_an_authority_with_path_length_0_or_without_its_key_cross_signs_no_other(store: Store) -> None:
    assert rotation.vouches(store.entries, CA.name, NOW)
    narrow = make("etcd-ca", pathlen=0)
    store.change(add={CA.name: (narrow.pem, narrow.key_pem())})
    assert not rotation.vouches(store.entries, CA.name, NOW)
    _begin(store, CA.name)
    rotation.switch(store, CA.name, NOW)
    assert len(x509.load_pem_x509_certificates(store.certificate(CA.name))) == 1
    store.change(add={CA.name: (ROOT.pem, b"")})
    assert not rotation.vouches(store.entries, CA.name, NOW)


@NAMES
def test_every_stage_until_the_drop_can_be_undone(store: Store, name: str) -> None:
    before = store.entries[name]
    _begin(store, name)
    rotation.switch(store, name, NOW)
    rotation.undo(store, name)
    assert rotation.stage(store.entries, name) is Stage.INTRODUCED
    assert store.entries[name] == before
    rotation.undo(store, name)
    rotation.finish(store, name)
    assert store.entries[name] == before
    assert rotation.stage(store.entries, name) is Stage.SETTLED


@NAMES
def test_dropped_authorities_are_remembered_without_their_keys(store: Store, name: str) -> None:
    dropped = b""
    for _ in range(2):
        dropped += trust.bundle(store.entries, name)
        _begin(store, name)
        rotation.switch(store, name, NOW)
        rotation.drop(store, name)
        rotation.finish(store, name)
    former = store.entries[f"{name}/{trust.FORMER}"]
    assert (former.certificate.encode(), former.key_sha256) == (dropped, "")
    assert not [line for line in status.lines(store.entries, NOW) if line.name.endswith(trust.FORMER)]


@NAMES
def test_a_host_that_trusts_only_the_new_one_while_the_store_trusts_both_is_ahead(store: Store, name: str) -> None:
    held = [certificates(trust.bundle(store.entries, name).decode())]
    _begin(store, name)
    held.append(certificates(trust.bundle(store.entries, name).decode()))
    new = held[1] - held[0]
    for step in (partial(rotation.switch, store, name, NOW), partial(rotation.drop, store, name)):
        assert [trust.ahead(store.entries, name, found) for found in (*held, new)] == [(), (), tuple(new)]
        step()
    assert [trust.ahead(store.entries, name, found) for found in (*held, new)] == [(), (), ()]


def _given(store: Store, folder: Path, key: bool = True) -> Authority:
    """Begin with a company's intermediate CA."""
    (folder / "ours.key").write_bytes(OURS.key_pem())
    given = Given(certificate=CHAIN, key=folder / "ours.key" if key else None)
    rotation.begin(store, CA.name, CA.common_name, POLICY, NOW, given)
    return Authority(name=CA.name, common_name=CA.common_name, given=given)


def test_an_external_intermediate_takes_over_with_its_issuers(store: Store, tmp_path: Path) -> None:
    old = trust.bundle(store.entries, CA.name)
    brought = _given(store, tmp_path)
    assert {d.verdict for d in decide((brought,), (LEAF,), (PAIR,), store, POLICY, NOW)} == {Verdict.KEEP}
    rotation.switch(store, CA.name, NOW)
    assert trust.bundle(store.entries, CA.name) == old + OURS.pem, "never the company's root"
    carry_out((brought,), (LEAF,), (PAIR,), store, POLICY, NOW)
    shown = store.certificate(LEAF.name)
    assert _verifies(tmp_path, old, shown), "clients of the old one"
    rotation.drop(store, CA.name)
    assert not _verifies(tmp_path, old, store.certificate(LEAF.name))
    assert _verifies(tmp_path, ROOT.pem, store.certificate(LEAF.name))
    assert store.certificate(CA.name) == CHAIN
    rotation.finish(store, CA.name)
    assert {d.verdict for d in decide((brought,), (LEAF,), (PAIR,), store, POLICY, NOW)} == {Verdict.KEEP}


def test_clients_of_the_root_of_both_follow_from_one_intermediate_to_another(store: Store, tmp_path: Path) -> None:
    _given(store, tmp_path)
    rotation.switch(store, CA.name, NOW)
    rotation.drop(store, CA.name)
    rotation.finish(store, CA.name)
    another = make("prod Kubernetes, again", MIDDLE, pathlen=0)
    (tmp_path / "another.key").write_bytes(another.key_pem())
    given = Given(certificate=another.pem + MIDDLE.pem + ROOT.pem, key=tmp_path / "another.key")
    rotation.begin(store, CA.name, CA.common_name, POLICY, NOW, given)
    rotation.switch(store, CA.name, NOW)
    _apply(store)
    assert _verifies(tmp_path, ROOT.pem, store.certificate(LEAF.name))


def test_an_external_ca_without_its_key_takes_over_once_its_requests_are_signed(store: Store, tmp_path: Path) -> None:
    brought = _given(store, tmp_path, key=False)
    assert {d.verdict for d in decide((brought,), (LEAF,), (PAIR,), store, POLICY, NOW)} == {Verdict.KEEP}
    rotation.switch(store, CA.name, NOW)
    with pytest.raises(Failed, match="kept elsewhere"):
        carry_out((brought,), (LEAF,), (PAIR,), store, POLICY, NOW)
    rotation.undo(store, CA.name)
    assert {d.verdict for d in decide((brought,), (LEAF,), (PAIR,), store, POLICY, NOW)} == {Verdict.KEEP}


def test_an_earlier_external_ca_gives_way_to_one_that_is_made_here(store: Store, tmp_path: Path) -> None:
    """cluster.yaml names the old one until a person removes the line: its key is not imported for the new one."""
    brought = _given(store, tmp_path, key=False)
    rotation.switch(store, CA.name, NOW)
    rotation.drop(store, CA.name)
    rotation.finish(store, CA.name)
    _begin(store, CA.name)
    rotation.switch(store, CA.name, NOW)
    with_key = replace(brought, given=Given(certificate=CHAIN, key=tmp_path / "ours.key"))
    done = carry_out((with_key,), (LEAF,), (PAIR,), store, POLICY, NOW)
    assert [(d.name, d.verdict) for d in done] == [(LEAF.name, Verdict.ISSUE)]


def test_the_present_authority_is_not_imported_again(store: Store, tmp_path: Path) -> None:
    given = Given(certificate=store.certificate(CA.name), key=None)
    with pytest.raises(Failed, match="that is ca/etcd already"):
        rotation.begin(store, CA.name, CA.common_name, POLICY, NOW, given)


def test_a_switch_that_was_undone_and_repeated_has_one_cross_signed_certificate(store: Store, tmp_path: Path) -> None:
    _begin(store, CA.name)
    rotation.switch(store, CA.name, NOW)
    rotation.undo(store, CA.name)
    rotation.switch(store, CA.name, NOW)
    assert len(x509.load_pem_x509_certificates(store.certificate(CA.name))) == 2


def test_a_stage_that_another_run_has_left_is_not_continued(store: Store) -> None:
    _begin(store, CA.name)
    with pytest.raises(Failed, match="another run has moved ca/etcd from settled to introduced"):
        rotation.advance(store, CA.name, Stage.SETTLED, lambda *_: None, NOW)


@NAMES
def test_neither_a_drop_nor_a_settled_authority_can_be_undone(store: Store, name: str) -> None:
    with pytest.raises(Failed, match="no rotation is under way"):
        rotation.undo(store, name)
    _begin(store, name)
    rotation.switch(store, name, NOW)
    rotation.drop(store, name)
    with pytest.raises(Failed, match="rotate again"):
        rotation.undo(store, name)


def test_only_named_leaves_are_renewed_at_any_age(store: Store) -> None:
    before = store.certificate(LEAF.name)
    done = carry_out((CA,), (LEAF,), (PAIR,), store, POLICY, NOW, frozenset({LEAF.name}))
    assert [(d.name, d.verdict, d.reason) for d in done] == [(LEAF.name, Verdict.RENEW, "asked for")]
    assert store.certificate(LEAF.name) != before
