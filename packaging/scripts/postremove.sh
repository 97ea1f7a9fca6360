#!/bin/sh
# deb: remove, purge, upgrade; rpm: 0 for a removal, 1 for an upgrade.
set -e

if [ "$1" = purge ]; then
    rm -rf /var/lib/kpanic /var/log/kpanic
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
