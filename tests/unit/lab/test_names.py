"""Names become paths, devices and cgroups; addresses are those of inventories/lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubewright import lab
from kubewright.errors import BadInput, Failed
from kubewright.lab import model


def test_the_default_hosts_have_the_addresses_of_the_example_inventory() -> None:
    made = lab.new_lab("demo", lab.DEFAULT_HOSTS)
    assert {h.name: str(h.address) for h in made.hosts} == {
        "m1": "10.90.0.11",
        "m2": "10.90.0.12",
        "m3": "10.90.0.13",
        "w1": "10.90.0.21",
        "w2": "10.90.0.22",
    }


def test_the_paths_of_the_key_and_known_hosts_never_change() -> None:
    made = lab.new_lab("demo", ("m1",))
    assert made.key == Path("/var/lib/kubewright/lab/demo/id_ed25519")
    assert made.known_hosts == Path("/var/lib/kubewright/lab/demo/known_hosts")


def test_any_hosts_have_distinct_addresses() -> None:
    hosts = lab.new_lab("demo", (*lab.DEFAULT_HOSTS, "m9", "w9", "edge", "x1")).hosts
    assert len({h.address for h in hosts}) == len(hosts)


def test_the_longest_name_fits_a_device() -> None:
    lab.new_lab("a" * 8, ("b" * 8,))
    assert len(f"nat.{'b' * 8}") <= 15


@pytest.mark.parametrize("name", ["", "..", "a/b", "Demo", "a.b", "-a", "ninechars", "a\n"])
def test_a_name_that_could_be_another_path_is_refused(name: str) -> None:
    for refuses in (lambda: lab.new_lab(name, ("m1",)), lambda: lab.load(name), lambda: lab.down(name)):
        with pytest.raises(BadInput, match="--name: not usable as a name"):
            refuses()


def test_all_problems_come_at_once() -> None:
    with pytest.raises(BadInput) as caught:
        lab.new_lab("Demo", ("m1", "m1", "UP"))
    assert len(caught.value.problems) == 3


def test_an_unknown_host_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match=r"no such host \(m9\); allowed: one of m1, w1"):
        lab.new_lab("demo", ("m1", "w1")).host("m9")


def test_a_saved_lab_can_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "HOME", tmp_path)
    made = lab.new_lab("demo", ("m1", "edge"))
    made.folder.mkdir()
    model.save(made)
    assert lab.load("demo") == made


def test_a_missing_lab_is_reported_with_the_command_that_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "HOME", tmp_path)
    with pytest.raises(Failed, match="kubewright lab up --name demo"):
        lab.load("demo")


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBEWRIGHT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert model.cache_folder() == Path("/x/kubewright/lab")
    monkeypatch.setenv("KUBEWRIGHT_CACHE", "/k")
    assert model.cache_folder() == Path("/k/lab")
