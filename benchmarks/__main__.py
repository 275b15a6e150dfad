"""`python -m benchmarks [PART...]`: measure, print the table, write it beside this file. A figure never fails a build."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

from benchmarks import certificates, computing, names, network, on_hosts, plans, startup
from benchmarks.figures import Figure, Missing, machine, publish
from kubewright.errors import FAILED


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted(int(part) for part in text.split(",")))


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Figure]]] = {
    "start": lambda given: startup.measure(given.repeat, _say),
    "computing": lambda given: computing.measure(given.nodes, given.repeat, _say),
    "certificates": lambda given: certificates.measure(given.nodes[-1], _say),
    "dns": lambda _given: names.measure(_say),
    "apply": lambda given: on_hosts.measure(given.hosts, given.repeat, _say),
    "plans": lambda given: plans.measure(given.plan_hosts, given.repeat, _say),
    "network": lambda _given: network.measure(_say),
}
"""Each part yields its figures. The last three make a lab, and need root."""


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"what to measure, all by default: {', '.join(PARTS)}")
    parser.add_argument("--nodes", type=_sizes, default=computing.SIZES, help="sizes that are computed (%(default)s)")
    parser.add_argument("--hosts", type=int, default=5, help="hosts that are installed (%(default)s)")
    parser.add_argument("--plan-hosts", type=_sizes, default=plans.SIZES, help="sizes of the plans (%(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions of what is cheap (%(default)s)")
    given = parser.parse_args(arguments)
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no such part ({', '.join(sorted(unknown))}); there are {', '.join(PARTS)}")
    return given


def main(arguments: list[str]) -> int:
    """Measure the parts, one after another. Exits 1 when a part could not be measured, never for a figure."""
    given = _options(arguments)
    where = machine()
    figures: list[Figure] = []
    missing: list[Missing] = []
    for name in given.parts or PARTS:
        try:
            for figure in PARTS[name](given):
                figures.append(figure)  # one by one, to keep the figures before a failure
        except Exception as error:
            _say(f"{name}: {error}")
            missing.append(Missing(group=name, reason=f"{type(error).__name__}: {error}"))
    _say(f"written to {publish(figures, missing, where)}")
    return FAILED if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
