"""The guest image, as far as a machine without TDX can build one: the initrd and the disks, twice, to the same bytes.

The kernel is configured and compiled by hand only (deploy/guest/README.md says where and when); nothing here boots.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import DEPLOY, output

FOLDER = DEPLOY / "guest"
EPOCH = "1763800000"
SCRIPTS = ["build", "disk", "kernel", "launch"]


def make_initrd(list_file: Path, to: Path, busybox: Path) -> bytes:
    environment = {"PATH": os.environ["PATH"], "SOURCE_DATE_EPOCH": EPOCH, "BUSYBOX": str(busybox)}
    output(sys.executable, FOLDER / "initrd", list_file, to, env=environment)
    return to.read_bytes()


def members(archive: bytes) -> dict[str, tuple[int, int, int, bytes]]:
    """Mode, owner, time and content of each; read by the format, not by the script."""
    found, at = {}, 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * index : at + 14 + 8 * index], 16) for index in range(13)]
        name = archive[at + 110 : at + 109 + fields[11]].decode()
        data = at + 110 + fields[11] + -(at + 110 + fields[11]) % 4
        at = data + fields[6] + -fields[6] % 4
        if name == "TRAILER!!!":
            assert not archive[at:].strip(b"\0")
            return found
        assert fields[0] == len(found) + 1, "inodes count in the order of the list"
        found[name] = (fields[1], fields[2], fields[5], archive[data : data + fields[6]])


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    """Our files twice, with other times, rights and order on the disk."""
    folders = []
    for index, names in enumerate([sorted, lambda names: sorted(names, reverse=True)]):
        folder = tmp_path / f"copy{index}"
        folder.mkdir()
        for name in names(["initrd.list", "init", "udhcpc", "busybox"]):
            source = FOLDER / name
            (folder / name).write_bytes(source.read_bytes() if source.exists() else b"\x7fELF of a test" * 1000)
            (folder / name).chmod([0o700, 0o644][index])
            os.utime(folder / name, (index, index * 1000.5))
        folders.append(folder)
    return folders


def test_the_initrd_is_the_same_bytes_from_other_files_of_the_same_content(sources: list[Path], tmp_path: Path):
    first, second = (make_initrd(at / "initrd.list", at / "initrd", at / "busybox") for at in sources)
    assert first == second
    assert len(first) % 4096 == 0
    found = members(first)
    assert {time for _, _, time, _ in found.values()} == {int(EPOCH)}
    assert {owner for _, owner, _, _ in found.values()} == {0}
    assert found["init"] == (0o100755, 0, int(EPOCH), (FOLDER / "init").read_bytes())
    assert found["bin/sh"] == (0o120777, 0, int(EPOCH), b"busybox")
    assert found["dev/console"][0] == 0o020600
    changed = sources[1] / "busybox"
    changed.write_bytes(changed.read_bytes() + b"!")
    assert make_initrd(sources[1] / "initrd.list", sources[1] / "initrd", changed) != first


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("dir a 0755 0 0", "absolute"),
        ("dir /a/../b 0755 0 0", "absolute"),
        ("dir /a 0755 0 0\ndir /a 0755 0 0", "twice"),
        ("file /a/b x 0644 0 0", "not listed before"),
        ("file /a x 04755 0 0", "permissions"),
        ("file /a missing 0644 0 0", "No such file"),
        ("file /a ${UNSET_HERE} 0644 0 0", "UNSET_HERE"),
        ("pipe /a 0644 0 0", "not a line"),
        ("dir /a 0755 0", "not a line"),
    ],
)
def test_a_list_that_would_not_say_all_is_refused(lines: str, why: str, tmp_path: Path):
    (tmp_path / "list").write_text(lines + "\n")
    (tmp_path / "x").write_text("x")
    done = subprocess.run(
        [sys.executable, FOLDER / "initrd", tmp_path / "list", tmp_path / "out"],
        env={"PATH": os.environ["PATH"], "SOURCE_DATE_EPOCH": EPOCH},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert why in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_initrd_has_a_time_that_is_said(tmp_path: Path):
    (tmp_path / "list").write_text("dir /a 0755 0 0\n")
    done = subprocess.run([sys.executable, FOLDER / "initrd", tmp_path / "list", tmp_path / "out"], env={}, check=False, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert b"SOURCE_DATE_EPOCH" in done.stderr


def test_a_disk_is_the_same_bytes_and_its_root_hash_says_so(tmp_path: Path):
    missing = [tool for tool in ("mkfs.erofs", "veritysetup") if not shutil.which(tool)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (erofs-utils, cryptsetup-bin)")
    lines, images = [], []
    for index in range(2):
        folder = tmp_path / f"weights{index}"
        (folder / "part").mkdir(parents=True)
        for name in sorted(["part/b", "a", "part/a"], reverse=bool(index)):
            (folder / name).write_bytes(name.encode() * 5000)
            os.utime(folder / name, (index, index + 0.25))
        image = tmp_path / f"{index}.img"
        environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
        lines.append(output("bash", FOLDER / "disk", "weights", "/dev/vdb", folder, image, env=environment))
        images.append(image.read_bytes())
    assert images[0] == images[1]
    assert lines[0] == lines[1]
    fields = re.fullmatch(
        r"weights,,,ro,0 (\d+) verity 1 /dev/vdb /dev/vdb 4096 4096 (\d+) (\d+) sha256 ([0-9a-f]{64}) ([0-9a-f]{64})\n",
        lines[0],
    )
    sectors, blocks, start = (int(fields[index]) for index in (1, 2, 3))
    assert sectors == blocks * 8
    assert start == blocks
    check = ["veritysetup", "verify", "--no-superblock", "--format=1", "--hash=sha256", f"--data-blocks={blocks}"]
    check += [f"--hash-offset={blocks * 4096}", f"--salt={fields[5]}"]
    broken = bytearray(images[0])
    broken[4096] ^= 1
    (tmp_path / "broken.img").write_bytes(broken)
    for name, status in (("0.img", 0), ("broken.img", 2)):
        done = subprocess.run([*check, tmp_path / name, tmp_path / name, fields[4]], capture_output=True, timeout=60, check=False)
        assert done.returncode == status, done.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_how_it_is_used(name: str):
    done = subprocess.run(["bash", FOLDER / name], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"deploy/guest/{name} " in done.stderr


@pytest.mark.parametrize(
    ("config", "status", "said"),
    [
        ("# ours\n\nMULBERRY_WORKER_GATEWAY=aa@gateway.example:8444,bb@b:1\nJOIN_TOKEN=a=b c\n", 0, ["aa@gateway.example:8444,bb@b:1", "a=b c"]),
        ("MULBERRY_WORKER_COLLATERAL=https://pccs.example/\x20?a=1", 0, ["https://pccs.example/ ?a=1"]),
        ("MULBERRY_WORKER_GATEWAY=$(echo off)`id`\n", 0, ["$(echo off)`id`"]),
        ("MULBERRY_WORKER_ENGINE=http://10.0.0.1:8000\n", 3, ["MULBERRY_WORKER_ENGINE"]),
        ("MULBERRY_WORKER_DANGER_DEVELOPMENT_TRUST_ANCHOR=/run/config\n", 3, ["DANGER"]),
        ("LD_PRELOAD=/run/config\n", 3, ["LD_PRELOAD"]),
        ("PATH=/run\n", 3, ["PATH"]),
        ("MULBERRY_WORKER_GATEWAY\n", 3, ["MULBERRY_WORKER_GATEWAY"]),
    ],
)
def test_the_host_says_whom_to_serve_and_nothing_else(config: str, status: int, said: list[str], tmp_path: Path):
    init = (FOLDER / "init").read_text()
    begin = init.index("told() {")
    told = init[begin : init.index("\n}\n", begin) + 3]
    (tmp_path / "config").write_text(config)
    script = f"set -eu\noff() {{ echo \"off: $*\"; exit 3; }}\n{told}told {tmp_path}/config {tmp_path}\nenv\n[ -z \"$token\" ] || cat \"$token\"\n"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60, check=False, env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == status, done.stderr
    for text in said:
        assert text in done.stdout
    token = tmp_path / "token"
    if "JOIN_TOKEN" in config:
        assert token.stat().st_mode & 0o077 == 0
        assert token.read_text() == "a=b c\n"


def test_sources_are_named_by_their_hash():
    lines = [line for line in (FOLDER / "sources").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == 3
    for line in lines:
        assert re.fullmatch(r"[0-9a-f]{64} +\d+ pool/main/[\w./+~-]+\.deb", line), line


def test_the_kernel_loads_no_modules_and_has_what_the_guest_needs():
    lines = set((FOLDER / "kernel.config").read_text().splitlines())
    assert not [line for line in lines if line.endswith("=m")]
    needed = ["EFI_STUB", "INTEL_TDX_GUEST", "TDX_GUEST_DRIVER", "DM_INIT", "DM_VERITY", "EROFS_FS", "CONFIGFS_FS"]
    assert not [name for name in needed if f"CONFIG_{name}=y" not in lines]
    closed = ["MODULES", "KEXEC", "DEVMEM", "DEBUG_FS"]
    assert not [name for name in closed if f"# CONFIG_{name} is not set" not in lines]
