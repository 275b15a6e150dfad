"""Rules between settings. Each check is a function of the spec that yields findings. The table names the settings that a
check needs; the check is skipped if one of them was refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from kubewright.spec.checks import addons, addresses, dns, files, flags, images, members, settings, unique, workgroups
from kubewright.spec.model import ClusterSpec
from kubewright.spec.wording import Finding

Check = Callable[[ClusterSpec], Iterator[Finding]]

CHECKS: tuple[tuple[Check, tuple[str, ...]], ...] = (
    (settings.version_supported, ("kubernetes",)),
    (addresses.ranges_apart, ("network.pods", "network.services")),
    (addresses.ranges_usable, ()),
    (addresses.services_size, ("network.services",)),
    (addresses.pods_enough, ("network.pods", "network.pod_prefix_length")),
    (addresses.dns_in_services, ("network.services", "network.dns")),
    (dns.servers_usable, ("network.services", "network.dns", "network.dns_upstreams", "network.dns_stub_domains")),
    (dns.stub_domains_apart, ("network.pods", "network.services", "network.domain", "network.dns_stub_domains")),
    (dns.zones_apart, ("network.domain", "network.dns_provider", "network.dns_zones", "network.dns_stub_domains")),
    (addresses.hosts_outside_ranges, ("network.pods", "network.services")),
    (addresses.hosts_usable, ()),
    (unique.names_unique, ()),
    (unique.addresses_unique, ()),
    (unique.ssh_targets_unique, ("ssh",)),
    (settings.ports_apart, ("network.node_ports", "api.port")),
    (settings.lifetimes_nested, ("pki",)),
    (settings.source_complete, ("artifacts",)),
    (settings.ssh_sensible, ()),
    (members.masters_odd, ("hosts",)),
    (members.etcd_odd, ("hosts",)),
    (members.node_settings_on_nodes, ()),
    (members.taints_unique, ()),
    (members.reservations_sensible, ()),
    (flags.extra_args, ()),
    (workgroups.names_unique, ()),
    (workgroups.quantities, ()),
    (files.ssh_files, ()),
    (files.bundle_there, ()),
    (addons.names_apart, ("addons",)),
    (addons.manifests_usable, ("addons",)),
    (addons.addon_ports_free, ("addons", "hosts", "network.node_ports", "api.port")),
    (images.mirrors, ("images.mirrors", "images.registries")),
    (images.registries, ("images.registries",)),
    (images.archives_usable, ("images.archives",)),
)


COUNTS = (members.masters_odd, members.etcd_odd)
"""Checks that count hosts: those that leave are not counted."""


def findings(spec: ClusterSpec, *, refused: Collection[str] = (), leaving: Collection[str] = ()) -> Iterator[Finding]:
    """All findings. `refused` are settings with a default or nothing in the spec, because the file has no valid value for
    them: `network.pods`, a section like `pki`, or `hosts` if any host is left out."""
    for check, needs in CHECKS:
        if not any(part == need or part.startswith(need + ".") for need in needs for part in refused):
            yield from check(without(spec, leaving) if check in COUNTS else spec)


def without(spec: ClusterSpec, leaving: Collection[str]) -> ClusterSpec:
    """The spec without those hosts."""
    return spec.model_copy(update={"hosts": tuple(host for host in spec.hosts if host.name not in leaving)})
