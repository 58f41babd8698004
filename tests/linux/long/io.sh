# shellcheck shell=bash disable=SC2154,SC2034
# Disk and network under load for longer, and in combinations.

# Not with cache=none: the lab's files are in a tmpfs, which has no direct I/O before Linux 6.6.
limits[fio_verifies_with_writeback_and_unsafe_caches]=600
fio_verifies_with_writeback_and_unsafe_caches() {
    local mode
    guest "$FILES/programs-fio" <<'END'
mount -t tmpfs shm /dev/shm
fio --name=v --filename=/dev/vda --rw=randrw --bsrange=512-256k --direct=1 --ioengine=libaio \
    --numjobs=2 --offset_increment=64M --iodepth=32 --size=48M --verify=crc32c --verify_fatal=1 \
    --fsync=64 --trim_percentage=5 --eta=never --output=/fio.log
echo "fio: $?"
END
    for mode in writeback unsafe; do
        truncate -s 128M disk.img
        launch -c 2 -m 1G -d "disk.img,cache=$mode,queues=2"
        expect_status 0
        expect_console '^fio: 0'
    done
}

limits[iperf3_over_multiqueue_tap_with_four_streams]=480
iperf3_over_multiqueue_tap_with_four_streams() {
    ip tuntap add tap0 mode tap vnet_hdr multi_queue
    ip addr add 10.1.0.1/24 dev tap0
    ip link set tap0 up
    iperf3 -s -D --pidfile "$PWD/iperf.pid" --logfile "$PWD/iperf.log"
    guest "$FILES/programs-net" <<'END'
ip addr add 10.1.0.2/24 dev eth0
ip link set eth0 up
echo "queues: $(ls -d /sys/class/net/eth0/queues/rx-* | wc -l)"
iperf3 -c 10.1.0.1 -t 10 -P 4 --bidir && echo "iperf3: fine"
END
    launch -c 2 -n tap:tap0,queues=2
    kill "$(tr -d '\0' <iperf.pid)"
    expect_status 0
    expect_console '^queues: 2'
    expect_console '^iperf3: fine'
}

limits[drivers_unbind_and_bind_again]=480
drivers_unbind_and_bind_again() {
    truncate -s 8M disk.img
    make_tap tap0 10.1.0.1/24
    guest <<'END'
for n in 1 2 3; do
    for driver in virtio_blk virtio_net virtio_rng; do
        for device in /sys/bus/virtio/drivers/$driver/virtio*; do
            device=$(basename "$device")
            echo "$device" >/sys/bus/virtio/drivers/$driver/unbind
            echo "$device" >/sys/bus/virtio/drivers/$driver/bind
        done
    done
    dd if=/dev/vda of=/dev/null bs=1M 2>/dev/null && echo "disk is back $n"
    ip addr flush dev eth0
    ip addr add 10.1.0.2/24 dev eth0
    ip link set eth0 up
    ping -c 1 -W 5 10.1.0.1 >/dev/null && echo "net is back $n"
done
END
    launch -c 2 -d disk.img -n tap:tap0
    expect_status 0
    expect_console '^disk is back 3'
    expect_console '^net is back 3'
}
