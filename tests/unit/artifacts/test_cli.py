from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kubewright.artifacts import Artifact, Bundle
from kubewright.cli.artifacts import app
from kubewright.errors import BAD_INPUT, BadInput
from kubewright.releases import UnknownRelease


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("KUBEWRIGHT_CACHE", str(tmp_path / "cache"))
    return lambda *words: CliRunner().invoke(app, list(words))


def test_fetch_prints_what_was_obtained(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = Artifact(
        component="runc",
        name="runc",
        version="1.5.2",
        says="1.5.2",
        arch="arm64",
        sha256="a" * 64,
        size=2 << 20,
        path=tmp_path,
        zst_path=tmp_path,
        zst_sha256="b" * 64,
        zst_size=1 << 20,
        source="mirror",
    )
    asked: list[Any] = []

    def obtain_all(*arguments: Any, **_: Any) -> Bundle:
        asked.extend(arguments)
        return Bundle(binaries=(artifact,), images=())

    monkeypatch.setattr("kubewright.cli.artifacts.obtain_all", obtain_all)
    words = ("fetch", "--version", "1.36.3", "--arch", "arm64", "--source", "mirror", "--mirror", "http://m")
    result = run(*words)
    assert result.exit_code == 0 and "runc" in result.stdout and "2.0" in result.stdout
    assert asked[0].kubernetes == "1.36.3" and asked[1] == "arm64" and asked[2].mirror == "http://m"
    assert json.loads(run(*words, "--json").stdout)[0]["name"] == "runc"


def test_bad_options_are_bad_input(run: Any) -> None:
    for words, error in ((("--version", "1.9.0"), UnknownRelease), (("--arch", "mips"), BadInput)):
        result = run("fetch", *words)
        assert isinstance(result.exception, error) and result.exception.exit_code == BAD_INPUT


def test_list_and_clean_report_the_caches(run: Any, tmp_path: Path) -> None:
    go = tmp_path / "cache" / "go" / "build"
    go.mkdir(parents=True)
    (go / "x").write_bytes(b"x" * (3 << 20))
    assert "0 entries; Go's caches: 3 MiB" in run("list").stdout
    assert json.loads(run("list", "--json").stdout)["go_bytes"] == 3 << 20
    assert run("clean").exit_code == 0 and not go.exists()


@pytest.mark.parametrize(("words", "wanted"), [((), False), (("--test",), True)])
def test_artifacts_of_the_tests_are_fetched_on_request(
    run: Any, words: tuple[str, ...], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def obtain_all(*_: Any, test_images: bool, addons: tuple[str, ...], **_k: Any) -> Bundle:
        asked.extend(["images"] * test_images)
        asked.extend(addons)
        return Bundle(binaries=(), images=())

    monkeypatch.setattr("kubewright.cli.artifacts.obtain_all", obtain_all)

    def obtain(*_: Any) -> list[Any]:
        asked.append("kube-bench")
        return []

    monkeypatch.setattr("kubewright.cli.artifacts.obtain", obtain)
    assert run("fetch", *words).exit_code == 0
    assert asked == (["images", "kube-bench"] if wanted else [])


@pytest.mark.parametrize("provider", ["coredns", "skydns"])
def test_what_an_inventory_needs_is_fetched(run: Any, provider: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def obtain_all(release: Any, _arch: str, source: Any, *_: Any, addons: tuple[str, ...], skydns: bool, **_k: Any) -> Bundle:
        asked.extend([release.kubernetes, source.kind, addons, skydns])
        return Bundle(binaries=(), images=())

    monkeypatch.setattr("kubewright.cli.artifacts.obtain_all", obtain_all)
    (tmp_path / "cluster.yaml").write_text(
        "name: a\nkubernetes: 1.36.3\nartifacts: {source: gomod}\naddons: [traefik]\n"
        f"network: {{dns_provider: {provider}}}\n"
        "hosts:\n- {name: m1, address: 192.0.2.11, roles: [master]}\n"
    )
    assert run("fetch", "-i", str(tmp_path), "--addon", "metrics-server").exit_code == 0
    assert asked == ["1.36.3", "gomod", ("metrics-server", "traefik"), provider == "skydns"]


def test_an_unknown_add_on_is_bad_input(run: Any) -> None:
    done = run("fetch", "--addon", "nginx")
    assert isinstance(done.exception, BadInput)
    assert "--addon: unknown add-on (nginx); allowed: headlamp" in str(done.exception)


def test_a_bundle_and_the_files_for_hosts_are_written(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubewright.cli.artifacts.obtain_all", lambda *_a, **_k: Bundle(binaries=(), images=()))
    assert run("fetch", "--bundle", str(tmp_path / "b"), "--to", str(tmp_path / "w")).exit_code == 0
    assert (tmp_path / "b" / "SHA256SUMS").exists()
