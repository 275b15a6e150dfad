"""`kubewright artifacts`: fetch, list and clean what gets installed. No logic: kubewright.artifacts does the work."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status
from rich.table import Table

from kubewright.artifacts import (
    ARCHES,
    Artifact,
    Cache,
    Say,
    SourceConfig,
    distribution,
    export,
    kube_bench,
    obtain,
    obtain_all,
    publish,
)
from kubewright.artifacts.gomod import machine_arch
from kubewright.artifacts.model import SourceKind
from kubewright.errors import BadInput, Problem
from kubewright.model.cluster import SKYDNS
from kubewright.releases import DEFAULT, release_for
from kubewright.releases.addons import BUILT_IN
from kubewright.spec import load

app = typer.Typer(help="Binaries and images: fetch them, see what is cached, make room.", no_args_is_help=True)
MIB = 1 << 20

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def fetch(
    version: Annotated[str, typer.Option(help="The Kubernetes version.")] = DEFAULT.kubernetes,
    source: Annotated[SourceKind, typer.Option(help="Where from.")] = "auto",
    arch: Annotated[str | None, typer.Option(help="amd64 or arm64; this machine's by default.")] = None,
    mirror: Annotated[str | None, typer.Option(help="With --source mirror: its base URL.")] = None,
    directory: Annotated[Path | None, typer.Option(help="With --source directory: the bundle's folder.")] = None,
    lock: Annotated[Path | None, typer.Option(help="The artifacts.lock to check and add to.")] = None,
    to: Annotated[
        Path | None, typer.Option(help="Also put the files that hosts fetch there: what artifacts.hosts_fetch_from serves.")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Also write them there with SHA256SUMS: what --source directory takes, at a site without network."),
    ] = None,
    addon: Annotated[list[str] | None, typer.Option(help="Also the images of this add-on; may be repeated.")] = None,
    like: Annotated[
        Path | None,
        typer.Option("--inventory", "-i", help="Only what this inventory needs, from its source."),
    ] = None,
    test: Annotated[
        bool, typer.Option("--test", help="Also what only the cluster tests use: an image, kube-bench, a registry.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Obtain everything a release needs into the cache."""
    addons, skydns = _addons(addon or ()), True
    chosen = SourceConfig(kind=source, mirror=mirror, directory=directory)
    if like is not None:
        spec = load(like)
        version, addons = spec.kubernetes, (*addons, *(each.name for each in spec.addons))
        skydns = test or spec.network.dns_provider == SKYDNS
        written = spec.artifacts
        chosen = SourceConfig(kind=written.source, mirror=written.mirror, directory=written.directory)
    release = release_for(version)
    target = _arch(arch)
    console = Console(stderr=True)
    spinner = console.status("artifacts") if console.is_terminal else None
    with spinner or contextlib.nullcontext():
        say = _spinning(console, spinner) if spinner else lambda line: typer.echo(line, err=True)
        needs = tuple(dict.fromkeys(addons))
        found = obtain_all(release, target, chosen, say, lock, test_images=test, addons=needs, skydns=skydns)
        if to is not None:
            say(f"{to}: {publish(found, to)} files added")
        if bundle is not None:
            say(f"{bundle}: {export(found, bundle)} files")
        tools = _test_tools(target, say) if test and source in ("auto", "gomod") else []
    rows = [(one.name, one.version, one.source, one.size, one.zst_size, one.path) for one in (*found.binaries, *tools)]
    rows += [(one.reference, "", one.source, one.size, one.zst_size, one.path) for one in found.images]
    if as_json:
        names = ("name", "version", "source", "size", "zst_size", "path")
        typer.echo(json.dumps([dict(zip(names, map(_plain, row), strict=True)) for row in rows], indent=1))
        return
    table = Table("what", "version", "source", "MiB", "compressed", box=None)
    for name, says, where, size, zst_size, _ in rows:
        table.add_row(name, says, where, f"{size / MIB:.1f}", f"{zst_size / MIB:.1f}")
    Console().print(table)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the cached artifacts, and the size of Go's caches."""
    cache = Cache.default()
    entries = list(cache.entries())
    go_bytes = cache.go_size()
    if as_json:
        found = [{"key": key, "version": e.version, "sha256": e.sha256, "size": e.size} for key, e in entries]
        typer.echo(json.dumps({"cache": str(cache.root), "entries": found, "go_bytes": go_bytes}, indent=1))
        return
    for key, entry in entries:
        typer.echo(f"{key}  {(entry.size + entry.zst_size) / MIB:.1f} MiB  {entry.sha256[:12]}")
    typer.echo(f"{cache.root}: {len(entries)} entries; Go's caches: {go_bytes / MIB:.0f} MiB (kubewright artifacts clean)")


@app.command()
def clean(
    everything: Annotated[bool, typer.Option("--all", help="Also what was obtained.")] = False,
) -> None:
    """Remove Go's caches and unfinished downloads; artifacts stay."""
    cache = Cache.default()
    cache.clean(everything=everything)
    typer.echo(f"{cache.root}: cleaned")


def _test_tools(arch: str, say: Say) -> list[Artifact]:
    """Always built from source, in the tests' version."""
    return obtain((*kube_bench(arch), distribution(arch)), SourceConfig(kind="gomod"), Cache.default(), say)


def _addons(given: Sequence[str]) -> tuple[str, ...]:
    unknown = [name for name in given if name not in BUILT_IN]
    if unknown:
        allowed = ", ".join(BUILT_IN)
        raise BadInput(
            [Problem(where="--addon", what=f"unknown add-on ({n})", allowed=allowed, todo="choose one") for n in unknown]
        )
    return tuple(given)


def _arch(given: str | None) -> str:
    if given is None:
        return machine_arch()
    if given not in ARCHES:
        raise BadInput([Problem(where="--arch", what=f"not supported ({given})", allowed=" or ".join(ARCHES), todo="choose one")])
    return given


def _spinning(console: Console, status: Status) -> Say:
    def say(line: str) -> None:
        console.print(line, highlight=False)
        status.update(line)

    return say


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
