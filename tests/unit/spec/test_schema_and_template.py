"""Editors and `kubewright init` know every setting, each with its description and its default."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from kubewright.errors import BadInput
from kubewright.spec import ClusterSpec, load, loads
from kubewright.spec.checks import workgroups
from kubewright.spec.schema import schema
from kubewright.spec.template import init, template

REGISTRY = ("host", "ca", "user", "password_file", "password_env", "plain_http")
SETTINGS = {
    *("name", "kubernetes", "lab", "network", "api", "pki", "artifacts", "ssh", "addons", "extra_args", "hosts"),
    *("pods", "services", "domain", "dns", "node_ports", "backend", "proxy_mode", "pod_prefix_length"),
    *("dns_provider", "dns_upstreams", "dns_stub_domains", "dns_zones"),
    *("port", "extra_sans", "external_ips", "algorithm", "ca_days", "leaf_days", "renew_before_days"),
    *("kubernetes_ca", "kubernetes_ca_key", "etcd_ca", "etcd_ca_key", "front_proxy_ca", "front_proxy_ca_key"),
    *("secrets", "password_file"),
    *("backup", "snapshots", "keep"),
    *("source", "mirror", "directory", "hosts_fetch_from"),
    *("images", "mirrors", "mirrors_only", "registries", "image_repository", "archives"),
    *REGISTRY,
    *("user", "key", "known_hosts", "jump", "host", "sudo_password_file", "sudo_password_env"),
    *("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "etcd", "flanneld"),
    *("address", "roles", "labels", "taints", "system_reserved", "kube_reserved"),
    "workgroups",
}
_MASTER = {"name": "m1", "address": "192.0.2.11", "roles": ["master"]}
OF_WORKGROUPS = {"quota", "limits", "pod_security", "people", "default", "default_request", "max", "min"}
"""The template shows them in one example."""


def objects() -> Iterator[dict[str, Any]]:
    made = schema()
    yield made
    yield from made["$defs"].values()


def test_the_schema_names_every_setting() -> None:
    assert {name for each in objects() for name in each["properties"]} == SETTINGS | OF_WORKGROUPS


def test_every_setting_has_a_description_on_one_line() -> None:
    for each in objects():
        for name, setting in each["properties"].items():
            assert setting["description"], name
            assert "\n" not in setting["description"], name


def test_the_schema_refuses_unknown_keys_and_knows_the_versions() -> None:
    assert all(each["additionalProperties"] is False for each in objects())
    assert "1.37.1" in schema()["properties"]["kubernetes"]["enum"]
    assert schema()["required"] == ["name", "hosts"]


def test_the_patterns_of_the_schema_are_regular_expressions() -> None:
    patterns = re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', json.dumps(schema()))
    assert len(patterns) > 5
    for pattern in patterns:
        re.compile(json.loads(pattern))


def test_init_writes_a_file_that_validates_as_it_is(tmp_path: Path) -> None:
    path = init(tmp_path / "inventories" / "My Prod!")
    assert path == tmp_path / "inventories" / "My Prod!" / "cluster.yaml"
    assert load(path).name == "my-prod"


@pytest.mark.parametrize("folder", ["-", "\u65e5\u672c", "x" * 100, "a\nb", "a\x07b"])
def test_the_cluster_of_any_folder_gets_a_name(folder: str) -> None:
    assert loads(template(Path("/tmp") / folder).encode(), folder=Path("/tmp")).masters


def test_the_template_shows_every_setting() -> None:
    shown = set(re.findall(r"^ *(?:- )?#?([\w-]+):(?: |$)", template(Path("prod")), re.MULTILINE))
    assert shown == SETTINGS - {"host", "ca", "password_env", "plain_http"}, "a list has an example and a description"


def test_the_templates_example_of_a_workgroup_has_every_setting_and_is_valid() -> None:
    line = next(line for line in template(Path("prod")).splitlines() if line.startswith("#workgroups: "))
    assert {name for name in OF_WORKGROUPS if f"{name}: " in line} == OF_WORKGROUPS
    spec = ClusterSpec.model_validate({"name": "a", "hosts": [_MASTER], **YAML(typ="safe").load(line[1:])})
    assert list(workgroups.quantities(spec)) == []


def test_every_setting_of_the_template_can_be_uncommented(tmp_path: Path) -> None:
    text = re.sub(r"^( *)#(?=\S)", r"\1", template(tmp_path), flags=re.MULTILINE)
    with pytest.raises(BadInput) as caught:
        loads(text.encode(), folder=tmp_path)
    # The examples' only problems: their files do not exist, they exclude each other, and dns_zones needs another default.
    known = r"can't be used|no such file|no such folder|set while the source|two sources|zones without a store"
    for problem in caught.value.problems:
        assert re.search(known, problem.what), problem


def test_the_template_shows_the_defaults(tmp_path: Path) -> None:
    text = re.sub(r"^( *)#(?=\S)", r"\1", template(tmp_path), flags=re.MULTILINE)
    shown = YAML(typ="safe", pure=True).load(text)
    default = json.loads(ClusterSpec.model_validate(yaml_of(template(tmp_path))).model_dump_json())
    assert shown["kubernetes"] == default["kubernetes"]
    for section in ("network", "api", "pki", "artifacts", "ssh"):
        for key, value in default[section].items():
            if value:
                assert shown[section][key] == value, key


def yaml_of(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def test_init_does_not_overwrite(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("mine")
    with pytest.raises(BadInput) as caught:
        init(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/cluster.yaml: already there; allowed: a folder without a cluster.yaml; "
        "choose another folder, or edit what is there"
    )
    assert (tmp_path / "cluster.yaml").read_text() == "mine"


def test_init_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BadInput):
            init(folder)
