# shellcheck shell=bash disable=SC2154,SC2034
# virtio-blk under a stock kernel: data survives, discard frees, fio verifies.

# Checks the image of a root disk after its guest powered off: the file system
# is clean and the files are what the guest said it wrote.
_compare_root() {
    local sum
    e2fsck -fn "$1" >fsck.log 2>&1 || {
        cat fsck.log
        fail "e2fsck found damage"
    }
    sum=$(sed -n 's/^written \([0-9a-f]*\) .*/\1/p' console)
    [[ -n $sum ]] || {
        show_vm
        fail "the guest did not say what it wrote"
    }
    for file in random copy; do
        [[ $(debugfs -R "cat /data/$file" "$1" 2>/dev/null | sha256sum) == "$sum "* ]] ||
            fail "/data/$file is not what was written"
    done
    [[ $(debugfs -R 'cat /data/renamed' "$1" 2>/dev/null) == "file 8" ]] || fail "/data/renamed differs"
}

_root_on_disk() {
    cp --sparse=always "$FILES/root.img" root.img
    cp "$base" "$initrd"
    launch -d root.img -a 'root=/dev/vda rootfstype=ext4' "$@"
    expect_status 0
    expect_outcome poweroff
    expect_console '^root is /dev/'
    _compare_root root.img
}

an_ext4_root_is_whole_after_power_off() {
    _root_on_disk -c 2
}

an_ext4_root_is_whole_after_power_off_over_mmio() {
    _root_on_disk -c 2 --transport=mmio
}

# The same without an initrd of ours: hutch makes one of the kernel's modules.
_auto_root_on_disk() { # PACKAGE OPTION...
    kernel=$(echo "$1"/boot/vmlinuz-*)
    cp --sparse=always "$FILES/root.img" root.img
    shift
    launch -i auto -d root.img -a root=/dev/vda "$@"
    expect_status 0
    expect_outcome poweroff
    expect_console '^root is /dev/'
    _compare_root root.img
}

an_automatic_initrd_leads_to_the_root() {
    _auto_root_on_disk "$LINUX_FILES/package-cloud" -c 2
}

an_automatic_initrd_has_the_file_system_if_that_is_a_module() {
    _auto_root_on_disk "$LINUX_FILES/package-generic"
}

an_automatic_initrd_over_mmio_with_the_kind_named() {
    _auto_root_on_disk "$LINUX_FILES/package-generic" --transport=mmio -a 'rootfstype=ext4 rw'
}

an_automatic_initrd_of_packed_modules() {
    [[ -d $LINUX_FILES/package-13 ]] || skip "no kernel of Debian 13 could be had"
    export XDG_CACHE_HOME=$PWD/cache
    _auto_root_on_disk "$LINUX_FILES/package-13"
    [[ $(find cache -name '*.cpio' | wc -l) -eq 1 ]] || fail "the initrd was not kept"
    _auto_root_on_disk "$LINUX_FILES/package-13" # with the one that was kept
    [[ $(find cache -name '*.cpio' | wc -l) -eq 1 ]] || fail "the initrd was made anew"
}

# As `make` leaves it, without modules_install: no modules.dep.
an_automatic_initrd_of_a_tree_that_a_kernel_was_built_in() {
    local package=$LINUX_FILES/package-generic modules image=arch/x86/boot/bzImage
    [[ $(uname -m) == x86_64 ]] || image=arch/arm64/boot/Image
    modules=$(echo "$package"/lib/modules/*)
    mkdir -p "tree/${image%/*}"
    cp -L "$package"/boot/vmlinuz-* "tree/$image"
    cp "$package"/boot/config-* tree/.config
    cp "$modules"/modules.{order,builtin} tree/
    ln -s "$modules/kernel" tree/kernel
    cp --sparse=always "$FILES/root.img" root.img
    kernel=$PWD/tree
    launch -i auto -d root.img -a root=/dev/vda
    expect_status 0
    expect_outcome poweroff
    _compare_root root.img
}

# Copies what is needed of a package: the cache is root's.
_copy_package() { # PACKAGE
    local modules here=$PWD
    modules=$(cd "$1" && echo lib/modules/*)
    mkdir -p package/boot "package/$modules"
    cp -L "$1"/boot/vmlinuz-* package/boot/
    cp "$1/$modules"/modules.* "package/$modules/"
    (cd "$1/$modules" &&
        cp -r --parents kernel/fs/{ext4,jbd2,mbcache.*,xfs,btrfs,f2fs,erofs,squashfs} kernel/lib \
            kernel/crypto kernel/arch kernel/drivers/virtio kernel/drivers/block/virtio_blk.* \
            kernel/drivers/char/virtio_console.* "$here/package/$modules/")
}

an_automatic_initrd_for_an_ordinary_user() {
    _copy_package "$LINUX_FILES/package-generic"
    cp "$HUTCH" hutch
    cat >as-user <<'END'
#!/bin/sh
exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --no-new-privs \
    "${0%/*}/hutch" "$@"
END
    chmod 755 as-user
    chmod 711 ..
    chmod 666 /dev/kvm
    touch root.img
    chown -R 65534:65534 .
    HUTCH=$PWD/as-user
    _auto_root_on_disk "$PWD/package"
}

an_automatic_initrd_says_why_there_is_no_root() {
    kernel=$(echo "$LINUX_FILES"/package-cloud/boot/vmlinuz-*)
    truncate -s 8M root.img
    launch -i auto -d root.img -a root=/dev/vda
    expect_status 122
    expect_outcome panic
    expect_console 'root=/dev/vda: no file system that this kernel knows'
}

discard_shrinks_the_file() {
    local before after
    truncate -s 64M disk.img
    guest <<'END'
dd if=/dev/urandom of=/dev/vda bs=1M count=48 2>/dev/null
sync
echo "filled" && read -r _ </dev/hvc0
blkdiscard -o 8388608 -l 33554432 /dev/vda && echo "discarded"
echo "zeroes: $(dd if=/dev/vda bs=1M skip=8 count=32 2>/dev/null | tr -d '\000' | wc -c)"
END
    mkfifo keys
    exec 3<>keys
    start -d disk.img --serial=file:serial --console=tty -a console=ttyS0 <keys
    wait_for '^filled' 60 serial
    before=$(du -k disk.img | cut -f 1)
    echo go >&3
    finish
    exec 3>&-
    after=$(du -k disk.img | cut -f 1)
    expect_status 0
    expect_console '^discarded' serial
    expect_console '^zeroes: 0' serial
    echo "$before KiB before, $after KiB after"
    [[ $before -ge 49152 && $after -le $((before - 32000)) ]] || fail "the file has not shrunk"
}

a_fio_verify_job_passes() {
    truncate -s 64M disk.img
    guest "$FILES/programs-fio" <<'END'
mkdir -p /dev/shm /usr/share/fio
mount -t tmpfs shm /dev/shm
fio --name=v --filename=/dev/vda --rw=randwrite --bsrange=512-64k --direct=1 --ioengine=libaio \
    --iodepth=16 --size=24M --verify=crc32c --verify_fatal=1 --do_verify=1 --output=/fio.log
status=$?
cat /fio.log
echo "fio: $status"
END
    launch -c 2 -m 1G -d disk.img
    expect_status 0
    expect_console '^fio: 0'
}

a_readonly_disk_refuses_writes() {
    truncate -s 8M disk.img
    guest <<'END'
echo "ro: $(cat /sys/block/vda/ro)"
dd if=/dev/zero of=/dev/vda bs=4k count=1 2>/dev/null || echo "write refused"
END
    launch -d disk.img,readonly
    expect_status 0
    expect_console '^ro: 1'
    expect_console '^write refused'
}

two_disks_and_two_nics_keep_order_and_names() {
    truncate -s 16M a.img
    truncate -s 32M b.img
    make_tap tap0 10.1.0.1/24
    make_tap tap1 10.2.0.1/24
    guest <<'END'
for disk in vda vdb; do
    echo "$disk: $(cat /sys/block/$disk/size) $(cat /sys/block/$disk/serial)"
done
for nic in eth0 eth1; do
    echo "$nic: $(cat /sys/class/net/$nic/address)"
done
END
    launch -d a.img,serial=first -d b.img,serial=second \
        -n tap:tap0,mac=02:00:00:00:00:0a -n tap:tap1,mac=02:00:00:00:00:0b
    expect_status 0
    expect_console '^vda: 32768 first'
    expect_console '^vdb: 65536 second'
    expect_console '^eth0: 02:00:00:00:00:0a'
    expect_console '^eth1: 02:00:00:00:00:0b'
}
