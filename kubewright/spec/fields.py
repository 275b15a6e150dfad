"""Settings that are more than text of one pattern: addresses, ranges, paths, numbers, quantities, flags.

Owns the syntax of single values. How values must fit together is the business of `checks`.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core.core_schema import ValidationInfo

from kubewright.spec.shapes import IPV4, SUBJECT_NAME, Shape
from kubewright.spec.wording import refused

_IPV4_ONLY = "clusters are IPv4 only, IPv6 and dual-stack are not supported"


def _names_ipv6(value: object) -> bool:
    """Whether the value is meant to be an IPv6 address or range, or a list with one."""
    parts = value if isinstance(value, list | tuple) else str(value).split(",")
    return any(str(part).count(":") > 1 for part in parts)


def _address(value: object) -> IPv4Address:
    if isinstance(value, IPv4Address):
        return value
    try:
        if isinstance(value, str):
            return IPv4Address(value)
    except AddressValueError:
        pass
    allowed = "four numbers from 0 to 255, like 10.90.0.11"
    todo = f"{_IPV4_ONLY}: give an IPv4 address" if _names_ipv6(value) else "correct the address"
    raise refused("not an IPv4 address", allowed=allowed, todo=todo)


def _range(value: object) -> IPv4Network:
    if isinstance(value, IPv4Network):
        return value
    allowed = "an IPv4 range as network/length, like 10.244.0.0/16"
    try:
        if not isinstance(value, str) or "/" not in value:
            raise ValueError
        loose = IPv4Network(value, strict=False)
    except ValueError:
        todo = f"{_IPV4_ONLY}: give one IPv4 range" if _names_ipv6(value) else "correct the range"
        raise refused("not an IPv4 range", allowed=allowed, todo=todo) from None
    if IPv4Address(value.split("/")[0]) != loose.network_address:
        raise refused("an address inside a range, not a range", allowed=allowed, todo=f"write {loose}")
    return loose


def _path(value: object, info: ValidationInfo) -> Path:
    """Absolute; `~` is the home folder, anything else relative is relative to the inventory's folder."""
    if not isinstance(value, str | Path) or str(value) in ("", ".") or "\0" in str(value):
        raise refused("not a path", allowed="a path as text", todo="name a file or folder")
    try:
        path = Path(value).expanduser()
    except RuntimeError:
        raise refused("a home folder that is not there", allowed="~ or ~user", todo="write it out") from None
    return Path((info.context or {}).get("folder", Path.cwd())) / path


def _port_range(text: str) -> str:
    parts = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", text, re.ASCII)
    if not parts or not 1 <= int(parts[1]) <= int(parts[2]) <= 65535:
        raise refused("not a port range", allowed="FIRST-LAST within 1-65535", todo="write it like 30000-32767")
    return text


def _scalar_as_text(value: object) -> object:
    """Numbers and truth values where only text makes sense, so that `v: 2` needs no quotes. Not 1.10, which is 1.1."""
    return str(value).lower() if isinstance(value, bool | int) else value


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _flag_value(text: str) -> str:
    if not text.isprintable():
        raise refused("a value with control characters", allowed="one line of text", todo="write it on one line")
    return text


def _one_address_or_name(text: str) -> str:
    SUBJECT_NAME.check(text)
    if re.fullmatch(IPV4, text, re.ASCII):
        _address(text)
    return text


Address = Annotated[IPv4Address, BeforeValidator(_address), WithJsonSchema({"type": "string", "format": "ipv4"})]
Range = Annotated[IPv4Network, BeforeValidator(_range), WithJsonSchema({"type": "string", "pattern": rf"^{IPV4}/[0-9]{{1,2}}$"})]
FilePath = Annotated[Path, BeforeValidator(_path), WithJsonSchema({"type": "string", "minLength": 1})]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Days = Annotated[int, Field(strict=True, ge=1, le=36500)]
PortRange = Annotated[str, AfterValidator(_port_range), WithJsonSchema({"type": "string", "pattern": "^[0-9]+-[0-9]+$"})]
SubjectName = Annotated[str, AfterValidator(_one_address_or_name)]
Quantity = Annotated[
    str,
    BeforeValidator(_number_as_text),
    Shape(
        r"(?:[0-9]{1,18}(?:\.[0-9]{1,9})?)(?:[KMGTPE]i|[mkMGTPE])?",
        "not a quantity",
        "a number and perhaps a unit, like 500m, 2, 512Mi, 1Gi",
        "correct the quantity",
    ),
]
Reserved = dict[Literal["cpu", "memory", "ephemeral-storage", "pid"], Quantity]
FlagValue = Annotated[
    str,
    BeforeValidator(_scalar_as_text),
    AfterValidator(_flag_value),
    WithJsonSchema({"type": ["string", "integer", "boolean"]}),
]
Flags = dict[str, FlagValue | None]
