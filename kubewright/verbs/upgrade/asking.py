"""What a move asks the live cluster beside the usual observation: one command on each master, one on each etcd host.

The commands change nothing. What they print is in sections; a section without its end means: not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gevent

from kubewright.errors import Failed
from kubewright.model.cluster import ETCD_CLIENT_PORT

if TYPE_CHECKING:
    from kubewright.run.run import Run

_KUBECTL = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf --request-timeout=20s"
_BUDGETS = (
    r'{{range .items}}{{.metadata.namespace}}/{{.metadata.name}}{{"\t"}}{{.status.disruptionsAllowed}}{{"\t"}}'
    r'{{.status.currentHealthy}}{{"\t"}}{{.status.desiredHealthy}}{{"\t"}}{{.status.expectedPods}}{{"\n"}}{{end}}'
)
_HOOKS = (
    r'{{range .items}}{{$o := .}}{{range .webhooks}}{{$o.kind}}{{"\t"}}{{$o.metadata.name}}{{"\t"}}{{.name}}{{"\t"}}'
    r'{{.failurePolicy}}{{"\t"}}{{with .clientConfig.service}}{{.namespace}}/{{.name}}{{end}}{{"\n"}}{{end}}{{end}}'
)
_SLICES = (
    r'{{range .items}}{{.metadata.namespace}}/{{with .metadata.labels}}{{index . "kubernetes.io/service-name"}}{{end}}{{"\t"}}'
    r'{{range .endpoints}}{{with .conditions}}{{.ready}}{{else}}true{{end}},{{end}}{{"\n"}}{{end}}'
)
_KINDS = (
    r'{{range .items}}{{.metadata.name}}{{"\t"}}{{range .status.storedVersions}}{{.}},{{end}}{{"\t"}}'
    r'{{range .spec.versions}}{{if .storage}}{{.name}}{{end}}{{end}}{{"\n"}}{{end}}'
)


def _part(name: str, command: str) -> str:
    return f"echo '@@{name}'; {command} && echo ."


def _get(name: str, what: str, template: str) -> str:
    return _part(name, f"{_KUBECTL} get {what} -o go-template='{template}' 2>/dev/null")


# grep finds nothing where nobody asks for a deprecated API: that is an answer too.
MASTER = "\n".join(
    (
        _part("deprecated", f"m=$({_KUBECTL} get --raw /metrics 2>/dev/null) && "
              "{ printf '%s\\n' \"$m\" | grep '^apiserver_requested_deprecated_apis{' || :; }"),
        _get("budgets", "poddisruptionbudgets -A", _BUDGETS),
        _get("hooks", "validatingwebhookconfigurations,mutatingwebhookconfigurations", _HOOKS),
        _get("slices", "endpointslices -A", _SLICES),
        _get("kinds", "customresourcedefinitions", _KINDS),
        "echo '@@end'",
    )
)  # fmt: skip
_CLIENT = "/etc/etcd/pki/healthcheck-client"
_CURL = f"curl -q -fsS --noproxy '*' -m 5 --cacert /etc/etcd/pki/ca.crt --cert {_CLIENT}.crt --key {_CLIENT}.key"
_ETCDCTL = (
    "/usr/local/bin/etcdctl --cacert=/etc/etcd/pki/ca.crt --cert=/etc/etcd/pki/root.crt --key=/etc/etcd/pki/root.key "
    f"--endpoints=https://127.0.0.1:{ETCD_CLIENT_PORT} --command-timeout=5s"
)
MEMBER = "\n".join(
    (
        _part("version", f"{_CURL} https://127.0.0.1:{ETCD_CLIENT_PORT}/version 2>/dev/null && echo"),
        _part("size", f"{_ETCDCTL} endpoint status -w json 2>/dev/null"),
        _part("temporary", "df -Pk \"${TMPDIR:-/tmp}\" | awk 'NR == 2 {print $4}'"),
        "echo '@@end'",
    )
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Deprecated:
    """An API that clients have asked for since the apiserver started. `removed`: the release without it, as `1.38`."""

    api: str
    removed: str


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A PodDisruptionBudget's status."""

    name: str
    """`NAMESPACE/NAME`."""
    allowed: int
    healthy: int
    desired: int
    pods: int


@dataclass(frozen=True, kw_only=True)
class Hook:
    """An admission webhook that fails closed, with its Service as `NAMESPACE/NAME`, empty where it is a URL."""

    configuration: str
    name: str
    service: str


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A CustomResourceDefinition: the versions in which objects may be stored, and the one in which they are written."""

    name: str
    stored: tuple[str, ...]
    storage: str


@dataclass(frozen=True, kw_only=True)
class Member:
    """An etcd member. Sizes in bytes; None where it did not say."""

    cluster_version: str = ""
    """What all members agree on, `3.7.0`."""
    size: int | None = None
    """Of its database, which a snapshot has."""
    temporary: int | None = None
    """Free bytes where the snapshot is made."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """All answers together. None: nobody said."""

    deprecated: tuple[Deprecated, ...] = ()
    budgets: tuple[Budget, ...] | None = None
    hooks: tuple[Hook, ...] | None = None
    serving: frozenset[str] | None = None
    """Services with an endpoint that is ready."""
    kinds: tuple[Kind, ...] | None = None
    members: dict[str, Member]


def ask(run: Run) -> Answers:
    """Ask every master and etcd host that answered before."""
    masters = [n.name for n in run.plan.masters if n.name in run.observed]
    members = [n.name for n in run.plan.etcd_members if n.name in run.observed]
    jobs = {(name, script): gevent.spawn(_shell, run, name, script) for names, script in ((masters, MASTER), (members, MEMBER))
            for name in names}  # fmt: skip
    gevent.joinall(list(jobs.values()), raise_error=True)
    return answers([jobs[name, MASTER].value for name in masters], {name: jobs[name, MEMBER].value for name in members})


def _shell(run: Run, name: str, script: str) -> str:
    try:
        return run.hosts[name].shell(script)
    except Failed:
        return ""


def answers(masters: list[str], members: dict[str, str]) -> Answers:
    """The answers in what the commands printed. Each apiserver has its own counts; of the rest, the first answer counts."""
    said = [_sections(text) for text in masters]
    deprecated = {one for found in said for one in _deprecated(found.get("deprecated", []))}
    slices = _first(said, "slices")
    return Answers(
        deprecated=tuple(sorted(deprecated, key=lambda one: one.api)),
        budgets=None if (found := _first(said, "budgets")) is None else tuple(map(_budget, found)),
        hooks=None if (found := _first(said, "hooks")) is None else tuple(_hooks(found)),
        serving=None if slices is None else frozenset(_serving(slices)),
        kinds=None if (found := _first(said, "kinds")) is None else tuple(map(_kind, found)),
        members={name: _member(_sections(text)) for name, text in members.items()},
    )


def _sections(text: str) -> dict[str, list[str]]:
    """The complete sections, by name."""
    found: dict[str, list[str]] = {}
    for part in text.split("@@")[1:]:
        name, *lines = part.splitlines()
        if lines and lines[-1] == ".":
            found[name] = [line for line in lines[:-1] if line]
    return found


def _first(said: list[dict[str, list[str]]], name: str) -> list[str] | None:
    return next((found[name] for found in said if name in found), None)


_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def _deprecated(lines: list[str]) -> Iterator[Deprecated]:
    for line in lines:
        if line.endswith((" 0", " 0.0")):
            continue
        labels = dict(_LABEL.findall(line))
        group = f"{labels['group']}/" if labels.get("group") else ""
        resource = labels.get("resource", "?") + (f"/{labels['subresource']}" if labels.get("subresource") else "")
        yield Deprecated(api=f"{group}{labels.get('version', '?')} {resource}", removed=labels.get("removed_release", ""))


def _budget(line: str) -> Budget:
    name, *numbers = line.split("\t")
    allowed, healthy, desired, pods = (int(n) if n.isdigit() else 0 for n in numbers)
    return Budget(name=name, allowed=allowed, healthy=healthy, desired=desired, pods=pods)


def _hooks(lines: list[str]) -> Iterator[Hook]:
    for line in lines:
        kind, configuration, name, policy, service = line.split("\t")
        if policy != "Ignore":
            yield Hook(configuration=f"{kind} {configuration}", name=name, service=service)


def _serving(lines: list[str]) -> Iterator[str]:
    for line in lines:
        service, _, endpoints = line.partition("\t")
        # Absent, as `<no value>`, stands for ready [k8s.io/api: discovery/v1 EndpointConditions].
        if any(ready != "false" for ready in endpoints.split(",") if ready):
            yield service


def _kind(line: str) -> Kind:
    name, stored, storage = line.split("\t")
    return Kind(name=name, stored=tuple(filter(None, stored.split(","))), storage=storage)


def _member(found: dict[str, list[str]]) -> Member:
    version = re.search(r'"etcdcluster": *"([^"]+)"', "".join(found.get("version", [])))
    size = re.search(r'"dbSize": *"?(\d+)', "".join(found.get("size", [])))
    free = "".join(found.get("temporary", []))
    return Member(
        cluster_version=version[1] if version else "",
        size=int(size[1]) if size else None,
        temporary=int(free) << 10 if free.isdigit() else None,
    )
