"""The output of the observing command, as types. Golden tests use recorded outputs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kubewright.observe import live_text, objects
from kubewright.observe.facts import read as read_facts
from kubewright.observe.observed import EVERY, SECTION, Entry, Interface, Observed, UnitState


def _sections(text: str) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if line.startswith(SECTION):
            current = sections.setdefault(line.removeprefix(SECTION), [])
        else:
            current.append(line)
    if "end" not in sections:
        raise ValueError("the answer is cut short")
    return sections


def _pairs(lines: list[str], separator: str = "=") -> dict[str, str]:
    split = (line.partition(separator) for line in lines if separator in line)
    return {key.strip(): value.strip().strip("\"'") for key, _, value in split}


def blocks(lines: list[str]) -> Iterator[dict[str, str]]:
    block: list[str] = []
    for line in [*lines, ""]:
        if line:
            block.append(line)
        elif block:
            yield _pairs(block)
            block = []


def entries(lines: list[str], sums: list[str]) -> dict[str, Entry]:
    by_path = {path: sha for sha, _, path in (line.partition("  ") for line in sums)}
    found = {}
    for line in lines:
        path, kind, mode, owner, group, size, target = line.split("\t")
        found[path] = Entry(
            kind=kind,
            mode=int(mode, 8),
            owner=owner,
            group=group,
            size=int(size),
            target=target,
            sha256=by_path.get(path, ""),
        )
    return found


def bound(lines: list[str]) -> dict[tuple[str, int], frozenset[str]]:
    found: dict[tuple[str, int], set[str]] = {}
    for protocol, local in ((columns[0], columns[4]) for columns in map(str.split, lines)):
        address, _, port = local.rpartition(":")
        plain = address.strip("[]").partition("%")[0]
        found.setdefault((protocol, int(port)), set()).add(EVERY if plain in ("0.0.0.0", "::") else plain)  # noqa: S104 - compared, not bound
    return {key: frozenset(addresses) for key, addresses in found.items()}


def listening(lines: list[str]) -> dict[tuple[str, int], str]:
    found = {}
    for columns in (line.split() for line in lines):
        process = columns[6].split('"')[1] if len(columns) > 6 and '"' in columns[6] else ""
        found[columns[0], int(columns[4].rpartition(":")[2])] = process
    return found


def _started(lines: list[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for line in lines:
        if line.startswith("= "):
            current = found.setdefault(line.removeprefix("= "), {})
        else:
            sha, _, path = line.partition(" ")
            current[path] = sha
    return found


def _interfaces(lines: list[str]) -> dict[str, Interface]:
    found = {}
    for address, name, mtu, *mac in (line.split() for line in lines):
        found[address.partition("/")[0]] = Interface(name=name, mtu=int(mtu), mac="".join(mac))
    return found


def _blocked(lines: list[str]) -> dict[tuple[str, int], str]:
    found = {}
    for line in lines:
        target, _, why = line.partition(" ")
        address, port = target.split("/")
        found[address, int(port)] = why
    return found


def certificates(pem: str) -> frozenset[str]:
    """The certificates and public keys in a PEM text, each without the text around it."""
    return frozenset(re.findall(r"-----BEGIN (?:CERTIFICATE|PUBLIC KEY)-----\n.*?\n-----END [A-Z ]+-----", pem, re.DOTALL))


CAP_SYS_RESOURCE = 24


def parse(text: str) -> Observed:
    """`script`'s output, typed. ValueError or KeyError when it is not such an output."""
    sections = _sections(text)
    release, facts = _pairs(sections["os"]), _pairs(sections["facts"])
    colon = _pairs(sections["facts"], ":")
    manifest = (line.split(" ", 2) for line in sections["manifest"])
    lineage, fault = live_text.lineage(sections.get("lineage", []))
    etcd = live_text.etcd(sections.get("members", []))
    listed = objects.read(sections.get("objects", ()))
    return Observed(
        os_id=release.get("ID", ""),
        os_version=release.get("VERSION_ID", ""),
        architecture={"x86_64": "amd64", "aarch64": "arm64"}.get(facts["architecture"], facts["architecture"]),
        kernel=facts["kernel"],
        cgroup=int(facts["cgroup"]),
        cgroup_controllers=frozenset(facts["cgroup_controllers"].split()),
        hostname=facts["hostname"],
        machine_id=facts["machine_id"],
        clock=float(facts["clock"]),
        memory_kib=int(colon["MemTotal"].split()[0]),
        free_kib={path: int(free) for path, free, *_ in map(str.split, sections["free"])},
        file_systems={columns[0]: columns[2] for columns in map(str.split, sections["free"]) if len(columns) > 2},
        swap=facts["swap"] == "1",
        selinux=facts["selinux"].lower(),
        firewalld=facts["firewalld"] == "1",
        initial_network_namespace=facts["init_net"] == "1",
        lowers_oom_score=bool(int(colon["CapEff"], 16) >> CAP_SYS_RESOURCE & 1),
        addresses=tuple(line.partition("/")[0] for line in sections["addresses"]),
        interfaces=_interfaces(sections["addresses"]),
        listening=listening(sections["listening"]),
        bound=bound(sections["listening"]),
        packages=frozenset(line.split()[1] for line in sections["packages"]),
        users=frozenset(sections["users"]),
        programs=frozenset(sections["programs"]),
        resolv_conf=facts["resolv_conf"],
        has_nameserver=facts["nameserver"] == "1",
        own_nameserver=facts["nameserver"] == "own",
        sysctls=_pairs(sections.get("sysctls", [])),
        entries=entries(sections["entries"], sections["sums"]),
        manifest={path: (sha, int(size)) for sha, size, path in manifest},
        units={
            block["Id"]: UnitState(
                active=block["ActiveState"],
                enabled=block.get("UnitFileState", ""),
                started=block.get("ActiveEnterTimestampMonotonic", ""),
                needs_reload=block.get("NeedDaemonReload") == "yes",
            )
            for block in blocks(sections["units"])
        },
        started_with=_started(sections["started"]),
        installed=tuple(sections["installed"]),
        payloads=tuple(sections.get("payloads", ())),
        etcd_leads=bool(sections.get("leads")),
        etcd_data="data" in sections.get("etcd", ()),
        etcd_marked="marked" in sections.get("etcd", ()),
        etcd_restored=next(
            (r for word, _, r in (line.partition(" ") for line in sections.get("etcd", ())) if word == "restored"), ""
        ),
        etcd_token="".join(sections["token"][:1]),
        authorities=certificates("\n".join(sections["authorities"])),
        encryption_keys=frozenset(sections.get("encryption", ())),
        traces=tuple(sections["traces"]),
        blocked=_blocked(sections["peers"]),
        gateways=dict(line.split() for line in sections.get("gateways", ())),
        lacks_wireguard="lacking" in sections.get("wireguard", ()),
        api=live_text.api(sections["nodes"], sections.get("api", [])),
        etcd=etcd,
        configured=live_text.configured(sections.get("configured", [])),
        lineage=lineage,
        lineage_fault=fault,
        facts=read_facts(listed, sections["nodes"], sections.get("etcd-auth", ()), etcd),
        objects=listed or (),
    )
