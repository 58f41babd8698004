# shellcheck shell=bash disable=SC2154,SC2034
# hvc0 and ttyS0 under a stock kernel, out and in.

both_consoles_write() {
    guest <<'END'
echo "words for hvc0" >/dev/hvc0
echo "words for ttyS0" >/dev/ttyS0
END
    launch --console=file:hvc --serial=file:tty
    expect_status 0
    expect_console '^words for hvc0' hvc
    expect_console '^words for ttyS0' tty
}

_console_reads() { # DEVICE OPTION...
    local device=$1
    shift
    guest <<END
exec 5<$device
echo "ready" >$device
read -r line <&5
echo "heard: \$line" >$device
END
    mkfifo keys
    exec 3<>keys
    start "$@" <keys
    wait_for '^ready' 60
    echo "hello guest" >&3
    finish
    exec 3>&-
    expect_status 0
    expect_console '^heard: hello guest'
}

hvc0_reads_our_stdin() {
    _console_reads /dev/hvc0 --console=tty --serial=file:tty
}

ttys0_reads_our_stdin() {
    _console_reads /dev/ttyS0 --serial=tty --console=file:hvc
}

# Much output, fast: nothing is lost or reordered on either console.
_console_is_lossless() { # DEVICE OPTION...
    local device=$1
    shift
    guest <<END
dmesg -n 1 # no words of the kernel in between
stty raw <$device 2>/dev/null
seq 1 4000 >$device
echo "counted" >$device
END
    launch "$@"
    expect_status 0
    tr -d '\r' <console | sed -n '/^1$/,/^4000$/p' >seen
    diff <(seq 1 4000) seen || fail "lines are missing, or are not ours"
}

hvc0_loses_no_output() {
    _console_is_lossless /dev/hvc0 --console=tty --serial=file:tty
}

ttys0_loses_no_output() {
    _console_is_lossless /dev/ttyS0 --serial=tty --console=file:hvc
}
