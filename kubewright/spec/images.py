"""The section `images` of a cluster.yaml: where hosts pull images from, and what is imported on them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kubewright.spec.fields import FilePath
from kubewright.spec.sections import EMPTY_IS_DEFAULT, Settings
from kubewright.spec.shapes import IPV4, PORT, SUBDOMAIN, EnvName, Shape

_HOST = rf"(?:{IPV4}|{SUBDOMAIN})(?::{PORT})?"
DOCKER = "docker.io"
_ALIASES = {"registry-1.docker.io": DOCKER, "index.docker.io": DOCKER}
_URL = "https://HOST[:PORT][/PATH], without user or password"

RegistryHost = Annotated[
    str,
    Shape(
        _HOST,
        "not a registry",
        "HOST or HOST:PORT in lower case, like registry.example.org:5000",
        "write it without scheme, path, user or password",
    ),
]
Mirrored = Annotated[
    str,
    Shape(
        rf"\*|{_HOST}",
        "not a registry",
        'HOST or HOST:PORT in lower case, like registry.k8s.io, or "*" for all others',
        "write it without scheme, path, user or password",
    ),
]
EndpointUrl = Annotated[
    str,
    Shape(
        r"(?!(?:[A-Za-z]+:)?//[^/?#]*@)[\s\S]*",
        "a user or password in a URL",
        _URL,
        "name the host under images.registries, with `user` and `password_file`",
    ),
    Shape(
        rf"https?://{_HOST}(?:/[A-Za-z0-9._~-]+)*/?",
        "not an http or https URL",
        _URL,
        "write it like https://mirror.example.org",
    ),
]
Repository = Annotated[
    str,
    # The first part of a reference is a host only with a dot, a port, or as localhost [distribution/reference: normalize.go].
    Shape(
        rf"(?=[^/]*[.:]|localhost(?:/|$)){_HOST}(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*",
        "not the address of a repository",
        "HOST[:PORT][/PATH] in lower case, like registry.example.org/k8s",
        "write it without scheme, tag or a slash at its end",
    ),
]
UserName = Annotated[
    str,
    # RFC 7617: the first colon ends the name.
    Shape(r"[^\x00-\x1f\x7f:]+", "not a user name", "one line of text without ':'", "correct the name"),
]


class Registry(Settings):
    """A registry or mirror with a CA or credentials of its own."""

    host: RegistryHost
    """The registry as image names and URLs of mirrors have it: HOST or HOST:PORT."""
    ca: FilePath | None = None
    """The CA of its certificate, PEM, relative to this file's folder; without it, the hosts' own CAs."""
    user: UserName | None = None
    """The user that hosts pull as; without it, they send no credentials."""
    password_file: FilePath | None = None
    """A file that holds the user's password, readable by you alone (mode 0600)."""
    password_env: EnvName | None = None
    """The environment variable that holds the user's password."""
    plain_http: bool = False
    """Whether its mirrors and images may come over http. Without TLS, anybody on the way can change them."""


class Images(Settings):
    """Where hosts pull the images of pods from, and archives of images to import."""

    mirrors: Annotated[dict[Mirrored, Annotated[tuple[EndpointUrl, ...], Field(min_length=1)]], EMPTY_IS_DEFAULT] = Field(
        default_factory=dict, examples=[{"docker.io": ["https://mirror.example.org"]}]
    )
    """Mirrors of each registry, asked in this order before the registry itself. "*" stands for all registries that are named
    neither here nor under registries. A path that begins with /v2/ is the root of the mirror's API."""
    mirrors_only: bool = False
    """Whether hosts never ask a registry that has mirrors, only its mirrors."""
    registries: Annotated[
        tuple[Registry, ...],
        Field(
            examples=[
                [{"host": "registry.example.org", "ca": "registry-ca.crt", "user": "puller", "password_file": "secrets/puller"}]
            ]
        ),
    ] = ()
    """Registries and mirrors with a CA or credentials of their own: host, then ca, user with password_file or password_env,
    or plain_http. Every pod of the cluster may use their images."""
    image_repository: Annotated[Repository | None, Field(examples=["registry.example.org/k8s"])] = None
    """The repository that the names of kubewright's own images begin with, like pause and CoreDNS. kubewright imports them on
    hosts under these names; nothing is pulled."""
    archives: Annotated[tuple[FilePath, ...], Field(examples=[["images/app.tar"]])] = ()
    """Archives of images (docker save, OCI layout as tar) to import on every host that runs pods. Images of an archive that
    is no longer named stay on hosts."""


def canonical(host: str) -> str:
    """The registry as containerd looks for its folder. Docker Hub has several names; 443 is the default port."""
    host = host.removesuffix(":443")
    return _ALIASES.get(host, host)


def host_of(url: str) -> str:
    """HOST or HOST:PORT of a mirror's URL, as `canonical` has it; 80 is the default port of http."""
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0]
    return canonical(host.removesuffix(":80") if scheme == "http" else host)


def plain_host(registry: Registry) -> str:
    """The registry's host, as `host_of` has it."""
    return canonical(registry.host.removesuffix(":80") if registry.plain_http else registry.host)
