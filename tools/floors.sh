#!/bin/sh
# floors.sh - a file includes its own folder or a lower floor, never a higher one or a neighbour.
# One line a floor, lowest first; folders joined by + are one (they may include each other).
cd "$(dirname "$0")/.." || exit 1
floors='base
tensor+op format text task game store
cpu cuda
nn
model
gen data algo play
train
method pie
serve
cli'
find src -name '*.[ch]' -o -name '*.cu' -o -name '*.cc' | sort | xargs awk -v floors="$floors" '
BEGIN {
    n = split(floors, line, "\n")
    for (i = 1; i <= n; i++) {
        m = split(line[i], part, " ")
        for (k = 1; k <= m; k++) {
            f = split(part[k], folder, "+")
            for (j = 1; j <= f; j++) { level[folder[j]] = i; room[folder[j]] = i "." k }
        }
    }
}
function bad(what) { print FILENAME ":" FNR ": " what; failed = 1 }
FNR == 1 {
    split(FILENAME, path, "/"); mine = path[2]; count++
    if (!(mine in level)) bad("folder " mine " is on no floor; add it to tools/floors.sh")
}
/^[ \t]*#[ \t]*include[ \t]*"/ {
    split($0, quoted, "\""); split(quoted[2], path, "/"); theirs = path[1]
    if (!(theirs in level)) bad("include \"folder/file.h\", from src/: " quoted[2])
    else if (room[theirs] != room[mine] && level[theirs] >= level[mine])
        bad(mine " may not include " theirs " (" quoted[2] ")")
}
END {
    if (!count) { print "floors: no source files found"; exit 1 }
    exit failed
}'
