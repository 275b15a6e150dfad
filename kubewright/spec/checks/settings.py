"""Settings that only make sense together: ports, lifetimes, sources, the version, SSH."""

from __future__ import annotations

from collections.abc import Iterator

from kubewright.releases import SUPPORTED
from kubewright.spec.model import ClusterSpec
from kubewright.spec.wording import Finding, shown

COMPONENT_PORTS = {
    2379: "etcd",
    2380: "etcd's peers",
    10248: "kubelet's health",
    10249: "kube-proxy's metrics",
    10250: "kubelet",
    10253: "kube2sky",
    10256: "kube-proxy's health",
    10257: "kube-controller-manager",
    10259: "kube-scheduler",
}
"""Ports on the hosts that are not a setting."""


def version_supported(spec: ClusterSpec) -> Iterator[Finding]:
    versions = [release.kubernetes for release in SUPPORTED]
    if spec.kubernetes not in versions:
        plain = spec.kubernetes.strip().removeprefix("v")
        line = ".".join(plain.split(".")[:2]) + "."
        same_line = [each for each in versions if each.startswith(line)]
        guess = plain if plain in versions else (same_line or [""])[-1]
        yield Finding(
            at=("kubernetes",),
            what=f"a version that is not supported ({shown(spec.kubernetes)})",
            allowed=", ".join(versions),
            todo=f"did you mean {guess}?" if guess else "choose one of them",
        )


def ports_apart(spec: ClusterSpec) -> Iterator[Finding]:
    first, last = map(int, spec.network.node_ports.split("-"))
    for port, owner in {**COMPONENT_PORTS, spec.api.port: "api.port"}.items():
        if first <= port <= last:
            yield Finding(
                at=("network", "node_ports"),
                what=f"takes a port that is in use ({port}: {owner})",
                allowed="a range without the components' ports",
                todo="choose a range like 30000-32767",
            )
    if spec.api.port in COMPONENT_PORTS:
        yield Finding(
            at=("api", "port"),
            what=f"a port that is in use ({spec.api.port}: {COMPONENT_PORTS[spec.api.port]})",
            allowed="any port that no component takes",
            todo="choose 6443",
        )


def lifetimes_nested(spec: ClusterSpec) -> Iterator[Finding]:
    pki = spec.pki
    if pki.leaf_days > pki.ca_days:
        yield Finding(
            at=("pki", "leaf_days"),
            what=f"longer than the authorities live ({pki.leaf_days} days, authorities {pki.ca_days})",
            allowed="at most pki.ca_days",
            todo="shorten it, or lengthen pki.ca_days",
        )
    if pki.renew_before_days >= pki.leaf_days:
        yield Finding(
            at=("pki", "renew_before_days"),
            what=f"not shorter than certificates live ({pki.renew_before_days} days of {pki.leaf_days}): "
            "every apply would renew every certificate",
            allowed="less than pki.leaf_days",
            todo=f"choose {max(1, pki.leaf_days // 4)}",
        )


def source_complete(spec: ClusterSpec) -> Iterator[Finding]:
    """`mirror` and `directory` are set exactly if they are the source."""
    artifacts = spec.artifacts
    for name, value in (("mirror", artifacts.mirror), ("directory", artifacts.directory)):
        if artifacts.source == name and value is None:
            yield Finding(
                at=("artifacts", "source"),
                what=f"{name} without artifacts.{name}",
                allowed=f"source {name} together with {name}",
                todo=f"add `{name}:` under artifacts, or choose another source",
            )
        if artifacts.source != name and value is not None:
            yield Finding(
                at=("artifacts", name),
                what=f"set while the source is another ({artifacts.source})",
                allowed=f"{name} together with source {name}",
                todo=f"write `source: {name}`, or remove this line",
            )


def ssh_sensible(spec: ClusterSpec) -> Iterator[Finding]:
    if spec.ssh.host is not None:
        yield Finding(
            at=("ssh", "host"),
            what=f"one SSH target for all hosts ({spec.ssh.host})",
            allowed="host under the `ssh` of one host",
            todo="move it to the host it belongs to",
        )
    places = [(("ssh",), spec.ssh), *((("hosts", index, "ssh"), host.ssh) for index, host in enumerate(spec.hosts))]
    for place, ssh in places:
        if ssh.sudo_password_file is not None and ssh.sudo_password_env is not None:
            yield Finding(
                at=(*place, "sudo_password_env"),
                what="two sources of one sudo password",
                allowed="sudo_password_file or sudo_password_env",
                todo="remove one of them",
            )
