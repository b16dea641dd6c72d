#!/bin/sh
# PuTTY's pscp, made to speak SCP: -scp.
set -eu
verb=$1
shift
case $verb in
version)
    pscp -V | sed -n 's/^pscp: Release //p; s/^Build platform.*//p' | head -n 1
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
left=$#
for operand in "$@"; do
    shift
    left=$((left - 1))
    if { [ "$verb" = put ] && [ "$left" -eq 0 ]; } || { [ "$verb" = get ] && [ "$left" -gt 0 ]; }; then
        operand=$SCP_USER@$SCP_HOST:$operand
    fi
    set -- "$@" "$operand"
done
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
export HOME="$home"
puttygen "$SCP_KEY" -O private -o "$home/key.ppk"
print=$(ssh-keygen -l -E sha256 -f "$SCP_HOST_KEY" | cut -d ' ' -f 2)
# A pattern is the server's to match, and pscp calls that unsafe.
[ "$verb" = put ] || flags="$flags -unsafe"
# shellcheck disable=SC2086 # flags are words
pscp -scp -q -batch -noagent -P "$SCP_PORT" -i "$home/key.ppk" -hostkey "$print" $flags "$@"
