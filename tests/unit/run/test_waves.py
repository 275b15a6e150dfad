"""How many hosts restart at once, and in which order."""

from __future__ import annotations

import dataclasses

import pytest

from deploy.waves import ROLES
from kubewright.run.waves import batches, width

BY_NAME = {role.name: role for role in ROLES}


@pytest.mark.parametrize("name", ["etcd", "apiserver"])
def test_members_of_etcd_and_apiservers_restart_one_at_a_time(name: str) -> None:
    assert width(BY_NAME[name], 150) == 1


def test_every_other_component_restarts_on_a_tenth_of_its_hosts_at_once() -> None:
    others = [role for role in ROLES if role.units and role.name not in ("etcd", "apiserver")]
    assert {width(role, 150) for role in others} == {15}
    assert {width(role, 19) for role in others} == {1}
    assert {width(role, 3) for role in others} == {1}


def test_the_first_host_goes_alone_and_the_order_stays() -> None:
    names = [f"w{i}" for i in range(1, 9)]
    assert batches(names, 3) == [("w1",), ("w2", "w3", "w4"), ("w5", "w6", "w7"), ("w8",)]
    assert batches(names[:1], 3) == [("w1",)]
    assert batches([], 3) == []


def test_a_role_says_that_it_goes_one_at_a_time() -> None:
    role = dataclasses.replace(BY_NAME["kubelet"], one_at_a_time=True)
    assert width(role, 150) == 1
