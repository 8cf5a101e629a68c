"""The image: its Dockerfile is linted, its context and its binary are built, and that binary runs in its root.

No registry of images can be reached from here, so the two bases are missing. The build stage is done by hand: its
command, in the dev profile, in the files that .dockerignore leaves. The last stage is built by buildah, on a base that
holds no more than distroless/cc does.
"""

import json
import os
import re
import shutil
import subprocess
import tomllib
import urllib.request
from pathlib import Path

import pytest
from conftest import CACHE, REPO, output, refuses
from dockerfile import Ignore, context, stages, values, words
from engine import Engine, why_not
from sandbox import Sandbox, started, until

DOCKERFILE = (REPO / "Dockerfile").read_text()
BEFORE, BUILD, IMAGE = stages(DOCKERFILE)
# What gcr.io/distroless/cc-debian12 has of glibc and gcc.
LIBRARIES = {"ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libc.so.6", "libm.so.6", "libgcc_s.so.1", "libdl.so.2", "libpthread.so.0", "librt.so.1"}


def test_hadolint_finds_nothing():
    output("hadolint", "--failure-threshold", "style", REPO / "Dockerfile")


def test_the_build_uses_our_toolchain():
    channel = tomllib.loads((REPO / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    assert f"RUST=rust:{channel}-slim-bookworm" in values(BEFORE, "ARG")
    assert any(f"RUSTUP_TOOLCHAIN={channel} " in env for env in values(BUILD, "ENV"))


def test_the_build_is_the_production_one():
    (run,) = values(BUILD, "RUN")
    for flag in ["--locked", "--release", "--no-default-features", "--package gateway", "--bin mulberry"]:
        assert flag in run


def test_no_base_floats():
    bases = {arg.split("=", 1)[1] for arg in values(BEFORE, "ARG")}
    assert len(bases) == 2
    for base in bases:
        assert re.search(r":[^:]+$|@sha256:[0-9a-f]{64}$", base) and not base.endswith(":latest"), base


def test_the_user_is_a_number_and_not_root():
    (user,) = values(IMAGE, "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert any(f"--chown={user} " in copy and copy.endswith(" /var/lib") for copy in values(IMAGE, "COPY"))


def test_signals_reach_the_gateway():
    # In shell form a shell would be process 1, and distroless has none.
    assert [words(value) for value in values(IMAGE, "ENTRYPOINT")] == [["/usr/bin/mulberry"]]
    assert [words(value) for value in values(IMAGE, "CMD")] == [["serve"]]
    assert values(IMAGE, "STOPSIGNAL") == ["SIGTERM"]


def test_what_is_written_is_a_volume_and_the_working_directory():
    assert values(IMAGE, "VOLUME") == values(IMAGE, "WORKDIR") == ["/var/lib/mulberry"]


def test_the_labels_are_those_of_the_oci():
    (labels,) = values(IMAGE, "LABEL")
    names = re.findall(r"(\S+?)=\"", labels)
    assert {name.removeprefix("org.opencontainers.image.") for name in names} == {"title", "description", "licenses", "version", "revision"}
    version = tomllib.loads((REPO / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert f"VERSION={version}" in values(IMAGE, "ARG")


@pytest.mark.parametrize(
    ("path", "is_taken"),
    [
        ("Cargo.lock", True),
        ("gateway/src/main.rs", True),
        ("billing/store/migrations/0001_requests.sql", True),
        ("tests/Cargo.toml", True),
        ("tests/.cache/venv/bin/python", False),
        ("tests/sdk/node/node_modules/openai/index.js", False),
        ("target/release/mulberry", False),
        ("deploy/compose/.env", False),
        ("mulberry.yaml", False),
        ("mulberry-data/mulberry.db", False),
        (".git/config", False),
    ],
)
def test_the_context_has_what_the_build_needs_and_no_secret(path: str, is_taken: bool):
    assert Ignore((REPO / ".dockerignore").read_text()).takes(path) is is_taken


@pytest.fixture(scope="session")
def binary() -> Path:
    """The command of the build stage, in the context that a builder would be sent, without optimisation."""
    sources = CACHE / "context"
    sources.mkdir(parents=True, exist_ok=True)
    sent = context(REPO, sources)
    assert "gateway/src/main.rs" in sent
    (command,) = re.findall(r"(cargo build .*?) &&", values(BUILD, "RUN")[0])
    command = command.replace("--release ", "")
    target = CACHE / "target"
    # Not ours: what another suite has set for its own build.
    environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
    output("bash", "-c", command, cwd=sources, env={**environment, "CARGO_TARGET_DIR": target, "CARGO_TERM_COLOR": "never"})
    return target / "debug/mulberry"


def test_the_context_builds(binary: Path):
    assert output(binary, "--version").startswith("mulberry ")


def test_the_production_binary_has_no_scripted_engine(binary: Path):
    refused = subprocess.run([binary, "mock"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "unrecognized subcommand 'mock'" in refused.stderr


def needed(binary: Path) -> dict[str, Path]:
    """The libraries that the binary is linked to, and where they are here."""
    found = {}
    for line in output("ldd", binary).splitlines():
        if match := re.search(r"(?:(\S+) => )?(/\S+) \(0x", line):
            path = Path(match[2])
            found[match[1] or path.name] = path
    return {Path(name).name: path for name, path in found.items()}


def test_the_base_has_every_library(binary: Path):
    libraries = set(needed(binary))
    assert "libc.so.6" in libraries
    assert libraries <= LIBRARIES, f"distroless/cc does not have {libraries - LIBRARIES}"


@pytest.fixture(scope="session")
def base(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What distroless/cc has that matters here: the libraries, CA certificates, two lines of users, empty folders."""
    root = tmp_path_factory.mktemp("base")
    root.chmod(0o755)
    for folder in ["etc/ssl/certs", "etc/mulberry", "usr/bin", "var/lib", "proc", "dev"]:
        (root / folder).mkdir(parents=True)
    for path in needed(binary).values():
        target = root / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    shutil.copy2("/etc/ssl/certs/ca-certificates.crt", root / "etc/ssl/certs/")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")
    return root


@pytest.fixture(scope="session")
def image(base: Path, binary: Path, tmp_path_factory: pytest.TempPathFactory):
    """The engine that built the image, and its name there."""
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("engine")
    built = folder / "built"
    (built / "out/usr/bin").mkdir(parents=True)
    (built / "out/var/lib/mulberry").mkdir(parents=True, mode=0o700)
    shutil.copy2(binary, built / "out/usr/bin/mulberry")
    engine = Engine(folder / "store")
    yield engine, engine.last_stage(engine.image_of(base, "localhost/base"), built)
    engine.end()


def test_the_image_says_how_it_is_run(image: tuple[Engine, str]):
    engine, name = image
    config = engine.config(name)
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/usr/bin/mulberry"] and config["Cmd"] == ["serve"]
    assert config["WorkingDir"] == "/var/lib/mulberry" and set(config["Volumes"]) == {"/var/lib/mulberry"}
    assert set(config["ExposedPorts"]) == {"8080/tcp", "9090/tcp"}
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"] == ["CMD", "/usr/bin/mulberry", "healthcheck", "--live"]
    assert config["Labels"]["org.opencontainers.image.revision"] == "0123abc"


def test_the_image_holds_what_it_should(image: tuple[Engine, str], base: Path):
    engine, name = image
    root = engine.root_of(name)
    data, program = (root / "var/lib/mulberry").stat(), (root / "usr/bin/mulberry").stat()
    assert (data.st_uid, data.st_gid, data.st_mode & 0o777) == (65532, 65532, 0o700)
    assert (program.st_uid, program.st_mode & 0o777) == (0, 0o755)
    added = {path.relative_to(root) for path in root.rglob("*")} - {path.relative_to(base) for path in base.rglob("*")}
    assert (root / "var/lib").stat().st_uid == 0
    assert {str(path) for path in added} <= {"usr/bin/mulberry", "var/lib/mulberry", "run"}, added


@pytest.fixture(params=["by hand", "by buildah"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The root of the image: put together here, or as the engine has it."""
    if request.param == "by buildah":
        engine, name = request.getfixturevalue("image")
        return engine.root_of(name)
    root = tmp_path / "root"
    shutil.copytree(request.getfixturevalue("base"), root, symlinks=True)
    (root / "var/lib/mulberry").mkdir()
    shutil.copy2(request.getfixturevalue("binary"), root / "usr/bin/mulberry")
    return root


@pytest.fixture
def sandbox(root: Path, tmp_path: Path) -> Sandbox:
    if reason := refuses("bwrap", "--unshare-user", "--unshare-pid", "--dev-bind", "/", "/", "--proc", "/proc", "true"):
        pytest.skip(reason)
    (user,) = values(IMAGE, "USER")
    variables = dict(env.split("=", 1) for line in values(IMAGE, "ENV") for env in line.split())
    (workdir,) = values(IMAGE, "WORKDIR")
    return Sandbox(root, tmp_path, user=int(user.split(":")[0]), workdir=workdir, variables=variables)


CONFIG = """
listen: 0.0.0.0:0
admin_listen: 0.0.0.0:0
keys: [{{name: alice, secret: sk-alice}}]
backends:
  - {{name: mock, url: "http://{mock}"}}
  # Trust roots are read at start: from the image, for nothing else is there.
  - {{name: far, url: "https://127.0.0.1:1", health: {{enabled: false}}}}
models: [{{name: small, routes: [{{backend: mock, model: mock}}]}}]
drain: {{timeout: 5s}}
reload: {{watch: 100ms}}
"""


def test_the_image_serves_with_a_read_only_root_as_nobody_in_particular(sandbox: Sandbox, mulberry: Path, tmp_path: Path):
    with started(mulberry, "mock", "--listen", "127.0.0.1:0", log=tmp_path / "mock.log") as mock:
        address = mock.said(r"listening ([0-9.:]+)")[1]
        sandbox.configure(CONFIG.format(mock=address))
        with sandbox.run(words(values(IMAGE, "ENTRYPOINT")[0]) + words(values(IMAGE, "CMD")[0])) as gateway:
            api, admin = gateway.said(r"listening address=\S+?:(\d+) admin=\S+?:(\d+)").groups()

            # The healthcheck of the image, word for word but for the port, which the image has fixed and a test has not.
            check = words(values(IMAGE, "HEALTHCHECK")[0]) + ["--admin-listen", f"127.0.0.1:{admin}"]
            assert sandbox.once(check).returncode == 0
            until(lambda: sandbox.once([*check[:2], *check[3:]]).returncode == 0)

            status = Path(f"/proc/{gateway.inner()}/status").read_text()
            assert re.search(r"^Uid:\s+65532\s+65532\s", status, re.M) or os.geteuid() != 0
            assert re.search(r"^CapEff:\s+0+$", status, re.M)
            assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
            mounts = Path(f"/proc/{gateway.inner()}/mountinfo").read_text()
            assert re.search(r" / ro,", mounts), mounts

            request = urllib.request.Request(
                f"http://127.0.0.1:{api}/v1/chat/completions",
                data=json.dumps({"model": "small", "messages": [{"role": "user", "content": "hi"}]}).encode(),
                headers={"authorization": "Bearer sk-alice", "content-type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert json.load(answer)["object"] == "chat.completion"
            # The default data_dir, a relative path, is in the volume.
            database = "/var/lib/mulberry/mulberry-data/mulberry.db"
            until(lambda: "small" in sandbox.once(["/usr/bin/mulberry", "usage", "--database", database]).stdout)
            # Without any /tmp.
            assert sandbox.once(["/usr/bin/mulberry", "backup", "/var/lib/mulberry/copy.db", "--database", database]).returncode == 0
            assert "small" in sandbox.once(["/usr/bin/mulberry", "usage", "--database", "/var/lib/mulberry/copy.db"]).stdout

            gateway.stop()
        assert gateway.code == 0, gateway.log()
        gone = sandbox.once(check)
        assert gone.returncode == 1 and gone.stderr.startswith("mulberry: "), gone
