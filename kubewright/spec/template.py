"""A first cluster.yaml: every setting, commented out, with its default and description.

The model owns names, defaults and descriptions.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

from kubewright.errors import BadInput, Problem
from kubewright.spec.load import FILE
from kubewright.spec.model import ClusterSpec, HostSpec
from kubewright.spec.sections import Settings
from kubewright.spec.shapes import LABEL
from kubewright.spec.wording import shown

_HEAD = """\
A cluster, for kubewright. Lines that begin with "#" and a space explain the setting below them.
A setting right behind its "#" shows the default or an example: remove the "#" to set it, and the "#" of the
section that it is indented under. Then: kubewright validate -i {folder}
"""


_HOST = {"name": "m1", "address": "192.0.2.11", "roles": ["master", "worker"]}
"""The one host that the template begins with: a documentation address, master and worker at once."""


def init(folder: Path) -> Path:
    """Write a commented cluster.yaml into `folder`, which is made if need be; the file's path.

    Raises BadInput if there is one, or if it can't be written: nothing is ever overwritten.
    """
    path = folder / FILE
    text = template(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        what, allowed = "already there", "a folder without a cluster.yaml"
        todo = "choose another folder, or edit what is there"
        where = str(path if folder.is_dir() else folder)
        raise BadInput([Problem(where=where, what=what, allowed=allowed, todo=todo)]) from None
    except (OSError, ValueError) as error:
        what = f"can't be written ({(getattr(error, 'strerror', None) or str(error)).lower()})"
        allowed, todo = "a folder that you can write to", "choose another folder"
        raise BadInput([Problem(where=str(path), what=what, allowed=allowed, todo=todo)]) from None
    return path


def template(folder: Path) -> str:
    """The text of a cluster.yaml for a cluster named after `folder`. It validates as it is."""
    name = re.sub(r"[^a-z0-9]+", "-", folder.absolute().name.lower())[:40].strip("-")
    given = {"name": name if re.fullmatch(LABEL, name) else "cluster"}
    lines = list(_comment(_HEAD.format(folder=shown(str(folder), limit=200)), ""))
    for key, field in ClusterSpec.model_fields.items():
        lines += ["", *_comment(ClusterSpec.descriptions()[key], "")]
        if key == "hosts":
            lines += ["hosts:", *_host()]
        elif section := _section(field):
            lines += [f"#{key}:", *_settings(section, "  ")]
        else:
            lines += _setting(key, field, "", given.get(key))
    return "\n".join(lines) + "\n"


def _host() -> Iterator[str]:
    dash = "- "
    for key, field in HostSpec.model_fields.items():
        yield from _comment(HostSpec.descriptions()[key], "  " if dash == "- " else "    ")
        if section := _section(field):
            example = "port: 22" if "port" in section.model_fields else "kubelet: {v: 4}"
            yield f"    #{key}: {{{example}}}"
        elif key in _HOST:
            yield f"  {dash}{key}: {_yaml(_HOST[key])}"
            dash = "  "
        else:
            yield from _setting(key, field, "    ", None)


def _settings(section: type[Settings], indent: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        if section.__name__ == "Ssh" and name == "host":
            continue  # for single hosts only
        yield from _comment(section.descriptions()[name], indent)
        yield from _setting(field.alias or name, field, indent, None)


def _setting(key: str, field: FieldInfo, indent: str, value: object) -> Iterator[str]:
    """The line of one setting: live with `value`, else commented out with its default, or with an example if that is
    nothing to see."""
    if value is not None:
        yield f"{indent}{key}: {_yaml(value)}"
        return
    default = field.get_default(call_default_factory=True, validated_data={})
    seen = default if default or not field.examples else field.examples[0]
    yield f"{indent}#{key}: {_yaml(seen)}"


def _section(field: FieldInfo) -> type[Settings] | None:
    return field.annotation if isinstance(field.annotation, type) and issubclass(field.annotation, Settings) else None


def _comment(text: str, indent: str) -> Iterator[str]:
    for line in textwrap.wrap(" ".join(text.split()), 110 - len(indent)):
        yield f"{indent}# {line}"


def _yaml(value: Any) -> str:
    """The value in one line of YAML."""
    if isinstance(value, IPv4Address | IPv4Network):
        value = str(value)
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = True
    yaml.width = 1000
    out = io.StringIO()
    yaml.dump(list(value) if isinstance(value, tuple) else value, out)
    return out.getvalue().removesuffix("...\n").strip()
