"""Accepted external authorities agree with Go's crypto/x509 and with OpenSSL; both check the same files here.

Accepted: both accept a certificate below it. Accepted with a warning: only OpenSSL's strict mode refuses it. Refused: at least
one of them refuses it too, unless the table says that it is a rule of our own.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pki import certificates, faults
from pki.certificates import Subject
from pki.fault import Fault

pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")

LEAF = Subject(
    common_name="kube-apiserver",
    usages=("server", "client"),
    dns_names=("kubernetes.default.svc",),
    addresses=(IPv4Address("127.0.0.1"),),
)
P256 = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"
CA = "basicConstraints=critical,CA:TRUE|keyUsage=critical,keyCertSign,cRLSign|subjectKeyIdentifier=hash"
BELOW = CA + "|authorityKeyIdentifier=keyid"
GO = Path(sys.executable).with_name("go")

Accepts = Callable[[Path, Path, Path], bool]


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def issue(
    folder: Path, name: str, *, above: str = "", key: str = P256, options: str = "-sha256", extensions: str = CA, days: int = 30
) -> None:
    """NAME.crt and NAME.key: a self-signed certificate, or one signed by `above`."""
    openssl(folder, *key.split(), "-out", f"{name}.key")
    openssl(folder, "req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-out", f"{name}.csr")
    signer = ["-CA", f"{above}.crt", "-CAkey", f"{above}.key"] if above else ["-signkey", f"{name}.key"]
    serial = [] if "-set_serial" in options else ["-set_serial", "4660"]
    (folder / f"{name}.ext").write_text(extensions.replace("|", "\n") + "\n")
    extended = ["-extfile", f"{name}.ext"] if extensions else []
    made = ["x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", "-days", str(days)]
    openssl(folder, *made, *signer, *serial, *extended, *options.split())


def root(**how: str) -> Callable[[Path], list[str]]:
    """A root as the authority itself."""

    def make(folder: Path) -> list[str]:
        issue(folder, "own", **how)  # type: ignore[arg-type]
        return ["own"]

    return make


def below(top: dict[str, str] | None = None, **how: str) -> Callable[[Path], list[str]]:
    """An authority below a root."""

    def make(folder: Path) -> list[str]:
        issue(folder, "top", **(top or {}))  # type: ignore[arg-type]
        issue(folder, "own", above="top", **({"extensions": BELOW} | how))  # type: ignore[arg-type]
        return ["own", "top"]

    return make


def rsa_key(bits: int) -> str:
    return f"genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:{bits}"


def curve(name: str, *more: str) -> str:
    return " ".join((f"genpkey -algorithm EC -pkeyopt ec_paramgen_curve:{name}", *more))


def pss(salt: int, mgf: str = "sha256") -> dict[str, str]:
    sign = f"-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:{salt} -sigopt rsa_mgf1_md:{mgf}"
    return {"top": {"key": rsa_key(2048)}, "options": sign}  # type: ignore[dict-item]


NO_USAGE = CA.replace("|keyUsage=critical,keyCertSign,cRLSign", "")
COMPANY = CA + "|nameConstraints=critical,permitted;"
POLICY = "|policyConstraints=critical,requireExplicitPolicy:0"
USAGES = CA + "|extendedKeyUsage="

ACCEPTED = {
    "P-256": root(),
    "P-384": root(key=curve("P-384"), options="-sha384"),
    "P-521": root(key=curve("P-521"), options="-sha512"),
    "RSA 2048": root(key=rsa_key(2048)),
    "RSA 3072, SHA-512": root(key=rsa_key(3072), options="-sha512"),
    "below a root": below(),
    "below RSA": below({"key": rsa_key(2048)}),
    "pathlen 0, nothing below": root(extensions=CA.replace("CA:TRUE", "CA:TRUE,pathlen:0")),
    "a serial of 20 octets": root(options="-sha256 -set_serial 0x7f" + "ff" * 19),
    "a root with a SHA-1 signature of its own": below({"options": "-sha1"}),
    "RSASSA-PSS signature, salt as long as the hash": below(**pss(32)),  # type: ignore[arg-type]
    "serverAuth and clientAuth": root(extensions=USAGES + "serverAuth,clientAuth"),
    "a critical extendedKeyUsage": root(extensions=USAGES + "critical,serverAuth,clientAuth"),
    "requireExplicitPolicy in the root": root(extensions=CA + POLICY),
    "policies": root(extensions=CA + "|certificatePolicies=1.2.3.4"),
    "an unknown extension, not critical": root(extensions=CA + "|1.2.3.4=DER:0500"),
}
WARNED = {
    "no keyUsage": (root(extensions=NO_USAGE), "no keyUsage"),
    "no keyUsage above": (below({"extensions": NO_USAGE}), "no keyUsage above it (CN=top)"),
    "basicConstraints not critical": (root(extensions=CA.replace("critical,CA", "CA")), "basicConstraints is not critical"),
    "no subjectKeyIdentifier": (root(extensions=CA.replace("=hash", "=none")), "no subjectKeyIdentifier"),
    "no authorityKeyIdentifier": (below(extensions=CA + "|authorityKeyIdentifier=none"), "no authorityKeyIdentifier"),
}
REFUSED = {
    "negative serial": (root(options="-sha256 -set_serial -5"), "a serial number that is negative"),
    "negative serial above": (below({"options": "-sha256 -set_serial -5"}), "a serial number that is negative above it (CN=top)"),
    "RSASSA-PSS key": (root(key="genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048"), "a key for RSASSA-PSS only"),
    "RSASSA-PSS key above": (
        below({"key": "genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048"}),
        "a key for RSASSA-PSS only above it",
    ),
    "RSASSA-PSS signature, short salt": (below(**pss(20)), "an RSASSA-PSS signature with unusual"),  # type: ignore[arg-type]
    "RSASSA-PSS signature, another mask": (below(**pss(32, "sha1")), "an RSASSA-PSS signature with unusual"),  # type: ignore[arg-type]
    "explicit curve": (root(key=curve("P-256", "-pkeyopt ec_param_enc:explicit")), "explicit curve parameters"),
    "secp256k1": (root(key=curve("secp256k1")), "a key of an unknown kind"),
    "unknown critical extension": (root(extensions=CA + "|1.2.3.4=critical,DER:0500"), "a critical extension"),
    "unknown critical extension above": (below({"extensions": CA + "|1.2.3.4=critical,DER:0500"}), "a critical extension"),
    "critical subjectKeyIdentifier": (root(extensions=CA.replace("=hash", "=critical,hash")), "a critical extension"),
    "SHA-1": (below(options="-sha1"), "a weak signature (sha1)"),
    "MD5": (below({"key": rsa_key(2048)}, options="-md5"), "a weak signature (md5)"),
    "SHA-224": (below(options="-sha224"), "a weak signature (sha224)"),
    "RSA 1024": (root(key=rsa_key(1024)), "a weak key (RSA, 1024 bits)"),
    "other names": (root(extensions=COMPANY + "DNS:company.example"), "an authority with name constraints"),
    "other addresses": (root(extensions=COMPANY + "IP:10.0.0.0/255.0.0.0"), "an authority with name constraints"),
    "pathlen 0 above": (below({"extensions": CA.replace("CA:TRUE", "CA:TRUE,pathlen:0")}), "may not have 1 below it"),
    "no keyCertSign": (root(extensions=CA.replace("keyCertSign,", "")), "may not sign certificates"),
    "no basicConstraints": (root(extensions=CA.split("|", 1)[1]), "no basicConstraints"),
    "CA:FALSE": (root(extensions=CA.replace("TRUE", "FALSE")), "a leaf, not an authority"),
    "version 1": (root(extensions=""), "an X.509 version 1 certificate"),
    "expired": (root(options="-sha256 -days -1"), "an expired certificate"),
    "other usages": (root(extensions=USAGES + "codeSigning"), "an authority for other usages"),
    "only serverAuth": (root(extensions=USAGES + "serverAuth"), "an authority for other usages"),
    "only anyExtendedKeyUsage": (root(extensions=USAGES + "anyExtendedKeyUsage"), "an authority for other usages"),
    "requireExplicitPolicy": (
        below(extensions=BELOW + POLICY),
        "requires a policy",
    ),
}
OWN_RULES = {
    "serial zero": (root(options="-sha256 -set_serial 0"), "a serial number that is zero"),
    "a serial of 21 octets": (root(options="-sha256 -set_serial 0x" + "ff" * 20), "a serial number that is longer"),
    "P-224": (root(key=curve("secp224r1")), "a key of an unknown kind"),
    "Ed25519": (root(key="genpkey -algorithm ED25519", options=""), "a key of an unknown kind"),
}
"""RFC 5280, 4.1.2.2 asks for positive serial numbers of at most 20 octets; TLS has no P-224, and our store no Ed25519."""


@pytest.fixture(scope="session")
def go_accepts(tmp_path_factory: pytest.TempPathFactory) -> Accepts:
    go = str(GO) if GO.is_file() else shutil.which("go")
    if go is None:
        pytest.skip("no Go on this machine")
    folder = tmp_path_factory.mktemp("goverify")
    source, program = Path(__file__).parent / "goverify", folder / "goverify"
    environment = os.environ | {"GOPROXY": "off", "GOFLAGS": "-buildvcs=false", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    subprocess.run([go, "build", "-o", str(program), "."], cwd=source, env=environment, check=True)
    return lambda top, between, leaf: not subprocess.run([program, top, between, leaf], check=False).returncode


def openssl_accepts(top: Path, between: Path, leaf: Path, *, strict: bool) -> bool:
    """As clients do it: security level 2 is the default of Debian, Ubuntu and EL."""
    return all(_openssl_accepts(top, between, leaf, purpose, strict=strict) for purpose in ("sslserver", "sslclient"))


def _openssl_accepts(top: Path, between: Path, leaf: Path, purpose: str, *, strict: bool) -> bool:
    command = ["openssl", "verify", "-auth_level", "2", "-purpose", purpose, "-verify_hostname", "kubernetes.default.svc"]
    untrusted = ["-untrusted", str(between)] if between.stat().st_size else []
    extra = ["-x509_strict"] if strict else []
    run = subprocess.run(
        [*command, *extra, "-CAfile", str(top), *untrusted, str(leaf)], check=False, capture_output=True, text=True
    )
    assert run.returncode == 0 or re.search(r"^error \d+ at \d+ depth", run.stderr, re.MULTILINE), run.stderr
    return run.returncode == 0


class Case:
    """An authority on disk, with a leaf that it signed as kubewright does."""

    def __init__(self, folder: Path, make: Callable[[Path], list[str]]) -> None:
        self.names, self.folder = make(folder), folder
        self.top = folder / f"{self.names[-1]}.crt"
        self.between, self.leaf = folder / "between.crt", folder / "leaf.crt"
        self.between.write_bytes(b"".join((folder / f"{name}.crt").read_bytes() for name in self.names[:-1]))
        chain = faults.read_certificates(b"".join((folder / f"{name}.crt").read_bytes() for name in self.names))
        self.chain = () if isinstance(chain, Fault) else chain
        self.unread = chain.what if isinstance(chain, Fault) else ""
        self._sign()

    def _sign(self) -> None:
        issuer = self.names[0]
        try:
            key = load_pem_private_key((self.folder / f"{issuer}.key").read_bytes(), password=None)
            if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
                raise TypeError("not a key of ours")
            now = dt.datetime.now(dt.UTC)
            leaf = certificates.signed(LEAF, key, self.chain[0], key, lifetime=dt.timedelta(days=20), now=now)
            self.leaf.write_bytes(certificates.to_pem(leaf))
        except (ValueError, TypeError, IndexError):
            # Our own signer does not accept this key; OpenSSL's does.
            names = "subjectAltName=DNS:kubernetes.default.svc,IP:127.0.0.1|extendedKeyUsage=serverAuth,clientAuth"
            names += "|authorityKeyIdentifier=keyid"
            options = "" if "ED25519" in (self.folder / f"{issuer}.key").read_text() else "-sha256"
            issue(self.folder, "leaf", above=issuer, extensions=names, options=options, days=20)

    def refusals(self) -> list[str]:
        return [self.unread] if self.unread else [f.what for f in faults.of_authority(self.chain, dt.datetime.now(dt.UTC))]

    def warnings(self) -> list[str]:
        return [fault.what for fault in faults.warnings_of_authority(self.chain)]

    def openssl(self, *, strict: bool) -> bool:
        return openssl_accepts(self.top, self.between, self.leaf, strict=strict)

    def go(self, accepts: Accepts) -> bool:
        """Below the root, as for people, and below the authority itself, which is what hosts trust (decision 0007)."""
        own, nothing = self.folder / f"{self.names[0]}.crt", self.folder / "nothing.crt"
        nothing.touch()
        return accepts(self.top, self.between, self.leaf) and accepts(own, nothing, self.leaf)


@pytest.mark.parametrize("name", ACCEPTED)
def test_go_and_strict_openssl_accept_every_accepted_authority(tmp_path: Path, go_accepts: Accepts, name: str) -> None:
    case = Case(tmp_path, ACCEPTED[name])
    assert case.refusals() == case.warnings() == []
    assert case.go(go_accepts)
    assert case.openssl(strict=True)


@pytest.mark.parametrize("name", WARNED)
def test_a_warning_means_that_only_strict_openssl_refuses(tmp_path: Path, go_accepts: Accepts, name: str) -> None:
    make, words = WARNED[name]
    case = Case(tmp_path, make)
    assert case.refusals() == []
    assert case.warnings() == [words]
    assert case.go(go_accepts)
    assert case.openssl(strict=False)
    assert not case.openssl(strict=True)


@pytest.mark.parametrize("name", REFUSED)
def test_go_or_openssl_refuses_every_refused_authority(tmp_path: Path, go_accepts: Accepts, name: str) -> None:
    make, words = REFUSED[name]
    case = Case(tmp_path, make)
    found = case.refusals()
    assert any(words in what for what in found), found
    assert not (case.go(go_accepts) and case.openssl(strict=True))


@pytest.mark.parametrize("name", OWN_RULES)
def test_a_rule_of_our_own_refuses_an_authority_that_both_accept(tmp_path: Path, go_accepts: Accepts, name: str) -> None:
    make, words = OWN_RULES[name]
    case = Case(tmp_path, make)
    assert any(words in what for what in case.refusals())
    assert case.go(go_accepts)
    assert case.openssl(strict=True)
