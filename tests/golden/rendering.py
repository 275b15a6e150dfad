"""The files of a host as text that is the same in every run: certificates are shown by their content."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from deploy.waves import ROLES
from kubewright.plan.context import Context
from kubewright.plan.desired import ClusterTask, Desired, File, Stored, Unit
from pki import certificates, encryption


def _certificate(pem: bytes) -> str:
    certificate = certificates.from_pem(pem)
    subject = certificates.subject_of(certificate)
    names = [*subject.dns_names, *map(str, subject.addresses)]
    parts = [
        f"CN={subject.common_name}",
        *(f"O={o}" for o in subject.organizations),
        f"usages={','.join(subject.usages)}" if subject.usages else "CA",
        *([f"SANs={','.join(names)}"] if names else []),
        f"issuer={certificate.issuer.rfc4514_string()}",
    ]
    return f"<certificate {' '.join(parts)}>"


_LOGIN = re.compile(r"Basic [A-Za-z0-9+/=]+")


def content(file: File) -> str:
    if isinstance(file.content, Stored):
        return f"<private {file.content.name}>" if file.content.name == encryption.ROW else f"<key {file.content.name}>"
    if file.content.startswith(b"-----BEGIN CERTIFICATE"):
        return _certificate(file.content)
    if file.content.startswith(b"-----BEGIN PUBLIC KEY"):
        load_pem_public_key(file.content)
        return "<public key>"
    if file.hidden:
        return _LOGIN.sub("<login>", file.content.decode())
    return file.content.decode()


def _block(text: str) -> Iterator[str]:
    for line in text.removesuffix("\n").split("\n"):
        yield f"    {line}".rstrip()


def _file(kind: str, file: File) -> Iterator[str]:
    restarts = f" restarts {', '.join(file.restarts)}" if file.restarts else ""
    yield f"{kind} {file.path} {file.owner}:{file.group} {file.mode:04o}{restarts}"
    yield from _block(content(file))
    if file.apply:
        yield "  apply:"
        yield from _block(file.apply)


def _task(task: ClusterTask) -> Iterator[str]:
    yield f"task {task.title}"
    yield from _block(_manifest(task.content) if task.content.startswith(b"{") else task.content.decode())
    yield "  apply:"
    yield from _block(task.apply)
    yield "  evidence:"
    yield from (f"    {about}: {_SUM.sub('<sum>', value)}" for about, value in task.evidence.items())


_SUM = re.compile("[0-9a-f]{64}")


def _manifest(content: bytes) -> str:
    """JSON as YAML, for people; without the sum, which changes with every line."""
    yaml, out, found = YAML(), io.StringIO(), json.loads(content)
    yaml.width = 130
    yaml.dump_all(map(_readable, found["items"] if found["kind"] == "List" else [found]), out)
    return _SUM.sub("<sum>", out.getvalue())


def _readable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _readable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_readable(each) for each in value]
    return LiteralScalarString(value) if isinstance(value, str) and "\n" in value else value


def _unit(unit: Unit) -> Iterator[str]:
    yield f"unit {unit.name} (at most {unit.timeout} s)"
    for name in ("gate", "before_stop", "ready"):
        if text := getattr(unit, name):
            yield f"  {name}:"
            yield from _block(text)
    if unit.trial:
        yield f"  on the first host, for {unit.trial.seconds} s when one of these changed: {', '.join(unit.trial.causes)}"
    for field in fields(unit.transfer) if unit.transfer else ():
        yield f"  transfer, {field.name}:"
        yield from _block(getattr(unit.transfer, field.name))


def step(desired: Desired) -> Iterator[str]:
    yield from (f"package {p}" for p in desired.packages)
    yield from (f"user {u}" for u in desired.users)
    yield from (f"folder {d.path} {d.owner}:{d.group} {d.mode:04o}" for d in desired.directories)
    yield from (f"payload {p.path} {p.mode:04o}" for p in desired.payloads)
    for file in desired.files:
        yield from _file("file", file)
    for link in desired.links:
        yield f"link {link.path} -> {link.target}" + (f" restarts {', '.join(link.restarts)}" if link.restarts else "")
    for unit in desired.units:
        yield from _unit(unit)
    for file in desired.late:
        yield from _file("late", file)
    for task in desired.tasks:
        yield from _task(task)


def host(context: Context) -> str:
    """All steps of one host, in order."""
    lines: list[str] = []
    for role in ROLES:
        if role.runs_on(context.node) and (found := list(step(role.desired(context)))):
            lines += [f"== {role.name}", *found, ""]
    return "\n".join(lines)
