# shellcheck shell=bash disable=SC2154,SC2034
# virtio-fs under a stock kernel: both sides see the same files.

_random_file() { # NAME MIB
    dd if=/dev/urandom of="$1" bs=1M count="$2" 2>/dev/null
}

limits[a_folder_is_read_and_written]=400
a_folder_is_read_and_written() {
    mkdir shared
    _random_file shared/down 100
    guest <<'END'
mount -t virtiofs shared /mnt || echo "mount failed"
cd /mnt
echo "down: $(sha256sum <down)"
dd if=/dev/urandom of=up bs=1M count=100 2>/dev/null
sync
echo 3 >/proc/sys/vm/drop_caches
echo "up: $(sha256sum <up)"
echo "size: $(stat -c %s up)"
END
    launch -m 1G -v shared
    expect_status 0
    expect_console "^down: $(sha256sum <shared/down)"
    expect_console "^up: $(sha256sum <shared/up)"
    expect_console '^size: 104857600'
}

a_readonly_folder_refuses_changes() {
    mkdir shared
    echo content >shared/file
    guest <<'END'
mount -t virtiofs the-tag /mnt
cat /mnt/file
(echo x >/mnt/new) 2>&1
(echo x >/mnt/file) 2>&1
rm /mnt/file 2>&1
mv /mnt/file /mnt/other 2>&1
chmod 600 /mnt/file 2>&1
ls /mnt | sed 's/^/left: /'
END
    launch -v shared:the-tag:ro
    expect_status 0
    expect_console '^content'
    [[ $(grep -ac 'Read-only file system' console) -eq 5 ]] || {
        show_vm
        fail "not all changes were refused"
    }
    [[ $(ls shared) == file && $(<shared/file) == content ]] || fail "the folder has changed"
}

limits[a_folder_of_10000_files_is_complete]=500
a_folder_of_10000_files_is_complete() {
    mkdir -p shared/many
    (cd shared/many && seq -f 'file-%05g' 10000 | xargs touch)
    guest <<'END'
mount -t virtiofs shared /mnt
echo "listed: $(ls /mnt/many | wc -l) $(ls /mnt/many | sort | sha256sum)"
echo "found: $(find /mnt/many -type f -size 0 | wc -l)"
mkdir /mnt/made
i=0
while [ $i -lt 500 ]; do : >/mnt/made/$i; i=$((i + 1)); done
echo "made: $(ls /mnt/made | wc -l)"
rm /mnt/many/file-001* && echo "left: $(ls /mnt/many | wc -l)"
END
    local sum
    sum=$(cd shared/many && printf '%s\n' * | LC_ALL=C sort | sha256sum)
    launch -m 1G -v shared # root raises its limit of open files
    expect_status 0
    expect_console "^listed: 10000 $sum"
    expect_console '^found: 10000'
    expect_console '^made: 500'
    expect_console '^left: 9900'
    [[ $(find shared/many -type f | wc -l) -eq 9900 && $(find shared/made -type f | wc -l) -eq 500 ]] ||
        fail "the host sees others"
}

names_links_holes_and_times_are_the_hosts() {
    mkdir shared outside
    echo secret >outside/secret
    ln -s ../outside/secret shared/leads-out
    ln -s "$PWD/outside" shared/leads-far
    mkfifo shared/fifo
    truncate -s 5G shared/large
    printf 'end' >>shared/large
    guest <<'END'
mount -t virtiofs shared /mnt
cd /mnt
cat leads-out leads-far/secret 2>/dev/null || echo "links stay inside"
echo "large: $(stat -c '%s %b' large) $(tail -c 3 large)"
mkdir a b
echo one >a/one && ln a/one b/two && echo "links: $(stat -c %h a/one)"
mv a/one b/three && echo "renamed: $(cat b/three)"
mv b c && ls c
ln -s c/three link && cat link
dd if=/dev/zero of=sparse bs=1 count=1 seek=100M 2>/dev/null
echo "sparse: $(du -k sparse | cut -f 1)"
chmod 4751 c/two && stat -c 'mode: %a' c/two
touch -d '2001-02-03 04:05:06' c/two
printf 'x' | dd of=over bs=1 seek=4 conv=notrunc 2>/dev/null
for i in 1 2 3; do echo $i >>appended; done
rm link && rmdir a
END
    launch -m 1G -v shared
    expect_status 0
    expect_console '^links stay inside'
    expect_console '^large: 5368709123 [0-9] end'
    expect_console '^links: 2'
    expect_console '^renamed: one'
    expect_console '^sparse: [0-9][^0-9]*$'
    expect_console '^mode: 4751'
    [[ $(<shared/c/three) == one && shared/c/three -ef shared/c/two ]] || fail "the hard link is lost"
    [[ $(stat -c '%a %Y' shared/c/two) == '4751 981173106' ]] || fail "mode or time differ"
    [[ $(stat -c %s shared/sparse) -eq 104857601 && $(du -k shared/sparse | cut -f 1) -lt 100 ]] ||
        fail "the hole is gone"
    [[ $(<shared/appended) == $'1\n2\n3' ]] || fail "what was appended differs"
    [[ ! -e shared/a && ! -L shared/link ]] || fail "what was removed is there"
}

what_the_host_changes_the_guest_sees() {
    mkdir shared kept && chmod 777 kept
    echo old >shared/edited
    echo old >shared/replaced
    guest <<'END'
mkdir -p /kept /etc
echo nobody:x:65534:65534::/:/bin/sh >/etc/passwd
mount -t virtiofs shared /mnt
mount -t virtiofs kept /kept
cd /mnt
cat edited replaced
[ -e /kept/secret ] || [ -e /kept/link ] || echo "missing: for long"
echo "ready" && read -r _ </dev/hvc0
su nobody -c 'cat 0<>/kept/secret' 2>&1
echo appended >>/kept/link || echo "not through the link"
sleep 1.2
echo "edited: $(cat edited)"
echo "replaced: $(cat replaced)"
echo "new: $(cat new)"
[ -e gone ] || echo "gone is gone"
echo "docker: $(ls -A .docker)"
cat .docker/config.json 2>&1
(echo mine >.docker/config.json) 2>/dev/null || echo "not made"
mv .docker other 2>/dev/null
echo "moved: $(ls -A other)"
END
    touch shared/gone
    mkfifo keys
    exec 3<>keys
    start -v shared --hide=shared/.docker/config.json --serial=file:serial --console=tty \
        -v kept:kept:rw,cache=always -a console=ttyS0 <keys
    wait_for '^ready' 60 serial
    (umask 077 && echo "for root alone" >kept/secret)
    ln -s target kept/link
    mkdir shared/.docker
    echo secret >shared/.docker/config.json
    echo other >shared/.docker/daemon.json
    echo much-newer >shared/edited
    echo young >shared/temporary
    mv shared/temporary shared/replaced
    echo fresh >shared/new
    rm shared/gone
    echo go >&3
    finish
    exec 3>&-
    expect_status 0
    expect_console '^edited: much-newer' serial
    expect_console '^replaced: young' serial
    expect_console '^new: fresh' serial
    expect_console '^gone is gone' serial
    expect_console '^docker: daemon.json' serial
    expect_console 'config.json.: No such file' serial
    expect_console '^not made' serial
    expect_console '^moved: daemon.json' serial
    expect_console '^missing: for long' serial
    expect_console 'secret: Permission denied' serial
    [[ $(<kept/secret) == 'for root alone' && $(<kept/target) == appended ]] ||
        fail "what was there was not opened as it should be"
    [[ $(<shared/.docker/config.json) == secret ]] || fail "what was hidden is gone"
}

mapped_writes_verify() {
    mkdir shared
    guest "$FILES/programs-fio" <<'END'
mount -t virtiofs shared /mnt
mkdir -p /dev/shm /usr/share/fio
mount -t tmpfs shm /dev/shm
for engine in mmap psync; do
    fio --name=v --directory=/mnt --rw=randwrite --bsrange=512-64k --ioengine=$engine --size=8M \
        --verify=crc32c --verify_fatal=1 --do_verify=1 --output=/fio.log
    status=$?
    tail -n 20 /fio.log
    echo "$engine: $status"
done
END
    launch -m 1G -v shared
    expect_status 0
    expect_console '^mmap: 0'
    expect_console '^psync: 0'
}

an_ordinary_user_shares_a_folder() {
    mkdir -p shared/many run
    (cd shared/many && seq 600 | xargs touch)
    echo mine >shared/file
    chown -R 65534:65534 shared
    guest <<'END'
mount -t virtiofs shared /mnt
cat /mnt/file
echo theirs >/mnt/made
mkdir /mnt/folder
chown 1000 /mnt/made 2>/dev/null || echo "cannot give it away"
stat -c 'owner: %u' /mnt/made
echo "listed: $(ls -l /mnt/many | grep -c 65534)"
echo "again: $(find /mnt/many -type f -size 0 | wc -l)"
END
    chmod 755 . .. && chmod 666 /dev/kvm
    : >result && chmod 666 result && chmod 777 .
    status=0
    ulimit -n 400 # of which some are for other things
    setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set=-all --inh-caps=-all \
        "$HUTCH" run -k "$kernel" -i "$initrd" -v shared </dev/null >console 2>log || status=$?
    expect_status 0
    expect_console '^mine'
    expect_console '^listed: 600'
    expect_console '^again: 600'
    expect_console '^owner: 65534'
    expect_console '^cannot give it away'
    [[ $(stat -c '%u %a' shared/made shared/folder) == $'65534 644\n65534 755' ]] ||
        fail "not as the user's: $(stat -c '%u %a' shared/made shared/folder)"
}

a_mount_outlives_a_reboot() {
    mkdir shared
    guest <<'END'
mount -t virtiofs shared /mnt
echo boot >>/mnt/boots
echo "boots: $(wc -l </mnt/boots)"
[ "$(wc -l </mnt/boots)" -ge 2 ] || { sync; reboot -f; }
umount /mnt && mount -t virtiofs shared /mnt && cat /mnt/boots
END
    launch -v shared
    expect_status 0
    expect_console '^boots: 2'
    [[ $(<shared/boots) == $'boot\nboot' ]] || fail "the file differs"
}

# Other caches, and more rounds of fsx, are in long/volume.sh.
limits[files_behave_as_posix_says]=600
files_behave_as_posix_says() {
    mkdir auto none
    guest "$FILES/programs-fs" <<'END'
echo 1 >/proc/sys/fs/protected_hardlinks
mkdir /mnt/auto /mnt/none
mount -t virtiofs auto /mnt/auto && mount -t virtiofs none /mnt/none
posix /mnt/auto && echo "posix: fine"
fsx /mnt/auto/file $RANDOM 150 && echo "fsx auto: fine"
fsx /mnt/none/file $RANDOM 150 no-shared-mappings && echo "fsx none: fine"
END
    launch -m 512M -v auto -v none:none:cache=none
    expect_status 0
    expect_console '^posix: fine'
    expect_console '^fsx auto: fine'
    expect_console '^fsx none: fine'
    [[ $(ls -A auto) == file ]] || fail "left behind: $(ls -A auto)"
}

limits[a_hostile_root_stays_in_its_folders]=400
a_hostile_root_stays_in_its_folders() {
    local before swapper
    mkdir -p shared/folder locked/empty outside program
    echo inside | tee shared/folder/file >locked/file
    echo secret >outside/file
    ln -s "$PWD/outside" shared/link
    ln -s "$PWD/outside" locked/link
    mkfifo shared/fifo
    mknod shared/device c 1 3
    (cd program && cpio --quiet -id bin/hostile <"$FILES/programs-fs")
    before=$(ls -lR --time-style=full-iso outside locked)
    guest "$FILES/programs-fs" <<'END'
mkdir /mnt/rw /mnt/ro
mount -t virtiofs shared /mnt/rw && mount -t virtiofs locked /mnt/ro
echo "attack begins"
hostile attack /mnt/rw /mnt/ro && echo "nothing was reached"
END
    start -m 512M -v shared -v locked:locked:ro
    wait_for '^attack begins' 60
    program/bin/hostile swap shared 5 &
    swapper=$!
    finish
    wait "$swapper"
    expect_status 0
    expect_console '^race: [1-9][0-9]* times inside'
    expect_console '^nothing was reached'
    [[ $(ls -lR --time-style=full-iso outside locked) == "$before" ]] ||
        fail "something has changed: $(ls -lR outside locked)"
    [[ -z $(find . ! -path ./shared/device -type b,c) ]] || fail "a device was made"
}
