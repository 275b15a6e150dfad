"""Images from a real registry: mirrors, credentials, archives, and kubewright's own images under other names.

The default test takes about half a minute on the shared cluster; the soak tests take about 3 more. The registry is built from its
Go module first, which takes 1.5 minutes with an empty cache.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pki import certificates
from pki.identities import foreign
from tests.cluster.conftest import Cluster
from tests.cluster.registry import CLOSED, OPEN, USER, Registry, image, started
from tests.cluster.seen import see
from tests.cluster.waiting import until

pytestmark = pytest.mark.cluster

MIRRORED, PRELOADED = "registry.invalid/team/app:1", "registry.invalid/team/preloaded:1"
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: default}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 0
  containers: [{{name: app, image: "{image}", imagePullPolicy: {policy}}}]
"""
Images = Callable[[str], None]


@pytest.fixture(scope="module")
def registry(cluster: Cluster) -> Iterator[Registry]:
    """On the last host; pods run on the first one, whose containerd has none of its images."""
    host = cluster.lab.hosts[-1]
    found = started(cluster, host.name, host.address)
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
def images(cluster: Cluster, registry: Registry) -> Iterator[Images]:
    """A function that puts a section `images` into cluster.yaml and applies it. At the end the section goes."""
    path = cluster.inventory / "cluster.yaml"
    before = path.read_text()
    files = {"registry-ca.crt": registry.pem.decode(), "registry-password": f"{registry.password}\n"}
    for name, text in files.items():
        (cluster.inventory / name).write_text(text)
        (cluster.inventory / name).chmod(0o600)

    def put(section: str) -> None:
        path.write_text(f"{before}\nimages:\n{section}")
        done = cluster.kubewright("apply")
        assert registry.password not in done.stdout + done.stderr

    try:
        yield put
    finally:
        path.write_text(before)
        cluster.kubectl("-n", "default", "delete", "pods", "mirrored", "preloaded", "--ignore-not-found", "--now")
        cluster.kubewright("apply")


def _section(registry: Registry, *more: str) -> str:
    login = f"ca: registry-ca.crt, user: {USER}, password_file: registry-password"
    lines = (
        f"mirrors: {{registry.invalid: ['https://{registry.at(CLOSED)}']}}",
        f"registries: [{{host: '{registry.at(CLOSED)}', {login}}}]",
        *more,
    )
    return "".join(f"  {line}\n" for line in lines)


def _pod(cluster: Cluster, name: str, reference: str, policy: str) -> None:
    node = cluster.lab.hosts[0].name
    cluster.kubectl("apply", "-f", "-", stdin=POD.format(name=name, node=node, image=reference, policy=policy))


def _runs(cluster: Cluster, name: str) -> None:
    cluster.kubectl("-n", "default", "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def _failed(cluster: Cluster) -> list[dict[str, str]]:
    """The failed checks of `verify`."""
    return [result for result in json.loads(cluster.kubewright("verify", "--json", check=False).stdout) if not result["holds"]]


def test_pods_pull_through_a_mirror_with_credentials_and_archives_are_there_and_nothing_restarts(
    cluster: Cluster, registry: Registry, images: Images, tmp_path: Path
) -> None:
    registry.push(image(tmp_path, MIRRORED), "team/app:1")
    archive = image(tmp_path, PRELOADED)
    before = see(cluster)
    images(_section(registry, f"archives: [{archive}]"))
    touched = see(cluster).touched(before)
    assert [each for each in touched if each[1].startswith("unit:")] == [], "a mirror, a login and an archive restart nothing"
    _pod(cluster, "mirrored", MIRRORED, "Always")
    _pod(cluster, "preloaded", PRELOADED, "Never")
    _runs(cluster, "mirrored")
    _runs(cluster, "preloaded")
    again = cluster.kubewright("plan", check=False)
    assert again.returncode == 0, again.stdout
    assert [each for each in _failed(cluster) if each["role"] == "containerd"] == []
    shown = cluster.ssh(cluster.lab.hosts[0].name, "find /etc/containerd/certs.d -name hosts.toml -printf '%m %u\\n'").stdout
    assert set(shown.splitlines()) == {"600 root"}


@pytest.mark.soak
def test_verify_names_the_host_the_registry_and_a_wrong_password_or_ca_and_pods_run_on(
    cluster: Cluster, registry: Registry, images: Images, tmp_path: Path
) -> None:
    registry.push(image(tmp_path, MIRRORED), "team/app:1")
    images(_section(registry))
    _pod(cluster, "mirrored", MIRRORED, "IfNotPresent")
    _runs(cluster, "mirrored")
    password = cluster.inventory / "registry-password"
    password.write_text("wrong\n")
    images(_section(registry))
    for host in cluster.lab.hosts:
        (why,) = [each for each in _failed(cluster) if each["host"] == host.name]
        assert f"registry {registry.at(CLOSED)}" in why["message"], why
        assert f"refuses the user {USER}" in why["message"], why
    password.write_text(f"{registry.password}\n")
    (cluster.inventory / "registry-ca.crt").write_bytes(certificates.to_pem(foreign("other", "ecdsa-p256").certificate))
    images(_section(registry))
    failed = _failed(cluster)
    assert {each["host"] for each in failed} == {host.name for host in cluster.lab.hosts}
    assert all("is not trusted by the CA of images.registries" in each["message"] for each in failed), failed
    _runs(cluster, "mirrored")


@pytest.mark.soak
def test_another_mirror_serves_the_next_pull_and_a_missing_image_hurts_its_pod_alone(
    cluster: Cluster, registry: Registry, images: Images, tmp_path: Path
) -> None:
    registry.push(image(tmp_path, MIRRORED), "team/app:2")
    images(
        f"  mirrors_only: true\n"
        f"  mirrors: {{registry.invalid: ['https://{registry.at(OPEN)}']}}\n"
        f"  registries: [{{host: '{registry.at(OPEN)}', ca: registry-ca.crt}}]\n"
    )
    _pod(cluster, "preloaded", "registry.invalid/team/missing:1", "IfNotPresent")
    _pod(cluster, "mirrored", "registry.invalid/team/app:2", "IfNotPresent")
    _runs(cluster, "mirrored")

    def said() -> bool:
        shown = cluster.kubectl("-n", "default", "get", "events", "--field-selector=involvedObject.name=preloaded").stdout
        return "registry.invalid/team/missing:1" in shown and "not found" in shown

    until("the pod's events name the image", said, 60)
    assert _failed(cluster) == []


@pytest.mark.soak
def test_a_changed_archive_is_imported_again_and_the_images_of_a_removed_one_stay(
    cluster: Cluster, images: Images, tmp_path: Path
) -> None:
    host = cluster.lab.hosts[0].name
    listed = f"ctr -n k8s.io images ls 'name=={PRELOADED}' | grep -o 'sha256:[0-9a-f]*\\|pinned=pinned'"
    found = []
    for _ in range(2):
        images(f"  archives: [{image(tmp_path, PRELOADED)}]\n")
        found.append(cluster.ssh(host, listed).stdout)
    images("  archives: []\n")
    assert found[0] != found[1]
    assert cluster.ssh(host, listed).stdout == found[1], "an archive that goes leaves its images"
    assert "pinned" in found[1]
    said = cluster.kubewright("plan", check=False)
    assert said.returncode == 0, said.stdout


@pytest.mark.soak
def test_kubewrights_own_images_get_the_sites_names(cluster: Cluster, images: Images) -> None:
    images("  image_repository: registry.invalid/k8s\n")
    shown = cluster.kubectl("-n", "kube-system", "get", "deployment", "coredns", "-o", "jsonpath={..image}").stdout
    assert shown.startswith("registry.invalid/k8s/coredns:"), shown
    host = cluster.lab.hosts[0].name
    names = cluster.ssh(host, "ctr -n k8s.io images ls -q").stdout
    assert "registry.invalid/k8s/pause:" in names, names
    cluster.verified()
    again = cluster.kubewright("plan", check=False)
    assert again.returncode == 0, again.stdout
