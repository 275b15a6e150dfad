"""Flags in extra_args: their spelling, removed flags, and flags that only kubewright may set."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kubewright.releases import DEFAULT, SUPPORTED, removed
from kubewright.spec.checks.owned import owned
from kubewright.spec.model import ClusterSpec
from kubewright.spec.sections import ExtraArgs
from kubewright.spec.wording import Finding, Place, shown

_FLAG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", re.ASCII)


def extra_args(spec: ClusterSpec) -> Iterator[Finding]:
    versions = _versions(spec)
    yield from _section(("extra_args",), spec.extra_args, versions)
    for index, host in enumerate(spec.hosts):
        if host.extra_args.model_fields_set:
            yield from _section(("hosts", index, "extra_args"), host.extra_args, versions)


def _section(place: Place, args: ExtraArgs, versions: dict[str, str]) -> Iterator[Finding]:
    for name, field in ExtraArgs.model_fields.items():
        component = field.alias or name
        for flag, value in args.of(component).items():
            at = (*place, component, flag)
            # A flag with leading dashes is looked up without them, since that finding is more useful.
            meant = _meant(flag)
            finding = _removed(at, component, meant, value, versions) or _owned(at, component, meant) or _badly_written(at, flag)
            if finding:
                yield finding


def _meant(flag: str) -> str:
    return flag.lstrip("-").split("=")[0].replace("_", "-")


def _badly_written(at: Place, flag: str) -> Finding | None:
    if _FLAG.fullmatch(flag):
        return None
    meant = _meant(flag)
    if flag.startswith("-"):
        what = f"a flag with its dashes ({shown(flag)})"
    elif "=" in flag:
        what = f"a flag with its value in its name ({shown(flag)})"
    elif "_" in flag and _FLAG.fullmatch(meant):
        what = f"a flag with underscores ({shown(flag)})"
    else:
        what = f"not a flag's name ({shown(flag)})"
    todo = f"write {meant}: VALUE" if _FLAG.fullmatch(meant) else "correct the name"
    return Finding(at=at, what=what, allowed="the name alone, in lower case with dashes inside", todo=todo)


def _removed(at: Place, component: str, flag: str, value: str | None, versions: dict[str, str]) -> Finding | None:
    version = versions.get(component, versions["kubernetes"])
    gone = removed(component, f"{flag}={value}" if value else flag, version)
    if gone is None:
        return None
    # Some flags stay while one of their values is removed.
    name = f"--{flag}" if removed(component, flag, version) else f"--{flag}={shown(value)}"
    return Finding(
        at=at,
        what=f"a flag that is gone ({name} of {component}, since {gone.since})",
        allowed=f"flags of {component} {version}",
        todo=gone.replacement,
    )


def _owned(at: Place, component: str, flag: str) -> Finding | None:
    row = owned(component, flag)
    if row is None:
        return None
    return Finding(
        at=at,
        what=f"a flag that kubewright keeps to itself (--{flag} of {component}: {row.why})",
        allowed="flags that no certificate, identity or other setting depends on",
        todo=row.todo,
    )


def _versions(spec: ClusterSpec) -> dict[str, str]:
    """The version of "kubernetes" and of each component with its own versions.

    For an unsupported version, which another check reports, these are the default's.
    """
    release = next((release for release in SUPPORTED if release.kubernetes == spec.kubernetes), DEFAULT)
    return {"kubernetes": release.kubernetes, "etcd": release.etcd, "flanneld": release.flannel}
