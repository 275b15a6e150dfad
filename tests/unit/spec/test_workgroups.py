"""The section `workgroups` where it is left empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubewright.spec import loads

HOSTS = "name: prod\nhosts: [{name: m1, address: 192.0.2.11, roles: [master]}]\n"


@pytest.mark.parametrize("text", ["", "workgroups:\n", "workgroups: []\n"])
def test_without_workgroups_there_are_none(text: str) -> None:
    assert loads((HOSTS + text).encode(), folder=Path("/tmp")).workgroups == ()


def test_empty_settings_of_a_workgroup_are_their_defaults() -> None:
    text = "workgroups: [{name: a, quota: , limits: , people: }]\n"
    (group,) = loads((HOSTS + text).encode(), folder=Path("/tmp")).workgroups
    assert (group.quota, group.limits.max, group.people, group.pod_security) == ({}, {}, {}, "baseline")


def test_a_quota_takes_counts_of_any_resource() -> None:
    text = 'workgroups: [{name: a, quota: {count/jobs.batch: 5, requests.storage: 10Gi, pods: "50"}}]\n'
    (group,) = loads((HOSTS + text).encode(), folder=Path("/tmp")).workgroups
    assert group.quota == {"count/jobs.batch": "5", "requests.storage": "10Gi", "pods": "50"}
