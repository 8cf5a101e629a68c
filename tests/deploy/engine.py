"""buildah, which builds the last stage of the Dockerfile: a real engine, with what no registry could be asked for given."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from conftest import REPO, output, refuses


def why_not() -> str | None:
    if os.geteuid() != 0:
        return "buildah without root needs user namespaces that not every machine gives"
    if not shutil.which("buildah"):
        return "buildah is not installed"
    return refuses("unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt")


class Engine:
    """Images in a folder of their own. Nothing is pulled: a base that is absent is an error."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        policy = folder / "policy.json"
        policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        self.policy = f"--signature-policy={policy}"
        self.command = ["buildah", "--root", folder / "images", "--runroot", folder / "run", "--storage-driver", "vfs"]

    def __call__(self, *words: object) -> str:
        return output(*self.command, *words).strip()

    def image_of(self, root: Path, name: str) -> str:
        container = self("from", "scratch")
        self("copy", "--quiet", container, root, "/")
        self("commit", "--quiet", self.policy, container, name)
        return name

    def last_stage(self, base: str, built: Path) -> str:
        """The Dockerfile with `built` in place of its build stage."""
        self("bud", "--quiet", "--isolation=chroot", "--pull-never", "--format=docker", self.policy, f"--build-context=build={built}",
             f"--build-arg=RUNTIME={base}", f"--build-arg=RUST={base}", "--build-arg=REVISION=0123abc", "--tag=localhost/mulberry", REPO)  # fmt: skip
        return "localhost/mulberry"

    def config(self, image: str) -> dict:
        return json.loads(self("inspect", "--type=image", image))["Docker"]["config"]

    def root_of(self, image: str) -> Path:
        return Path(self("mount", self("from", "--pull-never", self.policy, image)))

    def end(self) -> None:
        # Mounts are undone by removing what holds them; a failure here must not hide one of the test.
        subprocess.run([*self.command, "rm", "--all"], capture_output=True, timeout=60, check=False)
