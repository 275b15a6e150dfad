"""The import of an image, with a `ctr` and a `crictl` that keep their images in a file: `reference id labels`."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from kubewright.plan.context import render

REPOSITORY = "registry.k8s.io/coredns/coredns"

CTR = """#!/bin/sh
db={folder}/images; shift 3
verb=$1; shift
case $verb in
  import)
    grep -v "^{repository}:$(cat "$1") " "$db" > "$db.new"; mv "$db.new" "$db"
    echo "{repository}:$(cat "$1") sha256:$(cat "$1.id") -" >> "$db" ;;
  label) grep -q "^$1 " "$db" || exit 1; shift_ref=$1; shift; sed -i "s|^$shift_ref .*|&,$*|" "$db" ;;
  tag)
    [ "$1" = --force ] || exit 64; grep -v "^$3 " "$db" > "$db.new"
    sed -n "s|^$2 |$3 |p" "$db" >> "$db.new"; mv "$db.new" "$db" ;;
  ls) [ "$1" = -q ] || exit 1; name=${{2##*==}}; grep "kubewright.io/image=$name" "$db" | cut -d' ' -f1 ;;
  rm) grep -q "^$1 " "$db" || exit 1; grep -v "^$1 " "$db" > "$db.new"; mv "$db.new" "$db" ;;
  *) exit 64 ;;
esac
exit 0
"""
CRICTL = """#!/bin/sh
db={folder}/images
case $1 in
  inspecti) grep "^$5 " "$db" | cut -d' ' -f2 | grep . ;;
  rmi) id=$(grep "^$2 " "$db" | cut -d' ' -f2); [ -n "$id" ] || exit 1; grep -v " $id " "$db" > "$db.new"; mv "$db.new" "$db" ;;
  *) exit 64 ;;
esac
"""


@dataclass(frozen=True)
class Node:
    folder: Path

    def has(self) -> list[str]:
        return [line.split()[0].rpartition(":")[2] for line in (self.folder / "images").read_text().splitlines()]

    def take(self, tag: str, image: str = "", repository: str = REPOSITORY) -> subprocess.CompletedProcess[str]:
        """As `apply` does it: the evidence is written once the script has succeeded."""
        archive, evidence = self.folder / f"{tag}.tar", self.folder / "evidence"
        archive.write_text(tag)
        (self.folder / f"{tag}.tar.id").write_text(image or tag)
        reference, made = f"{repository}:{tag}", f"{REPOSITORY}:{tag}"
        script = render("containerd/import.sh.j2", reference=reference, made=made, archive=str(archive), name="coredns").decode()
        script = script.replace("/usr/local/bin/", f"{self.folder}/")
        environment = {"PATH": "/usr/bin:/bin", "path": str(evidence)}
        done = subprocess.run(["sh", "-eu", "-c", script], env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            evidence.write_text(f"{reference} sum\n")
        return done


@pytest.fixture
def node(tmp_path: Path) -> Node:
    (tmp_path / "images").write_text("docker.io/library/nginx:1 sha256:nginx -\n")
    for name, text in (("ctr", CTR), ("crictl", CRICTL)):
        (tmp_path / name).write_text(text.format(folder=tmp_path, repository=REPOSITORY))
        (tmp_path / name).chmod(0o755)
    return Node(tmp_path)


def test_an_image_is_imported_and_pinned(node: Node) -> None:
    done = node.take("v1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    line = (node.folder / "images").read_text().splitlines()[-1]
    assert line.endswith("-,io.cri-containerd.pinned=pinned kubewright.io/image=coredns")


def test_the_image_before_stays_older_ones_of_ours_are_removed_and_no_others(node: Node) -> None:
    for tag in ("v1", "v2"):
        node.take(tag)
    assert node.has() == ["1", "v1", "v2"]
    node.take("v3")
    assert node.has() == ["1", "v2", "v3"]
    node.take("v2")
    assert sorted(node.has()) == ["1", "v2", "v3"], "a rollback removes nothing"


def test_an_image_of_an_older_kubewright_is_removed_in_its_turn(node: Node) -> None:
    (node.folder / "images").write_text(f"{REPOSITORY}:v0 sha256:v0 -,io.cri-containerd.pinned=pinned\n")
    (node.folder / "evidence").write_text(f"{REPOSITORY}:v0 sum\n")
    node.take("v1")
    assert node.has() == ["v0", "v1"]
    node.take("v2")
    assert node.has() == ["v1", "v2"]


def test_one_image_with_several_names_loses_only_the_name(node: Node) -> None:
    """crictl would remove it under all names."""
    for tag in ("v1", "v2", "v3"):
        node.take(tag, image="same")
    assert node.has() == ["1", "v2", "v3"]


def test_importing_the_same_version_again_removes_nothing(node: Node) -> None:
    for tag in ("v1", "v2", "v2"):
        node.take(tag)
    assert node.has() == ["1", "v1", "v2"]


def test_an_image_that_cannot_be_removed_does_not_fail_the_import(node: Node) -> None:
    for tag in ("v1", "v2"):
        node.take(tag)
    (node.folder / "crictl").write_text("#!/bin/sh\nexit 1\n")
    ctr = node.folder / "ctr"
    ctr.write_text(ctr.read_text().replace("  rm) ", "  rm) exit 1; "))
    assert node.take("v3").returncode == 0


def test_a_failed_import_is_a_failure(node: Node) -> None:
    (node.folder / "ctr").write_text("#!/bin/sh\necho broken >&2; exit 1\n")
    done = node.take("v1")
    assert (done.returncode, done.stderr) == (1, "broken\n")


SITE = "registry.example.org/k8s/coredns"


def test_a_site_has_its_own_name_for_an_image_and_not_upstreams(node: Node) -> None:
    assert node.take("v1", repository=SITE).returncode == 0
    names = [line.split()[0] for line in (node.folder / "images").read_text().splitlines()]
    assert f"{SITE}:v1" in names
    assert f"{REPOSITORY}:v1" not in names


def test_a_change_to_the_sites_name_and_back_keeps_the_name_before(node: Node) -> None:
    for repository in (REPOSITORY, SITE, REPOSITORY):
        assert node.take("v1", repository=repository).returncode == 0
        names = {line.split()[0] for line in (node.folder / "images").read_text().splitlines()}
        assert f"{repository}:v1" in names
    assert f"{SITE}:v1" in names
    node.take("v2")
    names = {line.split()[0] for line in (node.folder / "images").read_text().splitlines()}
    assert f"{SITE}:v1" not in names
