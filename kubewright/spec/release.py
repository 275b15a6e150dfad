"""Write another release into a cluster.yaml: one value changes, everything else stays as people wrote it. Pure."""

from __future__ import annotations

import io

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode

from kubewright.errors import BadInput
from kubewright.spec.document import parse

KEY = "kubernetes"


def with_release(raw: bytes, version: str) -> bytes | None:
    """The file with that version of Kubernetes. None when its place can't be told: then a person edits it."""
    text = raw.decode("utf-8-sig")
    try:
        root = YAML(typ="safe", pure=True).compose(io.StringIO(text))
    except YAMLError:
        return None
    if not isinstance(root, MappingNode) or root.flow_style:
        return None
    value = next((value for key, value in root.value if key.value == KEY), None)
    if value is None:
        end = "" if not text or text.endswith("\n") else "\n"
        edited = f'{text}{end}{KEY}: "{version}"\n'
    elif isinstance(value, ScalarNode) and value.style in (None, '"', "'"):
        first, last = value.start_mark.index, value.end_mark.index
        edited = f'{text[:first]}"{version}"{text[last:]}'
    else:
        return None
    return edited.encode() if _only(raw, edited.encode(), version) else None


def _only(raw: bytes, edited: bytes, version: str) -> bool:
    """Whether nothing but the version differs."""
    try:
        before, now = parse(raw, name=""), parse(edited, name="")
    except BadInput:
        return False
    return not now.findings and isinstance(before.data, dict) and now.data == {**before.data, KEY: version}
