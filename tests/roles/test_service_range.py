"""A services' range that was widened more than once: `spec.cidrs` is immutable, so each range has an object of its own."""

from __future__ import annotations

import dataclasses
import json
from ipaddress import IPv4Network

import pytest

from roles.service_range.checks import _wider
from roles.service_range.role import ROLE, desired
from tests.support.recorded import PLAN, saying, why_not
from tests.support.scenarios import WIDENED, scenario


def _object(services: str) -> tuple[str, list[str]]:
    context = scenario("lab").context("m1")
    plan = dataclasses.replace(context.plan, services=IPv4Network(services))
    (task,) = desired(dataclasses.replace(context, plan=plan, lineage=WIDENED)).tasks
    found = json.loads(task.content)
    return found["metadata"]["name"], found["spec"]["cidrs"]


def test_each_wider_range_is_an_object_of_its_own() -> None:
    assert _object("10.96.0.0/15") == ("kubewright-10-96-0-0-15", ["10.96.0.0/15"])
    assert _object("10.96.0.0/14") == ("kubewright-10-96-0-0-14", ["10.96.0.0/14"])


def _services(count: int) -> str:
    """The API's own, the headless ones, ExternalNames, one of an older range, and `count` in all of 10.96.0.0/28."""
    return "\n".join(["None", "", "10.97.0.1", *(f"10.96.0.{number}" for number in range(1, count + 1))])


def _why(count: int, services: str) -> str:
    plan = dataclasses.replace(PLAN, services=IPv4Network(services))
    return why_not(ROLE.checks, "free addresses", saying(_services(count)), plan=plan)


@pytest.mark.parametrize(("count", "services"), [(0, "10.96.0.0/28"), (13, "10.96.0.0/28"), (240, "10.96.0.0/24")])
def test_a_range_with_free_addresses_is_no_fault(count: int, services: str) -> None:
    assert not _why(count, services)


@pytest.mark.parametrize(
    ("count", "services", "said"),
    [
        (14, "10.96.0.0/28", "14 of the 14 addresses of network.services (10.96.0.0/28)"),
        (242, "10.96.0.0/24", "range is full); delete Services, or set a wider range, like 10.96.0.0/21"),
    ],
)
def test_a_range_that_is_nearly_used_up_is_a_fault_with_the_way_out(count: int, services: str, said: str) -> None:
    assert said in _why(count, services)


@pytest.mark.parametrize(
    ("services", "said"),
    [
        ("10.96.0.0/13", "like 10.96.0.0/12"),
        ("10.0.0.0/12", "a second cluster"),
        ("10.99.1.0/24", "a second cluster"),
        ("10.99.2.0/24", "like 10.99.2.0/23"),
    ],
)
def test_a_wider_range_begins_at_the_same_address(services: str, said: str) -> None:
    assert said in _wider(IPv4Network(services))
