"""How each component is built from Go modules: pure data, and the text of the wrapper module.

`go install module@version` refuses modules with `replace` lines, so each component gets a small main module that
requires it and repeats the replacements it needs. Not here: running anything (gomod.py).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources

from kubewright.artifacts.model import CNI, ETCD, KUBERNETES
from kubewright.errors import Failed
from kubewright.releases import SUPPORTED, Version

WRAPPER = "kubewright.invalid/build"


@dataclass(frozen=True, kw_only=True)
class Program:
    """One binary of a recipe: its package, and the arguments with which it prints its version."""

    name: str
    package: str
    probe: tuple[str, ...] | None = ("--version",)
    """None: it prints no version."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One run of `go build`. `modules` are (path, version with v); the first is the one whose `go` line counts."""

    component: str
    version: str
    """The version that the binaries must print, without v."""
    modules: tuple[tuple[str, str], ...] = ()
    programs: tuple[Program, ...]
    staging: str = ""
    """The version for every module that the first one replaces by a folder of its own."""
    replaces: tuple[tuple[str, str], ...] = ()
    """(module, version), or (module => other module, its version)."""
    stamps: tuple[tuple[str, str], ...] = ()
    """-X name=value."""
    tags: tuple[str, ...] = ()
    cgo: bool = False
    """Linked statically even with cgo: hosts have another C library than the machine that builds."""
    packages: tuple[tuple[str, str], ...] = ()
    """The packages that the build needs: (Debian package, a file that proves it is installed)."""
    folders: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Folders of the first module, kept beside its programs, each as a tar: (name, path). Not in the digest: the module's
    version identifies them."""
    source: str = ""
    """A main.go of our own, when there is no module."""
    stubs: tuple[tuple[str, str], ...] = ()
    """Modules of our own instead of ones that can't be had: (module path, the text of its one file)."""
    sources: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """A program of our own that needs modules: (file name, text)."""

    @property
    def digest(self) -> str:
        # Without an empty `stubs`: what was built before recipes had them stays valid.
        said = repr(self) if self.stubs else repr(self).replace(", stubs=()", "")
        said += repr(self.sources) if self.sources else ""
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    @property
    def ldflags(self) -> str:
        parts = ["-s", "-w", *(f"-X {name}={value}" for name, value in self.stamps)]
        if self.cgo:
            parts += ["-linkmode external", "-extldflags -static"]
        return " ".join(parts)


GCC = ("gcc", "gcc")
LIBC = ("libc6-dev", "/usr/include/stdlib.h")
SECCOMP = ("libseccomp-dev", "/usr/include/seccomp.h")
PKG_CONFIG = ("pkg-config", "pkg-config")


def _kubernetes_stamps(version: str) -> tuple[tuple[str, str], ...]:
    """Upstream's linker flags, except the commit, which modules do not carry. `archive` is upstream's word for such a tree."""
    parsed = Version.parse(version)
    values = {
        "gitVersion": f"v{version}",
        "gitMajor": str(parsed.major),
        "gitMinor": str(parsed.minor),
        "gitCommit": "unknown",
        "gitTreeState": "archive",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return tuple((f"{package}.{name}", value) for package in packages for name, value in values.items())


def _kubernetes(version: str) -> Recipe:
    def program(name: str) -> Program:
        probe = ("version", "--client") if name == "kubectl" else ("--version",)
        return Program(name=name, package=f"k8s.io/kubernetes/cmd/{name}", probe=probe)

    return Recipe(
        component="kubernetes",
        version=version,
        modules=(("k8s.io/kubernetes", f"v{version}"),),
        staging="v0." + version.partition(".")[2],
        programs=tuple(map(program, KUBERNETES)),
        stamps=_kubernetes_stamps(version),
    )


def _agnhost(version: str) -> Recipe:
    """A package of the kubernetes module: the newest release that carries this agnhost."""
    for release in reversed(SUPPORTED):
        if release.agnhost == version:
            program = Program(name="agnhost", package="k8s.io/kubernetes/test/images/agnhost")
            kubernetes = _kubernetes(release.kubernetes)
            stamps = (*kubernetes.stamps, ("main.Version", version))
            return replace(kubernetes, component="agnhost", version=version, programs=(program,), stamps=stamps)
    raise Failed(f"agnhost {version}: no supported Kubernetes release carries it; take one of kubewright.releases")


def _etcd(version: str) -> Recipe:
    def program(name: str) -> Program:
        part = "server" if name == "etcd" else name
        probe = ("--version",) if name == "etcd" else ("version",)
        return Program(name=name, package=f"go.etcd.io/etcd/{part}/v3", probe=probe)

    programs = tuple(map(program, ETCD))
    modules = tuple((program.package, f"v{version}") for program in programs)
    stamp = ("go.etcd.io/etcd/api/v3/version.GitSHA", "unknown")
    return Recipe(component="etcd", version=version, modules=modules, programs=programs, stamps=(stamp,))


def _containerd(version: str) -> Recipe:
    module = "github.com/containerd/containerd/v2"
    return Recipe(
        component="containerd",
        version=version,
        modules=((module, f"v{version}"),),
        programs=(
            Program(name="containerd", package=f"{module}/cmd/containerd"),
            Program(name="containerd-shim-runc-v2", package=f"{module}/cmd/containerd-shim-runc-v2", probe=("-v",)),
            Program(name="ctr", package=f"{module}/cmd/ctr"),
        ),
        stamps=((f"{module}/version.Version", f"v{version}"),),
        tags=("no_btrfs",),  # needs the kernel's btrfs headers, and nothing here uses that snapshotter
    )


def _runc(version: str) -> Recipe:
    module = "github.com/opencontainers/runc"
    return Recipe(
        component="runc",
        version=version,
        modules=((module, f"v{version}"),),
        programs=(Program(name="runc", package=module),),
        tags=("seccomp", "netgo", "osusergo"),
        cgo=True,
        packages=(GCC, LIBC, SECCOMP, PKG_CONFIG),
    )


def _cni(version: str) -> Recipe:
    module = "github.com/containernetworking/plugins"
    kinds = {"bridge": "main", "loopback": "main", "host-local": "ipam"}
    return Recipe(
        component="cni",
        version=version,
        modules=((module, f"v{version}"),),
        programs=tuple(
            Program(name=name, package=f"{module}/plugins/{kinds.get(name, 'meta')}/{name}", probe=()) for name in CNI
        ),
        stamps=((f"{module}/pkg/utils/buildversion.BuildVersion", f"v{version}"),),
    )


def _cni_flannel(_: str) -> Recipe:
    """The plugin's own repository (flannel-io/cni-plugin) cannot be used as a module. The last version that was among the
    CNI plugins reads the same subnet.env and delegates in the same way."""
    module, version = "github.com/containernetworking/plugins", "0.9.1"
    return Recipe(
        component="cni",
        version=version,
        modules=((module, f"v{version}"),),
        programs=(Program(name="flannel", package=f"{module}/plugins/meta/flannel", probe=()),),
        stamps=((f"{module}/pkg/utils/buildversion.BuildVersion", f"v{version}"),),
    )


def _flannel(version: str) -> Recipe:
    module, tencent = "github.com/flannel-io/flannel", "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud"
    return Recipe(
        component="flannel",
        version=version,
        modules=((module, f"v{version}"),),
        programs=(Program(name="flanneld", package=module),),
        # The versions that flannel requires are no longer available; kubewright does not offer that cloud backend.
        replaces=((f"{tencent}/common", "v1.3.103"), (f"{tencent}/vpc", "v1.3.75")),
        stamps=((f"{module}/pkg/version.Version", f"v{version}"),),
        tags=("netgo", "osusergo"),
        cgo=True,  # its udp backend is C on amd64
        packages=(GCC, LIBC),
    )


def _coredns(version: str) -> Recipe:
    module = "github.com/coredns/coredns"
    return Recipe(
        component="coredns",
        version=version,
        modules=((module, f"v{version}"),),
        programs=(Program(name="coredns", package=module, probe=("-version",)),),
        stamps=((f"{module}/coremain.GitCommit", "unknown"),),
    )


def _crictl(version: str) -> Recipe:
    module = "sigs.k8s.io/cri-tools"
    return Recipe(
        component="crictl",
        version=version,
        modules=((module, f"v{version}"),),
        programs=(Program(name="crictl", package=f"{module}/cmd/crictl"),),
        stamps=((f"{module}/pkg/version.Version", f"v{version}"),),
    )


def _kube_bench(version: str) -> Recipe:
    """Only tests use it. Its checks are a folder of the module, used unchanged."""
    module = "github.com/aquasecurity/kube-bench"
    return Recipe(
        component="kube-bench",
        version=version,
        modules=((module, f"v{version}"),),
        programs=(Program(name="kube-bench", package=module, probe=("version",)),),
        folders=(("cfg", "cfg"),),
        stamps=((f"{module}/cmd.KubeBenchVersion", f"v{version}"),),
    )


def _metrics_server(version: str) -> Recipe:
    module = "sigs.k8s.io/metrics-server"
    return Recipe(
        component="metrics-server",
        version=version,
        modules=((module, f"v{version}"),),
        programs=(Program(name="metrics-server", package=f"{module}/cmd/metrics-server"),),
        stamps=(("k8s.io/client-go/pkg/version.gitVersion", f"v{version}"),),
    )


def _local_path(version: str) -> Recipe:
    module = "github.com/rancher/local-path-provisioner"
    return Recipe(
        component="local-path",
        version=version,
        modules=((module, f"v{version}"),),
        programs=(Program(name="local-path-provisioner", package=module),),
        stamps=(("main.VERSION", f"v{version}"),),
    )


def _local_path_helper(version: str) -> Recipe:
    source = resources.files("kubewright.artifacts").joinpath("local_path_helper/main.go").read_text()
    program = Program(name="local-path-helper", package=".", probe=None)
    return Recipe(component="local-path-helper", version=version, programs=(program,), source=source)


def _traefik(version: str) -> Recipe:
    module, fork = "github.com/traefik/traefik/v3", "github.com/containous"
    ours = resources.files("kubewright.artifacts").joinpath("traefik")
    return Recipe(
        component="traefik",
        version=version,
        modules=((module, f"v{version}"),),
        programs=(Program(name="traefik", package=f"{module}/cmd/traefik", probe=("version",)),),
        # Traefik's own replacements. Of the first fork only this earlier commit is available.
        replaces=(
            (f"github.com/abbot/go-http-auth => {fork}/go-http-auth", "v0.4.1-0.20200324110947-a37a7636d23e"),
            (f"github.com/gorilla/mux => {fork}/mux", "v0.0.0-20250523120546-41b6ec3aed59"),
        ),
        stubs=(
            ("github.com/go-acme/lego/v5/providers/dns", ours.joinpath("dns.go").read_text()),
            ("github.com/traefik/traefik/dynamic/ext", ours.joinpath("ext.go").read_text()),
        ),
        stamps=((f"{module}/pkg/version.Version", version),),
    )


def _distribution(version: str) -> Recipe:
    """Only tests use it: the registry."""
    module = "github.com/distribution/distribution/v3"
    return Recipe(
        component="distribution",
        version=version,
        modules=((module, f"v{version}"),),
        programs=(Program(name="registry", package=f"{module}/cmd/registry"),),
        stamps=((f"{module}/version.version", f"v{version}"),),
    )


def _pause(version: str) -> Recipe:
    source = resources.files("kubewright.artifacts").joinpath("pause/main.go").read_text()
    program = Program(name="pause", package=".", probe=None)
    return Recipe(component="pause", version=version, programs=(program,), source=source)


def _kube2sky(version: str) -> Recipe:
    """A program of our own: see kube2sky/main.go. Its modules are pinned here; they are not those of the cluster's release."""
    folder = resources.files("kubewright.artifacts").joinpath("kube2sky")
    files = sorted(file.name for file in folder.iterdir() if file.name.endswith(".go"))
    return Recipe(
        component="kube2sky",
        version=version,
        modules=(
            ("k8s.io/client-go", "v0.37.1"),
            ("k8s.io/api", "v0.37.1"),
            ("k8s.io/apimachinery", "v0.37.1"),
            ("go.etcd.io/etcd/client/v3", "v3.7.3"),
            ("go.etcd.io/etcd/api/v3", "v3.7.3"),
        ),
        programs=(Program(name="kube2sky", package="."),),
        stamps=(("main.version", version),),
        sources=tuple((name, folder.joinpath(name).read_text()) for name in files),
    )


_RECIPES = {
    "kubernetes": _kubernetes,
    "agnhost": _agnhost,
    "etcd": _etcd,
    "containerd": _containerd,
    "runc": _runc,
    "cni": _cni,
    "flannel": _flannel,
    "coredns": _coredns,
    "crictl": _crictl,
    "kube-bench": _kube_bench,
    "distribution": _distribution,
    "pause": _pause,
    "metrics-server": _metrics_server,
    "local-path": _local_path,
    "local-path-helper": _local_path_helper,
    "traefik": _traefik,
    "kube2sky": _kube2sky,
}


@cache
def recipe_for(component: str, version: str) -> Recipe:
    """The recipe of a component at a version without `v`. Failed when there is none."""
    if component == "cni" and version.endswith("-flannel1"):
        return _cni_flannel(version)
    if component not in _RECIPES:
        raise Failed(f"{component}: cannot be built from Go modules; known: {', '.join(sorted(_RECIPES))}")
    return _RECIPES[component](version)


def wrapper_go_mod(recipe: Recipe, upstream: str) -> str:
    """The wrapper's go.mod. `upstream` is the text of the first module's own go.mod ("" when there is none): its `go` and
    `godebug` lines are repeated, because Go reads only the main module's."""
    found = re.search(r"^go (\d+\.\d+)(\.\d+)?$", upstream, re.MULTILINE)
    language = Version.parse(found[1] + (found[2] or "")) if found else Version(1, 24)
    # A line older than 1.24 would bring back old TLS and HTTP defaults.
    lines = [f"module {WRAPPER}", f"go {max(language, Version(1, 24))}"]
    lines += re.findall(r"^godebug \S+=\S+$", upstream, re.MULTILINE)
    lines += [f"require {module} {version}" for module, version in recipe.modules]
    if recipe.staging:
        folders = re.findall(r"^\s*(?:replace )?(\S+) => \./staging/", upstream, re.MULTILINE)
        lines += [f"replace {module} => {module} {recipe.staging}" for module in sorted(folders)]
    for module, version in recipe.replaces:
        lines.append(f"replace {module} {version}" if " => " in module else f"replace {module} => {module} {version}")
    for number, (module, _) in enumerate(recipe.stubs):
        lines += [f"require {module} v0.0.0", f"replace {module} => ./stub{number}"]
    return "\n".join(lines) + "\n"
