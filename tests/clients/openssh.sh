#!/bin/sh
# OpenSSH's scp, made to speak the old protocol: -O.
set -eu
verb=$1
shift
case $verb in
version)
    ssh -V 2>&1 | sed 's/,.*//; s/OpenSSH_//; s/ .*//'
    exit
    ;;
esac
flags=
while :; do
    case $1 in
    -[rp]) flags="$flags $1"; shift ;;
    *) break ;;
    esac
done
# The last operand is the target; the remote side is known as "host".
left=$#
for operand in "$@"; do
    shift
    left=$((left - 1))
    if { [ "$verb" = put ] && [ "$left" -eq 0 ]; } || { [ "$verb" = get ] && [ "$left" -gt 0 ]; }; then
        operand=host:$operand
    fi
    set -- "$@" "$operand"
done
# shellcheck disable=SC2086 # flags are words
exec scp -O -F "$SCP_SSH_CONFIG" $flags -- "$@"
