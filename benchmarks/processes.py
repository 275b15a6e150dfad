"""Run programs and measure their time."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Done:
    """A program's elapsed and CPU seconds, and its standard output."""

    seconds: float
    cpu: float
    output: str


def run(*command: str, allowed: tuple[int, ...] = (0,)) -> Done:
    """Run and time a program. RuntimeError, with the end of its output, for another exit status than `allowed`."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        began = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        text = output.read()
        if process.returncode not in allowed:
            said = "\n".join((text + errors.read()).strip().splitlines()[-5:])
            raise RuntimeError(f"{' '.join(command)}: {process.returncode}: {said}")
    return Done(seconds=seconds, cpu=usage.ru_utime + usage.ru_stime, output=text)
