#!/bin/sh
# Makes .venv from the hashed lock: `packaging/venv.sh run` to serve, `packaging/venv.sh dev` to work on it, too.
set -eu
cd "$(dirname "$0")/.."

case "${1:-run}" in
run) lock=requirements.lock ;;
dev) lock=requirements-dev.lock ;;
*) echo "usage: packaging/venv.sh [run|dev]" >&2; exit 2 ;;
esac

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if fits "$name"; then echo "$name"; return; fi
    done
    echo "areabox needs Python 3.11 or later, and found none." >&2
    echo "  Debian, Ubuntu: sudo apt install python3 python3-venv" >&2
    echo "  macOS:          brew install python@3.13" >&2
    echo "  elsewhere:      PYTHON=/path/to/python3.13 make run" >&2
    exit 1
}

if ! [ -x .venv/bin/python ] || ! fits .venv/bin/python; then
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "This Python has no venv module with pip in it." >&2
        echo "  Debian, Ubuntu: sudo apt install python3-venv" >&2
        exit 1
    fi
    echo "making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi

echo "installing what $lock names, each file checked against its hash"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
[ "$lock" = requirements.lock ] || touch .venv/.dev
touch .venv/.run
