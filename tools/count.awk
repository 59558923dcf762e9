# count.awk - counts tests in Meson's testlog.txt: each cmocka test of a program, else the program as one.
# A cmocka test that started and neither passed nor was skipped has failed: so a crash is counted too.
# Programs that skipped something say so by `skipped: why`; those lines are repeated here.

function finish() {
    if (name == "") return
    bad = started - ok - skip
    if (result == "exit status 77" && bad == 0) { skipped += started ? started : 1 }
    else if (started == 0) { if (result == "exit status 0") passed++; else failed++ }
    else {
        if (bad == 0 && result != "exit status 0") bad = 1 # e.g. a leak seen at exit
        passed += ok; skipped += skip; failed += bad
    }
    if (why != "") print "  " name ": " why
    if (bad > 0 || (result != "exit status 0" && result != "exit status 77")) print "  " name ": FAILED, " result
    split("", seen); name = ""; started = ok = skip = bad = 0; why = ""
}
/^test:         / { finish(); name = substr($0, 15) }
/^result:       / { result = substr($0, 15) }
/^\[ RUN      \] / { started++ }
/^\[       OK \] / { ok++ }
/^\[  SKIPPED \] / && !/test\(s\)/ { if (!($4 in seen)) skip++; seen[$4] } # each is listed again at the end
/^skipped: / { if (why == "") why = $0 }
END {
    finish()
    printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
    exit failed > 0 || passed == 0
}
