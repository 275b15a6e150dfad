"""A drill with real etcd and kube-apiserver on loopback: Secrets are read with the backup's key, counts are compared."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import subprocess
from pathlib import Path

import httpx
import pytest

from kubewright.artifacts import Cache, catalogue
from kubewright.artifacts.gomod import cached, machine_arch
from kubewright.backup import archive
from kubewright.backup.age import Passphrase
from kubewright.backup.manifest import INVENTORY, SNAPSHOT, Manifest, Taken
from kubewright.errors import Failed
from kubewright.model.build import make_plan
from kubewright.releases import DEFAULT
from kubewright.verbs.backup import loopback, taking
from kubewright.verbs.backup.drill import drill
from kubewright.verbs.backup.loopback import PROGRAMS, running
from tests.support.scenarios import filled_store, spec_of

SPEC = "name: loop\nhosts:\n  - {name: m1, address: 192.0.2.11, roles: [master]}\n"
LOCK = Passphrase(b"correct horse", work=2)


def _programs() -> dict[str, Path]:
    wanted = [item for item in catalogue(DEFAULT, machine_arch()) if item.name in PROGRAMS]
    found = {item.name: cached(item, Cache.default()) for item in wanted}
    return {name: Cache.default().blob(entry.sha256) for name, entry in found.items() if entry}


pytestmark = pytest.mark.skipif(len(_programs()) < len(PROGRAMS), reason="not in the cache: kubewright artifacts fetch")


def _objects(client: httpx.Client) -> None:
    for name in ("a", "b"):
        made = {"metadata": {"name": name}}
        client.post("/api/v1/namespaces", json={"kind": "Namespace", **made}).raise_for_status()
        secret = {"kind": "Secret", **made, "data": {"word": base64.b64encode(b"hidden").decode()}}
        client.post(f"/api/v1/namespaces/{name}/secrets", json=secret).raise_for_status()


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Taken, dict[str, Path | bytes]]:
    """A cluster of one etcd and one apiserver, with objects; its backup."""
    folder = tmp_path_factory.mktemp("cluster")
    plan = make_plan(spec_of(SPEC, folder))
    store = filled_store(plan, folder / "inventory", dt.datetime.now(dt.UTC))
    with running(folder / "run", plan, store, _programs()) as cluster:
        cluster.start_etcd()
        cluster.start_api()
        with cluster.client() as client:
            _objects(client)
        assert b"hidden" not in cluster.ctl("get", "/registry/secrets/", "--prefix", "-w", "json").encode()
        script = taking.script(str(folder / "work"), cluster.etcdctl(), str(_programs()["etcdutl"]))
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    took = taking.taken("m1", done.stdout)
    (folder / "inventory" / "cluster.yaml").write_text(SPEC)
    content: dict[str, Path | bytes] = {SNAPSHOT: folder / "work" / "etcd.db"}
    for name in ("cluster.yaml", "certificates.json", "secrets/keys.json"):
        content[INVENTORY + name] = (folder / "inventory" / name).read_bytes()
    return _written(folder / "a.backup.age", took, content), took, content


def _written(path: Path, took: Taken, content: dict[str, Path | bytes]) -> Path:
    manifest = Manifest(
        cluster="loop", uid="", etcd_token="loop", taken="2026-11-27T18:00:00Z", kubewright="0", kubernetes=DEFAULT.kubernetes,
        snapshot=took, files={name: archive.kept(what) for name, what in content.items()},
    )  # fmt: skip
    archive.write(path, [LOCK], manifest, content)
    return path


def test_a_drill_finds_every_object_again(backup: tuple[Path, Taken, dict[str, Path | bytes]], tmp_path: Path) -> None:
    path, took, _ = backup
    said: list[str] = []
    found = drill(path, [LOCK], said.append)
    assert found.problems == ()
    assert found.counts["secrets"] == (2, 2) and found.counts["namespaces"][0] >= 6
    assert {name: was for name, (was, _) in found.counts.items()} == dict(took.counts)
    assert found.listed == found.kinds > 40
    assert len(said) == 3


def test_a_drill_names_what_is_missing_and_secrets_that_cannot_be_read(
    backup: tuple[Path, Taken, dict[str, Path | bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, took, content = backup
    monkeypatch.setattr(loopback, "READY", 20)
    other = filled_store(make_plan(spec_of(SPEC, tmp_path)), tmp_path / "other", dt.datetime.now(dt.UTC))
    assert other.entries
    stranger = dict(content)
    for name in ("certificates.json", "secrets/keys.json"):
        stranger[INVENTORY + name] = (tmp_path / "other" / name).read_bytes()
    more = dataclasses.replace(took, counts={**took.counts, "secrets": 3})
    path = _written(tmp_path / "b.backup.age", more, stranger)
    # The apiserver may refuse to serve at all: it reads Secrets when it starts.
    try:
        found = drill(path, [LOCK], lambda _text: None)
    except Failed as error:
        assert "kube-apiserver does not serve" in str(error)
    else:
        assert any("secrets: 3 in the backup, 2 restored" in problem for problem in found.problems)
        assert any("the API does not list it" in problem or "the API lists" in problem for problem in found.problems)


def test_a_drill_of_a_wrong_password_starts_nothing(backup: tuple[Path, Taken, dict[str, Path | bytes]]) -> None:
    with pytest.raises(Failed, match="the password is wrong"):
        drill(backup[0], [Passphrase(b"wrong")], lambda _text: pytest.fail("said"))
