#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Usage: section_3.sh PAGES VERSION_MAP
# Every exported function has a page; mandoc(1) reads each without an error and finds the sections
# that a reader looks for.
set -eu
pages=$1
map=$2
command -v mandoc > /dev/null || { echo "skipped: no mandoc"; exit 77; }
fail=0
backspace=$(printf '\010') # mandoc prints bold and underlined letters twice

say() {
    echo "$1"
    fail=1
}

# Paragraph macros without text are scdoc's way to leave a line free.
mandoc -T lint -W warning "$pages"/*.3 | grep -v 'paragraph macro' && say "mandoc finds fault"

for name in $(sed -n 's/^    \(ouro_[a-z_0-9]*\);$/\1/p' "$map"); do
    page=$pages/$name.3
    if [ ! -f "$page" ]; then
        say "no page: $name(3)"
        continue
    fi
    text=$(mandoc -T utf8 -O width=100 "$page" | sed "s/.$backspace//g")
    for section in NAME SYNOPSIS DESCRIPTION SINCE "SEE ALSO"; do
        echo "$text" | grep -q "^$section\$" || say "$name(3): no section $section"
    done
    echo "$text" | grep -q "$name(" || say "$name(3): does not show the declaration"
    echo "$text" | grep -q "$name . [a-zA-Z0-9\"'(*_]" || say "$name(3): its NAME says nothing"
    sed -n '/^\.SH NAME/,/^\.SH SYN/p' "$page" | grep -q '[A-Za-z0-9")]\.\\&  *[A-Z*]' &&
        say "$name(3): its NAME is more than a sentence"
done
grep -q '"unix:@NAME"' "$pages/ouro_connect.3" || say "ouro_connect(3): \"unix:@NAME\" is changed"
exit $fail
