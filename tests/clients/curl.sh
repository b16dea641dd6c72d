#!/bin/sh
# curl scp://, which is libssh2.
set -eu
verb=$1
shift
case $verb in
version)
    curl -V | grep -qw scp || exit 1
    curl -V | sed -n '1s/^curl \([^ ]*\).*\(libssh[^ ]*\).*/\1 \2/p'
    exit
    ;;
esac
mode=0644
if [ "$1" = -p ]; then
    shift
    [ "$verb" = get ] || mode=0$(stat -c %a "$1")
fi

url() {
    # Everything but the slash and what needs no quoting, as %XX.
    printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g; s/%2[fF]/\//g' |
        sed "s,^,scp://$SCP_HOST:$SCP_PORT/~/,"
}

config=$(mktemp)
trap 'rm -f "$config"' EXIT
print=$(ssh-keygen -l -E sha256 -f "$SCP_HOST_KEY" | cut -d ' ' -f 2)
{
    echo "user = \"$SCP_USER:\""
    echo "key = \"$SCP_KEY\""
    echo "pubkey = \"$SCP_KEY.pub\""
    echo "create-file-mode = $mode"
    echo "hostpubsha256 = \"${print#SHA256:}\""
} > "$config"

if [ "$verb" = put ]; then
    left=$#
    for operand in "$@"; do target=$operand; done
    for operand in "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || break
        place=$target
        [ $# -eq 2 ] || place=$target/$(basename "$operand")
        quoted=$(printf '%s' "$operand" | sed 's/[\\"]/\\&/g')
        printf 'upload-file = "%s"\nurl = "%s"\n' "$quoted" "$(url "$place")" >> "$config"
    done
else
    left=$#
    for operand in "$@"; do target=$operand; done
    for operand in "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || break
        place=$target
        [ $# -eq 2 ] || place=$target/$(basename "$operand")
        quoted=$(printf '%s' "$place" | sed 's/[\\"]/\\&/g')
        printf 'output = "%s"\nurl = "%s"\n' "$quoted" "$(url "$operand")" >> "$config"
    done
fi
curl -sS -g --fail-early -K "$config"
