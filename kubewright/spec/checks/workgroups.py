"""The settings of workgroups that must fit together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from kubewright.spec.model import ClusterSpec
from kubewright.spec.quantity import value
from kubewright.spec.wording import Finding, Place
from kubewright.spec.workgroups import AMOUNTS, COMPUTE, Limits


def names_unique(spec: ClusterSpec) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for index, group in enumerate(spec.workgroups):
        if (other := first.setdefault(group.name, index)) != index:
            yield Finding(
                at=("workgroups", index, "name"),
                what=f"a name twice ({group.name} is workgroups[{other}] too)",
                allowed="each name once",
                todo="put both into one workgroup, or rename one of them",
            )


def quantities(spec: ClusterSpec) -> Iterator[Finding]:
    """Units, and quantities that contradict each other."""
    for index, group in enumerate(spec.workgroups):
        at: Place = ("workgroups", index)
        yield from _units((*at, "quota"), group.quota)
        yield from _quota((*at, "quota"), group.quota)
        for name in Limits.model_fields:
            yield from _units((*at, "limits", name), getattr(group.limits, name))
        yield from _limits((*at, "limits"), group.limits)


def _units(at: Place, found: Mapping[str, str]) -> Iterator[Finding]:
    for resource, quantity in found.items():
        unit = quantity.lstrip("0123456789.")
        kind = resource.removeprefix("requests.").removeprefix("limits.")
        if resource not in AMOUNTS and value(quantity) % 1:
            what, allowed, todo = "not a whole number", "a whole number", "correct it"
        elif kind == "cpu" and unit not in ("", "m"):
            what, allowed = "not a unit of cpu", "cores like 2 or thousandths like 500m"
            todo = "remove the unit"
        elif resource in AMOUNTS and kind != "cpu" and unit == "m":
            what, allowed = f"not a unit of {resource}", "bytes, with Ki, Mi or Gi"
            todo = f"m is a thousandth of a byte: write {quantity[:-1]}Mi"
        else:
            continue
        yield Finding(at=(*at, resource), what=f"{what} ({quantity})", allowed=allowed, todo=todo)


def _quota(at: Place, quota: Mapping[str, str]) -> Iterator[Finding]:
    for resource in COMPUTE:
        requests, limits = f"requests.{resource}", f"limits.{resource}"
        if resource in quota and requests in quota:
            yield Finding(
                at=(*at, requests),
                what=f"a second quota for the same as {resource} ({quota[requests]})",
                allowed=f"one of {resource} and {requests}",
                todo="remove one of them",
            )
        asked = quota.get(requests) or quota.get(resource)
        if asked and limits in quota and value(asked) > value(quota[limits]):
            yield Finding(
                at=(*at, limits),
                what=f"less than the requests ({quota[limits]}, requests are {asked})",
                allowed=f"{asked} or more",
                todo=f"raise {limits}, or lower the requests",
            )


def _limits(at: Place, limits: Limits) -> Iterator[Finding]:
    """min <= default_request <= default <= max [kubernetes: pkg/apis/core/validation, ValidateLimitRange]."""
    for resource in COMPUTE:
        order = ("min", "default_request", "default", "max")
        there = [(name, getattr(limits, name)[resource]) for name in order if resource in getattr(limits, name)]
        for (lower, less), (upper, more) in pairwise(there):
            if value(less) > value(more):
                yield Finding(
                    at=(*at, upper, resource),
                    what=f"less than {lower} ({more}, {lower} is {less})",
                    allowed="min <= default_request <= default <= max",
                    todo=f"raise {upper}, or lower {lower}",
                )
