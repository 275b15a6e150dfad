"""Any file gives a ClusterSpec or BadInput, never a traceback."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubewright.errors import BadInput
from kubewright.spec import ClusterSpec, loads

INVENTORIES = Path(__file__).parents[3] / "inventories"
SEEDS = [path.read_text() for path in sorted(INVENTORIES.glob("*/cluster.yaml"))] + [
    case.partition("\n")[2].partition("\n----\n")[0]
    for case in Path(__file__).with_name("bad_inputs.txt").read_text().split("\n== ")[1:]
]
FAST = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
FEWER = settings(FAST, max_examples=500)

NASTY = [
    *("&a ", "*a", "!!python/object:os.system ", "!!set ", "<<: *a", "---\n", "...", "? ", ": ", "- ", "\t", "{", "}"),
    *("[", "]", "'", '"', "|", ">", "%YAML 1.1\n", "@", "`", "#", "~", "null", ".nan", "1e999", "0x1F", "9" * 5000),
    *("2026-01-01", "true", "-1", "1.37", "\u0000", "\u2028", "\ufeff", "\\ud800", "\x85", "10.96.0.1/33", "::/0"),
    *("hosts:\n", "  - ", "roles: [master]", "ssh: ", "null: null", "extra_args: {etcd: {a: }}"),
]
KEYS = [
    *("name", "kubernetes", "lab", "network", "api", "pki", "artifacts", "ssh", "extra_args", "hosts", "pods", "dns"),
    *("services", "domain", "node_ports", "backend", "pod_prefix_length", "port", "extra_sans", "leaf_days", "source"),
    *("mirror", "directory", "user", "key", "known_hosts", "jump", "host", "sudo_password_file", "address", "roles"),
    *("labels", "taints", "system_reserved", "kube-apiserver", "kubelet", "etcd", "memory", "client-ca-file"),
]
VALUES = [
    *("10.90.0.11", "10.96.0.0/16", "10.96.0.10", "0.0.0.0/0", "255.255.255.255/32", "192.0.2.1", "master", "etcd"),
    *("worker", "1.37.1", "mirror", "https://a", "~", "~nobody", "/dev/null", "a=b:NoSchedule", "500m", "\ud7ff", "*"),
]


def check(raw: bytes) -> None:
    try:
        spec = loads(raw, folder=Path("/nonexistent"))
    except BadInput as error:
        assert error.problems
        for problem in error.problems:
            assert problem.where.startswith("cluster.yaml:")
            assert all((problem.what, problem.allowed, problem.todo))
            assert "\n" not in str(problem)
            str(problem).encode()
    else:
        assert isinstance(spec, ClusterSpec)
        for host in spec.hosts:
            assert spec.ssh_of(host).host
        assert spec.dns_ip in spec.network.services


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A file that was valid, or nearly so, with a few lines or words moved, doubled, dropped or replaced."""
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from([0, 0, 1, 2, 5, 20, 100])))
        new = draw(st.sampled_from(NASTY) | st.text(max_size=5) | st.sampled_from([text[start:end] * 2, "\n"]))
        text = text[:start] + new + text[end:]
    return text.encode("utf-8", "surrogatepass")


BASE: dict[str, Any] = {
    "name": "x",
    "kubernetes": "1.37.1",
    "network": {"pods": "10.244.0.0/16", "dns": "10.96.0.10", "node_ports": "30000-32767"},
    "api": {"port": 6443, "extra_sans": ["a.example.org"]},
    "pki": {"leaf_days": 365},
    "artifacts": {"source": "mirror", "mirror": "https://a.example.org"},
    "ssh": {"user": "root", "jump": "a@b:22"},
    "extra_args": {"kubelet": {"v": 2}, "etcd": {"quota-backend-bytes": 1}},
    "hosts": [
        {"name": "m1", "address": "192.0.2.1", "roles": ["master", "etcd"], "labels": {"a/b": "c"}},
        {"name": "w1", "address": "192.0.2.2", "roles": ["worker"], "ssh": {"host": "b", "port": 23}},
        {"name": "w2", "address": "192.0.2.3", "roles": ["worker"], "taints": ["a=b:NoSchedule"]},
        {"name": "w3", "address": "192.0.2.4", "roles": ["worker"], "system_reserved": {"memory": "1Gi"}},
    ],
}


def places(data: object, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to everything in the data, and to a missing setting beside each."""
    if isinstance(data, dict):
        yield from ((*place, key) for key in ("port", "other", "extra_args", "key", "lab", "memory", "client-ca-file"))
    if place:
        yield place
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from places(value, (*place, key))


scalars = st.sampled_from([None, True, 0, -1, 2, 70000, 10**30, 1.5, float("inf")]) | st.sampled_from(VALUES)
scalars |= st.text(max_size=8) | st.integers()
values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), scalars)


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """A valid structure with a few parts replaced by anything."""
    data = copy.deepcopy(BASE)
    for place in draw(st.lists(st.sampled_from(list(places(BASE))), min_size=1, max_size=4)):
        part: Any = data
        with contextlib.suppress(TypeError, LookupError):  # its parent was replaced before
            for key in place[:-1]:
                part = part[key]
            part[place[-1]] = draw(values)
    return json.dumps(data).encode()


@FAST
@given(mutated())
def test_mutated_files_are_accepted_or_reported(raw: bytes) -> None:
    check(raw)


@FAST
@given(changed())
def test_changed_structures_are_accepted_or_reported(raw: bytes) -> None:
    check(raw)


@FEWER
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_random_bytes_are_accepted_or_reported(raw: bytes) -> None:
    check(raw)
