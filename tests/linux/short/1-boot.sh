# shellcheck shell=bash disable=SC2154,SC2034
# Stock kernels get to init: CPUs, memory, kinds of kernel, transports.

_boots_with_cpus() {
    loud=yes
    guest <<'END'
echo "cpus: $(nproc)"
END
    launch -c "$1"
    expect_status 0
    expect_outcome poweroff
    expect_console "^cpus: $1"
}

boots_to_init_with_1_cpu() {
    _boots_with_cpus 1
}

boots_to_init_with_2_cpus() {
    _boots_with_cpus 2
}

boots_to_init_with_4_cpus() {
    _boots_with_cpus 4
}

# The guest sees at least MIN and at most MAX MiB of what it was given.
_boots_with_memory() { # SIZE MIN MAX
    guest <<END
mib=\$((\$(sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo) / 1024))
echo "memory: \$mib MiB"
[ \$mib -ge $2 ] && [ \$mib -le $3 ] && echo "memory: fits"
END
    launch -m "$1"
    expect_status 0
    expect_console '^memory: fits'
}

boots_with_128_mib() {
    _boots_with_memory 128M 70 128
}

boots_with_3_gib() {
    _boots_with_memory 3G 2850 3072
}

boots_with_6_gib() {
    _boots_with_memory 6G 5750 6144
}

boots_the_generic_kernel() {
    kernel=$FILES/vmlinuz-generic base=$FILES/initrd-generic
    guest <<'END'
echo "kernel: $(uname -r)"
END
    launch -c 2
    expect_status 0
    expect_console '^kernel: 6\.1\.[0-9-]*-(amd64|arm64)'
}

# The kernel of the next release of Debian, with its own drivers.
boots_debian_13s_kernel() {
    [[ -e $FILES/vmlinuz-13 ]] || skip "no kernel of Debian 13 could be had"
    kernel=$FILES/vmlinuz-13 base=$FILES/initrd-13
    truncate -s 8M disk.img
    guest <<'END'
echo "kernel: $(uname -r)"
dd if=/dev/vda of=/dev/null bs=1M 2>/dev/null && echo "read the disk"
END
    launch -c 2 -d disk.img
    expect_status 0
    expect_console '^kernel: 6\.12\.'
    expect_console '^read the disk'
}

boots_an_uncompressed_vmlinux() {
    only_on x86_64
    kernel=$FILES/vmlinux-cloud
    guest </dev/null
    launch -c 1
    expect_status 0
    expect_console '^guest: is done'
}

_boots_a_packed_image() { # FILE
    only_on aarch64
    kernel=$FILES/$1
    guest </dev/null
    launch -c 1
    expect_status 0
    expect_console '^guest: is done'
}

boots_a_gzipped_image() {
    _boots_a_packed_image vmlinuz-gzip
}

boots_an_efi_zboot_image_of_zstd() {
    _boots_a_packed_image vmlinuz-zboot-zstd
}

# Debian's kernel for x86-64 has no use for a device tree, but shows what it was given.
hands_a_device_tree_to_a_pcs_kernel() {
    only_on x86_64
    guest <<'END'
cd /sys/kernel/boot_params/setup_data/0
echo "type: $(cat type), magic: $(od -An -tx1 -N 4 data)"
tr '\000' '\n' <data | grep -qF "$(cat /proc/cmdline)" && echo "command line: the same"
END
    launch -c 1 --dtb=on
    expect_status 0
    expect_console '^type: 0x2, magic:  d0 0d fe ed'
    expect_console '^command line: the same'
}

boots_over_virtio_mmio() {
    truncate -s 8M disk.img
    guest <<'END'
for dev in /sys/bus/virtio/devices/*; do
    readlink -f "$dev"
done
dd if=/dev/vda of=/dev/null bs=1M 2>/dev/null && echo "read the disk"
END
    launch -c 2 --transport=mmio -d disk.img
    expect_status 0
    expect_console 'LNRO0005|platform/[0-9a-f]+\.virtio'
    expect_console '^read the disk'
}

# Of an Arm CPU, KVM gives some parts only if asked.
a_cpu_has_the_parts_of_the_hosts_unless_denied() {
    only_on aarch64
    local part
    guest <<'END'
echo "parts:$(sed -n 's/^Features[^:]*://p' /proc/cpuinfo | head -n 1) "
dmesg | sed -n 's/.*\(using stolen time\|armv8_pmuv3 PMU\).*/kernel: \1/p'
END
    launch
    expect_status 0
    for part in sve sve2 paca pacg; do
        ! grep -qw "$part" /proc/cpuinfo || expect_console "^parts: .* $part "
    done
    expect_console '^kernel: using stolen time'
    expect_console '^kernel: armv8_pmuv3 PMU'
    launch --cpu=host,-sve,-pauth,-pmu
    expect_status 0
    expect_console '^parts: fp '
    ! grep -aE '^parts:.* (sve2?|pac[ag]) |^kernel: armv8_pmuv3' console || fail "it has what it was denied"
}

the_default_transport_is_that_of_the_interrupt_controller() {
    only_on aarch64
    local controller=GICv3 place=pci
    grep -q GICv3 /proc/interrupts || controller=GICv2 place=platform # it takes no messages
    truncate -s 8M disk.img
    guest <<'END'
echo "controller: $(grep -q GICv3 /proc/interrupts && echo GICv3 || echo GICv2)"
for dev in /sys/bus/virtio/devices/*; do
    readlink -f "$dev" | grep -q /pci && echo "device: pci" || echo "device: platform"
done
dd if=/dev/vda of=/dev/null bs=1M 2>/dev/null && echo "read the disk"
END
    launch -c 2 -d disk.img
    expect_status 0
    expect_console "^controller: $controller"
    [[ $(grep -a '^device: ' console | sort -u | tr -d '\r') == "device: $place" ]] || {
        show_vm
        fail "not all are $place"
    }
    expect_console '^read the disk'
}

# All that such a kernel knows of CPUs and interrupts is in the MP table; the cloud
# kernel does not read it.
_without_acpi() {
    only_on x86_64
    kernel=$FILES/vmlinuz-generic base=$FILES/initrd-generic
}

boots_without_acpi() {
    _without_acpi
    printf 'marker' >disk.img && truncate -s 8M disk.img
    guest <<'END'
exec 5</dev/ttyS0
echo "ready"
read -r line <&5
echo "heard: $line, on interrupt $(grep -c 'IO-APIC .*4-edge .*ttyS0' /proc/interrupts)"
echo "cpus: $(nproc), acpi: $(ls /sys/firmware | grep -c acpi), disk: $(head -c 6 /dev/vda)"
reboot -f
END
    mkfifo keys
    exec 3<>keys
    start -c 2 -a acpi=off -d disk.img --on-reboot=exit <keys
    wait_for '^ready' 60
    echo "hello guest" >&3
    finish
    exec 3>&-
    expect_status 120
    expect_outcome reboot
    expect_console '^heard: hello guest, on interrupt 1'
    expect_console '^cpus: 2, acpi: 0, disk: marker'
}

finds_pci_interrupts_without_acpi() {
    _without_acpi
    printf 'marker' >disk.img && truncate -s 8M disk.img
    guest <<'END'
grep 'IO-APIC .*-fasteoi' /proc/interrupts
echo "disk: $(head -c 6 /dev/vda)"
reboot -f
END
    launch -c 2 -a 'acpi=off pci=nomsi' -d disk.img --on-reboot=exit
    expect_status 120
    expect_console 'IO-APIC +17-fasteoi +virtio'
    expect_console '^disk: marker'
}

passes_the_command_line_on() {
    guest <<'END'
echo "cmdline: $(cat /proc/cmdline)"
END
    launch -a 'one.two=3' -a last
    expect_status 0
    expect_console '^cmdline: .*one.two=3 last'
}

the_guest_kernel_logs_no_error() {
    truncate -s 8M disk.img
    make_tap tap0 10.1.0.1/24
    guest <<'END'
ip link set eth0 up
cat /dev/hwrng | head -c 16 >/dev/null
dmesg -r | grep '^<[0-3]>' && echo "errors: yes"
dmesg | grep -E 'WARNING:|BUG:|ACPI (Error|Warning|BIOS)' && echo "errors: yes"
echo "errors: looked"
END
    # Without xsave, as the lab's CPU lets a guest set XCR0 behind KVM's back.
    local cpu=(--cpu=host,-xsave)
    [[ $(uname -m) == x86_64 ]] || cpu=()
    launch -c 2 -m 512M -d disk.img -n tap:tap0 "${cpu[@]}"
    expect_status 0
    expect_console '^errors: looked'
    ! grep -qa '^errors: yes' console || {
        show_vm
        fail "the kernel logged an error"
    }
}

has_a_random_generator_and_a_clock() {
    guest <<'END'
echo "rng: $(cat /sys/class/misc/hw_random/rng_current)"
echo "rng: $(head -c 32 /dev/hwrng | wc -c) bytes"
echo "clock: $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
echo "date: $(date +%s)"
END
    launch
    expect_status 0
    expect_console '^rng: virtio_rng'
    expect_console '^rng: 32 bytes'
    expect_console '^clock: (kvm-clock|tsc|arch_sys_counter)'
    local seen now
    seen=$(sed -n 's/^date: \([0-9]*\).*/\1/p' console)
    now=$(date +%s)
    [[ $seen -le $((now + 2)) && $seen -ge $((now - 60)) ]] || fail "date is $seen, not about $now"
}
