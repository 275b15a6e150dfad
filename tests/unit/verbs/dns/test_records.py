"""Names outside Kubernetes: what may be asked for, and the keys and values that etcd then has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kubewright.errors import BadInput
from kubewright.spec import ClusterSpec, loads
from kubewright.verbs.dns.records import Record, adding, asked, read, removing, stored

HOST = "name: prod\nhosts:\n  - {name: m1, address: 192.0.2.11, roles: [master]}\n"


def _spec(network: str = "{dns_provider: skydns, dns_zones: [example.org]}") -> ClusterSpec:
    return loads(f"{HOST}network: {network}\n".encode(), folder=Path("/tmp"))


def _pairs(*groups: tuple[Record, ...]) -> dict[str, str]:
    return {key: value for records in groups for key, value in stored(records).items()}


def _asked(name: str, kind: str, *values: str) -> tuple[Record, ...]:
    return asked(_spec(), name, kind, values)


def _problems(name: str, kind: str, *values: str, spec: ClusterSpec | None = None) -> list[str]:
    with pytest.raises(BadInput) as caught:
        asked(spec or _spec(), name, kind, values)
    return [str(problem) for problem in caught.value.problems]


PRINTER = _asked("printer.example.org", "a", "192.0.2.9")


def test_a_single_record_lies_at_the_names_own_key() -> None:
    ((key, value),) = stored(PRINTER).items()
    assert key == "/skydns/org/example/printer"
    assert json.loads(value) == {"host": "192.0.2.9", "owner": "kubewright dns", "name": "printer.example.org", "type": "A"}


def test_several_records_lie_below_the_names_key_and_none_at_it() -> None:
    found = stored(_asked("printer.example.org", "A", "192.0.2.9", "192.0.2.10"))
    assert len(found) == 2 and all(key.startswith("/skydns/org/example/printer/kw") for key in found)


@pytest.mark.parametrize(
    ("kind", "value", "fields"),
    [
        ("AAAA", "2001:DB8::9", {"host": "2001:db8::9"}),
        ("CNAME", "www.example.net", {"host": "www.example.net"}),
        ("TXT", 'v=1; "a b"', {"text": 'v=1; "a b"'}),
        ("SRV", "10  100 389 ldap.example.org", {"host": "ldap.example.org", "port": 389, "priority": 10, "weight": 100}),
    ],
)
def test_every_type_is_a_message_of_skydns_and_is_read_back(kind: str, value: str, fields: dict[str, object]) -> None:
    records = _asked("_x._tcp.example.org", kind, value)
    pairs = _pairs(records)
    (written,) = pairs.values()
    assert json.loads(written).items() >= fields.items()
    assert read(pairs) == records


def test_keys_of_other_programs_are_not_ours() -> None:
    assert read({"/skydns/org/example/x": '{"host": "192.0.2.1"}', "/skydns/org/example/y": "no JSON"}) == ()


# -- what is refused


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("A", "2001:db8::9"), ("A", "192.0.2"), ("AAAA", "192.0.2.9"), ("AAAA", "fe80::1%eth0"), ("CNAME", "192 0"),
        ("CNAME", "www.example.org."), ("TXT", ""), ("TXT", "a\nb"), ("TXT", "x" * 256), ("SRV", "0 100 389 ldap.example.org"),
        ("SRV", "10 100 0 ldap.example.org"), ("SRV", "10 100 389"), ("SRV", "10 100 70000 ldap.example.org"),
    ],
)  # fmt: skip
def test_a_value_that_the_type_does_not_have_is_refused(kind: str, value: str) -> None:
    (line,) = _problems("x.example.org", kind, value)
    assert f"VALUE: not a value of {kind}" in line and "allowed: " in line


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("web.default.svc.cluster.local", "one of the names that kube2sky writes"),
        ("cluster.local", "one of the names that kube2sky writes"),
        ("9.2.0.192.in-addr.arpa", "one of the names that kube2sky writes"),
        ("example.org", "a zone itself"),
        ("www.example.net", "in no zone of the cluster"),
        ("badexample.org", "in no zone of the cluster"),
        ("Printer.example.org", "not a DNS name"),
        ("printer.example.org.", "not a DNS name"),
        ("*.example.org", "not a DNS name"),
        ("a..example.org", "not a DNS name"),
        ("a/b.example.org", "not a DNS name"),
    ],
)
def test_a_name_that_is_not_ours_to_keep_is_refused(name: str, said: str) -> None:
    (line,) = _problems(name, "A", "192.0.2.9")
    assert said in line


def test_all_problems_come_at_once() -> None:
    assert len(_problems("Printer", "A", "x", "y", spec=_spec("{}"))) == 4
    assert len(_problems("printer.example.org", "MX", "10 mail.example.org")) == 1
    assert "values of a CNAME" in _problems("a.example.org", "CNAME", "b.example.org", "c.example.org")[0]
    assert "the name itself" in _problems("a.example.org", "CNAME", "a.example.org")[0]


def test_a_cluster_without_a_store_or_a_zone_keeps_no_names() -> None:
    assert "keeps no names (coredns)" in _problems("x.example.org", "A", "192.0.2.9", spec=_spec("{}"))[0]
    assert "no zones" in _problems("x.example.org", "A", "192.0.2.9", spec=_spec("{dns_provider: skydns}"))[0]


# -- what is written


def test_the_same_again_writes_nothing() -> None:
    assert not adding(_pairs(PRINTER), PRINTER)


def test_values_replace_those_of_their_type_and_leave_the_others() -> None:
    pairs = _pairs((*PRINTER, *_asked("printer.example.org", "TXT", "room 7")))
    writes = adding(pairs, _asked("printer.example.org", "A", "192.0.2.10"))
    after = {key: value for key, value in {**pairs, **writes.put}.items() if key not in writes.delete}
    assert [(record.type, record.value) for record in read(after)] == [("A", "192.0.2.10"), ("TXT", "room 7")]


def test_a_second_type_moves_the_single_record_below_the_names_key() -> None:
    writes = adding(_pairs(PRINTER), _asked("printer.example.org", "TXT", "room 7"))
    assert writes.delete == ("/skydns/org/example/printer",) and len(writes.put) == 2


@pytest.mark.parametrize("name", ["a.printer.example.org", "b.a.printer.example.org"])
def test_no_name_lies_below_another(name: str) -> None:
    below = _asked(name, "A", "192.0.2.10")
    with pytest.raises(BadInput, match=r"above or below printer.example.org"):
        adding(_pairs(PRINTER), below)
    with pytest.raises(BadInput, match=f"above or below {name}"):
        adding(_pairs(below), PRINTER)
    assert adding(_pairs(_asked("aprinter.example.org", "A", "192.0.2.8")), PRINTER), "a neighbour is not below"


def test_a_key_of_another_program_is_not_overwritten() -> None:
    with pytest.raises(BadInput, match=r"another program wrote printer\.example\.org"):
        adding({"/skydns/org/example/printer": '{"host": "192.0.2.1"}'}, PRINTER)


@pytest.mark.parametrize(("kind", "value"), [("CNAME", "www.example.org"), ("SRV", "1 1 1 www.example.org")])
def test_a_cname_and_an_srv_share_their_name_with_no_other_type(kind: str, value: str) -> None:
    alone = _asked("printer.example.org", kind, value)
    for there, wanted in ((PRINTER, alone), (alone, PRINTER)):
        with pytest.raises(BadInput, match="and can't have"):
            adding(_pairs(there), wanted)


def test_a_name_is_removed_whole_or_by_type() -> None:
    pairs = _pairs((*PRINTER, *_asked("printer.example.org", "TXT", "room 7")))
    assert set(removing(pairs, "printer.example.org", "").delete) == set(pairs)
    writes = removing(pairs, "printer.example.org", "TXT")
    assert set(writes.delete) == set(pairs) and list(writes.put) == ["/skydns/org/example/printer"]
    for name, kind in (("printer.example.org", "SRV"), ("other.example.org", "")):
        with pytest.raises(BadInput, match="not in the cluster's DNS"):
            removing(pairs, name, kind)


def test_a_transaction_is_what_etcdctl_reads() -> None:
    script = adding(_pairs(PRINTER), _asked("printer.example.org", "TXT", 'a "b"')).script.split("\n")
    assert script[0] == "" and script[-3:] == ["", "", ""]
    assert all(line.startswith(("put /skydns/org/example/printer/kw", "del /skydns/")) for line in script[1:-3])
    assert sum('\\\\\\"b' in line for line in script) == 1, "JSON inside a string of Go's"
