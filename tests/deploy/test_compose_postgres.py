"""The compose file of two gateways on one PostgreSQL, by the rules of test_compose.py.

No container engine is here, so nothing of it was started.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import DEPLOY, output, read

FOLDER = DEPLOY / "compose-postgres"
COMPOSE = read(FOLDER / "compose.yaml")
SERVICES = COMPOSE["services"]
GATEWAY = read(FOLDER / "mulberry.yaml")
EXAMPLE = dict(re.findall(r"^(\w+)=(.*)$", (FOLDER / ".env.example").read_text(), re.M))
GATEWAYS = ["one", "two"]
every_service = pytest.mark.parametrize("name", SERVICES)
every_gateway = pytest.mark.parametrize("name", GATEWAYS)


def mounts(name: str) -> list[tuple[str, str, str]]:
    return [(*volume.split(":"), "")[:3] for volume in SERVICES[name].get("volumes", [])]


def test_the_specification_is_met():
    output("check-jsonschema", "--builtin-schema", "vendor.compose-spec", FOLDER / "compose.yaml")


def test_every_variable_is_in_the_example_and_the_example_has_no_secret():
    text = (FOLDER / "compose.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+)", text)) == set(EXAMPLE)
    assert not any(EXAMPLE.values())
    assert len(re.findall(r"\$\{\w+:\?put ", text)) == len(re.findall(r"\$\{\w+", text))


@every_service
def test_a_service_is_confined(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"] and "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    for published in service.get("ports", []):
        assert published.startswith("127.0.0.1:"), published
    for source, _, mode in mounts(name):
        assert (FOLDER / source).exists() and mode == "ro" if source.startswith(".") else source in COMPOSE["volumes"]
    for other, condition in service.get("depends_on", {}).items():
        assert condition == {"condition": "service_healthy"}
        assert SERVICES[other]["healthcheck"]["test"][0] == "CMD"
    assert re.search(r":v?\d+\.\d+(\.\d+)?$", service["image"]), service["image"]


def test_no_port_is_published_twice():
    published = [entry.split(":")[1] for service in SERVICES.values() for entry in service.get("ports", [])]
    assert len(published) == len(set(published)) == 3


def test_each_gateway_has_a_name_and_a_disk_of_its_own():
    names = [SERVICES[name]["environment"]["MULBERRY_LEDGER__NODE"] for name in GATEWAYS]
    disks = [source for name in GATEWAYS for source, target, _ in mounts(name) if target == GATEWAY["data_dir"]]
    assert len(set(names)) == len(set(disks)) == len(GATEWAYS)
    rest = [{**SERVICES[name], "environment": 0, "volumes": 0, "ports": 0} for name in GATEWAYS]
    assert rest[0] == rest[1], "but for these they are the same"


def test_only_gateways_reach_the_database():
    assert COMPOSE["networks"]["books"] == {"internal": True}
    there = [name for name, service in SERVICES.items() if "books" in service["networks"]]
    assert there == [*GATEWAYS, "postgres"] and "ports" not in SERVICES["postgres"]
    user, database = re.fullmatch(r"postgres://(\w+):\$\{DATABASE_PASSWORD\}@postgres/(\w+)", GATEWAY["database"]).groups()
    said = SERVICES["postgres"]["environment"]
    assert (said["POSTGRES_USER"], said["POSTGRES_DB"]) == (user, database)


def test_nginx_finds_both_gateways():
    text = (FOLDER / "nginx.conf").read_text()
    servers = re.findall(r"^\s+server (\w+):(\d+)", text, re.M)
    assert servers == [(name, GATEWAY["listen"].rsplit(":", 1)[1]) for name in GATEWAYS]
    assert all("front" in SERVICES[name]["networks"] for name in [*GATEWAYS, "nginx"])


def test_nginx_accepts_its_configuration(tmp_path: Path):
    if not shutil.which("nginx"):
        pytest.skip("nginx is not installed")
    text = (FOLDER / "nginx.conf").read_text().replace("/tmp/", f"{tmp_path}/")
    # The names of services are names in the network of compose alone.
    text = re.sub(r"server (one|two):", "server 127.0.0.1:", text)
    (tmp_path / "nginx.conf").write_text(text)
    tested = subprocess.run(["nginx", "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True)
    assert tested.returncode == 0, tested.stderr


@every_gateway
def test_a_gateway_accepts_its_configuration(name: str, mulberry: Path):
    text = (FOLDER / "mulberry.yaml").read_text()
    names = set(re.findall(r"\$\{(\w+)\}", text))
    environment = SERVICES[name]["environment"]
    assert names == {variable for variable in environment if not variable.startswith("MULBERRY_LEDGER")}
    made_up = {variable: f"sk-{variable}" for variable in names} | {"ENGINE_URL": "http://127.0.0.1:8000"}
    made_up |= {"MULBERRY_LEDGER__NODE": environment["MULBERRY_LEDGER__NODE"]}
    shown = output(mulberry, "check", "--config", FOLDER / "mulberry.yaml", env={**os.environ, **made_up})
    assert "sk-" not in shown
    assert yaml.safe_load(shown)["ledger"]["node"] == name
