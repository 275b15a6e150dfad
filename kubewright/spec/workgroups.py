"""The section `workgroups`: namespaces for groups of people, with a quota, limits, a Pod Security level and roles.

Owns the settings and the syntax of their values. How they must fit together is the business of `checks.workgroups`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from kubewright.spec.fields import Quantity
from kubewright.spec.sections import EMPTY_IS_DEFAULT, Settings
from kubewright.spec.shapes import LABEL, SUBDOMAIN, Shape
from kubewright.spec.wording import refused

EXAMPLE: list[dict[str, Any]] = [
    {
        "name": "team-a",
        "pod_security": "baseline",
        "quota": {"cpu": "8", "memory": "16Gi", "pods": "50"},
        "limits": {
            "default": {"cpu": "500m", "memory": "256Mi"},
            "default_request": {"cpu": "100m", "memory": "128Mi"},
            "max": {"memory": "4Gi"},
            "min": {"memory": "16Mi"},
        },
        "people": {"alice": "admin", "bob": "edit"},
    }
]
"""The example of `kubewright init`."""
EMPTY_IS_NONE = BeforeValidator(lambda value: () if value is None else value)
"""`workgroups:` with every line below it commented out is null in YAML."""
_RESERVED = ("default", "kubewright-users")
OBJECT = "workgroup"
"""The name of a workgroup's ResourceQuota and LimitRange."""
MAX_PERSON = 40
"""`kubewright user add` takes names of at most this length: see kubewright.verbs.users.wanted."""


def _not_reserved(name: str) -> str:
    if name in _RESERVED or name.startswith("kube-"):
        allowed = f"any name but {', '.join(_RESERVED)} and those that begin with kube-"
        raise refused("a namespace of the cluster itself", allowed=allowed, todo="choose another name")
    return name


NamespaceName = Annotated[
    str,
    Shape(
        LABEL,
        "not a namespace's name",
        "lower-case letters, digits and '-' inside, at most 63",
        "choose such a name",
    ),
    AfterValidator(_not_reserved),
]
Person = Annotated[
    str,
    Shape(
        rf"(?=.{{1,{MAX_PERSON}}}$){SUBDOMAIN}",
        "not a user's name",
        f"lower-case letters, digits, '-' and '.', at most {MAX_PERSON}, as kubewright user add takes it",
        "correct the name",
    ),
]
COUNTED = (
    "pods", "services", "services.nodeports", "services.loadbalancers", "configmaps", "secrets", "persistentvolumeclaims",
    "replicationcontrollers", "resourcequotas",
)  # fmt: skip
"""Resources that a quota counts. The others are amounts."""
COMPUTE = ("cpu", "memory", "ephemeral-storage")
AMOUNTS = (*COMPUTE, *(f"{kind}.{of}" for kind in ("requests", "limits") for of in COMPUTE), "requests.storage")
# [kubernetes.io: Resource Quotas]: count/RESOURCE for the core group, count/RESOURCE.GROUP for others.
_COUNT = rf"count/{SUBDOMAIN}"
QuotaKey = Annotated[
    str,
    Shape(
        "|".join((*(name.replace(".", r"\.") for name in (*AMOUNTS, *COUNTED)), _COUNT)),
        "not a resource that a quota limits",
        f"{', '.join((*AMOUNTS, *COUNTED))}, count/RESOURCE or count/RESOURCE.GROUP",
        "correct the name",
    ),
]
Compute = dict[Literal["cpu", "memory", "ephemeral-storage"], Quantity]
_EMPTY: Any = Field(default_factory=dict)


class Limits(Settings):
    """What a container may use, and what it has if its pod says nothing (a LimitRange)."""

    default: Annotated[Compute, EMPTY_IS_DEFAULT, _EMPTY]
    """The limits of a container without limits."""
    default_request: Annotated[Compute, EMPTY_IS_DEFAULT, _EMPTY]
    """The requests of a container without requests; without it, its limits."""
    max: Annotated[Compute, EMPTY_IS_DEFAULT, _EMPTY]
    """The highest limits that a container may have."""
    min: Annotated[Compute, EMPTY_IS_DEFAULT, _EMPTY]
    """The lowest requests that a container may have."""


class Workgroup(Settings):
    """A namespace for a group of people."""

    name: NamespaceName
    """The name of the namespace."""
    quota: Annotated[dict[QuotaKey, Quantity], EMPTY_IS_DEFAULT, _EMPTY]
    """The most that all its pods and objects together may use (a ResourceQuota). Without it, there is no limit."""
    limits: Annotated[Limits, EMPTY_IS_DEFAULT, Field(default_factory=lambda: Limits.model_validate({}))]
    """What a container may use, and what it has if its pod says nothing (a LimitRange)."""
    pod_security: Literal["privileged", "baseline", "restricted"] = "baseline"
    """The Pod Security level: the API refuses pods that need more. A hostPath volume needs privileged."""
    people: Annotated[dict[Person, Literal["admin", "edit", "view"]], EMPTY_IS_DEFAULT, _EMPTY]
    """Users of `kubewright user add` and their ClusterRole in the namespace. A kubeconfig has a context for each."""
