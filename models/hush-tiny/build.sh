#!/bin/sh
# Make .venv-model from requirements/model.txt, then build hush-tiny in it (`make model`); arguments go to build.py.
set -eu
cd "$(dirname "$0")/../.."

PYTHON=${PYTHON:-python3.11}
command -v "$PYTHON" >/dev/null 2>&1 || PYTHON=python3

[ -x .venv-model/bin/python ] || "$PYTHON" -m venv .venv-model
if ! .venv-model/bin/uv --version >/dev/null 2>&1; then
  .venv-model/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
fi
.venv-model/bin/uv pip sync --quiet --python .venv-model/bin/python --require-hashes requirements/model.txt requirements/bootstrap.txt

# Huge pages spare the allocator a page fault for every 4 KiB of every step: a tenth of the time, nothing of the result.
GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1} exec .venv-model/bin/python models/hush-tiny/build.py "$@"
