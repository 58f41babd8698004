# shellcheck shell=bash disable=SC2154,SC2034
# A COMMAND among the host's own files: no image, no initial RAM disk, no option but the kernel. As
# a boot takes long here, each case looks at many things.

limits[the_hosts_files_are_there_and_safe]=240
the_hosts_files_are_there_and_safe() {
    pull_kernel
    mkdir -p project/deep/er home/me/.ssh && cd project/deep/er || exit
    echo secret >../../../home/me/.ssh/id && echo mine >file && echo hidden >not-this
    export HOME=${PWD%/project/*}/home/me MY_TOKEN=x WORD='a  b' DISPLAY=:0
    cat >script <<END
$claims
is folder "\$(pwd)" "$PWD"
is user "\$(id -u):\$(id -g):\$(id -G)" "$(id -u):$(id -g):$(id -G)"
is umask "\$(umask)" 0027
is name "\$(hostname)" my-vm
is word "\$WORD" 'a  b'
is token "\$MY_TOKEN\$DISPLAY" ''
is added "\$ADDED" 'x=y'
is shadow "\$(cat /etc/shadow 2>&1 | tail -c 26)" 'No such file or directory'
holds passwd grep -q ^root: /etc/passwd
fails home test -e $HOME/.ssh
holds new-home test -w $HOME
fails hide test -e not-this
is tmp "\$(ls /tmp)" "$(cut -d/ -f3 <<<"$PWD")"
is run "\$(ls -A /run)" ''
holds own-tmp sh -c ': >/tmp/x && : >/run/x && : >/dev/shm/x && : >/var/tmp/x'
holds layer sh -c 'echo new >/usr/made && rm /etc/passwd && ! test -e /etc/passwd'
holds proc test "\$(cat /proc/1/comm)" = init
holds modules test -e "/lib/modules/\$(uname -r)/modules.dep"
holds null sh -c ': </dev/null >/dev/null'
holds loopback sh -c 'ip addr show lo | grep -q "inet 127.0.0.1"'
holds writes sh -c 'echo written >out && mv file moved && mkdir d'
holds volume test "\$(cat /in/the/guest/id)" = secret
fails read-only sh -c ': >/in/the/guest/new'
is unwritten "\$(cat /sys/class/bdi/\$(mountpoint -d .)/max_ratio)" 100
END
    umask 027
    run_command --name=my-vm -e ADDED=x=y --hide=not-this -v "$HOME/.ssh:/in/the/guest:ro" -- sh script
    expect_claims 24
    [[ $(cat out) == written && $(cat moved) == mine && -d d && ! -e file ]] || fail "the folder is not what the guest made"
    [[ ! -e /usr/made && -e /etc/passwd ]] || fail "the guest wrote to the host's files"
}

a_shell_is_what_a_user_gets() {
    pull_kernel
    export SHELL=/bin/sh HUTCH_KERNEL
    HUTCH_KERNEL=$(echo cache/hutch/kernels/*/boot/vmlinuz-*) # a kernel alone is no machine of one's own
    script -qec "'$HUTCH' run --boot-timeout=120s" /dev/null <<<'tty; exit 9' >console 2>log || status=$?
    expect_status 9
    expect_console '/dev/pts/0'
}

limits[an_ordinary_user_needs_no_rights]=300
an_ordinary_user_needs_no_rights() {
    pull_kernel
    chmod 755 . .. cache
    mkdir -p a/b/c && chmod 777 a/b/c
    local user=(setpriv --reuid=4242 --regid=4243 --groups="$(stat -c %g /dev/kvm),4244"
        --inh-caps=-all --bounding-set=-all)
    chmod 660 /dev/kvm
    cd a/b/c || exit
    cat >script <<END
$claims
is user "\$(id -u):\$(id -g)" 4242:4243
holds groups sh -c 'id -G | grep -qw 4244'
is folder "\$(pwd)" "$PWD"
holds writes sh -c 'echo written >out && test "\$(stat -c %u out)" = 4242'
fails others sh -c ': >/usr/made'
holds home test -w "\$HOME"
before=\$(date +%s%N); touch now; after=\$(date +%s%N); written=\$(date -r now +%s%N)
holds clock test \$written -gt \$((before - 20000000)) -a \$written -lt \$((after + 20000000))
END
    status=0
    HOME=/home/nobody-here setsid "${user[@]}" "$HUTCH" run --boot-timeout=120s -- sh script </dev/null >../console 2>../log || status=$?
    mv ../console ../log . 2>/dev/null
    expect_claims 7
    [[ $(stat -c %u:%g out) == 4242:4243 ]] || fail "what the user wrote is $(stat -c %u:%g out)'s"
    setsid "${user[@]}" "$HUTCH" run -u root --boot-timeout=120s -- sh -c 'id -u; cat /etc/shadow; exit 3' </dev/null >console 2>log || status=$?
    expect_status 3
    [[ $(cat console) == 0 ]] || fail "root in the guest is $(cat console)"
}

limits[the_network_is_there_with_names]=240
the_network_is_there_with_names() {
    pull_kernel
    make_outer_network
    mkdir www
    head -c 1000000 /dev/urandom >www/file
    busybox httpd -f -p 127.0.0.1:8000 -h www &
    local helpers=($!)
    serve_names 127.0.0.53 at-length &
    helpers+=($!)
    printf 'nameserver 127.0.0.53\nsearch some.test\n' >resolv.conf
    cat >script <<END
$claims
is sum "\$(curl -sS --max-time 30 http://the.server:8000/file | sha256sum)" "$(sha256sum <www/file)"
is resolver "\$(cat /etc/resolv.conf)" "\$(printf 'nameserver 10.0.2.3\noptions edns0\nsearch some.test')"
is address "\$(ip -4 -o addr show dev eth0 | awk '{ print \$4 }')" 10.0.2.15/24
is other "\$(cat /sys/class/net/eth1/flags)" 0x1002
six() { for i in 1 2 3 4 5 6 7 8 9 10 11 12; do ! ip -6 route | grep -q ^default || return 0; sleep 0.5; done; return 1; }
holds ipv6 six
END
    make_tap tap0 10.9.0.1/24
    # Only for hutch the host's file is another one.
    status=0
    unshare --mount sh -c 'mount --bind resolv.conf /etc/resolv.conf && exec "$@"' sh \
        "$HUTCH" run --boot-timeout=120s -n user -n tap:tap0 -- sh script </dev/null >console 2>log || status=$?
    kill "${helpers[@]}"
    expect_claims 5
    [[ $(head -n 1 resolv.conf) == *127.0.0.53 ]] || fail "the guest wrote to the host's resolv.conf"
}

a_kernel_without_virtiofs_is_123() {
    pull_kernel
    sed -i '/virtiofs/d' cache/hutch/kernels/*/lib/modules/*/modules.*
    run_command -- true
    expect_status 123
    expect_console 'CONFIG_VIRTIO_FS is not set in this kernel' log
    # Without an index of its modules, the guest finds out: this initrd has no overlay.
    run_command -k "$kernel" -i "$base" -- true
    expect_status 123
    expect_console 'CONFIG_OVERLAY_FS is not set in this kernel' log
}
