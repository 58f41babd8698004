# shellcheck shell=bash disable=SC2154,SC2034
# virtio-net under a stock kernel: over a tap, with offloads, and through passt.

a_ping_over_tap_goes_both_ways() {
    make_tap tap0 10.1.0.1/24
    guest <<'END'
ip addr add 10.1.0.2/24 dev eth0
ip link set eth0 up
ping -c 3 -i 0.2 -W 5 10.1.0.1 && echo "guest: reaches the host"
echo "guest: waits"
sleep 5
END
    start -n tap:tap0
    wait_for '^guest: waits' 60
    ping -c 3 -i 0.2 -W 5 10.1.0.2 || fail "the host does not reach the guest"
    finish
    expect_status 0
    expect_console '^guest: reaches the host'
}

# hutch makes the tap; its address is ours, and is there for both lives. The initrd's name is not.
a_tap_that_hutch_made_stays_over_a_reboot() {
    truncate -s 1M disk.img
    guest <<'END'
ip addr add 10.1.0.2/24 dev eth0
ip link set eth0 up
life=$(head -c 5 /dev/vda | tr -d '\000')
echo "guest: waits in its ${life:-first} life"
ping -c 30 -i 0.5 -W 1 10.1.0.1 | grep -m 1 'bytes from' && echo "guest: reaches the host"
[ -z "$life" ] || poweroff -f
echo again | dd of=/dev/vda conv=notrunc 2>/dev/null
sync
reboot -f
END
    start -d disk.img -n tap:made0
    wait_for '^guest: waits in its first life' 60
    ip addr add 10.1.0.1/24 dev made0
    rm "$initrd"
    finish
    expect_status 0
    expect_outcome poweroff
    expect_console '^guest: waits in its again life'
    [[ $(grep -c '^guest: reaches the host' console) -eq 2 ]] || {
        show_vm
        fail "the guest does not reach the host in both lives"
    }
}

# iperf3 in the guest against a server here: sends, then (-R) receives.
iperf3_over_tap_goes_both_ways_with_offloads_on() {
    make_tap tap0 10.1.0.1/24
    iperf3 -s -D --pidfile "$PWD/iperf.pid" --logfile "$PWD/iperf.log"
    guest "$FILES/programs-net" <<'END'
ip addr add 10.1.0.2/24 dev eth0
ip link set eth0 up
# bits 0 CSUM, 1 GUEST_CSUM, 7 GUEST_TSO4, 11 HOST_TSO4, 15 MRG_RXBUF, counted from the left
features=$(cat /sys/class/net/eth0/device/features)
for bit in 1 2 8 12 16; do
    echo "feature $bit: $(echo "$features" | cut -c $bit)"
done
mount -t tmpfs tmp /tmp
iperf3 -c 10.1.0.1 -t 3 && echo "iperf3: sent"
iperf3 -c 10.1.0.1 -t 3 -R && echo "iperf3: received"
cat /proc/net/snmp | grep Tcp:
END
    launch -c 2 -n tap:tap0
    kill "$(tr -d '\0' <iperf.pid)"
    expect_status 0
    expect_console '^iperf3: sent'
    expect_console '^iperf3: received'
    for bit in 1 2 8 12 16; do
        expect_console "^feature $bit: 1"
    done
    grep -a 'sender\|receiver' console || true
}

# 8 MiB each way, compared: checksums and segments are right, not only fast.
data_over_tap_arrives_unchanged() {
    make_tap tap0 10.1.0.1/24
    head -c 8388608 /dev/urandom >sent
    socat -u OPEN:sent TCP-LISTEN:7001,bind=10.1.0.1 &
    socat -u TCP-LISTEN:7002,bind=10.1.0.1 CREATE:received &
    guest <<'END'
ip addr add 10.1.0.2/24 dev eth0
ip link set eth0 up
nc 10.1.0.1 7001 </dev/null >/data
nc 10.1.0.1 7002 </data
echo "moved $(wc -c </data)"
END
    launch -n tap:tap0
    wait
    expect_status 0
    cmp sent received || fail "what came back is not what was sent"
}

curl_through_user_networking_reaches_a_server() {
    make_outer_network
    mkdir www
    head -c 3000000 /dev/urandom >www/file
    busybox httpd -f -p 127.0.0.1:8000 -h www &
    local server=$!
    guest "$FILES/programs-net" <<'END'
ip link set eth0 up
udhcpc -i eth0 -q -n -t 8
curl -sS --max-time 30 "http://$(cat /router):8000/file" >/file
echo "curl: $?"
echo "sum: $(sha256sum </file)"
ip link set eth0 down # Debian's 6.1.192 loops for ever if it powers off amid traffic (virtnet_poll_cleantx)
END
    launch -n user
    kill "$server"
    expect_status 0
    expect_console '^curl: 0'
    expect_console "^sum: $(sha256sum <www/file | cut -d ' ' -f 1)"
}
