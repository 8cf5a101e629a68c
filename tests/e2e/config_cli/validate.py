"""Validates files against a JSON Schema with a validator that is not ours: validate.py SCHEMA FILE...

Prints a line for each file: "ok", or the place and the message of what is wrong.
Reads YAML as editors do (YAML 1.2: no dates, and no truth in yes and no), JSON, and TOML.
"""

import json
import re
import sys
import tomllib
from pathlib import Path

import jsonschema_rs
import yaml


class Loader(yaml.SafeLoader):
    """PyYAML is of YAML 1.1; what 1.2 dropped is dropped here."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def read(path: Path):
    text = path.read_text()
    if path.suffix == ".json":
        return json.loads(text)
    if path.suffix == ".toml":
        # JSON has no dates; a validator of TOML sees their text.
        return json.loads(json.dumps(tomllib.loads(text), default=lambda time: time.isoformat()))
    return yaml.load(text, Loader)


def main() -> None:
    schema, *files = map(Path, sys.argv[1:])
    content = json.loads(schema.read_text())
    jsonschema_rs.meta.validate(content)
    validator = jsonschema_rs.Draft202012Validator(content)
    for file in files:
        errors = sorted(f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in validator.iter_errors(read(file)))
        print(f"{file.name}: {' | '.join(errors) or 'ok'}")


main()
