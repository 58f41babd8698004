// SPDX-License-Identifier: Apache-2.0
/* The tap back-end on real taps, in a network namespace of their own. The other side is a packet
 * socket on the interface, which can give and take offloads as well (PACKET_VNET_HDR).
 *
 * Needs root, for the namespaces; without it everything is skipped. */
#include "virtio/net_backend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emulated.h"
#include "host/fd.h"
#include "net_harness.h"
#include "skip.h"

#define FEATURE(bit) (UINT64_C(1) << (bit))

enum {
    SPACE = HARNESS_HEADER + NET_FRAME_MAX,
    TEST_TYPE = 0x88b5, /* IEEE 802, local experiments */
    NOBODY = 65534,
    TCP_HEADERS = 14 + 20 + 20,
};

struct fixture {
    struct harness harness;
    int packet; /* the host's side */
    uint8_t *bytes, *frame;
};

/* Why the tests cannot run here, or NULL. */
static const char *reason;

/* A kernel that speaks IPv6 sends frames of its own to every interface that comes up. */
static void silence_ipv6(void)
{
    AUTO_CLOSE int fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) /* else there is no IPv6 */
        assert_int_equal(write(fd, "1", 1), 1);
}

static void enter_namespaces(void)
{
    if (is_emulated())
        reason = "qemu-user has no packet sockets with headers";
    else if (geteuid() != 0)
        reason = "not root";
    else if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
        reason = "no namespaces";
    else if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        reason = "no mount namespace";
    else if (mkdir("/dev/net", 0755) < 0 && errno != EEXIST)
        reason = "no /dev/net";
    else if (mount("none", "/dev/net", "tmpfs", 0, NULL) < 0 ||
             mknod("/dev/net/tun", S_IFCHR | 0666, makedev(10, 200)) < 0 ||
             chmod("/dev/net/tun", 0666) < 0)
        reason = "no device nodes";
    else {
        silence_ipv6();
        int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
        if (fd < 0)
            reason = "no tun driver";
        fd_close(&fd);
    }
}

static int make(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    if (!fixture)
        return -1;
    fixture->packet = -1;
    fixture->bytes = calloc(1, SPACE);
    fixture->frame = calloc(1, SPACE);
    harness_init(&fixture->harness);
    *state = fixture;
    return 0;
}

static int drop(void **state)
{
    struct fixture *fixture = *state;

    harness_fini(&fixture->harness);
    fd_close(&fixture->packet);
    free(fixture->bytes);
    free(fixture->frame);
    free(fixture);
    return 0;
}

static void require_taps(void)
{
    if (reason)
        skip_because(reason);
}

/* --- the host's side --- */

static int interface_index(const char *interface)
{
    struct ifreq request = { 0 };
    int control = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)snprintf(request.ifr_name, IFNAMSIZ, "%s", interface);
    int err = ioctl(control, SIOCGIFINDEX, &request);
    close(control);
    return err < 0 ? -1 : request.ifr_ifindex;
}

static void set_up(const char *interface, bool up)
{
    struct ifreq request = { 0 };
    int control = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)snprintf(request.ifr_name, IFNAMSIZ, "%s", interface);
    assert_int_equal(ioctl(control, SIOCGIFFLAGS, &request), 0);
    request.ifr_flags = (short)(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
    assert_int_equal(ioctl(control, SIOCSIFFLAGS, &request), 0);
    close(control);
}

static bool is_up(const char *interface)
{
    struct ifreq request = { 0 };
    int control = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)snprintf(request.ifr_name, IFNAMSIZ, "%s", interface);
    assert_int_equal(ioctl(control, SIOCGIFFLAGS, &request), 0);
    close(control);
    return request.ifr_flags & IFF_UP;
}

/* Makes an interface as `ip tuntap add` does. @owner: -1 for none. */
static void add_persistent(const char *interface, short flags, int owner, bool persist)
{
    struct ifreq request = { .ifr_flags = flags };
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    (void)snprintf(request.ifr_name, IFNAMSIZ, "%s", interface);
    assert_int_equal(ioctl(fd, TUNSETIFF, &request), 0);
    if (owner >= 0)
        assert_int_equal(ioctl(fd, TUNSETOWNER, owner), 0);
    assert_int_equal(ioctl(fd, TUNSETPERSIST, persist), 0);
    close(fd);
}

static void open_packet(struct fixture *fixture, const char *interface)
{
    int yes = 1;
    struct sockaddr_ll address = { .sll_family = AF_PACKET,
                                   .sll_protocol = htons(ETH_P_ALL),
                                   .sll_ifindex = interface_index(interface) };

    fixture->packet = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
    assert_true(fixture->packet >= 0);
    assert_int_equal(setsockopt(fixture->packet, SOL_PACKET, PACKET_VNET_HDR, &yes, sizeof(yes)),
                     0);
    assert_int_equal(bind(fixture->packet, (struct sockaddr *)&address, sizeof(address)), 0);
}

/* Opens the interface, as a card does, and a packet socket on it. */
static void start(struct fixture *fixture, const char *interface, unsigned pairs)
{
    struct net_backend *backend;

    assert_int_equal(net_tap_open(interface, pairs, &backend), 0);
    harness_attach(&fixture->harness, backend);
    open_packet(fixture, interface);
}

/* An Ethernet frame of a type that nobody knows. */
static void fill_plain(uint8_t *frame, size_t len, unsigned seed)
{
    memset(frame, 0xff, 6);
    memcpy(frame + 6, "\x02\x00\x00\x00\x00\x09", 6);
    frame[12] = TEST_TYPE >> 8;
    frame[13] = TEST_TYPE & 0xff;
    for (size_t i = 14; i < len; i++)
        frame[i] = (uint8_t)(i + seed);
}

/* A TCP segment over IPv4, whose checksum is left to the host. */
static void fill_tcp(uint8_t *frame, size_t len)
{
    const uint8_t ip[20] = { [0] = 0x45,
                             [2] = (uint8_t)((len - 14) >> 8),
                             [3] = (uint8_t)(len - 14),
                             [8] = 64,
                             [9] = 6,
                             [12] = 10,
                             [15] = 2,
                             [16] = 10,
                             [19] = 1 };
    const uint8_t tcp[20] = { [0] = 0x10, [2] = 0x20, [12] = 0x50, [13] = 0x10, [14] = 0x10 };
    uint32_t sum = 0;

    fill_plain(frame, len, 0);
    frame[12] = 0x08;
    frame[13] = 0x00;
    memcpy(frame + 14, ip, sizeof(ip));
    for (unsigned i = 14; i < 34; i += 2)
        sum += (uint32_t)(frame[i] << 8 | frame[i + 1]);
    sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
    frame[24] = (uint8_t)(sum >> 8);
    frame[25] = (uint8_t)sum;
    memcpy(frame + 34, tcp, sizeof(tcp));
}

static const struct virtio_net_hdr_v1 tso_header = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                                     .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                                                     .hdr_len = TCP_HEADERS,
                                                     .gso_size = 1000,
                                                     .csum_start = 34,
                                                     .csum_offset = 16 };

/* The packet socket's header is the old one, without num_buffers. */
enum { OLD_HEADER = sizeof(struct virtio_net_hdr) };

static void host_send(struct fixture *fixture, const struct virtio_net_hdr_v1 *header,
                      const void *frame, size_t len)
{
    struct iovec iov[] = { { (void *)(uintptr_t)header, OLD_HEADER },
                           { (void *)(uintptr_t)frame, len } };

    assert_int_equal(writev(fixture->packet, iov, 2), OLD_HEADER + len);
}

/* Waits for a frame of @type that came out of the interface. Returns its length without header;
 * 0: none came. */
static size_t host_receive(struct fixture *fixture, unsigned type, struct virtio_net_hdr *header)
{
    struct pollfd poll_fd = { .fd = fixture->packet, .events = POLLIN };

    while (poll(&poll_fd, 1, 1000) > 0) {
        struct sockaddr_ll from;
        socklen_t from_len = sizeof(from);
        ssize_t len = recvfrom(fixture->packet, fixture->bytes, SPACE, 0, (struct sockaddr *)&from,
                               &from_len);

        if (len < OLD_HEADER + 14 || from.sll_pkttype == PACKET_OUTGOING ||
            (fixture->bytes[OLD_HEADER + 12] << 8 | fixture->bytes[OLD_HEADER + 13]) != (int)type)
            continue;
        memcpy(header, fixture->bytes, OLD_HEADER);
        memmove(fixture->bytes, fixture->bytes + OLD_HEADER, (size_t)len - OLD_HEADER);
        return (size_t)len - OLD_HEADER;
    }
    return 0;
}

/* Receives the next frame of @type on @pair as a card does; the host's stack sends some of its
 * own. Returns its bytes with header. */
static ssize_t card_receive(struct fixture *fixture, unsigned pair, unsigned type)
{
    for (int frames = 0; frames < 100; frames++) {
        ssize_t len = harness_receive(&fixture->harness, pair, fixture->bytes, SPACE);

        if (len < HARNESS_HEADER + 14 || (fixture->bytes[HARNESS_HEADER + 12] << 8 |
                                          fixture->bytes[HARNESS_HEADER + 13]) == (int)type)
            return len;
    }
    return -EAGAIN;
}

static int set_offloads(struct fixture *fixture, uint64_t features)
{
    struct net_backend *backend = fixture->harness.backend;

    return backend->ops->set_offloads(backend, features);
}

/* --- frames --- */

static void creates_the_interface_and_brings_it_up(void **state)
{
    struct net_backend *backend;
    (void)state;
    require_taps();

    assert_int_equal(net_tap_open("hutch0", 1, &backend), 0);
    assert_true(is_up("hutch0"));
    net_backend_destroy(backend);
    assert_int_equal(interface_index("hutch0"), -1); /* and it goes with us */
}

static void frames_go_out(void **state)
{
    struct fixture *fixture = *state;
    struct virtio_net_hdr header;
    require_taps();

    start(fixture, "hutch0", 1);
    fill_plain(fixture->frame, 1514, 1);
    assert_int_equal(harness_send(&fixture->harness, 0, NULL, fixture->frame, 1514), 0);

    assert_int_equal(host_receive(fixture, TEST_TYPE, &header), 1514);
    assert_memory_equal(fixture->bytes, fixture->frame, 1514);
}

static void frames_come_in(void **state)
{
    struct fixture *fixture = *state;
    const struct virtio_net_hdr_v1 none = { 0 };
    require_taps();

    start(fixture, "hutch0", 1);
    fill_plain(fixture->frame, 1000, 2);
    fixture->harness.backend->ops->set_receiving(fixture->harness.backend, 0, true);
    host_send(fixture, &none, fixture->frame, 1000);
    harness_run(&fixture->harness, HARNESS_PATIENCE_MS);

    assert_int_equal(fixture->harness.can_receive[0], 1);
    assert_int_equal(card_receive(fixture, 0, TEST_TYPE), HARNESS_HEADER + 1000);
    assert_memory_equal(fixture->bytes, &none, OLD_HEADER);
    assert_memory_equal(fixture->bytes + HARNESS_HEADER, fixture->frame, 1000);
}

static void a_frame_longer_than_the_buffers_fills_them_and_is_gone(void **state)
{
    struct fixture *fixture = *state;
    const struct virtio_net_hdr_v1 none = { 0 };
    require_taps();

    start(fixture, "hutch0", 1);
    while (harness_try_receive(&fixture->harness, 0, fixture->bytes, SPACE) > 0)
        ;
    fill_plain(fixture->frame, 1000, 2);
    host_send(fixture, &none, fixture->frame, 1000);
    assert_int_equal(harness_receive(&fixture->harness, 0, fixture->bytes, 100), 100);
    assert_int_equal(harness_try_receive(&fixture->harness, 0, fixture->bytes, SPACE), -EAGAIN);
}

static void offers_all_offloads(void **state)
{
    struct fixture *fixture = *state;
    require_taps();

    start(fixture, "hutch0", 1);
    for (unsigned bit = VIRTIO_NET_F_CSUM; bit <= VIRTIO_NET_F_HOST_ECN; bit++)
        if (bit != VIRTIO_NET_F_CTRL_GUEST_OFFLOADS && bit != VIRTIO_NET_F_MTU && bit != 4 &&
            bit != VIRTIO_NET_F_MAC && bit != 6 && bit != VIRTIO_NET_F_GUEST_UFO)
            assert_true(fixture->harness.backend->offloads & FEATURE(bit));
}

static void a_long_segment_comes_in_one_piece_with_its_header(void **state)
{
    struct fixture *fixture = *state;
    struct virtio_net_hdr_v1 header;
    require_taps();

    start(fixture, "hutch0", 1);
    assert_int_equal(
        set_offloads(fixture, FEATURE(VIRTIO_NET_F_GUEST_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_TSO4)),
        0);
    fill_tcp(fixture->frame, TCP_HEADERS + 4000);
    host_send(fixture, &tso_header, fixture->frame, TCP_HEADERS + 4000);

    assert_int_equal(card_receive(fixture, 0, ETH_P_IP), HARNESS_HEADER + TCP_HEADERS + 4000);
    memcpy(&header, fixture->bytes, sizeof(header));
    assert_int_equal(header.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
    assert_int_equal(header.gso_size, 1000);
    assert_int_equal(header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_F_NEEDS_CSUM);
    assert_int_equal(header.csum_start, 34);
    assert_int_equal(header.csum_offset, 16);
}

static void a_long_segment_comes_in_pieces_for_a_driver_without_offloads(void **state)
{
    struct fixture *fixture = *state;
    require_taps();

    start(fixture, "hutch0", 1);
    assert_int_equal(set_offloads(fixture, FEATURE(VIRTIO_NET_F_GUEST_CSUM)), 0);
    assert_int_equal(set_offloads(fixture, 0), 0);
    fill_tcp(fixture->frame, TCP_HEADERS + 4000);
    host_send(fixture, &tso_header, fixture->frame, TCP_HEADERS + 4000);

    for (int i = 0; i < 4; i++) {
        assert_int_equal(card_receive(fixture, 0, ETH_P_IP), HARNESS_HEADER + TCP_HEADERS + 1000);
        assert_int_equal(fixture->bytes[0], 0); /* the checksum is there */
        assert_int_equal(fixture->bytes[1], VIRTIO_NET_HDR_GSO_NONE);
    }
}

static void a_long_segment_goes_out_in_one_piece(void **state)
{
    struct fixture *fixture = *state;
    struct virtio_net_hdr header;
    require_taps();

    start(fixture, "hutch0", 1);
    fill_tcp(fixture->frame, TCP_HEADERS + 30000);
    assert_int_equal(
        harness_send(&fixture->harness, 0, &tso_header, fixture->frame, TCP_HEADERS + 30000), 0);

    assert_int_equal(host_receive(fixture, ETH_P_IP, &header), TCP_HEADERS + 30000);
    assert_int_equal(header.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
    assert_int_equal(header.gso_size, 1000);
    assert_int_equal(header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_F_NEEDS_CSUM);
}

static void the_kernel_refuses_a_header_that_lies_and_goes_on(void **state)
{
    struct fixture *fixture = *state;
    struct virtio_net_hdr_v1 lie = tso_header;
    struct virtio_net_hdr header;
    require_taps();

    start(fixture, "hutch0", 1);
    lie.csum_start = 60000;
    lie.hdr_len = 65535;
    fill_tcp(fixture->frame, TCP_HEADERS + 2000);
    assert_int_equal(harness_send(&fixture->harness, 0, &lie, fixture->frame, TCP_HEADERS + 2000),
                     -EINVAL);
    assert_int_equal(
        harness_send(&fixture->harness, 0, &tso_header, fixture->frame, TCP_HEADERS + 2000), 0);
    assert_int_equal(host_receive(fixture, ETH_P_IP, &header), TCP_HEADERS + 2000);
}

static void a_card_that_is_full_is_not_called(void **state)
{
    struct fixture *fixture = *state;
    const struct virtio_net_hdr_v1 none = { 0 };
    require_taps();

    start(fixture, "hutch0", 1);
    fill_plain(fixture->frame, 100, 2);
    host_send(fixture, &none, fixture->frame, 100);
    harness_run(&fixture->harness, 30);
    assert_int_equal(fixture->harness.can_receive[0], 0);
}

static void frames_spread_over_the_pairs_that_are_used(void **state)
{
    struct fixture *fixture = *state;
    const struct virtio_net_hdr_v1 none = { 0 };
    struct net_backend *backend;
    require_taps();

    start(fixture, "hutch0", 4);
    backend = fixture->harness.backend;
    for (unsigned pairs = 1; pairs <= 4; pairs += 3) {
        unsigned found = 0;

        assert_int_equal(backend->ops->set_pairs(backend, pairs), 0);
        fill_tcp(fixture->frame, TCP_HEADERS + 10);
        for (unsigned flow = 0; flow < 32; flow++) {
            fixture->frame[35] = (uint8_t)flow; /* the source port */
            host_send(fixture, &none, fixture->frame, TCP_HEADERS + 10);
        }
        for (unsigned pair = 0; pair < pairs; pair++)
            while (harness_try_receive(&fixture->harness, pair, fixture->bytes, SPACE) > 0)
                found += fixture->bytes[HARNESS_HEADER + 12] == 8 &&
                         fixture->bytes[HARNESS_HEADER + 23] == 6;
        assert_int_equal(found, 32);
    }
    assert_int_equal(backend->ops->set_pairs(backend, 1), 0);
}

static void each_pair_is_called_for_its_frames(void **state)
{
    struct fixture *fixture = *state;
    const struct virtio_net_hdr_v1 none = { 0 };
    struct net_backend *backend;
    require_taps();

    start(fixture, "hutch0", 2);
    backend = fixture->harness.backend;
    assert_int_equal(backend->ops->set_pairs(backend, 2), 0);
    fill_tcp(fixture->frame, TCP_HEADERS + 10);
    for (unsigned flow = 0; flow < 64; flow++) {
        fixture->frame[35] = (uint8_t)flow;
        host_send(fixture, &none, fixture->frame, TCP_HEADERS + 10);
    }
    for (unsigned pair = 0; pair < 2; pair++) {
        backend->ops->set_receiving(backend, pair, true);
        harness_run(&fixture->harness, HARNESS_PATIENCE_MS);
        assert_int_equal(fixture->harness.can_receive[pair], 1);
    }
}

static void the_next_card_has_the_interface_without_settings_and_frames(void **state)
{
    struct fixture *fixture = *state;
    const struct virtio_net_hdr_v1 none = { 0 };
    struct net_backend *backend;
    require_taps();

    start(fixture, "hutch0", 4);
    backend = fixture->harness.backend;
    int index = interface_index("hutch0");
    assert_int_equal(set_offloads(fixture, backend->offloads), 0);
    assert_int_equal(backend->ops->set_pairs(backend, 4), 0);
    backend->ops->set_receiving(backend, 0, true);
    fill_tcp(fixture->frame, TCP_HEADERS + 2000);
    for (unsigned flow = 0; flow < 32; flow++) {
        fixture->frame[35] = (uint8_t)flow; /* the source port, so that all queues have some */
        host_send(fixture, &tso_header, fixture->frame, TCP_HEADERS + 2000);
    }

    harness_replace_card(&fixture->harness);

    assert_int_equal(interface_index("hutch0"), index);
    for (unsigned pair = 0; pair < 4; pair++)
        assert_true(harness_try_receive(&fixture->harness, pair, fixture->bytes, SPACE) < 0);
    harness_run(&fixture->harness, 10);
    assert_int_equal(fixture->harness.can_receive[0], 0); /* and is not asked to receive */
    host_send(fixture, &tso_header, fixture->frame, TCP_HEADERS + 2000);
    for (unsigned piece = 0; piece < 2; piece++)
        assert_int_equal(card_receive(fixture, 0, ETH_P_IP), HARNESS_HEADER + TCP_HEADERS + 1000);
    for (unsigned flow = 0; flow < 32; flow++) {
        fixture->frame[35] = (uint8_t)flow;
        host_send(fixture, &none, fixture->frame, TCP_HEADERS + 10);
        assert_int_equal(card_receive(fixture, 0, ETH_P_IP), HARNESS_HEADER + TCP_HEADERS + 10);
    }
}

static void an_interface_removed_between_two_cards_is_no_failure(void **state)
{
    struct fixture *fixture = *state;
    struct harness *harness = &fixture->harness;
    require_taps();

    start(fixture, "hutch0", 2);
    harness->backend->ops->detach(harness->backend);
    int status = system("ip link del hutch0"); /* NOLINT: a test's own command */
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        skip_because("no ip command");

    harness_replace_card(harness);

    assert_true(harness->backend->link_was_lost);
    assert_int_equal(harness_send(harness, 0, NULL, fixture->frame, 60), -ENOTCONN);
}

static void a_removed_interface_takes_the_link_down(void **state)
{
    struct fixture *fixture = *state;
    struct net_backend *backend;
    require_taps();

    start(fixture, "hutch0", 2);
    backend = fixture->harness.backend;
    backend->ops->set_receiving(backend, 0, true);
    int status = system("ip link del hutch0"); /* NOLINT: a test's own command */
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        skip_because("no ip command");
    for (int turns = 0; turns < 10 && fixture->harness.links_lost == 0; turns++) {
        backend->ops->set_receiving(backend, 0, true);
        harness_run(&fixture->harness, 500);
    }
    assert_int_equal(fixture->harness.links_lost, 1);
    assert_int_equal(harness_send(&fixture->harness, 0, NULL, fixture->frame, 60), -ENOTCONN);
    assert_int_equal(harness_try_receive(&fixture->harness, 0, fixture->bytes, SPACE), -ENOTCONN);
}

/* --- opening --- */

static int try_open(const char *interface, unsigned pairs)
{
    struct net_backend *backend = NULL;
    int err = net_tap_open(interface, pairs, &backend);

    net_backend_destroy(backend);
    return err;
}

static void attaches_to_an_interface_that_is_there(void **state)
{
    (void)state;
    require_taps();

    add_persistent("made0", IFF_TAP | IFF_NO_PI, -1, true);
    assert_int_equal(try_open("made0", 1), 0);
    assert_false(is_up("made0")); /* it may be down on purpose */
    set_up("made0", true);
    assert_int_equal(try_open("made0", 1), 0);
    assert_int_not_equal(interface_index("made0"), -1);
    add_persistent("made0", IFF_TAP | IFF_NO_PI, -1, false);
}

static void attaches_with_one_pair_to_an_interface_for_many(void **state)
{
    const short flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE;
    (void)state;
    require_taps();

    add_persistent("made0", flags, -1, true);
    assert_int_equal(try_open("made0", 1), 0);
    assert_int_equal(try_open("made0", 3), 0);
    add_persistent("made0", flags, -1, false);
}

static void refuses_many_pairs_on_an_interface_for_one(void **state)
{
    (void)state;
    require_taps();

    add_persistent("made0", IFF_TAP | IFF_NO_PI, -1, true);
    assert_int_equal(try_open("made0", 2), -EINVAL);
    add_persistent("made0", IFF_TAP | IFF_NO_PI, -1, false);
}

static void refuses_an_interface_that_is_in_use(void **state)
{
    struct net_backend *backend;
    (void)state;
    require_taps();

    assert_int_equal(net_tap_open("hutch0", 1, &backend), 0);
    assert_int_equal(try_open("hutch0", 1), -EBUSY);
    net_backend_destroy(backend);
}

static void refuses_what_is_no_tap(void **state)
{
    (void)state;
    require_taps();

    assert_int_equal(try_open("lo", 1), -EINVAL);
    add_persistent("made0", IFF_TUN | IFF_NO_PI, -1, true);
    assert_int_equal(try_open("made0", 1), -EINVAL);
    add_persistent("made0", IFF_TUN | IFF_NO_PI, -1, false);
}

static void refuses_names_that_no_interface_can_have(void **state)
{
    (void)state;

    assert_int_equal(try_open("", 1), -EINVAL);
    assert_int_equal(try_open("sixteencharacter", 1), -EINVAL);
    assert_int_equal(try_open("a/b", 1), -EINVAL);
    assert_int_equal(try_open("tap%d", 1), -EINVAL);
    assert_int_equal(try_open("..", 1), -EINVAL);
    assert_int_equal(try_open("hutch0", 0), -EINVAL);
    assert_int_equal(try_open("hutch0", 9), -EINVAL);
}

static void a_user_needs_an_interface_of_his_own(void **state)
{
    (void)state;
    require_taps();

    add_persistent("made0", IFF_TAP | IFF_NO_PI, NOBODY, true);
    add_persistent("made1", IFF_TAP | IFF_NO_PI, NOBODY - 1, true);
    assert_int_equal(seteuid(NOBODY), 0);
    int own = try_open("made0", 1), other = try_open("made1", 1), none = try_open("made2", 1);
    assert_int_equal(seteuid(0), 0);
    add_persistent("made0", IFF_TAP | IFF_NO_PI, -1, false);
    add_persistent("made1", IFF_TAP | IFF_NO_PI, -1, false);

    assert_int_equal(own, 0);
    assert_int_equal(other, -EPERM);
    assert_int_equal(none, -EPERM);
}

static void says_that_the_device_cannot_be_opened(void **state)
{
    (void)state;
    require_taps();

    assert_int_equal(chmod("/dev/net/tun", 0600), 0);
    assert_int_equal(seteuid(NOBODY), 0);
    int denied = try_open("hutch0", 1);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(rename("/dev/net/tun", "/dev/net/away"), 0);
    int missing = try_open("hutch0", 1);
    assert_int_equal(rename("/dev/net/away", "/dev/net/tun"), 0);
    assert_int_equal(chmod("/dev/net/tun", 0666), 0);

    assert_int_equal(denied, -EACCES);
    assert_int_equal(missing, -ENOENT);
}

/* --- descriptors of others --- */

static int open_tap(const char *interface, short flags)
{
    struct ifreq request = { .ifr_flags = flags };
    int fd = open("/dev/net/tun", O_RDWR); /* NOLINT: inherited, as from a shell */

    (void)snprintf(request.ifr_name, IFNAMSIZ, "%s", interface);
    assert_int_equal(ioctl(fd, TUNSETIFF, &request), 0);
    return fd;
}

static void takes_a_descriptor_over(void **state)
{
    struct fixture *fixture = *state;
    struct net_backend *backend;
    struct virtio_net_hdr header;
    require_taps();

    int fd = open_tap("other0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
    set_up("other0", true);
    assert_int_equal(net_tap_from_fd(fd, "fd:9", &backend), 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    harness_attach(&fixture->harness, backend);
    open_packet(fixture, "other0");
    fill_plain(fixture->frame, 200, 3);
    assert_int_equal(harness_send(&fixture->harness, 0, NULL, fixture->frame, 200), 0);
    assert_int_equal(host_receive(fixture, TEST_TYPE, &header), 200);
    host_send(fixture, &(struct virtio_net_hdr_v1){ 0 }, fixture->frame, 200);
    assert_int_equal(card_receive(fixture, 0, TEST_TYPE), HARNESS_HEADER + 200);
}

static void refuses_descriptors_that_are_no_taps(void **state)
{
    struct net_backend *backend;
    int ends[2];
    (void)state;

    assert_int_equal(net_tap_from_fd(-1, "fd:9", &backend), -EBADF);
    assert_int_equal(net_tap_from_fd(1000, "fd:9", &backend), -EBADF);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(net_tap_from_fd(ends[0], "fd:9", &backend), -EINVAL);
    assert_int_equal(fcntl(ends[0], F_GETFD), -1); /* taken over, also on failure */
    close(ends[1]);
    assert_int_equal(net_tap_from_fd(open("/dev/null", O_RDWR | O_CLOEXEC), "fd:9", &backend),
                     -EINVAL);
}

static void refuses_taps_in_a_form_that_it_does_not_speak(void **state)
{
    struct net_backend *backend;
    (void)state;
    require_taps();

    assert_int_equal(net_tap_from_fd(open("/dev/net/tun", O_RDWR | O_CLOEXEC), "fd:9", &backend),
                     -EINVAL); /* of no interface */
    assert_int_equal(
        net_tap_from_fd(open_tap("other0", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR), "fd:9", &backend),
        -EINVAL);
    assert_int_equal(net_tap_from_fd(open_tap("other0", IFF_TAP | IFF_NO_PI), "fd:9", &backend),
                     -EINVAL);
    assert_int_equal(net_tap_from_fd(open_tap("other0", IFF_TAP | IFF_VNET_HDR), "fd:9", &backend),
                     -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(creates_the_interface_and_brings_it_up),
        TEST(frames_go_out),
        TEST(frames_come_in),
        TEST(a_frame_longer_than_the_buffers_fills_them_and_is_gone),
        TEST(offers_all_offloads),
        TEST(a_long_segment_comes_in_one_piece_with_its_header),
        TEST(a_long_segment_comes_in_pieces_for_a_driver_without_offloads),
        TEST(a_long_segment_goes_out_in_one_piece),
        TEST(the_kernel_refuses_a_header_that_lies_and_goes_on),
        TEST(a_card_that_is_full_is_not_called),
        TEST(frames_spread_over_the_pairs_that_are_used),
        TEST(each_pair_is_called_for_its_frames),
        TEST(a_removed_interface_takes_the_link_down),
        TEST(the_next_card_has_the_interface_without_settings_and_frames),
        TEST(an_interface_removed_between_two_cards_is_no_failure),
        TEST(attaches_to_an_interface_that_is_there),
        TEST(attaches_with_one_pair_to_an_interface_for_many),
        TEST(refuses_many_pairs_on_an_interface_for_one),
        TEST(refuses_an_interface_that_is_in_use),
        TEST(refuses_what_is_no_tap),
        TEST(refuses_names_that_no_interface_can_have),
        TEST(a_user_needs_an_interface_of_his_own),
        TEST(says_that_the_device_cannot_be_opened),
        TEST(takes_a_descriptor_over),
        TEST(refuses_descriptors_that_are_no_taps),
        TEST(refuses_taps_in_a_form_that_it_does_not_speak),
    };

    enter_namespaces();
    return cmocka_run_group_tests_name("net_tap", tests, NULL, NULL);
}
