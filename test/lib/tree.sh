# shellcheck shell=bash
# test/lib/tree.sh: a copy of the sources to build in. Source it.
# SPDX-License-Identifier: PostgreSQL
#
# Objects of one server are of no use to another, and make cannot tell; so
# builds for other servers happen in copies.

# sn_copy_tree ROOT DIR: the files that git knows or would add, as they are.
sn_copy_tree() {
    rm -rf "$2" && mkdir -p "$2" || return 1
    if [ -e "$1/.git" ]; then
        git -C "$1" ls-files -z --cached --others --exclude-standard |
            while IFS= read -r -d '' file; do
                [ ! -e "$1/$file" ] || printf '%s\0' "$file"
            done | tar -C "$1" --null -T - -cf - | tar -C "$2" --no-same-owner -xf -
    else
        tar -C "$1" --exclude=./build --exclude=./log --exclude='*.o' \
            --exclude='*.so' -cf - . | tar -C "$2" --no-same-owner -xf -
    fi
}
