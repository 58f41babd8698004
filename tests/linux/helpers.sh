# shellcheck shell=bash
# What the cases of the linux suite are written with. A case runs in an empty
# folder; $FILES has kernels, initrds and programs (see prepare in run).
#
#   guest [PROGRAMS...] <<'END'     the guest's script, and archives it needs; sets $initrd
#   launch OPTION...                boots it and waits; sets $status; console and log are files
#   start OPTION...                 the same, but goes on; `finish` waits
#   expect_status N, expect_console REGEX, expect_outcome WORD
#   only_on ARCH, needs PROGRAM...  skips the case elsewhere
#   pull_kernel, run_command OPTION... -- COMMAND...       among the files of the host
#
# The guest's kernel says little, as its words over an emulated serial port take half of
# a boot here: a case that wants them sets loud=yes, as suite does at a second try.

kernel=$FILES/vmlinuz-cloud
base=$FILES/initrd-cloud
initrd=$PWD/initrd
loud=${LOUD-}
status='' vm_pid=''
# shellcheck disable=SC2034  # read by suite; the files of cases set it
declare -A limits=()

fail() {
    echo "failed: $*"
    exit 1
}

skip() {
    echo "$*"
    exit 77
}

# For what no other architecture has.
only_on() { # x86_64|aarch64
    [[ $(uname -m) == "$1" ]] || skip "this is of $1 only"
}

# Programs of the build machine's, which a lab of another architecture has but few of.
needs() { # PROGRAM...
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || skip "no $program in this lab"
    done
}

# Reads the guest's script from stdin. The first and last lines it prints show
# how far a guest came that went wrong.
guest() {
    local archive parts=("$base")
    for archive in "$@"; do
        parts+=("$archive")
    done
    {
        echo 'echo "guest: starts"'
        cat
        echo 'echo "guest: is done"'
    } >script
    echo script | cpio --quiet --create --format=newc >script.cpio
    cat "${parts[@]}" script.cpio >"$initrd"
}

start() {
    local words=(-a quiet)
    [[ -z $loud ]] || words=()
    "$HUTCH" run -k "$kernel" -i "$initrd" --result=result "${words[@]}" "$@" <&0 >console 2>log 3>&- &
    vm_pid=$!
}

finish() {
    status=0
    wait "$vm_pid" || status=$?
    vm_pid=
}

launch() {
    start "$@" <"${input-/dev/null}"
    finish
}

show_vm() {
    echo "--- status ${status:-none yet}, result: $(cat result 2>/dev/null)"
    echo "--- hutch's own words:" && cat log
    echo "--- the console's end:" && tail -n 30 "${1:-console}" | tr -d '\000'
}

expect_status() {
    [[ $status -eq $1 ]] || {
        show_vm
        fail "the status is $status, not $1"
    }
}

expect_console() { # REGEX [FILE]
    grep -Eqa "$1" "${2:-console}" || {
        show_vm "${2:-console}"
        fail "the console does not say '$1'"
    }
}

expect_outcome() {
    grep -Eq "\"outcome\": *\"$1\"" result || {
        show_vm
        fail "the result's outcome is not $1"
    }
}

# Waits until a file has a line: of the console of a guest that runs meanwhile.
wait_for() { # REGEX [SECONDS] [FILE]
    local i
    for ((i = 0; i < ${2:-40} * 5; i++)); do
        ! grep -Eqa "$1" "${3:-console}" 2>/dev/null || return 0
        sleep 0.2
    done
    show_vm "${3:-console}"
    fail "no '$1' within ${2:-40} seconds"
}

# A tap with an address, in the case's own network namespace.
make_tap() { # NAME ADDRESS/LEN
    ip tuntap add "$1" mode tap vnet_hdr
    ip addr add "$2" dev "$1"
    ip link set "$1" up
}

# passt wants an outer network to copy; this namespace gets a made-up one.
make_outer_network() {
    ip link set lo up
    ip link add outer0 type dummy
    ip addr add 192.0.2.2/24 dev outer0
    ip addr add 2001:db8::2/64 dev outer0 nodad
    ip link set outer0 up
    ip route add default via 192.0.2.1
    ip route add default via 2001:db8::1
}

# Answers every question for the IPv4 address of a name with 10.0.2.2; at length: as if that
# took more than 512 bytes.
serve_names() { # ADDRESS [at-length]
    exec python3 - "$@" <<'END'
import socket, sys

server = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
while True:
    query, peer = server.recvfrom(512)
    end = query.index(0, 12) + 5  # of the question
    has_answer = query[end - 4:end - 2] == b"\0\1"
    fits = len(sys.argv) < 3 or query[10:12] == b"\0\1"  # it says how much it takes
    has_answer &= fits
    answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes([10, 0, 2, 2]) if has_answer else b""
    flags = b"\x81\x80" if fits else b"\x83\x80"  # cut off: ask by TCP
    server.sendto(query[:2] + flags + b"\0\1\0" + bytes([has_answer]) + b"\0\0\0\0" + query[12:end] + answer, peer)
END
}

# --- a COMMAND among the files of the host ---

# A kernel where `hutch kernel pull` has it, with the modules that it needs: the build machine's own
# are root's.
pull_kernel() {
    export XDG_CACHE_HOME=$PWD/cache
    mkdir -p cache/hutch/kernels/linux-image_1
    tar -C cache/hutch/kernels/linux-image_1 -xf "$FILES/pulled.tar"
}

run_command() { # [OPTION...] -- COMMAND...
    status=0
    "$HUTCH" run --boot-timeout=120s "$@" <"${input-/dev/null}" >console 2>log || status=$?
}

# Each line of the guest's that begins with "no" is a claim that did not hold.
expect_claims() { # COUNT
    expect_status 0
    [[ ! -s log ]] || { show_vm && fail "it said something on stderr"; }
    ! grep -q '^no' console || { show_vm && fail "a claim does not hold"; }
    [[ $(grep -c '^ok' console) -eq $1 ]] || { show_vm && fail "not $1 claims"; }
}

# What the guest says claims with.
# shellcheck disable=SC2016,SC2034  # the guest expands it, the cases use it
claims='is() { if [ "$2" = "$3" ]; then echo "ok $1"; else echo "no $1: $2, not $3"; fi; }
holds() { n=$1; shift; if "$@" 2>/dev/null; then echo "ok $n"; else echo "no $n: $*"; fi; }
fails() { n=$1; shift; if "$@" 2>/dev/null; then echo "no $n: $*"; else echo "ok $n"; fi; }
'
