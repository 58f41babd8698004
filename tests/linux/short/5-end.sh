# shellcheck shell=bash disable=SC2154,SC2034
# Every way a guest ends has its status and its word in --result.

poweroff_is_0() {
    guest <<'END'
poweroff -f
END
    launch
    expect_status 0
    expect_outcome poweroff
}

reboot_under_on_reboot_exit_is_120() {
    guest <<'END'
reboot -f
END
    launch --on-reboot=exit
    expect_status 120
    expect_outcome reboot
}

reboot_starts_the_guest_again() {
    truncate -s 1M disk.img
    guest <<'END'
if [ "$(head -c 5 /dev/vda)" = again ]; then
    echo "second boot with $(nproc) cpus"
    poweroff -f
fi
echo again | dd of=/dev/vda conv=notrunc 2>/dev/null
sync
reboot -f
END
    launch -c 2 -d disk.img
    expect_status 0
    expect_outcome poweroff
    expect_console '^second boot with 2 cpus'
}

a_panic_is_122() {
    guest <<'END'
echo c >/proc/sysrq-trigger
END
    launch
    expect_status 122
    expect_outcome panic
    expect_console 'Kernel panic - not syncing: sysrq triggered crash'
}

# Before any driver of the guest is there.
an_early_panic_is_122() {
    guest </dev/null
    launch -a 'rdinit=/nowhere root=/dev/nowhere'
    expect_status 122
    expect_outcome panic
    expect_console 'Kernel panic - not syncing: VFS'
}

a_triple_fault_is_121() {
    only_on x86_64
    guest <<'END'
reboot -f
END
    launch -a reboot=triple
    expect_status 121
    expect_outcome guest-down
}

a_hang_is_124_after_the_timeout() {
    guest <<'END'
while :; do :; done
END
    local before=$SECONDS
    launch --timeout=12s
    expect_status 124
    expect_outcome timeout
    [[ $((SECONDS - before)) -ge 12 ]] || fail "it ended after $((SECONDS - before)) seconds"
}

the_debug_exit_port_gives_the_status() {
    only_on x86_64
    guest "$FILES/programs-outb" <<'END'
outb 0xf4 3
sleep 100
END
    launch
    expect_status 7
}

# An init as systemd is: it shuts down when the power button says so. The cloud
# kernel for arm64 has no driver for the button.
_guest_with_power_button() {
    [[ $(uname -m) != aarch64 ]] || kernel=$FILES/vmlinuz-generic base=$FILES/initrd-generic
    guest <<'END'
event=$(grep -lE 'Power Button|gpio-keys' /sys/class/input/event*/device/name | head -n 1)
event=/dev/input/$(echo "$event" | cut -d / -f 5)
exec 5<"$event" # before it says so: what happens unheard is lost
echo "ready, listens to $event"
while :; do
    # 24 bytes: time, type (2), code (2), value (4); type 1, code 116, value 1 is the press
    set -- $(dd bs=24 count=1 <&5 2>/dev/null | hexdump -v -e '1/2 "%u "')
    [ "$9 ${10} ${11}" = "1 116 1" ] && break
done
echo "power button pressed"
sync
END
}

sigterm_presses_the_power_button() {
    _guest_with_power_button
    start --grace=30s
    wait_for '^ready, listens to /dev/input/event' 60
    kill -TERM "$vm_pid"
    finish
    expect_status 0
    expect_outcome poweroff
    expect_console '^power button pressed'
}

sigterm_ends_a_guest_that_will_not_stop() {
    guest <<'END'
echo "ready"
while :; do sleep 1; done
END
    start --grace=3s
    wait_for '^ready' 60
    kill -TERM "$vm_pid"
    local before=$SECONDS
    finish
    [[ $((SECONDS - before)) -ge 2 ]] || fail "it ended before the grace period was over"
    [[ $((SECONDS - before)) -le 15 ]] || fail "it took $((SECONDS - before)) seconds"
    [[ $status -ne 0 ]] || expect_status 143
}

a_second_sigterm_ends_it_at_once() {
    guest <<'END'
echo "ready"
while :; do sleep 1; done
END
    start --grace=60s
    wait_for '^ready' 60
    kill -TERM "$vm_pid"
    sleep 1
    kill -TERM "$vm_pid"
    local before=$SECONDS
    finish
    [[ $((SECONDS - before)) -le 10 ]] || fail "it took $((SECONDS - before)) seconds"
    [[ $status -ne 0 ]] || expect_status 143
}

kexec_into_itself_works() {
    # The kernel and an initrd for the second boot, inside the first one's.
    mkdir -p tree/boot
    guest <<'END'
echo "second kernel: $(nproc) cpus, $(ls /sys/block | grep -c vd) disks, $(head -c 6 /dev/vda)"
END
    cp "$initrd" tree/boot/initrd
    cp "$kernel" tree/boot/vmlinuz
    (cd tree && find . | cpio --quiet --create --format=newc) >tree.cpio
    printf 'marker' >disk.img && truncate -s 8M disk.img
    guest "$FILES/programs-kexec" tree.cpio <<'END'
echo "first kernel: $(head -c 6 /dev/vda)"
# -c: the older system call, as Debian's arm64 kernels have only that
[ "$(uname -m)" = x86_64 ] && by=-s || by=-c
kexec $by -l /boot/vmlinuz --initrd=/boot/initrd --reuse-cmdline || echo "kexec: not loaded"
kexec -e
END
    # An Arm kernel without EFI does not tell the next one where its interrupts' tables are, which a
    # GICv3 goes on using: without message-signalled ones there are none.
    launch -c 2 -m 1G -d disk.img -a irqchip.gicv3_nolpi=1
    expect_status 0
    expect_outcome poweroff
    expect_console '^first kernel: marker'
    expect_console '^second kernel: 2 cpus, 1 disks, marker'
}
