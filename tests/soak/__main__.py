"""`python -m tests.soak` (`make soak`): proofs that take too long for `make test`.

A stopped run resumes: .soak.json records the finished proofs and their seeds. `--from-start` deletes that record.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from kubewright.errors import FAILED
from tests.cluster.conftest import REPOSITORY
from tests.soak.proofs import PROOFS, Ground, Proof, ground

STATE = REPOSITORY / ".soak.json"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--from-start", action="store_true", help="delete the record of finished proofs")
    parser.add_argument("--only", choices=[proof.name for proof in PROOFS], help="one proof")
    parser.add_argument("--seed", type=int, help="with --only: repeat that seed; it is not counted")
    found = parser.parse_args()
    if found.seed is not None and not found.only:
        parser.error("--seed needs --only")
    return found


def _read(path: Path) -> dict[str, list[dict[str, Any]]]:
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _write(path: Path, done: dict[str, list[dict[str, Any]]]) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(done, indent=1))
    temporary.replace(path)


def _count(rows: list[dict[str, Any]]) -> int:
    return sum(row["count"] for row in rows)


def _complete(proof: Proof, on: Ground, done: dict[str, list[dict[str, Any]]]) -> None:
    """Repeat the proof until the wanted number is reached. Record each success."""
    rows = done.setdefault(proof.name, [])
    while (missing := proof.wanted - _count(rows)) > 0:
        seed, count, began = len(rows), min(proof.at_once, missing), time.monotonic()
        said = _once(proof, on, seed, count)
        rows.append({"seed": seed, "count": count, "seconds": round(time.monotonic() - began), "said": said})
        _write(STATE, done)


def _once(proof: Proof, on: Ground, seed: int, count: int) -> str:
    try:
        said = proof.carry_out(on, seed, count)
    except Exception:
        print(f"again: python -m tests.soak --only '{proof.name}' --seed {seed}", flush=True)
        raise
    print(f"{proof.name}: {said}", flush=True)
    return said


def main() -> None:
    """Run the proofs, and print the counts of this and of earlier runs."""
    given = _options()
    wanted = [proof for proof in PROOFS if given.only in (None, proof.name)]
    if given.from_start:
        STATE.unlink(missing_ok=True)
    done = _read(STATE)
    try:
        with ground() as on:
            for proof in wanted:
                if given.seed is not None:
                    _once(proof, on, given.seed, proof.at_once)
                else:
                    _complete(proof, on, done)
    except KeyboardInterrupt:
        print("stopped; finished proofs are recorded, and the same command resumes")
        sys.exit(FAILED)
    finally:
        for proof in PROOFS:
            rows = done.get(proof.name, [])
            print(f"{_count(rows):>7} of {proof.wanted:<7} {proof.name}, {sum(row['seconds'] for row in rows)} s")


if __name__ == "__main__":
    main()
