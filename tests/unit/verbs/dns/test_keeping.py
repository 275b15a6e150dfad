"""`kubewright dns` on an etcd host: the choice of the host, one transaction, etcd's errors. `ssh` and `etcdctl` are stand-ins."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from kubewright.errors import BadInput, Failed
from kubewright.spec import ClusterSpec, loads
from kubewright.verbs.dns import keeping
from kubewright.verbs.dns.records import Record, stored

SPEC = b"""
name: prod
network: {dns_provider: skydns, dns_zones: [example.org, example.net]}
hosts:
  - {name: m1, address: 192.0.2.11, roles: [master]}
  - {name: e1, address: 192.0.2.21, roles: [etcd]}
  - {name: e2, address: 192.0.2.22, roles: [etcd]}
  - {name: e3, address: 192.0.2.23, roles: [etcd]}
"""
SSH = """#!/bin/sh
for word; do host=$command; command=$word; done
echo "$host" >> "$(dirname "$0")/log"
[ "$host" != 192.0.2.21 ] || { echo gone >&2; exit 255; }
exec sh -c "$command"
"""
ETCDCTL = """#!/bin/sh
here=$(dirname "$0")
case "$*" in
  *--keys-only*) exit 0 ;;
  *"get --prefix /skydns/org/example/ -w json"*) cat "$here/org" ;;
  *"get --prefix /skydns/net/example/ -w json"*) echo '{"header":{}}' ;;
  txn*) cat > "$here/txn"; [ ! -e "$here/broken" ] || { echo 'Error: etcdserver: no leader' >&2; exit 1; } ;;
esac
"""
PRINTER = Record(name="printer.example.org", type="A", value="192.0.2.9")


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClusterSpec:
    for name, text in (("ssh", SSH), ("etcdctl", ETCDCTL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o700)
    pairs = [{"key": _coded(key), "value": _coded(value)} for key, value in stored([PRINTER]).items()]
    (tmp_path / "org").write_text(json.dumps({"kvs": pairs}))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(keeping, "ETCDCTL", str(tmp_path / "etcdctl"))
    monkeypatch.setattr(keeping, "_PROBE", f"{tmp_path}/etcdctl get --keys-only")
    return loads(SPEC, folder=tmp_path)


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_the_first_etcd_host_that_answers_is_asked_about_every_zone(spec: ClusterSpec, tmp_path: Path) -> None:
    assert keeping.listed(spec) == (PRINTER,)
    assert (tmp_path / "log").read_text().split() == ["192.0.2.21", "192.0.2.22", "192.0.2.22"]


def test_a_name_is_written_in_one_transaction_and_only_if_it_changes(spec: ClusterSpec, tmp_path: Path) -> None:
    assert keeping.add(spec, "www.example.net", "AAAA", ["2001:db8::1"])
    (put,) = (tmp_path / "txn").read_text().split("\n")[1:-3]
    assert put.startswith('put /skydns/net/example/www "{')
    (tmp_path / "txn").unlink()
    assert not keeping.add(spec, PRINTER.name, "A", [PRINTER.value])
    assert not (tmp_path / "txn").exists()


def test_names_are_removed_all_or_none(spec: ClusterSpec, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"not in the cluster's DNS \(no.example.org\)"):
        keeping.remove(spec, [PRINTER.name, "no.example.org"])
    assert not (tmp_path / "txn").exists()
    assert keeping.remove(spec, [PRINTER.name, PRINTER.name]) == 1
    assert "del /skydns/org/example/printer\n" in (tmp_path / "txn").read_text()


def test_bad_input_asks_no_host(spec: ClusterSpec, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        keeping.remove(spec, ["Printer", "example.org"], "MX")
    assert len(caught.value.problems) == 3
    assert not (tmp_path / "log").exists()


def test_etcds_own_error_is_the_failure(spec: ClusterSpec, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with pytest.raises(Failed, match="etcdctl: Error: etcdserver: no leader"):
        keeping.remove(spec, [PRINTER.name])


def test_without_an_answering_etcd_host_the_failure_names_each(spec: ClusterSpec, tmp_path: Path) -> None:
    (tmp_path / "etcdctl").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(Failed, match=r"no etcd host answers: e1 .*SSH does not answer.*; e2 .*: its etcd does not answer; e3"):
        keeping.listed(spec)
