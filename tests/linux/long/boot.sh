# shellcheck shell=bash disable=SC2154,SC2034
# Boots that take long: more CPUs, memory that is all used, other kernels.

limits[boots_to_init_with_8_cpus]=480
boots_to_init_with_8_cpus() {
    guest <<'END'
echo "cpus: $(nproc)"
END
    launch -c 8
    expect_status 0
    expect_console '^cpus: 8'
}

# Nearly all of it becomes one file, of which the pages that nobody writes cost nothing; each 4 MiB
# hold their number, so memory that is there twice, or not at all, is noticed.
limits[six_gib_hold_what_was_written_to_them]=600
six_gib_hold_what_was_written_to_them() {
    guest <<'END'
mount -t tmpfs -o size=95% big /mnt
fallocate -l 5504M /mnt/file
i=0
while [ $i -lt 1376 ]; do
    echo "number $i" | dd of=/mnt/file bs=4M seek=$i conv=notrunc 2>/dev/null
    i=$((i + 1))
done
held=0 i=0
while [ $i -lt 1376 ]; do
    dd if=/mnt/file of=/page bs=4096 skip=$((i * 1024)) count=1 2>/dev/null
    read -r line </page && [ "$line" = "number $i" ] && held=$((held + 1))
    i=$((i + 1))
done
echo "held: $held, $(du -m /mnt/file)"
END
    launch -c 2 -m 6G
    expect_status 0
    expect_console '^held: 1376, 5504\s'
}

limits[the_generic_kernel_boots_with_4_cpus_and_disk_over_mmio]=480
the_generic_kernel_boots_with_4_cpus_and_disk_over_mmio() {
    kernel=$FILES/vmlinuz-generic base=$FILES/initrd-generic
    truncate -s 8M disk.img
    guest <<'END'
echo "cpus: $(nproc)"
dd if=/dev/urandom of=/dev/vda bs=1M count=8 2>/dev/null
sync
echo "sum: $(sha256sum </dev/vda)"
END
    launch -c 4 --transport=mmio -d disk.img
    expect_status 0
    expect_console '^cpus: 4'
    expect_console "^sum: $(sha256sum <disk.img | cut -d ' ' -f 1)"
}

limits[every_cpu_goes_off_and_on_again]=480
every_cpu_goes_off_and_on_again() {
    guest <<'END'
for cpu in 1 2 3; do
    echo 0 >/sys/devices/system/cpu/cpu$cpu/online
    echo 1 >/sys/devices/system/cpu/cpu$cpu/online
done
echo "online: $(cat /sys/devices/system/cpu/online)"
END
    launch -c 4
    expect_status 0
    expect_console '^online: 0-3'
}

limits[ten_reboots_in_a_row]=480
ten_reboots_in_a_row() {
    truncate -s 1M disk.img
    guest <<'END'
boots=$(dd if=/dev/vda bs=512 count=1 2>/dev/null | tr -d '\000')
boots=$((${boots:-0} + 1))
echo "boot $boots"
[ $boots -lt 10 ] || poweroff -f
echo $boots | dd of=/dev/vda conv=notrunc 2>/dev/null
sync
reboot -f
END
    launch -d disk.img
    expect_status 0
    expect_console '^boot 10'
}

# Its pages are larger than the lab's own, unless that has such, too: a folder's messages, a disk's
# requests and a queue's rings are then of another shape.
limits[boots_a_kernel_with_pages_of_16_kib]=300
boots_a_kernel_with_pages_of_16_kib() {
    only_on aarch64
    [[ -e $FILES/vmlinuz-16k ]] || skip "no kernel with pages of 16 KiB could be had"
    kernel=$FILES/vmlinuz-16k base=$FILES/initrd-16k
    mkdir shared
    head -c 20000000 /dev/urandom >shared/data
    truncate -s 32M disk.img
    guest <<'END'
grep -m 1 KernelPageSize /proc/self/smaps
mount -t virtiofs shared /mnt
cat /mnt/data >/dev/vda
sync
head -c 20000000 /dev/vda >/mnt/copy
END
    launch -c 2 -d disk.img -v shared
    expect_status 0
    expect_console '^KernelPageSize: +16 kB'
    cmp shared/data shared/copy || fail "the copy differs"
    cmp -n 20000000 shared/data disk.img || fail "what is on the disk differs"
}

boots_an_efi_zboot_image_of_gzip() {
    only_on aarch64
    kernel=$FILES/vmlinuz-zboot-gzip
    guest </dev/null
    launch -c 1
    expect_status 0
    expect_console '^guest: is done'
}
