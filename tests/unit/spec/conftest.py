"""Every test of the spec reads a cluster.yaml from a folder without other files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kubewright.errors import BadInput
from kubewright.spec import loads

Problems = Callable[[str | bytes], list[str]]


@pytest.fixture
def problems(tmp_path: Path) -> Problems:
    """A function that gives the problems of a cluster.yaml as lines; its folder is shown as FOLDER."""

    def of(text: str | bytes) -> list[str]:
        try:
            loads(text.encode() if isinstance(text, str) else text, folder=tmp_path)
        except BadInput as error:
            return [str(problem).replace(str(tmp_path), "FOLDER") for problem in error.problems]
        return []

    return of
