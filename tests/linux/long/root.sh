# shellcheck shell=bash disable=SC2154,SC2034
# A COMMAND among other files than the host's, guests that want more than they may have, and many.

# A small system: a user, and nothing that this machine has.
_make_system() { # DIR
    local applet
    mkdir -p "$1"/{bin,etc,srv,home/bob}
    cp /bin/busybox "$1/bin/"
    for applet in sh cat id pwd ls touch mkdir grep echo test; do
        ln -s busybox "$1/bin/$applet"
    done
    echo 'bob:x:77:78:Bob:/home/bob:/bin/sh' >"$1/etc/passwd"
    echo 'friends:x:79:eve,bob' >"$1/etc/group"
    chown 77:78 "$1/home/bob"
}

limits[another_folder_is_the_root]=400
another_folder_is_the_root() {
    pull_kernel
    _make_system system
    mkdir work && cd work || exit
    cat >script <<END
$claims
is folder "\$(pwd)" "$PWD"
is user "\$(id -u):\$(id -g):\$(id -G)" '77:78:78 79'
is home "\$HOME" /home/bob
is root "\$(ls /bin/cat /usr/bin/cat 2>/dev/null)" /bin/cat
holds writes-home touch /home/bob/x
fails others-writes touch /srv/x
END
    chmod 777 .
    run_command --root=../system -u bob -- sh script
    expect_claims 6
    run_command --root=../system -w /new/folder -- sh -c 'pwd; id -u; touch /etc/new'
    expect_status 0
    [[ $(cat console) == $'/new/folder\n0' ]] || fail "it says $(cat console)"
    [[ ! -e ../system/etc/new && ! -e ../system/home/bob/x && ! -e ../system/new ]] || fail "the folder was written to"
    run_command --root=../system -u eve -- true
    expect_status 125
    expect_console "user 'eve': the guest's /etc/passwd does not have it" log
}

limits[an_image_is_a_root_and_boots_by_itself]=400
an_image_is_a_root_and_boots_by_itself() {
    local before
    pull_kernel
    cp --sparse=always "$FILES/root.img" root.img
    before=$(sha256sum <root.img)
    run_command --root=root.img -- sh -c 'echo new >/new; cat /new; /bin/busybox id -u; /bin/busybox pwd; exit 6'
    expect_status 6
    [[ $(cat console) == $'new\n0\n/' ]] || fail "it says $(cat console)"
    [[ $(sha256sum <root.img) == "$before" ]] || fail "the image was written to"
    status=0
    "$HUTCH" run --timeout=200s --root=root.img --result=result </dev/null >console 2>log || status=$?
    expect_status 0
    expect_outcome poweroff
    expect_console '^written '
    [[ $(sha256sum <root.img) != "$before" ]] || fail "its own init wrote nothing"
    # The same behind a partition table.
    truncate -s 80M parted.img
    printf '\0\0\0\0\203\0\0\0\0\040\0\0\0\0\002\0' | dd of=parted.img bs=1 seek=446 conv=notrunc status=none
    printf '\125\252' | dd of=parted.img bs=1 seek=510 conv=notrunc status=none
    dd if=root.img of=parted.img bs=1M seek=4 conv=notrunc status=none
    run_command --root=parted.img -- cat /proc/mounts
    expect_status 0
    expect_console '^root / overlay'
}

# Root in the guest, who takes its shares in its own hands. All of it is outside of /tmp, which no
# guest sees.
limits[a_hostile_guest_gets_nothing]=400
a_hostile_guest_gets_nothing() {
    pull_kernel
    local top=/srv/hutch-hostile
    local name=$top/outside/file
    mkdir -p $top/{home,work,outside}
    echo the-secret | tee $top/{home,outside}/secret /run/hutch-secret /tmp/hutch-secret >/dev/null
    echo untouched >"$name"
    export HOME=$top/home
    cd $top/work || exit
    ln -s ../outside link && mkdir swap && echo inside >swap/file
    cat >script <<END
$claims
none() { n=\$1; shift; if "\$@" 2>/dev/null | grep -q the-secret; then echo "no \$n"; else echo "ok \$n"; fi; }
mkdir /a /b
holds mounts-root mount -t virtiofs hutch.0 /a
holds mounts-work mount -t virtiofs hutch.2 /b
none home cat "/a$HOME/secret" "$HOME/secret"
none kernels cat /a/run/hutch-secret /a/tmp/hutch-secret
fails proc test -e /a/proc/self
fails sys test -e /a/sys/kernel
fails dev test -e /a/dev/null
fails shadow cat /a/etc/shadow
none dotdot cat /b/../outside/secret ../outside/secret link/secret
fails writes-root sh -c 'echo x >"/a$name"'
fails makes-in-root touch /a/usr/made
mount -o remount,rw /a 2>/dev/null
fails writes-root-again sh -c 'echo x >"/a$name"'
fails removes rm "/a$name"
fails hard-link ln "/a$name" /b/linked
fails hard-link-out ln /b/swap/file "/a\$PWD/../outside/linked"
fails rename-out mv /b/swap/file "/a\$PWD/../outside/moved"
fails device mknod /b/disk b 8 0
fails pipe-of-host sh -c 'ls /a/dev/kmsg /a/dev/mem | grep .'
ln -s "$PWD/../outside" /b/away
none away cat /b/away/secret
(while :; do mv -T swap other; ln -s ../outside swap; rm swap; mv -T other swap; done 2>/dev/null) &
i=0
while [ \$i -lt 40 ]; do cat /b/swap/secret /b/swap/file 2>/dev/null; i=\$((i + 1)); done >seen
kill \$!
none races cat seen
none self cat /proc/self/root/../outside/secret /proc/1/root/run/hutch-secret
END
    run_command --hide=$top/outside/secret -- sh script
    expect_claims 21
    [[ $(cat "$name") == untouched && $(ls ../outside) == $'file\nsecret' ]] || fail "the guest reached out: $(ls -l ../outside)"
    [[ ! -e disk && ! -e linked && ! -e /usr/made ]] || fail "the guest made what it may not"
    rm -r /run/hutch-secret /tmp/hutch-secret $top
}

limits[eight_at_once_in_deep_folders]=900
eight_at_once_in_deep_folders() {
    pull_kernel
    local i pids=() top=$PWD folder=$PWD
    for ((i = 0; i < 40; i++)); do
        folder+=/a-folder-with-a-long-name-$i
    done
    mkdir -p "$folder" && cd "$folder" || exit
    for i in 1 2 3 4 5 6 7 8; do
        "$HUTCH" run --boot-timeout=600s -m 512M -c 1 -- sh -c "cat >out$i; pwd; exit $i" \
            <<<"input $i" >"$top/console$i" 2>"$top/log$i" 3>&- &
        pids+=($!)
    done
    for i in 1 2 3 4 5 6 7 8; do
        status=0
        wait "${pids[i - 1]}" || status=$?
        [[ $status -eq $i && $(cat "out$i") == "input $i" && $(cat "$top/console$i") == "$folder" && ! -s $top/log$i ]] ||
            fail "number $i: status $status, '$(cat "$top/console$i")', $(cat "$top/log$i")"
    done
}

# On a host that has no IPv4 at all, from the first question on.
limits[names_come_by_ipv6_alone]=240
names_come_by_ipv6_alone() {
    pull_kernel
    ip link set lo up
    ip link add outer0 type dummy
    ip addr add 2001:db8::2/64 dev outer0 nodad
    ip addr add 2001:db8:1::53/128 dev lo nodad
    ip link set outer0 up
    ip route add default via 2001:db8::1
    serve_names 2001:db8:1::53 &
    local server=$!
    echo 'nameserver 2001:db8:1::53' >resolv.conf
    cat >script <<END
$claims
is name "\$(getent ahostsv4 the.server | head -n 1 | cut -d ' ' -f 1)" 10.0.2.2
is resolver "\$(cat /etc/resolv.conf)" 'nameserver 2001:db8:1::53'
END
    status=0
    unshare --mount sh -c 'mount --bind resolv.conf /etc/resolv.conf && exec "$@"' sh \
        "$HUTCH" run --boot-timeout=120s -n user -- sh script </dev/null >console 2>log || status=$?
    kill "$server"
    expect_claims 2
}
