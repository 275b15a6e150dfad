"""DNS records as SkyDNS keeps them in etcd, and the checks of what a person asks for. Pure.

A key is the name's labels from the last to the first. CoreDNS answers for a name with every record at its key or below, so a
name's single record lies at its key, several lie below it, and no name may lie below another.
[coredns 1.15: plugin/etcd/etcd.go, plugin/etcd/msg/service.go]
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from kubewright.errors import BadInput, Problem
from kubewright.model.etcd_rights import SKYDNS_PREFIX
from kubewright.spec import ClusterSpec
from kubewright.spec.shapes import SUBDOMAIN

TYPES = ("A", "AAAA", "CNAME", "TXT", "SRV")
OWNER = "kubewright dns"
"""The value of the field `owner` in our records. CoreDNS ignores it."""
_ALONE = ("CNAME", "SRV")
"""Types that share a name with no other: CoreDNS follows their targets whatever it is asked."""
_LABEL = r"(?:[a-z0-9_](?:[-a-z0-9_]{0,61}[a-z0-9])?)"
_NAME = rf"(?=.{{1,200}}$){_LABEL}(?:\.{_LABEL})+"
_MAX_TEXT = 255
_VALUES = {
    "A": "an IPv4 address, like 192.0.2.9",
    "AAAA": "an IPv6 address, like 2001:db8::9",
    "CNAME": "one DNS name, like www.example.org",
    "TXT": f"printable ASCII, at most {_MAX_TEXT} characters",
    "SRV": "'PRIORITY WEIGHT PORT TARGET', like '10 100 389 ldap.example.org', with a priority from 1",
}


@dataclass(frozen=True, kw_only=True, order=True)
class Record:
    """One record. `value` is written as in a zone file, without a dot at the end of names and without quotes."""

    name: str
    type: str
    value: str


def asked(spec: ClusterSpec, name: str, kind: str, values: Sequence[str]) -> tuple[Record, ...]:
    """The records that a person asks for. BadInput with every problem."""
    found = [*cluster_problems(spec), *name_problems(spec, name)]
    kind = kind.upper()
    if kind not in TYPES:
        found.append(_problem("TYPE", f"not a type of records ({kind})", ", ".join(TYPES), "choose one"))
    else:
        found += [problem for value in values if (problem := _value_problem(kind, value))]
        if kind == "CNAME" and len(set(values)) > 1:
            found.append(_problem("VALUE", f"{len(values)} values of a CNAME", "one", "leave the others out"))
        if kind == "CNAME" and name in values:
            found.append(_problem("VALUE", f"the name itself ({name})", "another name", "name the target"))
    if found:
        raise BadInput(found)
    return tuple(Record(name=name, type=kind, value=_written(kind, value)) for value in dict.fromkeys(values))


def cluster_problems(spec: ClusterSpec) -> Iterator[Problem]:
    """Why a cluster keeps no names of one's own."""
    network = spec.network
    if network.dns_provider != "skydns":
        todo = "set dns_provider: skydns and dns_zones, then kubewright apply"
        yield _problem("cluster.yaml network.dns_provider", f"keeps no names ({network.dns_provider})", "skydns", todo)
    elif not network.dns_zones:
        yield _problem(
            "cluster.yaml network.dns_zones", "no zones", "the zones that names lie in", "add one, then kubewright apply"
        )


def name_problems(spec: ClusterSpec, name: str) -> Iterator[Problem]:
    """The problems of a name."""
    network, zones = spec.network, ", ".join(spec.network.dns_zones)
    if not re.fullmatch(_NAME, name, re.ASCII):
        allowed = "lower-case letters, digits, '-' and '_' in labels that dots join, like printer.example.org"
        yield _problem("NAME", f"not a DNS name ({name})", allowed, "correct it; write it without a dot at its end")
    elif name == network.domain or name.endswith((f".{network.domain}", ".in-addr.arpa", ".ip6.arpa")):
        yield _problem("NAME", f"one of the names that kube2sky writes ({name})", f"names below {zones}", "choose another name")
    elif name in network.dns_zones:
        yield _problem("NAME", f"a zone itself ({name})", f"names below {zones}", f"write www.{name}, for instance")
    elif network.dns_zones and not _zone(network.dns_zones, name):
        todo = "choose such a name, or add its zone to network.dns_zones and run kubewright apply"
        yield _problem("NAME", f"in no zone of the cluster ({name})", f"names below {zones}", todo)


def _zone(zones: Iterable[str], name: str) -> str:
    return next((zone for zone in zones if name.endswith(f".{zone}")), "")


def _problem(where: str, what: str, allowed: str, todo: str) -> Problem:
    return Problem(where=where, what=what, allowed=allowed, todo=todo)


def _value_problem(kind: str, value: str) -> Problem | None:
    if _is_value(kind, value):
        return None
    return _problem("VALUE", f"not a value of {kind} ({value[:60]})", _VALUES[kind], "correct it")


def _is_value(kind: str, value: str) -> bool:
    match kind:
        case "A" | "AAAA":
            return _is_address(kind, value)
        case "CNAME":
            return _is_name(value)
        case "SRV":
            return _is_service(value.split())
    return bool(value) and len(value) <= _MAX_TEXT and value.isascii() and value.isprintable()


def _is_address(kind: str, value: str) -> bool:
    try:
        _ = IPv4Address(value) if kind == "A" else IPv6Address(value)
    except AddressValueError:
        return False
    # CoreDNS reads no zone of an interface.
    return "%" not in value


def _is_name(value: str) -> bool:
    return bool(re.fullmatch(rf"(?=.{{1,253}}$){SUBDOMAIN}", value, re.ASCII))


def _is_service(words: Sequence[str]) -> bool:
    if len(words) != 4 or not all(re.fullmatch("[0-9]{1,5}", word, re.ASCII) for word in words[:3]):
        return False
    priority, weight, port = map(int, words[:3])
    # CoreDNS takes a priority of 0 for none, and gives 10.
    return 1 <= priority <= 65535 and weight <= 65535 and 1 <= port <= 65535 and _is_name(words[3])


def _written(kind: str, value: str) -> str:
    return str(IPv6Address(value)) if kind == "AAAA" else " ".join(value.split()) if kind == "SRV" else value


# -- etcd's keys and values


def key_of(name: str) -> str:
    return "/".join((SKYDNS_PREFIX, *reversed(name.split("."))))


def stored(records: Sequence[Record]) -> dict[str, str]:
    """The keys and values of all records of one name."""
    if len(records) == 1:
        return {key_of(records[0].name): _json(records[0])}
    return {f"{key_of(record.name)}/{_id(record)}": _json(record) for record in records}


def _id(record: Record) -> str:
    return "kw" + hashlib.sha256(f"{record.type} {record.value}".encode()).hexdigest()[:10]


def _json(record: Record) -> str:
    fields: dict[str, object]
    match record.type:
        case "TXT":
            fields = {"text": record.value}
        case "SRV":
            priority, weight, port, target = record.value.split()
            fields = {"host": target, "port": int(port), "priority": int(priority), "weight": int(weight)}
        case _:
            fields = {"host": record.value}
    return json.dumps({**fields, "owner": OWNER, "name": record.name, "type": record.type})


def read(pairs: Mapping[str, str]) -> tuple[Record, ...]:
    """The records in etcd's keys and values, without those of others."""
    return tuple(sorted(record for value in pairs.values() if (record := _read(value))))


def _read(value: str) -> Record | None:
    try:
        fields = json.loads(value)
        if fields["owner"] != OWNER:
            return None
        name, kind = str(fields["name"]), str(fields["type"])
        if kind == "SRV":
            text = f"{fields['priority']} {fields['weight']} {fields['port']} {fields['host']}"
        else:
            text = str(fields["text" if kind == "TXT" else "host"])
    except (ValueError, KeyError, TypeError):
        return None
    return Record(name=name, type=kind, value=text)


@dataclass(frozen=True, kw_only=True)
class Writes:
    """One transaction in etcd."""

    put: Mapping[str, str]
    delete: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.put or self.delete)

    @property
    def script(self) -> str:
        """For the standard input of `etcdctl txn`: no comparisons, the requests, nothing else. Values are Go's strings."""
        puts = (f"put {key} {json.dumps(value)}" for key, value in sorted(self.put.items()))
        return "\n".join(("", *puts, *(f"del {key}" for key in self.delete), "", "", ""))


def adding(pairs: Mapping[str, str], wanted: Sequence[Record]) -> Writes:
    """The writes that give a name `wanted`, all of one type, instead of what it has of that type. `pairs`: what its zone has.

    BadInput where it clashes with others.
    """
    name, kind = wanted[0].name, wanted[0].type
    others = [record for record in read(pairs) if record.name == name and record.type != kind]
    if found := [*_clashes(pairs, name), *_mixed(name, kind, others)]:
        raise BadInput(found)
    return _instead(pairs, name, (*others, *wanted))


def removing(pairs: Mapping[str, str], name: str, kind: str) -> Writes:
    """The writes that remove a name's records, or those of one type. BadInput where there are none."""
    mine = [record for record in read(pairs) if record.name == name]
    gone = [record for record in mine if kind in ("", record.type)]
    if not gone:
        what = f"not in the cluster's DNS ({' '.join(filter(None, (name, kind)))})"
        raise BadInput([_problem("NAME", what, "names of kubewright dns list", "correct it")])
    return _instead(pairs, name, [record for record in mine if record not in gone])


def _instead(pairs: Mapping[str, str], name: str, records: Sequence[Record]) -> Writes:
    new = stored(records) if records else {}
    old = [key for key, value in pairs.items() if (record := _read(value)) and record.name == name]
    return Writes(
        put={key: value for key, value in new.items() if pairs.get(key) != value},
        delete=tuple(sorted(key for key in old if key not in new)),
    )


def _clashes(pairs: Mapping[str, str], name: str) -> Iterator[Problem]:
    key = key_of(name)
    for other, value in sorted(pairs.items()):
        record = _read(value)
        if record and record.name == name:
            continue
        taken = record.name if record else ".".join(reversed(other.removeprefix(f"{SKYDNS_PREFIX}/").split("/")))
        at = key_of(taken)
        if at == key or at.startswith(f"{key}/") or key.startswith(f"{at}/"):
            what = f"above or below {taken}, which exists ({name})" if record else f"another program wrote {taken} ({name})"
            allowed = "names of which none is below another: a question for a name finds all records below it"
            yield _problem("NAME", what, allowed, "choose another name, or remove that one")
            return


def _mixed(name: str, kind: str, others: Sequence[Record]) -> Iterator[Problem]:
    there = sorted({record.type for record in others})
    if there and (kind in _ALONE or set(there) & set(_ALONE)):
        what = f"{name} has {', '.join(there)}, and can't have {kind} too"
        yield _problem(
            "TYPE", what, f"{' or '.join(_ALONE)} alone", f"kubewright dns remove {name} first, or choose another name"
        )
