#!/bin/sh
# deb: remove, upgrade; rpm: 0 for a removal, 1 for an upgrade.
set -e

if [ "$1" = remove ] || [ "$1" = 0 ]; then
    if [ -d /run/systemd/system ]; then
        systemctl disable --now --quiet kpanic.service kpanic-rollup.timer || true
        systemctl stop kpanic-rollup.service kpanic-rollup-again.service || true
    elif command -v systemctl >/dev/null; then
        systemctl disable --quiet kpanic.service kpanic-rollup.timer || true
    fi
fi
# Remove the files that postinstall compiled.
find /usr/lib/kpanic -name __pycache__ -type d -prune -exec rm -rf {} +
