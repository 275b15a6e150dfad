"""The decisions of the plan from a spec alone."""

from __future__ import annotations

import pytest

from kubewright.model.build import CONTROL_PLANE, make_plan
from kubewright.model.cluster import Plan
from tests.support.scenarios import inventory, spec_of


def _plan(*hosts: str, **settings: str) -> Plan:
    rows = "".join(f"\n  - {{{host}}}" for host in hosts)
    more = "".join(f"{key}: {value}\n" for key, value in settings.items())
    return make_plan(spec_of(f"name: a\n{more}hosts:{rows}\n"))


M1 = "name: m1, address: 192.0.2.11, roles: [master]"
W1 = "name: w1, address: 192.0.2.21, roles: [worker]"


def test_masters_are_tainted_when_there_are_workers() -> None:
    plan = _plan(M1, W1)
    assert plan.node("m1").taints == (f"{CONTROL_PLANE}:NoSchedule",)
    assert plan.node("w1").taints == ()


@pytest.mark.parametrize(
    "hosts", [(M1,), ("name: m1, address: 192.0.2.11, roles: [master, worker]", W1)], ids=["no workers", "a worker itself"]
)
def test_a_master_that_must_run_pods_is_not_tainted(hosts: tuple[str, ...]) -> None:
    assert _plan(*hosts).node("m1").taints == ()


def test_taints_in_the_spec_replace_the_default_even_by_none() -> None:
    plan = _plan(f"{M1}, taints: []", f'{W1}, taints: ["dedicated=gpu:NoSchedule"]')
    assert plan.node("m1").taints == ()
    assert plan.node("w1").taints == ("dedicated=gpu:NoSchedule",)


def test_masters_carry_the_control_plane_label_beside_their_own() -> None:
    plan = _plan(f"{M1}, labels: {{zone: a}}", f"{W1}, labels: {{zone: b}}")
    assert plan.node("m1").labels == {CONTROL_PLANE: "", "zone": "a"}
    assert plan.node("w1").labels == {"zone": "b"}


def test_a_host_with_only_etcd_runs_no_pods_and_has_no_labels() -> None:
    etcd1 = make_plan(inventory("ha")).node("etcd1")
    assert (etcd1.is_etcd, etcd1.runs_pods, etcd1.labels) == (True, False, {})


def test_etcd_runs_on_its_own_hosts_or_else_on_masters() -> None:
    assert [n.name for n in make_plan(inventory("ha")).etcd_members] == ["etcd1", "etcd2", "etcd3"]
    assert [n.name for n in make_plan(inventory("lab")).etcd_members] == ["m1", "m2", "m3"]
    assert make_plan(inventory("ha")).etcd_endpoints[0] == "https://192.0.2.21:2379"


def test_a_hosts_flags_are_laid_over_the_clusters_and_null_is_kept() -> None:
    plan = _plan(
        f"{M1}, extra_args: {{etcd: {{heartbeat-interval: 200, snapshot-count: null}}}}",
        W1,
        extra_args="{etcd: {heartbeat-interval: 100, quota-backend-bytes: 1}}",
    )
    assert plan.node("m1").extra_args["etcd"] == {
        "heartbeat-interval": "200",
        "snapshot-count": None,
        "quota-backend-bytes": "1",
    }
    assert plan.node("w1").extra_args["etcd"]["heartbeat-interval"] == "100"


def test_further_names_of_the_api_are_sorted_into_names_and_addresses() -> None:
    plan = _plan(M1, api="{extra_sans: [api.example.org, 192.0.2.100]}")
    assert plan.api_names == ("api.example.org",)
    assert [str(a) for a in plan.api_addresses] == ["192.0.2.100"]


def test_fixed_service_addresses_follow_the_range() -> None:
    plan = _plan(M1, network="{services: 10.32.0.0/24}")
    assert (str(plan.api_service_address), str(plan.dns_address)) == ("10.32.0.1", "10.32.0.10")


def test_every_host_reaches_the_api_on_its_own_loopback() -> None:
    assert _plan(M1, W1, api="{port: 7443}").local_api == "https://127.0.0.1:7443"


def test_the_policy_of_certificates_is_the_specs() -> None:
    policy = _plan(M1, pki="{algorithm: rsa-2048, ca_days: 1000, leaf_days: 100, renew_before_days: 10}").certificates
    assert (policy.algorithm, policy.ca_days, policy.leaf_days, policy.renew_before_days) == ("rsa-2048", 1000, 100, 10)


def test_an_unknown_node_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        _plan(M1).node("m2")
