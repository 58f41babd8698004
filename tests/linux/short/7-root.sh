# shellcheck shell=bash disable=SC2154,SC2034
# A COMMAND among the host's own files: no image, no initial RAM disk, no option but the kernel. As
# a boot takes long here, each case looks at many things.

# A kernel where `hutch kernel pull` has it, with the modules that it needs: the build machine's own
# are root's, and far away.
_cache() {
    local package=$LINUX_FILES/package-cloud modules folder
    modules=$(cd "$package" && echo lib/modules/*)
    folder=$PWD/cache/hutch/kernels/linux-image_1
    mkdir -p "$folder/boot" "$folder/$modules"
    cp -L "$FILES/vmlinuz-cloud" "$folder/boot/$(basename "$package"/boot/vmlinuz-*)"
    cp "$package/$modules"/modules.* "$folder/$modules/"
    (cd "$package/$modules" &&
        cp --parents kernel/drivers/virtio/virtio*.ko* kernel/drivers/char/virtio_console.ko* \
            kernel/drivers/block/virtio_blk.ko* kernel/fs/{fuse,overlayfs}/*.ko* \
            kernel/drivers/char/hw_random/virtio-rng.ko* "$folder/$modules/")
    export XDG_CACHE_HOME=$PWD/cache
}

_run() { # [OPTION...] -- COMMAND...
    status=0
    "$HUTCH" run --boot-timeout=120s "$@" <"${input-/dev/null}" >console 2>log || status=$?
}

# Each line of the guest's that begins with "no" is a claim that did not hold.
_expect_claims() { # COUNT
    expect_status 0
    [[ ! -s log ]] || { show_vm && fail "it said something on stderr"; }
    ! grep -q '^no' console || { show_vm && fail "a claim does not hold"; }
    [[ $(grep -c '^ok' console) -eq $1 ]] || { show_vm && fail "not $1 claims"; }
}

# What the guest says claims with.
# shellcheck disable=SC2016  # the guest expands it
_claims='is() { if [ "$2" = "$3" ]; then echo "ok $1"; else echo "no $1: $2, not $3"; fi; }
holds() { n=$1; shift; if "$@" 2>/dev/null; then echo "ok $n"; else echo "no $n: $*"; fi; }
fails() { n=$1; shift; if "$@" 2>/dev/null; then echo "no $n: $*"; else echo "ok $n"; fi; }
'

the_hosts_files_are_there_and_safe() {
    _cache
    mkdir -p work/deep/er home/me/.ssh && cd work/deep/er || exit
    echo secret >../../../home/me/.ssh/id && echo mine >file && echo hidden >not-this
    export HOME=${PWD%/work/*}/home/me MY_TOKEN=x WORD='a  b' DISPLAY=:0
    cat >script <<END
$_claims
is folder "\$(pwd)" "$PWD"
is user "\$(id -u):\$(id -g):\$(id -G)" "$(id -u):$(id -g):$(id -G)"
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
holds null sh -c ': </dev/null >/dev/null'
holds loopback sh -c 'ip addr show lo | grep -q "inet 127.0.0.1"'
holds writes sh -c 'echo written >out && mv file moved && mkdir d'
holds volume test "\$(cat /in/the/guest/id)" = secret
fails read-only sh -c ': >/in/the/guest/new'
END
    _run --name=my-vm -e ADDED=x=y --hide=not-this -v "$HOME/.ssh:/in/the/guest:ro" -- sh script
    _expect_claims 21
    [[ $(cat out) == written && $(cat moved) == mine && -d d && ! -e file ]] || fail "the folder is not what the guest made"
    [[ ! -e /usr/made && -e /etc/passwd ]] || fail "the guest wrote to the host's files"
}

a_shell_is_what_a_user_gets() {
    _cache
    export SHELL=/bin/sh
    script -qec "'$HUTCH' run --boot-timeout=120s" /dev/null <<<'tty; exit 9' >console 2>log || status=$?
    expect_status 9
    expect_console '/dev/pts/0'
}

an_ordinary_user_needs_no_rights() {
    _cache
    chmod 755 . .. cache
    mkdir -p a/b/c && chmod 777 a/b/c
    local user=(setpriv --reuid=4242 --regid=4243 --groups="$(stat -c %g /dev/kvm),4244"
        --inh-caps=-all --bounding-set=-all)
    chmod 660 /dev/kvm
    cd a/b/c || exit
    cat >script <<END
$_claims
is user "\$(id -u):\$(id -g)" 4242:4243
holds groups sh -c 'id -G | grep -qw 4244'
is folder "\$(pwd)" "$PWD"
holds writes sh -c 'echo written >out && test "\$(stat -c %u out)" = 4242'
fails others sh -c ': >/usr/made'
holds home test -w "\$HOME"
END
    status=0
    HOME=/home/nobody-here setsid "${user[@]}" "$HUTCH" run --boot-timeout=120s -- sh script </dev/null >../console 2>../log || status=$?
    mv ../console ../log . 2>/dev/null
    _expect_claims 6
    [[ $(stat -c %u:%g out) == 4242:4243 ]] || fail "what the user wrote is $(stat -c %u:%g out)'s"
    setsid "${user[@]}" "$HUTCH" run -u root --boot-timeout=120s -- sh -c 'id -u; cat /etc/shadow; exit 3' </dev/null >console 2>log || status=$?
    expect_status 3
    [[ $(cat console) == 0 ]] || fail "root in the guest is $(cat console)"
}

a_kernel_without_virtiofs_is_123() {
    _cache
    sed -i '/virtiofs/d' cache/hutch/kernels/*/lib/modules/*/modules.*
    _run -- true
    expect_status 123
    expect_console 'CONFIG_VIRTIO_FS is not set in this kernel' log
}
