"""The unit under a real systemd, which is PID 1 of a container (systemd/boot). One boot, one test for each claim."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import DEPLOY, output, refuses

HERE = Path(__file__).parent / "systemd"
UNIT = DEPLOY / "systemd/mulberry.service"
CLAIMS = re.findall(r'^claim "([^"]+)"', (HERE / "inside").read_text(), re.M)


def why_not() -> str | None:
    if os.geteuid() != 0:
        return "a container with a systemd of its own needs root"
    if not shutil.which("systemd-nspawn"):
        return "systemd-nspawn is not installed"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "this kernel has no overlayfs"
    return refuses("unshare", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "none", "/mnt")


@pytest.fixture(scope="session")
def said(mulberry: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What came of each claim: nothing where it holds, else the reason."""
    if reason := why_not():
        pytest.skip(reason)
    out = tmp_path_factory.mktemp("boot")
    booted = subprocess.run([HERE / "boot", mulberry, out], capture_output=True, text=True, timeout=300, check=False)
    claims = out / "claims"
    assert claims.exists(), f"systemd did not come up:\n{booted.stdout}\n{booted.stderr}"
    found = {}
    for line in claims.read_text().splitlines():
        if match := re.fullmatch(r"ok (.*)", line):
            found[match[1]] = ""
        elif match := re.fullmatch(r"not ok ([^:]*): ?(.*)", line):
            found[match[1]] = f"{match[2]}\nThe journal is {out}/journal"
    errors = (out / "errors").read_text()
    assert not errors, errors
    return found


def test_the_claims_are_found():
    assert len(CLAIMS) == len(set(CLAIMS)) > 40


@pytest.mark.parametrize("claim", CLAIMS)
def test_claim(claim: str, said: dict[str, str]):
    assert claim in said, "it was not looked at"
    assert not said[claim], said[claim]


def test_the_exposure_is_low():
    """systemd's own rating of the unit: 0 is sealed, 10 is open. What is left: it has the network, and no list of addresses."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    rated = output("systemd-analyze", "security", "--offline=true", "--no-pager", UNIT)
    exposure = re.search(r"Overall exposure level for mulberry.service: ([0-9.]+)", rated)
    assert exposure and float(exposure[1]) <= 1.5, rated
