"""Settings that are text of one pattern: names, labels, taints, URLs, each with what to say when it does not match."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from kubewright.spec.wording import refused

LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(?:\.{LABEL})*"
IPV4 = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = rf"(?:(?=[^/]{{1,253}}/){SUBDOMAIN}/)?{_NAME}"
# A local account, or a domain's as SSSD and winbind name it (alice@corp.example.com, CORP\\alice, CORP+alice), up to Linux's
# LOGIN_NAME_MAX. Nothing that a shell or ssh could take for something else, nor a backslash at the end [openssh: ssh.c,
# valid_ruser].
_USER = r"[A-Za-z0-9_](?:[A-Za-z0-9_.@+\\-]{0,253}[A-Za-z0-9_.@+-])?"
PORT = r"(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"


@dataclass(frozen=True)
class Shape:
    """Text of one pattern (a regular expression for all of it)."""

    pattern: str
    what: str
    allowed: str
    todo: str

    def check(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text, re.ASCII):
            raise refused(self.what, allowed=self.allowed, todo=self.todo)
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}


SUBJECT_NAME = Shape(
    rf"{IPV4}|(?:\*\.)?{SUBDOMAIN}",
    "neither a DNS name nor an IPv4 address",
    "api.example.org, *.example.org, 192.0.2.10",
    "write it without scheme, port or path, in lower case",
)
_HOST_NAME = Shape(
    rf"{IPV4}|(?i:{SUBDOMAIN})",
    "neither a host name nor an IPv4 address",
    "bastion.example.org, 192.0.2.10",
    "write user and port as settings of their own",
)

SshHost = Annotated[str, _HOST_NAME]
Domain = Annotated[
    str,
    Shape(
        rf"(?=.{{1,200}}$){SUBDOMAIN}",
        "not a DNS domain",
        "lower-case letters, digits and '-', joined by dots, like cluster.local",
        "correct it",
    ),
]
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
DnsServer = Annotated[
    str,
    Shape(
        rf"{_OCTET}(?:\.{_OCTET}){{3}}(?::{PORT})?",
        "not a DNS server",
        "an IPv4 address, or IP:port, like 192.0.2.53 or 192.0.2.53:5353",
        "write its address; kubewright is IPv4 only",
    ),
]
DnsLabel = Annotated[
    str,
    Shape(
        LABEL,
        "not a DNS label",
        "lower-case letters, digits and '-' inside, at most 63",
        "choose such a name",
    ),
]
NodeName = Annotated[
    str,
    # X.509 allows 64 characters in a common name, and the node's certificate says "system:node:NAME".
    Shape(
        rf"(?=.{{1,52}}$){SUBDOMAIN}",
        "not a node name",
        "lower-case letters, digits, '-' and '.', at most 52 characters, "
        "because the node's certificate says system:node:NAME in 64",
        "choose such a name",
    ),
]
User = Annotated[
    str,
    Shape(
        _USER,
        "not a user name",
        "letters, digits, and inside '_', '.', '-', '+', '@', '\\'",
        "name the login user",
    ),
]
Jump = Annotated[
    str,
    Shape(
        rf"(?:{_USER}@)?(?:{IPV4}|(?i:{SUBDOMAIN}))(?::{PORT})?",
        "not a jump host",
        "user@host:port, of which user@ and :port may be left out",
        "write it like admin@bastion.example.org:22",
    ),
]
EnvName = Annotated[
    str,
    Shape(
        r"[A-Za-z_][A-Za-z0-9_]*",
        "not the name of an environment variable",
        "letters, digits and '_'",
        "write the variable's name, never the password itself",
    ),
]
_URL = Shape(
    rf"https?://(?:{IPV4}|(?i:{SUBDOMAIN}))(?::{PORT})?(?:/[!-~]*)?",
    "not an http or https URL",
    "https://HOST[:PORT][/PATH], without user or password",
    "write it like https://mirror.example.org/kubewright",
)
_HOST_ONLY = r"(?!(?:[A-Za-z]+:)?//[^/?#]*@)[\s\S]*"
MirrorUrl = Annotated[
    str,
    Shape(
        _HOST_ONLY,
        "a user or password in a URL",
        _URL.allowed,
        "write `machine HOST login USER password PASSWORD` into ~/.netrc (mode 0600)",
    ),
    _URL,
]
HostsUrl = Annotated[
    str,
    Shape(
        _HOST_ONLY,
        "a user or password in a URL",
        _URL.allowed,
        "name a server that asks for neither: they would have to lie on every host",
    ),
    _URL,
]
LabelKey = Annotated[
    str,
    Shape(
        _KEY,
        "not a label key",
        "[DNS prefix/]name; at most 63 letters, digits, '-', '_', '.', with a letter or digit at the ends",
        "correct the key",
    ),
]
LabelValue = Annotated[
    str,
    Shape(
        rf"(?:{_NAME})?",
        "not a label value",
        "at most 63 letters, digits, '-', '_', '.', with a letter or digit at its ends, or nothing",
        "correct the value",
    ),
]
Taint = Annotated[
    str,
    Shape(
        rf"{_KEY}(?:=(?:{_NAME})?)?:(?:NoSchedule|PreferNoSchedule|NoExecute)",
        "not a taint",
        "key=value:Effect or key:Effect, with the effect NoSchedule, PreferNoSchedule or NoExecute",
        "write it like dedicated=gpu:NoSchedule",
    ),
]
