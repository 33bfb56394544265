#!/bin/sh
# Make or refresh .venv from requirements/dev.txt: from a bare Python 3.11, without root, in seconds when nothing changed.
set -eu
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3.11}
command -v "$PYTHON" >/dev/null 2>&1 || PYTHON=python3
"$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' 2>/dev/null || {
  echo "setup: Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11" >&2
  exit 1
}

stamp=.venv/.hush-setup
wanted=$(cat requirements/dev.txt requirements/bootstrap.txt pyproject.toml | "$PYTHON" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
[ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ] && [ -x .venv/bin/hush ] && exit 0

echo "setup: preparing .venv (first time: downloads about 150 MB of packages)"
[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
if ! .venv/bin/uv --version >/dev/null 2>&1; then
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
fi
.venv/bin/uv pip sync --quiet --python .venv/bin/python --require-hashes requirements/dev.txt requirements/bootstrap.txt
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
printf '%s\n' "$wanted" >"$stamp"
echo "setup: ready; the command is .venv/bin/hush"
