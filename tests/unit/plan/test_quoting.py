"""Text inside units and YAML: the reader gets exactly the written text."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from deploy.waves import ROLES
from kubewright.model.build import make_plan
from kubewright.plan.desired import File
from kubewright.plan.quoting import unit_argument, yaml_text
from kubewright.verbs.kubeconfig import admin_kubeconfig, kubeconfig
from kubewright.verbs.users import manifests
from kubewright.verbs.users.credential import new
from kubewright.verbs.users.wanted import Wanted
from pki import encryption
from pki.store import Store
from tests.support.scenarios import Scenario, fake_bundle, filled_store, recorded, spec_of

PRINTABLE = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "))
ODD = ["666", "no", "on", "y", "433e40", "2024", "1_000", "0o7", "0x1f", "12:30:00", "~", "null", "=", "<<", "a: b",
       "2026-01-02", "2026-01-02T03:04:05Z", "", ".5", ".inf", "-1", "+1", "1.", "a #b", "é", "'", '"', "a:", "1e3"]  # fmt: skip


def arguments(line: str) -> list[str]:
    """A command line's arguments, as systemd.service(5) and systemd.syntax(7) have them; no variable is set."""
    words, at = [], 0
    while at < len(line):
        if line[at] == " ":
            at += 1
            continue
        word, quote = "", ""
        assert line[at : at + 2] not in (";", "; "), "a second command"
        while at < len(line) and (quote or line[at] != " "):
            char = line[at]
            if char == "\\":
                assert line[at + 1] in "\\\"'", "another escape"
                word, at = word + line[at + 1], at + 1
            elif char == quote:
                quote = ""
            elif not quote and char in "\"'":
                quote = char
            elif char in "%$":
                assert line[at + 1] == char, "a specifier or a variable"
                word, at = word + char, at + 1
            else:
                word += char
            at += 1
        assert not quote, "a quote without its end"
        words.append(word)
    return words


@given(st.lists(PRINTABLE))
def test_a_unit_passes_every_argument_unchanged(values: list[str]) -> None:
    assert arguments(" ".join(map(unit_argument, values))) == values


@pytest.mark.parametrize("plain", ["--v=2", "--initial-cluster=m1=https://192.0.2.11:2380", "--l=a/b=c,d=", "--x={a;b}"])
def test_an_argument_without_special_characters_is_not_quoted(plain: str) -> None:
    assert unit_argument(plain) == plain


@pytest.mark.parametrize("bad", ["a\nExecStartPre=/bin/x", "a\x00", "a\tb", "a\u2028b"])
def test_control_characters_never_reach_a_unit(bad: str) -> None:
    with pytest.raises(ValueError, match="control characters"):
        unit_argument(bad)


def read(text: str, version: str) -> object:
    yaml = YAML(typ="safe", pure=True)
    yaml.version = version
    return yaml.load(text)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize("value", ODD)
def test_odd_text_is_a_string_to_either_yaml(value: str, version: str) -> None:
    assert read(f"a: {yaml_text(value)}\n", version) == {"a": value}


@given(PRINTABLE, st.sampled_from(["1.1", "1.2"]))
def test_any_text_is_a_string_to_either_yaml(value: str, version: str) -> None:
    assert read(f"a: {yaml_text(value)}\n", version) == {"a": value}


@given(st.text("0123456789abefox_.:-+TZ", min_size=1), st.sampled_from(["1.1", "1.2"]))
def test_text_like_a_number_is_a_string_to_either_yaml(value: str, version: str) -> None:
    assert read(f"a: {yaml_text(value)}\n", version) == {"a": value}


@pytest.mark.parametrize("plain", ["m1", "cluster.local", "kubernetes-admin@lab", "system:node:m1", "10.96.0.10", "/etc/x.conf"])
def test_unambiguous_text_is_not_quoted(plain: str) -> None:
    assert yaml_text(plain) == plain


SMUGGLER = "2 --anonymous-auth=true --authorization-mode=AlwaysAllow"
STRANGE = f"""
name: "433e40"
network: {{domain: "no"}}
extra_args: {{kube-apiserver: {{v: "{SMUGGLER}", oidc-issuer-url: "https://id.example.org/M%C3%BCnchen%20Ost?a=$b"}}}}
hosts:
  - {{name: "666", address: 192.0.2.11, roles: [master, worker]}}
  - {{name: "no", address: 192.0.2.31, roles: [worker]}}
"""


@pytest.fixture(scope="module")
def strange() -> Scenario:
    plan = make_plan(spec_of(STRANGE))
    store = filled_store(plan, Path(tempfile.mkdtemp()))
    return Scenario(name="strange", plan=plan, host=recorded("ubuntu2404-running"), store=store, bundle=fake_bundle(plan.release))


def files(scenario: Scenario, name: str) -> dict[str, str]:
    node, context = scenario.plan.node(name), scenario.context(name)
    wanted = [role.desired(context) for role in ROLES if role.runs_on(node)]
    found = [file for each in wanted for file in (*each.files, *each.late)]
    return {f.path: f.content.decode() for f in found if isinstance(f, File) and isinstance(f.content, bytes)}


def test_a_value_of_extra_args_is_one_argument_of_its_unit(strange: Scenario) -> None:
    unit = files(strange, "666")["/etc/systemd/system/kube-apiserver.service"].replace("\\\n", " ")
    (line,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    words = arguments(line.removeprefix("ExecStart="))
    assert f"--v={SMUGGLER}" in words
    assert "--oidc-issuer-url=https://id.example.org/M%C3%BCnchen%20Ost?a=$b" in words
    assert not [word for word in words if word.startswith("--authorization-mode=AlwaysAllow")]


@pytest.mark.parametrize("name", ["666", "no"])
def test_both_yamls_read_every_file_of_strange_names_alike(strange: Scenario, name: str) -> None:
    found = {path: text for path, text in files(strange, name).items() if "apiVersion:" in text}
    assert found
    for path, text in found.items():
        documents = text.split("\n---\n")
        assert [read(d, "1.1") for d in documents] == [read(d, "1.2") for d in documents], path
    proxy = next(text for text in found.values() if "KubeProxyConfiguration" in text)
    kubelet = next(text for text in found.values() if "kind: KubeletConfiguration" in text)
    assert read(proxy, "1.1")["hostnameOverride"] == name  # type: ignore[index]
    assert read(kubelet, "1.1")["clusterDomain"] == "no"  # type: ignore[index]
    for text in found.values():
        if "kind: Config\n" in text:
            assert read(text, "1.1")["clusters"][0]["name"] == "433e40"  # type: ignore[index]


def test_both_yamls_read_the_administrators_kubeconfig_alike(strange: Scenario) -> None:
    text = admin_kubeconfig(strange.plan, strange.store).decode()
    assert read(text, "1.1") == read(text, "1.2")
    assert read(text, "1.1")["clusters"][0]["name"] == "433e40"  # type: ignore[index]


@pytest.mark.parametrize("name", ["666", "no"])
def test_json_and_toml_keep_strange_names_as_text(strange: Scenario, name: str) -> None:
    found = files(strange, name)
    json_files = {path: json.loads(text) for path, text in found.items() if text.lstrip().startswith("{")}
    tomls = {path: tomllib.loads(text) for path, text in found.items() if path.endswith(".toml")}
    assert "/etc/cni/net.d/10-flannel.conflist" in json_files
    assert tomls
    values = [value for each in (*json_files.values(), *tomls.values()) for value in leaves(each)]
    assert not [value for value in values if value in (666, 433e40)], "a name that became a number"
    crictl = read(found["/etc/crictl.yaml"], "1.1")
    assert crictl == read(found["/etc/crictl.yaml"], "1.2")


def leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for each in (*value, *value.values()) for leaf in leaves(each)]
    return [leaf for each in value for leaf in leaves(each)] if isinstance(value, list) else [value]


def test_haproxy_uses_every_masters_name(strange: Scenario) -> None:
    """haproxy takes any word of letters, digits, `-`, `_`, `.` and `:` for a server's name."""
    text = next(text for text in files(strange, "no").values() if "backend masters" in text)
    servers = [line.split() for line in text.splitlines() if line.lstrip().startswith("server ")]
    assert servers == [["server", "666", "192.0.2.11:6443"]]


def test_a_persons_kubeconfig_has_names_and_namespaces_as_text(strange: Scenario) -> None:
    text = kubeconfig(strange.plan, strange.store, "no", {"token": "666"}, ("on", "666", "1e3")).decode()
    assert read(text, "1.1") == read(text, "1.2")
    found = read(text, "1.1")
    assert isinstance(found, dict)
    assert found["users"] == [{"name": "no", "user": {"token": "666"}}]
    assert [each["context"]["namespace"] for each in found["contexts"]] == ["on", "666", "1e3"]
    assert {each["context"]["user"] for each in found["contexts"]} == {"no"}
    assert found["current-context"] == "on@433e40"


def test_a_persons_objects_have_names_and_namespaces_as_text() -> None:
    wanted = Wanted(name="no", groups=("on", "666"), grants=(("on", "edit"), ("666", "view")), days=9)
    sent = json.loads(json.dumps(manifests.items(manifests.objects(wanted, new("certificate", "no"), "2026-01-02T03:04:05Z"))))
    assert {item["metadata"].get("namespace") for item in sent["items"]} == {"on", "666", None}
    assert all(item["metadata"]["labels"][manifests.USER] == "no" for item in sent["items"])
    found = manifests.people(sent["items"])["no"]
    assert (found.groups, found.grants) == (("on", "666"), (("666", "view"), ("on", "edit")))


def test_both_yamls_read_the_encryption_configuration_alike(tmp_path: Path) -> None:
    store = Store(tmp_path)
    encryption.issue(store, dt.datetime.now(dt.UTC), serving=False)
    text = store.key(encryption.ROW).decode()
    assert read(text, "1.1") == read(text, "1.2")
    for path, value in places(read(text, "1.1")):
        assert isinstance(value, str) or path[-1:] == ("identity",), (path, value)


def places(value: object, path: tuple[object, ...] = ()) -> list[tuple[tuple[object, ...], object]]:
    if isinstance(value, dict) and value:
        return [found for key, each in value.items() for found in places(each, (*path, key))]
    if isinstance(value, list):
        return [found for each in value for found in places(each, path)]
    return [(path, value)]
