# shellcheck shell=bash disable=SC2154,SC2034
# A COMMAND: what takes long, and ways to use and to leave it that take a boot each.

# shellcheck source=../short/7-command.sh
. "${BASH_SOURCE[0]%/*}/../short/7-command.sh" # its _functions; suite takes cases by what stands here

_command() { # OPTION... -- COMMAND...; with the caller's streams
    "$HUTCH" run -k "$kernel" -i "$initrd" --root=none --boot-timeout=120s --result=result "$@" 3>&-
}

# Runs a command whose status is to be $1.
_expect() { # STATUS OPTION... -- COMMAND...
    local expected=$1
    shift
    status=0
    _command "$@" || status=$?
    [[ $status -eq $expected ]] || fail "status $status, not $expected: $* ($(cat result))"
}

_start() {
    # What a shell starts in the background ignores SIGINT otherwise.
    env --default-signal=INT "$HUTCH" run -k "$kernel" -i "$initrd" --root=none --boot-timeout=120s \
        --result=result "$@" </dev/null >console 2>log 3>&- &
    vm_pid=$!
}

limits[one_gib_from_stdin_to_stdout_comes_back_identical]=1800
one_gib_from_stdin_to_stdout_comes_back_identical() {
    head -c 1G /dev/urandom >data
    input=data
    _launch -- cat
    cat result
    expect_status 0
    cmp data console || fail "what came back differs"
    _expect_file log ''
}

a_fault_of_the_kernel_is_told_and_does_not_count() {
    _add_faulty_module
    launch --root=none --boot-timeout=120s --status-fd=9 -- sh -c 'insmod /fault.ko; exit 3' 9>events
    expect_status 3
    expect_outcome exit
    expect_console '^hutch: the guest.s kernel has a fault, and went on: BUG: kernel NULL' log
    grep -q '"oops": "BUG: kernel NULL' result || fail "no oops in: $(cat result)"
    grep -q '"event": "oops"' events || fail "no oops in: $(cat events)"
    # One that stands behind more of the log than the agent, which has had no CPU, reads at a time.
    pull_kernel
    # What the command needs then is in RAM, as it must not wait for anything.
    run_command -c 1 --on-oops=fail -u root -- sh -c "cp fault.ko $(command -v busybox) /tmp && cd /tmp &&
        exec chrt -f 50 ./busybox sh -c 'echo m >/proc/sysrq-trigger; ./busybox insmod fault.ko; exit 3'"
    expect_status 122
}

a_command_that_powers_off_is_121() {
    _launch -- sh -c 'poweroff -f; sleep 100'
    expect_status 121
    expect_outcome guest-down
    expect_console '^hutch: the guest powered off before the command ended' log
}

limits[who_goes_away_or_gives_nothing_is_no_problem]=700
who_goes_away_or_gives_nothing_is_no_problem() {
    cp "$base" "$initrd"
    local statuses=(0)
    _command -- sh -c 'while :; do echo y; done' </dev/null 2>log | head -n 1 >console ||
        statuses=("${PIPESTATUS[@]}")
    [[ ${statuses[0]} -eq 141 && $(cat console) == y ]] || fail "with no reader: ${statuses[0]}"
    statuses=(0)
    _command -t -- sh -c 'while :; do echo y; done' </dev/null 2>log | head -n 1 >console ||
        statuses=("${PIPESTATUS[@]}")
    [[ ${statuses[0]} -eq 129 ]] || fail "a terminal with no reader: ${statuses[0]}"
    _expect 4 -t -- sh -c 'cat; exit 4' < <(printf abc) >console
    expect_console '^abcabc'
    _expect 5 -- sh -c 'cat; exit 5' <&- >console
    [[ ! -s console ]] || fail "a closed stdin gives: $(cat console)"
    _expect 6 -- sh -c 'echo x; exit 6' </dev/null >&- 2>log
    _expect 7 -- sh -c 'echo x >&2; exit 7' </dev/null >console 2>&-
    _expect 8 -N -- sh -c 'cat; exit 8' < <(yes) >console
    [[ ! -s console ]] || fail "-N gives: $(head -c 100 console)"
    _expect 9 -- sh -c 'exit 9' < <(yes) >console
    _expect 1 -- sh -c 'cat /proc/version || exit 3; exit 1' </dev/null >/dev/full 2>log
    expect_console "^hutch: the command's output: .*No space left" log
    _expect 125 -- echo x </dev/null >/dev/full 2>log
    expect_console '^hutch: the command ended with status 0, but its output is lost: No space left' log
    exec 4> >(exec sleep 1000)
    local reader=$!
    status=0
    _command --timeout=30s -- yes </dev/null >&4 2>&4 || status=$?
    exec 4>&-
    kill "$reader"
    expect_status 124
}

limits[what_a_command_leaves_behind_ends_with_it]=300
what_a_command_leaves_behind_ends_with_it() {
    cp "$base" "$initrd"
    local before=$SECONDS
    _expect 3 -- sh -c '(while sleep 1; do echo more; done) & echo one; exit 3' </dev/null >console
    expect_console '^one'
    _expect 4 -- sh -c 'setsid sh -c "sleep 1000" & echo two; exit 4' </dev/null >console
    expect_console '^two'
    _expect 5 -- sh -c 'yes & sleep 1; exit 5' </dev/null >console
    [[ $((SECONDS - before)) -lt 200 ]] || fail "that took $((SECONDS - before)) seconds"
}

limits[who_asks_twice_or_waits_for_the_grace_period_ends_it]=400
who_asks_twice_or_waits_for_the_grace_period_ends_it() {
    cp "$base" "$initrd"
    local deaf='trap "" INT TERM; echo ready; while :; do sleep 0.1; done'
    _start --status-fd=9 -- sh -c "$deaf" 9>events
    wait_for '^ready' 90
    kill -TERM "$vm_pid"
    wait_for stopping 20 events
    kill -INT "$vm_pid"
    finish
    expect_status 143
    expect_outcome signal
    _start --grace=3s -- sh -c "$deaf"
    wait_for '^ready' 90
    kill -INT "$vm_pid"
    finish
    expect_status 130
    expect_console 'did not shut down within 3000 ms' log
    _start -- sh -c 'echo too far'
    sleep 0.5
    kill -TERM "$vm_pid" # before there is a command
    finish
    expect_status 143
    [[ ! -s console ]] || fail "it said: $(cat console)"
}

limits[ends_of_many_kinds_in_a_row_leave_nothing_behind]=3000
ends_of_many_kinds_in_a_row_leave_nothing_behind() {
    cp "$base" "$initrd"
    local i expected open count=${COMMAND_RUNS-200}
    # There one takes twice as long, and it is the same code that could leave something.
    [[ -n ${COMMAND_RUNS-} || $(uname -m) != aarch64 ]] || count=50
    local -a ends=('true:0' 'exit 7:7' 'kill -9 $$:137' 'kill -TERM $$:143' 'exec /nothing:127' 'exit 255:255')
    open=$(ls /proc/$$/fd)
    for ((i = 0; i < count; i++)); do
        expected=${ends[i % ${#ends[@]}]##*:}
        _expect "$expected" -m 256M -c 1 -- sh -c "${ends[i % ${#ends[@]}]%:*}; exit" </dev/null >console 2>log
        [[ ! -s console && $(find "$TMPDIR" "$XDG_RUNTIME_DIR" ! -type d | wc -l) -eq 0 ]] ||
            fail "run $i left: $(find "$TMPDIR" "$XDG_RUNTIME_DIR") $(cat console)"
        [[ -z $(jobs -p) && $(ls /proc/$$/fd) == "$open" ]] || fail "run $i left a process or descriptor"
    done
}

limits[eight_commands_at_once_have_their_own_status]=600
eight_commands_at_once_have_their_own_status() {
    cp "$base" "$initrd"
    local i pids=()
    for i in 1 2 3 4 5 6 7 8; do
        "$HUTCH" run -k "$kernel" -i "$initrd" --root=none --boot-timeout=300s -m 256M -c 1 -- \
            sh -c "cat; exit $i" <<<"input $i" >"console$i" 2>"log$i" 3>&- &
        pids+=($!)
    done
    for i in 1 2 3 4 5 6 7 8; do
        status=0
        wait "${pids[i - 1]}" || status=$?
        [[ $status -eq $i && $(cat "console$i") == "input $i" && ! -s log$i ]] ||
            fail "number $i: status $status, '$(cat "console$i")', $(cat "log$i")"
    done
}

an_ordinary_user_in_group_kvm_has_all_of_it() {
    cp "$base" "$initrd"
    chmod 755 . .. && chgrp 4321 /dev/kvm && chmod 660 /dev/kvm && chmod 644 "$initrd"
    mkdir -m 777 of-user
    status=0
    setpriv --reuid=65534 --regid=65534 --groups=4321 --bounding-set=-all --inh-caps=-all --no-new-privs \
        env -i "$HUTCH" run -k "$kernel" -i "$initrd" --root=none --boot-timeout=120s \
        --result=of-user/result -- sh -c 'cat; echo err >&2; kill -9 $$' <<<out >console 2>log 3>&- ||
        status=$?
    expect_status 137
    _expect_file console out
    _expect_file log err
    [[ $(stat -c %u of-user/result) -eq 65534 ]] || fail "no result of the user's"
}

# A script of each commit is what a guest is asked to run; it comes by stdin.
limits[git_bisect_finds_the_commit_by_it]=900
git_bisect_finds_the_commit_by_it() {
    needs git
    cp "$base" "$initrd"
    export HOME=$PWD GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=a \
        GIT_COMMITTER_EMAIL=a
    local i bad
    git init -q tree
    cd tree || fail "no tree"
    for i in 1 2 3 4 5 6; do
        echo "exit $((i >= 4))" >repro
        [[ $i -ne 3 ]] || echo 'exit 125' >repro # cannot be tested
        echo "$i" >number
        git add . && git commit -q -m "number $i"
        [[ $i -ne 4 ]] || bad=$(git rev-parse HEAD)
    done
    git bisect start HEAD HEAD~5 >../start 2>&1
    # shellcheck disable=SC2016  # of the shell that bisect starts
    HUTCH_RUN="$HUTCH run -k $kernel -i $initrd --root=none --boot-timeout=120s" \
        git bisect run sh -c '$HUTCH_RUN -- sh <repro' >../bisect 2>&1 3>&- || true
    git bisect log >../bisect-log
    cd ..
    # Number 3 was skipped: 4 is the first bad one, or 3 might be.
    grep -q "$bad" bisect || fail "$(tail -n 20 bisect bisect-log)"
}

# What runs a program by putting words in front of it has the guest's kernel by a variable.
_be_wrapped() {
    kernel=$(echo "$LINUX_FILES"/package-cloud/boot/vmlinuz-*)
    export HUTCH_KERNEL=$kernel HUTCH_BOOT_TIMEOUT=120s
}

limits[meson_runs_a_cross_build_s_tests_by_it]=900
meson_runs_a_cross_build_s_tests_by_it() {
    needs meson ninja gcc
    _be_wrapped
    mkdir project
    cd project || fail "no project"
    echo '#include <stdlib.h>
int main(int argc, char **argv) { return argc > 1 ? atoi(argv[1]) : 0; }' >main.c
    cat >meson.build <<'END'
project('wrapped', 'c')
exe = executable('main', 'main.c')
test('passes', exe, args: '0', timeout: 200)
test('skipped', exe, args: '77', timeout: 200)
test('fails', exe, args: '3', timeout: 200)
END
    cat >cross <<END
[binaries]
c = 'gcc'
exe_wrapper = ['$HUTCH', 'run', '--']
[properties]
needs_exe_wrapper = true
[host_machine]
system = 'linux'
cpu_family = '$(uname -m)'
cpu = '$(uname -m)'
endian = 'little'
END
    status=0
    { meson setup build --cross-file cross && meson test -C build --num-processes 1; } >../log 2>&1 3>&- ||
        status=$?
    cd ..
    [[ $status -eq 1 ]] || fail "meson's status is $status: $(tail -n 40 log)"
    for word in 'passes .*OK' 'skipped .*SKIP' 'fails .*FAIL.* exit status 3'; do
        grep -q "$word" log || fail "no '$word': $(tail -n 40 log)"
    done
}

# `go test -exec "hutch run --"` builds in /tmp, and begins in the folder of the package.
limits[a_test_of_go_is_run_by_it]=300
a_test_of_go_is_run_by_it() {
    _be_wrapped
    local built=$TMPDIR/go-build1/b001
    mkdir -p "$built" testdata && echo data >testdata/in
    cat >"$built/x.test" <<'END'
#!/bin/sh
cat testdata/in
echo "$@" >&2
! touch "$0.new" 2>/dev/null || exit 1
exit 6
END
    chmod +x "$built/x.test"
    status=0
    "$HUTCH" run -- "$built/x.test" -test.v -test.run=X </dev/null >console 2>log 3>&- || status=$?
    rm -r "${built%/*}"
    expect_status 6
    _expect_file console data
    _expect_file log '-test.v -test.run=X'
}
