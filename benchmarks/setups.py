"""
How a proxy is set up for a case: its servers, and whether clients speak TLS.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from acceptance.lab.calls import LOOPBACK
from acceptance.lab.processes import run
from acceptance.lab.waiting import Broken
from benchmarks.programs import find_program


class Certificate(NamedTuple):
    """
    The paths of a certificate, of its key, and of both in one file.
    """

    public: Path
    key: Path
    both: Path


class Setup(NamedTuple):
    """
    The way a proxy is set up.

    @ivar port: the origin's.
    @ivar hosts: the origin's addresses, each a server of its own for the proxy.
    @ivar tls: clients speak TLS.
    """

    port: int
    hosts: tuple[str, ...] = (LOOPBACK,)
    tls: bool = False


def certificate_in(directory: Path) -> Certificate:
    """
    A certificate for this machine, made where there is none yet.

    @raise Broken: C{openssl} is not here, or fails.
    """
    made = Certificate(*(directory / f"{name}.pem" for name in ("certificate", "key", "both")))
    if not made.both.exists():
        program = find_program("openssl")
        if program is None:
            raise Broken("TLS needs a certificate: apt-get install openssl")
        command: list[str | Path] = [
            *(program, "req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=localhost"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-addext", f"subjectAltName=IP:{LOOPBACK}"),
            *("-keyout", made.key, "-out", made.public),
        ]
        run(command, 20)
        made.both.write_text(made.public.read_text() + made.key.read_text())
        made.both.chmod(0o600)
    return made
