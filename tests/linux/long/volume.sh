# shellcheck shell=bash disable=SC2154,SC2034
# Folders of the host, for longer: fsx, many files, an ordinary user under the same tests.

limits[posix_and_fsx_pass_with_every_cache]=3000
posix_and_fsx_pass_with_every_cache() {
    mkdir auto always none
    guest "$FILES/programs-fs" <<'END'
echo 1 >/proc/sys/fs/protected_hardlinks
for cache in auto always none; do
    mkdir /mnt/$cache && mount -t virtiofs $cache /mnt/$cache
    case $cache in
    auto) lacks= option= ;;
    always) lacks=no-holes option= ;;
    none) lacks=no-shared-mappings option=$lacks ;;
    esac
    posix /mnt/$cache $lacks && echo "posix $cache: fine"
    for seed in 1 2 3; do
        fsx /mnt/$cache/file $seed 3000 $option || break
    done && echo "fsx $cache: fine"
done
END
    launch -m 1G -v auto -v always:cache=always -v none:cache=none
    expect_status 0
    local cache
    for cache in auto always none; do
        expect_console "^posix $cache: fine"
        expect_console "^fsx $cache: fine"
    done
}

# The host's user owns all there is and cannot give it away, so what remains of POSIX is what one
# user sees of his own files.
limits[fsx_and_links_as_an_ordinary_user]=900
fsx_and_links_as_an_ordinary_user() {
    mkdir shared run
    chown 65534:65534 shared
    guest "$FILES/programs-fs" <<'END'
mount -t virtiofs shared /mnt
fsx /mnt/file 7 2000 && echo "fsx: fine"
cd /mnt
echo one >a && ln a b && mv b c && [ "$(stat -c %h c)" = 2 ] && echo "links: fine"
mkfifo pipe && echo "pipe: fine"
mknod device c 1 3 2>/dev/null || echo "no device: fine"
chmod 4755 a && echo "mode: $(stat -c %a a)"
chown 0:0 a 2>/dev/null || echo "not given away: fine"
END
    chmod 755 . .. && chmod 666 /dev/kvm
    : >result && chmod 666 result && chmod 777 .
    status=0
    setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set=-all --inh-caps=-all \
        "$HUTCH" run -k "$kernel" -i "$initrd" -m 512M -v shared </dev/null >console 2>log || status=$?
    expect_status 0
    expect_console '^fsx: fine'
    expect_console '^links: fine'
    expect_console '^pipe: fine'
    expect_console '^no device: fine'
    expect_console '^not given away: fine'
    [[ $(stat -c %u shared/c) -eq 65534 ]] || fail "not the user's"
}

limits[a_folder_of_100000_files_is_complete]=3000
a_folder_of_100000_files_is_complete() {
    mkdir -p shared/many
    (cd shared/many && seq -f 'file-%06g' 100000 | xargs touch)
    guest <<'END'
mount -t virtiofs shared /mnt
echo "listed: $(ls /mnt/many | wc -l)"
echo "found: $(find /mnt/many -type f -size 0 | wc -l)"
rm -r /mnt/many && echo "removed"
END
    ulimit -n 4096 # far fewer than there are files
    launch -m 1G -v shared
    expect_status 0
    expect_console '^listed: 100000'
    expect_console '^found: 100000'
    expect_console '^removed'
    [[ -z $(ls shared) ]] || fail "something is left"
}

limits[a_file_beyond_4_gib_comes_back_identical]=1500
a_file_beyond_4_gib_comes_back_identical() {
    mkdir shared
    guest <<'END'
mount -t virtiofs shared /mnt
cd /mnt
for place in 0 4095 4096 4097 6000; do
    echo "at $place" | dd of=large bs=1M seek=$place conv=notrunc 2>/dev/null
done
for place in 0 4095 4096 4097 6000; do
    dd if=large bs=1M skip=$place count=1 2>/dev/null | head -n 1 | tr -d '\000'
done
echo "size: $(stat -c %s large)"
END
    launch -m 512M -v shared
    expect_status 0
    for place in 0 4095 4096 4097 6000; do
        expect_console "^at $place"
    done
    expect_console '^size: 6291456008'
    [[ $(dd if=shared/large bs=1M skip=4096 count=1 2>/dev/null | head -c 8) == 'at 4096' ]] ||
        fail "the host sees something else"
}
