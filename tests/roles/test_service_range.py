"""A services' range that was widened more than once: `spec.cidrs` is immutable, so each range has an object of its own."""

from __future__ import annotations

import dataclasses
import json
from ipaddress import IPv4Network

from roles.service_range.role import desired
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
