# shellcheck shell=bash disable=SC2154,SC2034
# Many boots, and many at once, leave nothing behind (the suite looks after each
# case for processes, files and sockets).

limits[twenty_boots_in_a_row_leave_nothing_behind]=600
twenty_boots_in_a_row_leave_nothing_behind() {
    local i
    truncate -s 8M disk.img
    guest </dev/null
    for i in {1..20}; do
        launch -c 1 -m 256M -d disk.img --timeout=90s # a boot that hangs shows where
        expect_status 0
    done
}

limits[four_vms_at_once_leave_nothing_behind]=240
four_vms_at_once_leave_nothing_behind() {
    local i pids=() failed=0
    guest <<'END'
echo "one of four"
END
    for i in 1 2 3 4; do
        truncate -s 8M "disk$i.img"
        "$HUTCH" run -k "$kernel" -i "$initrd" -m 256M -c 1 -d "disk$i.img" \
            >"console$i" 2>"log$i" </dev/null &
        pids+=($!)
    done
    for i in 1 2 3 4; do
        wait "${pids[i - 1]}" || failed=1
        grep -qa '^one of four' "console$i" || failed=1
    done
    [[ $failed -eq 0 ]] || {
        tail -n 5 console? log?
        fail "one of them did not end well"
    }
}

two_vms_cannot_write_one_disk() {
    truncate -s 8M disk.img
    guest <<'END'
echo "ready"
sleep 8
END
    start -d disk.img
    wait_for '^ready' 60
    local second=0
    "$HUTCH" run -k "$kernel" -i "$initrd" -d disk.img >console2 2>log2 </dev/null || second=$?
    finish
    expect_status 0
    [[ $second -eq 125 ]] || fail "the second ended with $second, not 125"
    grep -q disk.img log2 || fail "the second did not name the disk"
}
