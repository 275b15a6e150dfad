"""Shared preparation for the checks of one `verify`: made before them, always removed afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import gevent

from kubewright.model.cluster import Plan
from kubewright.plan.role import Fixture


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A fixture that could not be made or removed. `host`: the first of its hosts."""

    host: str
    role: str
    title: str
    why: str


class Fixtures:
    """The fixtures that `wanted` names, with the role of each. They exist inside its `with` block."""

    def __init__(self, hosts: Mapping[str, Any], plan: Plan, wanted: Iterable[tuple[str, Fixture]]) -> None:
        self._hosts, self._plan = hosts, plan
        self._roles = {fixture: role for role, fixture in wanted}
        self._name = f"{int(time.time())}-{os.urandom(4).hex()}"
        self._made: dict[Fixture, Any] = {}
        self.broken: list[Broken] = []

    def __enter__(self) -> Fixtures:
        try:
            self._all(self._make)
        except BaseException:
            self._all(self._remove)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._all(self._remove)

    def made(self, fixture: Fixture) -> Any:
        """The result of `make`. AssertionError when it failed."""
        assert fixture in self._made, f"not tried, because this could not be made: {fixture.title}"
        return self._made[fixture]

    def _all(self, do: Callable[[Fixture], None]) -> None:
        gevent.joinall([gevent.spawn(self._keep, do, fixture) for fixture in self._roles], raise_error=True)

    def _keep(self, do: Callable[[Fixture], None], fixture: Fixture) -> None:
        try:
            do(fixture)
        except Exception as error:  # as in a check: a finding, not a crash
            host = next(iter(self._on(fixture)), "this machine")
            why = str(error) or type(error).__name__
            self.broken.append(Broken(host=host, role=self._roles[fixture], title=fixture.title, why=why))

    def _make(self, fixture: Fixture) -> None:
        self._made[fixture] = fixture.make(self._on(fixture), self._plan, self._name)

    def _remove(self, fixture: Fixture) -> None:
        fixture.remove(self._on(fixture), self._plan, self._name)

    def _on(self, fixture: Fixture) -> dict[str, Any]:
        return {name: host for name, host in self._hosts.items() if fixture.on(self._plan.node(name))}
