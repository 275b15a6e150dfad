"""The section `images`, decided: names, credentials, and containerd's files."""

from __future__ import annotations

import base64
import tomllib
from pathlib import Path

import pytest

from kubewright.errors import BadInput
from kubewright.model.build import make_plan
from kubewright.model.cluster import Plan
from kubewright.plan.changes import changes
from kubewright.plan.desired import Desired, File
from kubewright.plan.preview import lines, shown
from kubewright.spec import loads
from roles.containerd import registries
from tests.support.scenarios import authority, recorded

HOSTS = "name: x\nhosts: [{name: m1, address: 192.0.2.11, roles: [master]}]\n"
PASSWORD = "not-for-your-eyes"


def plan_of(section: str, folder: Path) -> Plan:
    return make_plan(loads(f"{HOSTS}images: {section}\n".encode(), folder=folder))


def hosts_toml(plan: Plan, name: str) -> dict[str, object]:
    (file,) = [f for f in registries.files(plan.images) if f.path == f"{registries.folder_of(name)}/hosts.toml"]
    assert isinstance(file.content, bytes)
    assert file.restarts == (), "the next pull reads it"
    return tomllib.loads(file.content.decode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "ca.crt").write_bytes(authority("registries"))
    return tmp_path


def test_without_the_section_there_is_no_file_and_no_question(tmp_path: Path) -> None:
    images = plan_of("", tmp_path).images
    assert (registries.files(images), registries.directories(images), registries.endpoints(images)) == ((), (), ())


def test_mirrors_come_in_order_before_the_registry_itself(tmp_path: Path) -> None:
    plan = plan_of("{mirrors: {docker.io: [https://b.example.org, https://a.example.org/v2/hub]}}", tmp_path)
    assert hosts_toml(plan, "docker.io") == {
        "server": "https://registry-1.docker.io",
        "host": {
            "https://b.example.org": {"capabilities": ["pull", "resolve"]},
            "https://a.example.org/v2/hub": {"capabilities": ["pull", "resolve"], "override_path": True},
        },
    }
    assert list(hosts_toml(plan, "docker.io")["host"]) == ["https://b.example.org", "https://a.example.org/v2/hub"]  # type: ignore[call-overload]


def test_with_mirrors_only_the_last_mirror_takes_the_registrys_place(tmp_path: Path) -> None:
    plan = plan_of("{mirrors_only: true, mirrors: {'*': [https://a.example.org, https://b.example.org]}}", tmp_path)
    assert hosts_toml(plan, "*") == {
        "server": "https://b.example.org",
        "capabilities": ["pull", "resolve"],
        "host": {"https://a.example.org": {"capabilities": ["pull", "resolve"]}},
    }


def test_a_registry_has_its_ca_and_its_login_also_as_a_mirror(folder: Path) -> None:
    registry = "{host: 'r.example.org:5000', ca: ca.crt, user: me, password_file: password}"
    plan = plan_of(f"{{mirrors: {{quay.io: ['https://r.example.org:5000']}}, registries: [{registry}]}}", folder)
    login = f"Basic {base64.b64encode(f'me:{PASSWORD}'.encode()).decode()}"
    ca = f"{registries.FOLDER}/r.example.org_5000_/ca.crt"
    own = hosts_toml(plan, "r.example.org:5000")
    assert own == {"server": "https://r.example.org:5000", "ca": ca, "header": {"Authorization": login}}
    mirrored = hosts_toml(plan, "quay.io")
    assert mirrored["host"] == {
        "https://r.example.org:5000": {"capabilities": ["pull", "resolve"], "ca": ca, "header": {"Authorization": login}}
    }
    assert "header" not in mirrored, "quay.io itself does not get the mirror's password"


def test_a_password_is_in_no_preview_no_repr_and_no_question(folder: Path) -> None:
    plan = plan_of("{registries: [{host: r.example.org, user: me, password_file: password}]}", folder)
    files = registries.files(plan.images)
    change = {"containerd": changes(Desired(files=files), recorded("debian12-cgroup1"))}
    said = repr(plan) + repr(files) + repr(change) + registries.question(plan.images)
    said += repr(lines("m1", change, recorded("debian12-cgroup1"), {}))
    assert shown(change) == ()
    assert PASSWORD not in said
    assert base64.b64encode(f"me:{PASSWORD}".encode()).decode() not in said
    assert [(f.mode, f.owner) for f in files] == [(0o600, "root")]


def test_a_login_that_leaves_cluster_yaml_is_in_no_preview(folder: Path) -> None:
    """A preview compares with the file on the host, which still has the login."""
    files = registries.files(plan_of("{registries: [{host: r.example.org}]}", folder).images)
    assert shown({"containerd": changes(Desired(files=files), recorded("debian12-cgroup1"))}) == ()


def test_a_password_may_be_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = "{registries: [{host: r.example.org, user: me, password_env: KUBEWRIGHT_TEST}]}"
    with pytest.raises(BadInput, match="the variable is not set"):
        plan_of(section, tmp_path)
    monkeypatch.setenv("KUBEWRIGHT_TEST", PASSWORD)
    login = plan_of(section, tmp_path).images.registries["r.example.org"].login
    assert login is not None
    assert base64.b64decode(login.authorization.removeprefix("Basic ")) == f"me:{PASSWORD}".encode()


def test_a_password_that_others_can_read_and_a_ca_that_is_none_are_refused_together(folder: Path) -> None:
    (folder / "password").chmod(0o644)
    (folder / "ca.crt").write_text("no certificate")
    section = "{registries: [{host: r.example.org, ca: ca.crt, user: me, password_file: password}]}"
    with pytest.raises(BadInput) as refused:
        plan_of(section, folder)
    said = [str(problem) for problem in refused.value.problems]
    assert ["not a certificate in PEM" in said[0], "mode 0644" in said[1]] == [True, True]
    assert PASSWORD not in "".join(said)


def test_own_images_are_named_below_image_repository(tmp_path: Path) -> None:
    images = plan_of("{image_repository: 'registry.example.org:5000/k8s'}", tmp_path).images
    assert images.reference("registry.k8s.io/coredns/coredns:v1") == "registry.example.org:5000/k8s/coredns:v1"
    assert plan_of("", tmp_path).images.reference("registry.k8s.io/pause:3") == "registry.k8s.io/pause:3"


def test_a_file_with_a_secret_shows_its_content_to_nobody() -> None:
    file = File(path="/x", content=PASSWORD.encode(), hidden=True)
    assert file.secret
    assert PASSWORD not in repr(file)
