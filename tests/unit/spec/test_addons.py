"""Add-ons in cluster.yaml: names, folders of manifests, and everything that can be wrong with those."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubewright.errors import BadInput
from kubewright.model.build import make_plan
from kubewright.releases.addons import BUILT_IN
from kubewright.spec import loads, manifests
from kubewright.spec.addons import FOLDER, Addon

HOSTS = "hosts:\n- {name: m1, address: 192.0.2.11, roles: [master]}\n- {name: w1, address: 192.0.2.31, roles: [worker]}\n"
MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: demo}\n"


def problems(folder: Path, addons: str = "[./mine]") -> list[str]:
    """What is wrong, without its place in cluster.yaml."""
    try:
        loads(f"name: a\naddons: {addons}\n{HOSTS}".encode(), folder=folder)
    except BadInput as error:
        return [f"{problem.where.partition(' ')[2]}: {problem.what}" for problem in error.problems]
    return []


def write(folder: Path, text: str, name: str = "mine/all.yaml") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_folder_of_usable_manifests_is_accepted_and_its_objects_are_in_the_plan(tmp_path: Path) -> None:
    write(tmp_path, MAP)
    write(tmp_path, '{"apiVersion": "v1", "kind": "List", "items": [' + '{"apiVersion": "v1", "kind": "Namespace", "metadata": '
          '{"name": "demo"}}]}', "mine/deeper/space.json")  # fmt: skip
    write(tmp_path, "not: [read", "mine/.git/config.yaml")
    write(tmp_path, "not read", "mine/README.md")
    spec = loads(f"name: a\naddons: [mine/, metrics-server]\n{HOSTS}".encode(), folder=tmp_path)
    assert [(addon.name, addon.own) for addon in spec.addons] == [("mine", True), ("metrics-server", False)]
    mine = make_plan(spec).addons[0]
    assert [(each["kind"], each["metadata"]["name"]) for each in mine.objects] == [("ConfigMap", "one"), ("Namespace", "demo")]


def test_values_are_read_as_kubectl_reads_them(tmp_path: Path) -> None:
    write(tmp_path, MAP + "spec: {mode: 0644, enabled: on, when: 2001-01-01, time: 22:30, text: '0644'}\n")
    (found,), faults = manifests.read(tmp_path / "mine")
    assert not faults
    assert found.body["spec"] == {"mode": 420, "enabled": True, "when": "2001-01-01", "time": "22:30", "text": "0644"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "mine: no manifests"),
        ("a: [\n", "mine/all.yaml:2: not YAML"),
        ("just text\n", "not an object (just text)"),
        ("kind: Foo\nmetadata: {name: a}\n", "mine/all.yaml: no apiVersion"),
        ("apiVersion: v1\nmetadata: {name: a}\n", "mine/all.yaml: no kind"),
        ("apiVersion: v1\nkind: Pod\n", "no usable metadata.name (null)"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}\n", "generateName instead of a name"),
        (f"{MAP}---\n{MAP}", "mine/all.yaml object 2: ConfigMap demo/one twice (also in mine/all.yaml object 1)"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n", "Pod a without a namespace"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: b}\n", "a cluster-scoped kind"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: B_c}\n", "not a namespace (B_c)"),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: coredns, namespace: kube-system}\n",
            "an object of the cluster itself",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: addon-x, namespace: kube-system}\n",
            "an object of the cluster itself",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b, labels: {kubewright/task: x}}\n",
            "one of the labels that kubewright sets itself (kubewright/task)",
        ),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b, labels: [x]}\n", "not labels ([x])"),
        (f"{MAP}data: !!python/object:os.system x\n", "not YAML"),
    ],
)
def test_a_bad_manifest_is_named(tmp_path: Path, text: str, expected: str) -> None:
    write(tmp_path, text)
    found = problems(tmp_path)
    assert any(expected in each for each in found), found
    assert all(each.startswith("addons[0]: ") for each in found)


def test_every_problem_of_every_file_is_named_at_once(tmp_path: Path) -> None:
    write(tmp_path, "kind: [\n", "mine/a.yaml")
    write(tmp_path, "kind: Foo\n---\napiVersion: v1\n", "mine/b.yaml")
    assert len(problems(tmp_path, "[./mine, ./none, metrics-server]")) >= 5


def test_custom_resources_have_the_scope_of_their_definition(tmp_path: Path) -> None:
    definition = (
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.org}\n"
        "spec: {group: example.org, scope: Namespaced, names: {kind: Widget, plural: widgets}}\n---\n"
    )
    write(tmp_path, definition + "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: a}\n")
    assert problems(tmp_path) == ["addons[0]: mine/all.yaml object 2: Widget a without a namespace"]


def test_two_add_ons_that_own_one_object_are_named(tmp_path: Path) -> None:
    write(tmp_path, MAP)
    write(tmp_path, MAP, "other/all.yaml")
    write(tmp_path, "apiVersion: v1\nkind: Service\nmetadata: {name: metrics-server, namespace: kube-system}\n", "third/all.yaml")
    assert problems(tmp_path, "[./mine, ./other, metrics-server, ./third]") == [
        "addons[1]: other/all.yaml: ConfigMap demo/one is an object of the add-on mine too",
        "addons[3]: third/all.yaml: Service kube-system/metrics-server is an object of the add-on metrics-server too",
    ]


def test_the_objects_of_a_workgroup_and_names_of_kubewrights_own_are_named(tmp_path: Path) -> None:
    rbac = "apiVersion: rbac.authorization.k8s.io/v1\nkind:"
    documents = (
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n",
        f"{rbac} ClusterRole\nmetadata: {{name: 'kubewright:kube2sky'}}\n",
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: workgroup, namespace: team}\n",
        "apiVersion: v1\nkind: LimitRange\nmetadata: {name: workgroup, namespace: team}\n",
        f"{rbac} RoleBinding\nmetadata: {{name: 'kubewright:workgroup:edit', namespace: team}}\n",
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: another, namespace: team}\n",
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: workgroup, namespace: elsewhere}\n",
    )
    write(tmp_path, "---\n".join(documents))
    assert problems(tmp_path, "[./mine]\nworkgroups: [{name: team}]") == [
        "addons[0]: mine/all.yaml object 1: Namespace team is an object of the workgroup team too",
        "addons[0]: mine/all.yaml object 2: ClusterRole kubewright:kube2sky is an object of the cluster itself",
        "addons[0]: mine/all.yaml object 3: ResourceQuota team/workgroup is an object of the workgroup team too",
        "addons[0]: mine/all.yaml object 4: LimitRange team/workgroup is an object of the workgroup team too",
        "addons[0]: mine/all.yaml object 5: RoleBinding team/kubewright:workgroup:edit is an object of the cluster itself",
    ]


def test_two_folders_of_one_name_are_named(tmp_path: Path) -> None:
    write(tmp_path, MAP, "a/mine/all.yaml")
    write(tmp_path, MAP.replace("one", "two"), "b/mine/all.yaml")
    assert problems(tmp_path, "[a/mine, b/mine]") == ["addons[1]: two folders with the same name (mine)"]


def test_a_file_of_values_in_a_users_folder_is_named(tmp_path: Path) -> None:
    """Only built-in add-ons have values."""
    write(tmp_path, MAP)
    write(tmp_path, "IMAGE: registry.example.org/web\n", "mine/values.yaml")
    assert any("mine/values.yaml" in each for each in problems(tmp_path))


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.yaml").write_bytes(b"\xff\xfe\x00a")
    assert problems(tmp_path) == ["addons[0]: mine/a.yaml: not UTF-8"]


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_add_on_has_usable_manifests(name: str) -> None:
    found, faults = manifests.read(FOLDER / name)
    assert found and not faults


def test_every_folder_of_add_ons_is_known() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(BUILT_IN)


def test_a_folder_that_is_gone_since_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        manifests.of(Addon(name="mine", folder=tmp_path / "mine", own=True))


def test_traefik_is_on_the_nodes_whose_taints_admit_it_and_the_metrics_server_on_masters() -> None:
    text = (
        "name: a\naddons: [metrics-server, traefik]\nhosts:\n"
        "- {name: m1, address: 192.0.2.11, roles: [master]}\n"
        "- {name: e1, address: 192.0.2.21, roles: [etcd]}\n"
        "- {name: w1, address: 192.0.2.31, roles: [worker]}\n"
        "- {name: w2, address: 192.0.2.32, roles: [worker], taints: ['gpu=yes:NoSchedule']}\n"
        "- {name: w3, address: 192.0.2.33, roles: [worker], taints: ['slow=yes:PreferNoSchedule']}\n"
    )
    plan = make_plan(loads(text.encode(), folder=Path()))
    assert {node.name: set(node.addons) for node in plan.nodes if node.addons} == {
        "m1": {"metrics-server"},
        "w1": {"traefik"},
        "w3": {"traefik"},
    }
