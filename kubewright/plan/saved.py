"""A saved plan: hashes of its inputs and of its changes. It has no secret. Pure, except for the file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from kubewright import disk
from kubewright.errors import BadInput, Problem
from kubewright.observe.observed import Observed
from kubewright.plan.changes import Changes

FORMAT = 3
_BY_ITSELF = "kubewright itself, or its templates, are of another version; or a certificate is due by now"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return sorted(value) if isinstance(value, frozenset) else str(value)


def _digest(value: Any) -> str:
    text = json.dumps(value, default=_plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def of_host(observed: Observed) -> dict[str, str]:
    """A plan's inputs from a host, by names for people. Without clock, free space and the like."""
    parts = {f"file {path}": _digest(entry) for path, entry in observed.entries.items()}
    parts |= {f"unit {name}": _digest((state.active, state.enabled)) for name, state in observed.units.items()}
    parts |= {f"start of {name}": _digest(record) for name, record in observed.started_with.items()}
    return parts | {
        "machine-id": observed.machine_id,
        "packages": _digest(observed.packages),
        "kernel": observed.kernel,
        "operating system": f"{observed.os_id} {observed.os_version}",
    }


def _in_the_cluster(changes: Mapping[str, Changes]) -> dict[str, str]:
    """What the cluster lacked, or had too much of, as that host saw it."""
    return {f"work in the cluster: {d.task.title}": _digest((*d.lacks, *d.there)) for c in changes.values() for d in c.tasks}


def _done(changes: Changes) -> list[Any]:
    """Everything that `changes` does: file content by its sum, shell verbatim. A key or certificate that is still to be made
    is represented by its stand-in, which says why it is made and stays the same until then."""
    return [
        changes.sentences(),
        [(d.path, d.mode, d.owner, d.group) for d in changes.directories],
        [(p.path, p.sha256, p.mode, p.selinux_type) for p in changes.payloads],
        [(f.path, f.sha256, f.mode, f.owner, f.group, f.apply) for f in (*changes.files, *changes.late)],
        [(c.unit, c.record) for c in changes.units],
        [(d.task.apply, hashlib.sha256(d.task.content).hexdigest(), d.lacks) for d in changes.tasks],
        changes.reload,
    ]


def document(
    spec: Path,
    index: Path,
    artifacts: Mapping[str, str],
    observed: Mapping[str, Observed],
    changes: Mapping[str, Mapping[str, Changes]],
    *,
    deep: bool = False,
) -> dict[str, Any]:
    """A plan's inputs, and the digest of its changes. `artifacts`: name to SHA-256. `deep`: the plan rehashed binaries."""
    return {
        "format": FORMAT,
        "deep": deep,
        "cluster.yaml": _digest(spec.read_text()),
        "certificates.json": _digest(index.read_text() if index.exists() else ""),
        "artifacts": dict(artifacts),
        "hosts": {name: of_host(host) | _in_the_cluster(changes.get(name, {})) for name, host in observed.items()},
        "changes": {name: _digest({role: _done(c) for role, c in parts.items() if c}) for name, parts in changes.items()},
    }


def save(path: Path, saved: Mapping[str, Any]) -> None:
    disk.replace(path, json.dumps(saved, indent=1, sort_keys=True).encode())


def load(path: Path) -> dict[str, Any]:
    """Read a saved plan. BadInput when the file is none."""
    try:
        found = json.loads(path.read_text())
        if found["format"] == FORMAT:
            return dict(found)
        what = f"written by another version of kubewright (format {found['format']})"
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"not a saved plan ({type(error).__name__})"
    raise BadInput(
        [Problem(where=str(path), what=what, allowed="a file that `kubewright plan -o` wrote", todo="make a new plan")]
    )


def depth(saved: Mapping[str, Any], path: Path, *, deep: bool) -> bool:
    """Whether hosts rehash their binaries: as they did for the plan. BadInput when `deep` asks for more."""
    if deep and not saved["deep"]:
        what, allowed = "--deep, and the plan was made without it", "a plan that was made with --deep"
        raise BadInput(
            [
                Problem(
                    where=str(path),
                    what=what,
                    allowed=allowed,
                    todo="make a new plan (kubewright plan --deep -o), or leave out --deep",
                )
            ]
        )
    return bool(saved["deep"])


def moved(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The inputs that changed since the plan was made, by name; empty when the plan is still valid."""
    found = [name for name in ("cluster.yaml", "certificates.json") if saved[name] != now[name]]
    found += [f"artifact {name}" for name in _differing(saved["artifacts"], now["artifacts"])]
    for host in sorted(saved["hosts"].keys() | now["hosts"].keys()):
        parts = _differing(saved["hosts"].get(host, {}), now["hosts"].get(host, {}))
        found += [f"{host}: {part}" for part in parts]
    if not found:
        found = [f"{host}: what is to be done ({_BY_ITSELF})" for host in _differing(saved["changes"], now["changes"])]
    return found


def _differing(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
