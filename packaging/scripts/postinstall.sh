#!/bin/sh
# deb: configure [version], abort-*; rpm: 1 for an installation, 2 for an upgrade.
set -e

case "$1" in
    abort-*) exit 0 ;;
esac

# On Enterprise Linux 9 python3 is Python 3.9; newer ones are installed beside it.
for python in python3 python3.14 python3.13 python3.12 python3.11; do
    if "/usr/bin/$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then
        ln -sf "/usr/bin/$python" /usr/lib/kpanic/bin/python
        break
    fi
done
/usr/lib/kpanic/bin/python -I -m compileall -q /usr/lib/kpanic/lib/python3 2>/dev/null || true
/usr/lib/kpanic/bin/python -I -m kpanic.grammars.precompile 2>/dev/null || true

if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers kpanic.conf
elif ! getent passwd kpanic >/dev/null; then
    useradd --system --user-group --home-dir /var/lib/kpanic --shell /usr/sbin/nologin kpanic
fi
install -d -o kpanic -g kpanic -m 0700 /var/lib/kpanic
install -d -o kpanic -g kpanic -m 0750 /var/log/kpanic

[ -d /run/systemd/system ] || systemd=no
if [ -z "$systemd" ]; then
    systemctl daemon-reload
fi
if [ "$1" = 1 ] || { [ "$1" = configure ] && [ -z "$2" ]; }; then
    if command -v systemctl >/dev/null; then
        systemctl enable --quiet kpanic.service
        [ -n "$systemd" ] || systemctl start kpanic.service || true
    fi
elif [ -z "$systemd" ]; then
    systemctl try-restart kpanic.service || true # the new version migrates the store
fi
