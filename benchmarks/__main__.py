"""`python -m benchmarks`: measure, print the table, write it beside this file. A figure never fails a build."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

from benchmarks import certificates, computing, on_hosts
from benchmarks.figures import Figure, Missing, machine, publish
from kubewright.errors import FAILED


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted(int(part) for part in text.split(",")))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--without-lab", action="store_true", help="only what needs no host")
    parser.add_argument("--nodes", type=_sizes, default=computing.SIZES, help="sizes that are computed (%(default)s)")
    parser.add_argument("--hosts", type=int, default=5, help="hosts that are installed (%(default)s)")
    parser.add_argument("--plan-hosts", type=_sizes, default=(5, 20, 50), help="sizes of the plans (%(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions of what is cheap (%(default)s)")
    return parser.parse_args()


def main() -> int:
    """Every group, one after another. Exits 1 when one could not be measured at all, never for a figure."""
    given = _options()
    groups: dict[str, Callable[[], Iterator[Figure]]] = {
        computing.GROUP: lambda: computing.measure(given.nodes, given.repeat, _say),
        certificates.GROUP: lambda: certificates.measure(given.nodes[-1], _say),
    }
    if not given.without_lab:
        groups[on_hosts.GROUP.format(given.hosts)] = lambda: on_hosts.measure_apply(given.hosts, given.repeat, _say)
        groups[on_hosts.PLANS] = lambda: on_hosts.measure_plans(given.plan_hosts, given.repeat, _say)
    where = machine()
    figures: list[Figure] = []
    missing: list[Missing] = []
    for name, group in groups.items():
        try:
            for figure in group():
                figures.append(figure)  # one by one: what was measured before a failure is kept
        except Exception as error:
            _say(f"{name}: {error}")
            missing.append(Missing(group=name, reason=f"{type(error).__name__}: {error}"))
    _say(f"written to {publish(figures, missing, where)}")
    return FAILED if missing else 0


if __name__ == "__main__":
    sys.exit(main())
