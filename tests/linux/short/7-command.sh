# shellcheck shell=bash disable=SC2154,SC2034
# A COMMAND in a stock kernel, run by the agent in an initial RAM disk of busybox: its streams, its
# end in every way, and what is said when it does not come that far.

_launch() {
    cp "$base" "$initrd"
    launch --root=none --boot-timeout=120s "$@"
}

_expect_file() { # FILE TEXT
    [[ $(cat "$1") == "$2" ]] || {
        show_vm
        fail "$1 is not '$2'"
    }
}

# An initial RAM disk with /fault.ko: a module of the kernel's whose start is a fault now.
_add_faulty_module() {
    only_on x86_64
    python3 - "$(find "$LINUX_FILES"/package-cloud/ -name raid6_pq.ko)" fault.ko <<'END'
import struct, sys

module = bytearray(open(sys.argv[1], "rb").read())
headers, = struct.unpack_from("<Q", module, 0x28)
size, count, names = struct.unpack_from("<HHH", module, 0x3A)
sections = [struct.unpack_from("<IIQQQQ", module, headers + i * size) for i in range(count)]
for name, _, _, _, offset, _ in sections:
    at = sections[names][4] + name
    if module[at:module.index(0, at)] == b".init.text":
        # xor %eax, %eax; mov %rax, (%rax)  behind the call that every function begins with
        module[offset + 5:offset + 10] = bytes.fromhex("31c0488900")
with open(sys.argv[2], "wb") as file:
    file.write(module[:module.index(b"~Module signature appended~")])
END
    echo fault.ko | cpio --quiet --create --format=newc >fault.cpio
    cat "$base" fault.cpio >"$initrd"
}

a_command_has_its_streams_and_status() {
    _launch --status-fd=9 -- sh -c 'echo out; echo err >&2; exit 7' 9>events
    expect_status 7
    expect_outcome exit
    _expect_file console out
    _expect_file log err
    python3 - result events <<'END' || fail "result: $(cat result); events: $(cat events)"
import json, sys

result, events = json.load(open(sys.argv[1])), [json.loads(line) for line in open(sys.argv[2])]
times = [0, *(result[key] for key in ("up_ms", "started_ms", "ended_ms", "duration_ms"))]
assert times == sorted(times) and result["kernel"].startswith("6.1")
assert [event["event"] for event in events] == ["starting", "up", "started", "ended"]
assert [event["ms"] for event in events][1:3] == times[1:3] and events[1]["kernel"] == result["kernel"]
assert {key: events[3][key] for key in result} == result
END
}

# And cat ends with its input.
ten_mib_from_stdin_to_stdout_come_back_identical() {
    head -c 10M /dev/urandom >data
    input=data
    _launch -- cat
    expect_status 0
    cmp data console || fail "what came back differs"
    _expect_file log ''
}

# What is packed in its image is kept, and goes to another place each time unless that is refused.
a_kernel_is_unpacked_once_and_moved_at_random() {
    local first
    only_on x86_64
    rm -f "$XDG_CACHE_HOME"/hutch/unpacked/*
    _launch -- grep ' _text$' /proc/kallsyms
    expect_status 0
    first=$(<console)
    [[ $(ls "$XDG_CACHE_HOME/hutch/unpacked") == *.vmlinux ]] || fail 'it was not kept'
    _launch -- grep ' _text$' /proc/kallsyms
    [[ $(<console) != "$first" ]] || fail "it was at $first twice"
    _launch -a nokaslr -- grep ' _text$' /proc/kallsyms
    _expect_file console 'ffffffff81000000 T _text'
}

a_command_that_is_not_there_is_127() {
    _launch -- no-such-program
    expect_status 127
    _expect_file log "hutch: 'no-such-program': no such file or directory"
}

a_command_that_cannot_be_executed_is_126() {
    _launch -- /modules/order
    expect_status 126
    _expect_file log "hutch: '/modules/order': permission denied"
}

a_fork_bomb_ends_with_its_time_as_124() {
    _launch --timeout=30s -- sh -c 'bomb() { bomb | bomb & }; bomb; sleep 1000'
    expect_status 124
    expect_outcome timeout
    [[ $(sed 's/.*"duration_ms": \([0-9]*\).*/\1/' result) -lt 35000 ]] || fail "too late: $(cat result)"
}

a_guest_without_memory_kills_with_137_and_says_so() {
    _launch -m 192M -c 1 --status-fd=9 -- sh -c 'exec tail /dev/zero' 9>events
    expect_status 137
    expect_outcome signal
    expect_console '^hutch: the guest.s memory did not suffice: .*Killed process .*tail' log
    grep -q '"oom": "Out of memory: Killed process' result || fail "no oom in: $(cat result)"
    grep -q '"event": "oom"' events || fail "no oom in: $(cat events)"
}

a_panic_under_a_command_is_122_and_shown() {
    _launch -- sh -c 'echo c >/proc/sysrq-trigger; sleep 100'
    expect_status 122
    expect_outcome panic
    expect_console 'Kernel panic - not syncing: sysrq triggered crash' log
}

a_fault_of_the_kernel_is_122_if_it_counts() {
    _add_faulty_module
    launch --root=none --boot-timeout=120s --on-oops=fail -- sh -c 'insmod /fault.ko; sleep 100'
    expect_status 122
    expect_outcome oops
    expect_console '^hutch: the guest.s kernel has a fault: BUG: kernel NULL pointer dereference' log
    expect_console '^hutch: . .*Call Trace' log
}

a_guest_that_goes_down_under_a_command_is_121() {
    _launch -- sh -c 'reboot -f; sleep 100'
    expect_status 121
    expect_outcome guest-down
}

a_kernel_without_ports_is_123_with_the_reason() {
    cp "$kernel" vmlinuz # away from its modules
    kernel=vmlinuz
    truncate -s 0 empty && echo empty | cpio --quiet --create --format=newc >"$initrd"
    launch --root=none --boot-timeout=30s -- true
    expect_status 123
    expect_outcome boot-failure
    expect_console 'did not start the command .*: this kernel knows no virtio devices' log
}

signals_are_forwarded_to_the_command() {
    cp "$base" "$initrd"
    # What a shell starts in the background ignores SIGINT otherwise.
    env --default-signal=INT "$HUTCH" run -k "$kernel" -i "$initrd" --root=none --boot-timeout=120s -- \
        sh -c 'trap "echo int; exit 3" INT; trap "echo usr" USR1; echo ready; while :; do sleep 0.1; done' \
        </dev/null >console 2>log 3>&- &
    vm_pid=$!
    wait_for '^ready' 90
    kill -USR1 "$vm_pid"
    wait_for '^usr' 20
    kill -INT "$vm_pid"
    finish
    expect_status 3
    expect_console '^int'
}

a_terminal_has_the_size_of_ours() {
    cp "$base" "$initrd"
    status=0
    script -qec "stty cols 77 rows 33; '$HUTCH' run -k '$kernel' -i '$initrd' --root=none \
        --boot-timeout=120s -- sh -c 'stty size; tty; exit 5'" /dev/null </dev/null >console 2>log ||
        status=$?
    expect_status 5
    expect_console '33 77'
    expect_console '^/dev/pts/0'
}
