#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Usage: outcomes.sh [EMULATOR...] PROGRAM
# Runs each case of harness/outcomes.c and compares exit status and message with what they must be.
set -u
program=("$@")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
ulimit -c 0

# name, exit status, part of the message
cat > "$dir/expected" <<'END'
passes 0 .
may_leak 0 .
leaks_a_descriptor 1 is still open: /dev/null
leaks_a_block 1 heap blocks 0 -> 1
leaks_a_mapping 1 anonymous memory
leaks_a_thread 1 threads [0-9] -> [2-9]
fails_in_a_thread 1 outcomes.c:[0-9]*: fails_in_a_thread: .*thread 7
hangs 124 still running at its time limit; last assertion that held: .*outcomes.c:[0-9]
crashes 134 .
skips 77 because of 3
no_such_case 2 no case 'no_such_case'
END

# All at once: a leak is given five seconds to go away.
while read -r name status message; do
    ( CK_RUN_CASE=$name CK_FORK=no "${program[@]}" > "$dir/$name.text" 2>&1
      echo $? > "$dir/$name.status" ) 2>/dev/null &
done < "$dir/expected"
wait

failed=0
while read -r name status message; do
    if [ "$name" = leaks_a_mapping ] && [ "${OURO_TEST_MAPS_UNCOUNTED:-}" = 1 ]; then
        continue
    fi
    got=$(cat "$dir/$name.status")
    if [ "$got" != "$status" ]; then
        echo "$name: exit status $got, must be $status:"
        cat "$dir/$name.text"
        failed=1
    elif ! { echo .; cat "$dir/$name.text"; } | grep -q -e "$message"; then
        echo "$name: does not say '$message':"
        cat "$dir/$name.text"
        failed=1
    fi
done < "$dir/expected"
exit $failed
