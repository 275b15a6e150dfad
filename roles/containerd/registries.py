"""containerd's files about registries (hosts.toml, read at each pull), and whether the registries answer a host.

Credentials are a header in these files: docs/decisions/0018-credentials-in-hosts-toml.md.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kubewright.model.cluster import Node, Plan
from kubewright.model.images import Images, Login
from kubewright.plan.context import render
from kubewright.plan.desired import Directory, File
from kubewright.spec.images import DOCKER, host_of

FOLDER = "/etc/containerd/certs.d"
OTHERS = "*"
SECONDS = 10
_UPSTREAM = {DOCKER: "registry-1.docker.io"}


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One address that containerd asks. `host` is the registry's name; `ca` its CA's path, empty: the system's CAs."""

    url: str
    host: str
    ca: str = ""
    login: Login | None = None

    @property
    def is_root(self) -> bool:
        """Whether the URL is the root of the API; otherwise containerd adds /v2."""
        return f"{self.url}/".partition("://")[2].partition("/")[2].startswith("v2/")

    @property
    def api(self) -> str:
        """The address that says whether the registry lets a client in [OCI distribution spec: end-1]."""
        if self.is_root:
            scheme, _, rest = self.url.partition("://")
            return f"{scheme}://{rest.partition('/')[0]}/v2/"
        return f"{self.url}/v2/"


def folder_of(name: str) -> str:
    """containerd's folder for a registry [containerd: core/remotes/docker/config/config_unix.go, hostPaths]."""
    host, colon, port = name.partition(":")
    return f"{FOLDER}/_default" if name == OTHERS else f"{FOLDER}/{host}_{port}_" if colon else f"{FOLDER}/{name}"


def directories(images: Images) -> tuple[Directory, ...]:
    names = _names(images)
    return (Directory(path=FOLDER), *(Directory(path=folder_of(name)) for name in names)) if names else ()


def files(images: Images) -> tuple[File, ...]:
    """A hosts.toml for each registry, and its CA. None restarts anything."""
    return tuple(file for name in _names(images) for file in _files(images, name))


def endpoints(images: Images) -> tuple[Endpoint, ...]:
    """All addresses that cluster.yaml names, each once."""
    named = [_endpoint(images, url) for urls in images.mirrors.values() for url in urls]
    if not images.mirrors_only:
        named += [_registry(images, name) for name in images.registries if name != OTHERS]
    else:
        named += [_registry(images, name) for name in images.registries if name not in images.mirrors]
    return tuple({endpoint.api: endpoint for endpoint in named}.values())


def _names(images: Images) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*images.mirrors, *images.registries)))


def _files(images: Images, name: str) -> Iterator[File]:
    mirrors = tuple(_endpoint(images, url) for url in images.mirrors.get(name, ()))
    server = None if name == OTHERS else _registry(images, name)
    alone = bool(mirrors) and images.mirrors_only
    if alone:
        *rest, server = mirrors
        mirrors = tuple(rest)
    yield File(
        path=f"{folder_of(name)}/hosts.toml",
        content=render("containerd/hosts.toml.j2", server=server, mirrors=mirrors, alone=alone),
        mode=0o600,
        # Always: a diff would show the login that the host's file has and the new one has not.
        hidden=True,
    )
    if name in images.registries and images.registries[name].ca:
        yield File(path=_ca(name), content=images.registries[name].ca)


def _ca(name: str) -> str:
    return f"{folder_of(name)}/ca.crt"


def _endpoint(images: Images, url: str) -> Endpoint:
    host = host_of(url)
    registry = images.registries.get(host)
    if registry is None:
        return Endpoint(url=url, host=host)
    return Endpoint(url=url, host=host, ca=_ca(host) if registry.ca else "", login=registry.login)


def _registry(images: Images, name: str) -> Endpoint:
    """The registry itself."""
    scheme = images.registries[name].scheme if name in images.registries else "https"
    there = _endpoint(images, f"{scheme}://{name}")
    return Endpoint(url=f"{scheme}://{_UPSTREAM.get(name, name)}", host=there.host, ca=there.ca, login=there.login)


# The header goes from a root-only file to curl's standard input: process arguments are for everyone to see.
_ASK = f"""ask() {{ # address, CA, file with the login, registry: the headers, then the status or curl's complaint
  {{
    printf 'url = "%s"\\n' "$1"
    [ -z "$2" ] || printf 'cacert = "%s"\\n' "$2"
    [ -z "$3" ] || sed -n "s|^ *Authorization = \\"\\(.*\\)\\" # $4\\$|header = \\"Authorization: \\1\\"|p" "$3" | head -n 1
  }} | curl -q -K - -sS -D - -o /dev/null --max-time {SECONDS} --proto =http,https --noproxy '*' -w 'HTTP %{{http_code}}\\n' 2>&1
}}
try() {{ # number, then as above
  number=$1; shift
  said=$(ask "$@") && code=0 || code=$?
  # containerd trusts the CA beside the system's own; curl trusts one or the other.
  if [ $code = 60 ] && [ -n "$2" ] && again=$(ask "$1" '' "$3" "$4"); then said=$again code=0; fi
  challenge=$(printf '%s\\n' "$said" | tr -d '\\r' | grep -i '^www-authenticate: *bearer ' | head -n 1)
  field() {{ printf '%s\\n' "$challenge" | sed -n "s/.*[ ,]$1=\\"\\([^\\"]*\\)\\".*/\\1/p"; }}
  realm=$(field realm)
  case "$realm" in https://*)
    said=$(ask "$realm?service=$(field service)" "$2" "$3" "$4") && code=0 || code=$?
    if [ $code = 60 ] && [ -n "$2" ] && again=$(ask "$realm?service=$(field service)" '' "$3" "$4"); then said=$again code=0; fi
  esac
  printf '%s %s %s\\n' "$number" $code "$(printf '%s\\n' "$said" | grep -e '^curl:' -e '^HTTP [0-9]*$' | head -n 1)"
}}
"""


def question(images: Images) -> str:
    """Shell that asks all endpoints in parallel and prints a line for each: its number, curl's exit status, the answer."""
    lines = []
    for number, each in enumerate(endpoints(images)):
        place = _place(images, each) if each.login else ""
        arguments = " ".join(shlex.quote(value) for value in (str(number), each.api, each.ca, place, each.host))
        lines.append(f"try {arguments} &\n")
    return f"{_ASK}{''.join(lines)}wait"


def _place(images: Images, endpoint: Endpoint) -> str:
    """A file on hosts that has the endpoint's login."""
    holders = (n for n in _names(images) for f in _files(images, n) if f.hidden and f" # {endpoint.host}\n".encode() in _text(f))
    return f"{folder_of(next(holders))}/hosts.toml"


def _text(file: File) -> bytes:
    assert isinstance(file.content, bytes)
    return file.content


def answer(host: Any, plan: Plan, _node: Node) -> None:
    """Every registry and mirror of cluster.yaml answers this host and accepts its credentials."""
    wanted = endpoints(plan.images)
    if not wanted:
        return
    said = host.run(f"sh -c {shlex.quote(question(plan.images))}").stdout
    lines = dict(line.partition(" ")[::2] for line in said.splitlines())
    wrong = [why for number, each in enumerate(wanted) if (why := _why(each, lines.get(str(number), "")))]
    assert not wrong, "; ".join(wrong)


def _why(endpoint: Endpoint, said: str) -> str:
    """Why pulls from there fail, empty when they work."""
    code, _, text = said.partition(" ")
    name = f"registry {endpoint.host} ({endpoint.api})"
    if code == "0":
        status = text.removeprefix("HTTP ")
        if status in ("401", "403") and endpoint.login:
            return (
                f"{name} refuses the user {endpoint.login.user} (HTTP {status}): correct user or password under images.registries"
            )
        if status in ("401", "403"):
            return f"{name} wants credentials (HTTP {status}): give it user and password_file under images.registries"
        return "" if status == "200" else f"{name} is not a registry (HTTP {status}): correct its address"
    if code in ("35", "51", "60", "77"):
        trusts = f"the CA of images.registries ({endpoint.ca})" if endpoint.ca else "the system's CAs"
        return f"{name}: its certificate is not trusted by {trusts}: {text}"
    return f"{name} does not answer: {text or 'no answer'}"
