// SPDX-License-Identifier: Apache-2.0
/* The stream back-end, with the test as the other side of the socket. */
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
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/fd.h"
#include "net_harness.h"

enum { SPACE = HARNESS_HEADER + NET_FRAME_MAX };

struct fixture {
    struct harness harness;
    int peer;
    uint8_t *bytes, *frame; /* SPACE each */
};

static int make(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct net_backend *backend;
    int ends[2];

    if (!fixture || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -1;
    *state = fixture;
    fixture->peer = ends[1];
    fixture->bytes = calloc(1, SPACE + 1);
    fixture->frame = calloc(1, SPACE + 1);
    harness_init(&fixture->harness);
    if (net_stream_from_fd(ends[0], "test", &backend))
        return -1;
    harness_attach(&fixture->harness, backend);
    return 0;
}

static int drop(void **state)
{
    struct fixture *fixture = *state;

    harness_fini(&fixture->harness);
    fd_close(&fixture->peer);
    free(fixture->bytes);
    free(fixture->frame);
    free(fixture);
    return 0;
}

static void fill_pattern(uint8_t *data, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 11 + (i >> 9) + seed);
}

static void peer_write(struct fixture *fixture, const void *data, size_t len)
{
    assert_int_equal(fd_write_full(fixture->peer, data, len), 0);
}

static void peer_send(struct fixture *fixture, const void *frame, size_t len)
{
    uint32_t length = htonl((uint32_t)len);

    peer_write(fixture, &length, sizeof(length));
    peer_write(fixture, frame, len);
}

static void peer_read(struct fixture *fixture, void *data, size_t len)
{
    assert_int_equal(recv(fixture->peer, data, len, MSG_WAITALL), len);
}

static void frames_come_with_an_empty_header(void **state)
{
    struct fixture *fixture = *state;
    const uint8_t no_offloads[HARNESS_HEADER] = { 0 };

    fill_pattern(fixture->frame, 100, 1);
    memset(fixture->bytes, 0xff, 200);
    peer_send(fixture, fixture->frame, 100);

    assert_int_equal(harness_receive(&fixture->harness, 0, fixture->bytes, SPACE),
                     HARNESS_HEADER + 100);
    assert_memory_equal(fixture->bytes, no_offloads, HARNESS_HEADER);
    assert_memory_equal(fixture->bytes + HARNESS_HEADER, fixture->frame, 100);
    assert_int_equal(harness_try_receive(&fixture->harness, 0, fixture->bytes, SPACE), -EAGAIN);
}

static void many_frames_come_in_order(void **state)
{
    struct fixture *fixture = *state;

    for (unsigned i = 0; i < 50; i++) {
        fill_pattern(fixture->frame, 60 + 10 * i, i);
        peer_send(fixture, fixture->frame, 60 + 10 * i);
    }
    for (unsigned i = 0; i < 50; i++) {
        fill_pattern(fixture->frame, 60 + 10 * i, i);
        assert_int_equal(harness_receive(&fixture->harness, 0, fixture->bytes, SPACE),
                         HARNESS_HEADER + 60 + 10 * i);
        assert_memory_equal(fixture->bytes + HARNESS_HEADER, fixture->frame, 60 + 10 * i);
    }
}

static void frames_come_in_pieces_of_any_size(void **state)
{
    struct fixture *fixture = *state;
    uint8_t record[4 + 50];

    record[0] = record[1] = record[2] = 0;
    record[3] = 50;
    fill_pattern(record + 4, 50, 7);
    for (size_t i = 0; i < sizeof(record); i++) {
        assert_int_equal(harness_try_receive(&fixture->harness, 0, fixture->bytes, SPACE), -EAGAIN);
        peer_write(fixture, record + i, 1);
        if (i < sizeof(record) - 1) { /* the loop tells of each byte, but there is no frame */
            fixture->harness.backend->ops->set_receiving(fixture->harness.backend, 0, true);
            harness_run(&fixture->harness, HARNESS_PATIENCE_MS);
        }
    }
    assert_int_equal(harness_receive(&fixture->harness, 0, fixture->bytes, SPACE),
                     HARNESS_HEADER + 50);
    assert_memory_equal(fixture->bytes + HARNESS_HEADER, record + 4, 50);
}

static void the_longest_frames_come_one_behind_another(void **state)
{
    struct fixture *fixture = *state;

    for (unsigned i = 0; i < 9; i++) {
        fill_pattern(fixture->frame, NET_FRAME_MAX, i);
        peer_send(fixture, fixture->frame, NET_FRAME_MAX);
        peer_send(fixture, fixture->frame, 14);
        assert_int_equal(harness_receive(&fixture->harness, 0, fixture->bytes, SPACE), SPACE);
        assert_memory_equal(fixture->bytes + HARNESS_HEADER, fixture->frame, NET_FRAME_MAX);
        assert_int_equal(harness_receive(&fixture->harness, 0, fixture->bytes, SPACE),
                         HARNESS_HEADER + 14);
    }
}

static void a_frame_longer_than_the_buffers_is_cut_off_and_gone(void **state)
{
    struct fixture *fixture = *state;

    fill_pattern(fixture->frame, 500, 1);
    peer_send(fixture, fixture->frame, 500);
    peer_send(fixture, fixture->frame, 60);

    assert_int_equal(harness_receive(&fixture->harness, 0, fixture->bytes, 100), 100);
    assert_int_equal(harness_receive(&fixture->harness, 0, fixture->bytes, 100),
                     HARNESS_HEADER + 60);
}

static void sends_a_frame_behind_its_length_without_header(void **state)
{
    struct fixture *fixture = *state;
    uint32_t length;

    fill_pattern(fixture->frame, 1514, 4);
    assert_int_equal(harness_send(&fixture->harness, 0, NULL, fixture->frame, 1514), 0);
    peer_read(fixture, &length, sizeof(length));
    peer_read(fixture, fixture->bytes, 1514);

    assert_int_equal(ntohl(length), 1514);
    assert_memory_equal(fixture->bytes, fixture->frame, 1514);
    assert_int_equal(recv(fixture->peer, fixture->bytes, 1, MSG_DONTWAIT), -1);
}

static void sends_a_frame_whose_header_is_in_pieces(void **state)
{
    struct fixture *fixture = *state;
    uint8_t bytes[HARNESS_HEADER + 30];
    struct iovec iov[] = { { bytes, 5 }, { bytes + 5, 9 }, { bytes + 14, 28 } };

    fill_pattern(bytes, sizeof(bytes), 2);
    assert_int_equal(fixture->harness.backend->ops->send(fixture->harness.backend, 0, iov, 3), 0);
    peer_read(fixture, fixture->bytes, 4 + 30);
    assert_memory_equal(fixture->bytes + 4, bytes + HARNESS_HEADER, 30);
}

static void a_slow_peer_gets_all_frames_whole(void **state)
{
    struct fixture *fixture = *state;
    unsigned sent = 0;
    int err = 0;
    uint32_t length;

    while (!err && sent < 1000) {
        fill_pattern(fixture->frame, 60000, sent);
        err = harness_send(&fixture->harness, 0, NULL, fixture->frame, 60000);
        sent += err == 0;
    }
    assert_int_equal(err, -EAGAIN);
    assert_in_range(sent, 1, 999);
    assert_int_equal(harness_send(&fixture->harness, 0, NULL, fixture->frame, 14), -EAGAIN);

    /* The back-end finishes the frame of which the socket took a part. */
    assert_int_equal(fcntl(fixture->peer, F_SETFL, O_NONBLOCK), 0);
    size_t total = (size_t)sent * 60004, got = 0;
    uint8_t *all = malloc(total);
    for (int turns = 0; got < total && turns < 10000; turns++) {
        ssize_t len = recv(fixture->peer, all + got, total - got, 0);

        got += len > 0 ? (size_t)len : 0;
        harness_run(&fixture->harness, 1);
    }
    assert_int_equal(got, total);
    assert_int_equal(fixture->harness.can_send, 1);
    for (unsigned i = 0; i < sent; i++) {
        memcpy(&length, all + (size_t)i * 60004, 4);
        fill_pattern(fixture->frame, 60000, i);
        assert_int_equal(ntohl(length), 60000);
        assert_memory_equal(all + (size_t)i * 60004 + 4, fixture->frame, 60000);
    }
    assert_int_equal(harness_send(&fixture->harness, 0, NULL, fixture->frame, 14), 0);
    free(all);
}

static void a_socket_that_takes_nothing_takes_the_frame_later(void **state)
{
    struct fixture *fixture = *state;
    unsigned sent = 0, got = 0;
    int err = 0;

    for (; !err && sent < 100000; sent += err == 0) /* a short frame goes whole or not at all */
        err = harness_send(&fixture->harness, 0, NULL, fixture->frame, 60);
    assert_int_equal(err, -EAGAIN);
    assert_int_equal(fixture->harness.can_send, 0);
    for (; got < sent; got++)
        peer_read(fixture, fixture->bytes, 64);
    harness_run(&fixture->harness, HARNESS_PATIENCE_MS);
    assert_int_equal(fixture->harness.can_send, 1);
    assert_int_equal(harness_send(&fixture->harness, 0, NULL, fixture->frame, 60), 0);
    peer_read(fixture, fixture->bytes, 64);
}

static void has_one_pair_and_no_offloads(void **state)
{
    struct fixture *fixture = *state;
    struct net_backend *backend = fixture->harness.backend;

    assert_int_equal(backend->pair_count, 1);
    assert_int_equal(backend->offloads, 0);
    assert_int_equal(backend->ops->set_pairs(backend, 1), 0);
    assert_int_equal(backend->ops->set_pairs(backend, 2), -EINVAL);
    assert_int_equal(backend->ops->set_offloads(backend, 0), 0);
    assert_int_equal(backend->ops->set_offloads(backend, 2), -EOPNOTSUPP);
}

/* Lets the card receive until the link is lost. */
static void wait_for_loss(struct fixture *fixture)
{
    struct harness *harness = &fixture->harness;

    for (int turns = 0; harness->links_lost == 0 && turns < 10; turns++) {
        (void)harness_try_receive(harness, 0, fixture->bytes, SPACE);
        harness->backend->ops->set_receiving(harness->backend, 0, true);
        harness_run(harness, 100);
    }
    assert_int_equal(harness->links_lost, 1);
    assert_int_equal(harness_try_receive(harness, 0, fixture->bytes, SPACE), -ENOTCONN);
    assert_int_equal(harness_send(harness, 0, NULL, fixture->frame, 60), -ENOTCONN);
    harness->backend->ops->set_receiving(harness->backend, 0, true);
    harness_run(harness, 10);
    assert_int_equal(harness->links_lost, 1);
}

static void the_peers_end_takes_the_link_down(void **state)
{
    struct fixture *fixture = *state;

    fd_close(&fixture->peer);
    wait_for_loss(fixture);
}

static void frames_before_the_end_still_come(void **state)
{
    struct fixture *fixture = *state;

    peer_send(fixture, fixture->frame, 60);
    peer_write(fixture, "\0\0\0", 3); /* half a length */
    fd_close(&fixture->peer);
    assert_int_equal(harness_receive(&fixture->harness, 0, fixture->bytes, SPACE),
                     HARNESS_HEADER + 60);
    wait_for_loss(fixture);
}

static void a_frame_of_no_bytes_takes_the_link_down(void **state)
{
    struct fixture *fixture = *state;

    peer_write(fixture, "\0\0\0\0", 4);
    peer_send(fixture, fixture->frame, 60);
    wait_for_loss(fixture);
}

static void a_frame_that_is_too_long_takes_the_link_down(void **state)
{
    struct fixture *fixture = *state;
    uint32_t length = htonl(NET_FRAME_MAX + 1);

    peer_write(fixture, &length, sizeof(length));
    wait_for_loss(fixture);
}

static void the_longest_length_that_can_be_said_takes_the_link_down(void **state)
{
    struct fixture *fixture = *state;

    peer_write(fixture, "\xff\xff\xff\xff", 4);
    wait_for_loss(fixture);
}

static void an_end_while_it_waits_for_room_takes_the_link_down(void **state)
{
    struct fixture *fixture = *state;
    int err = 0;

    for (unsigned i = 0; !err && i < 1000; i++)
        err = harness_send(&fixture->harness, 0, NULL, fixture->frame, 60000);
    assert_int_equal(err, -EAGAIN);
    fd_close(&fixture->peer);
    harness_run(&fixture->harness, HARNESS_PATIENCE_MS);
    assert_int_equal(fixture->harness.links_lost, 1);
}

static void a_peer_that_never_stops_is_not_asked_when_the_card_is_full(void **state)
{
    struct fixture *fixture = *state;

    peer_send(fixture, fixture->frame, 60);
    harness_run(&fixture->harness, 20);
    assert_int_equal(fixture->harness.can_receive[0], 0);
}

/* --- one card after the other --- */

static void the_next_card_gets_no_frames_of_the_one_before(void **state)
{
    struct fixture *fixture = *state;

    for (unsigned i = 0; i < 3; i++)
        peer_send(fixture, fixture->frame, 60);
    assert_true(harness_receive(&fixture->harness, 0, fixture->bytes, SPACE) > 0);

    harness_replace_card(&fixture->harness);

    harness_run(&fixture->harness, 10);
    assert_int_equal(fixture->harness.can_receive[0], 0);
    peer_send(fixture, fixture->frame, 70);
    assert_int_equal(harness_receive(&fixture->harness, 0, fixture->bytes, SPACE),
                     HARNESS_HEADER + 70);
}

static void a_frame_that_is_half_received_goes_to_the_next_card(void **state)
{
    struct fixture *fixture = *state;

    fill_pattern(fixture->frame, 100, 3);
    peer_write(fixture, "\0\0\0\x64", 4);
    peer_write(fixture, fixture->frame, 30);
    assert_int_equal(harness_try_receive(&fixture->harness, 0, fixture->bytes, SPACE), -EAGAIN);

    harness_replace_card(&fixture->harness);

    peer_write(fixture, fixture->frame + 30, 70);
    assert_int_equal(harness_receive(&fixture->harness, 0, fixture->bytes, SPACE),
                     HARNESS_HEADER + 100);
    assert_memory_equal(fixture->bytes + HARNESS_HEADER, fixture->frame, 100);
}

static void a_frame_that_is_half_sent_is_sent_to_its_end(void **state)
{
    struct fixture *fixture = *state;
    struct harness *harness = &fixture->harness;
    const struct timeval patience = { .tv_sec = HARNESS_PATIENCE_MS / 1000 };
    const size_t len = 60000;
    unsigned sent = 0;

    assert_int_equal(
        setsockopt(fixture->peer, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    fill_pattern(fixture->frame, len, 5);
    while (harness_send(harness, 0, NULL, fixture->frame, len) == 0)
        sent++;

    harness_replace_card(harness);

    memset(fixture->frame, 0, len); /* the guest's memory is gone, too */
    for (unsigned i = 0; i < sent; i++) {
        uint32_t length;

        harness_run(harness, 1);
        peer_read(fixture, &length, sizeof(length));
        harness_run(harness, 1);
        assert_int_equal(ntohl(length), len);
        peer_read(fixture, fixture->bytes, len);
        fill_pattern(fixture->frame, len, 5);
        assert_memory_equal(fixture->bytes, fixture->frame, len);
    }
    assert_int_equal(harness_send(harness, 0, NULL, fixture->frame, 60), 0);
}

static void a_lost_link_stays_lost_for_the_next_card(void **state)
{
    struct fixture *fixture = *state;
    struct harness *harness = &fixture->harness;

    fd_close(&fixture->peer);
    wait_for_loss(fixture);

    harness_replace_card(harness);

    assert_true(harness->backend->link_was_lost);
    harness->backend->ops->set_receiving(harness->backend, 0, true);
    harness_run(harness, 10);
    assert_int_equal(harness->links_lost, 0); /* it can see that by itself */
    assert_int_equal(harness_send(harness, 0, NULL, fixture->frame, 60), -ENOTCONN);
}

static void a_loss_that_no_card_was_told_of_is_told_to_the_next_one(void **state)
{
    struct fixture *fixture = *state;
    struct harness *harness = &fixture->harness;

    peer_send(fixture, fixture->frame, 60);
    peer_write(fixture, "\0\0\0\0", 4); /* a frame of no bytes */
    assert_true(harness_receive(harness, 0, fixture->bytes, SPACE) > 0);
    assert_int_equal(harness_try_receive(harness, 0, fixture->bytes, SPACE), -ENOTCONN);
    assert_int_equal(harness->links_lost, 0);

    harness_replace_card(harness);

    assert_false(harness->backend->link_was_lost);
    harness_run(harness, HARNESS_PATIENCE_MS);
    assert_int_equal(harness->links_lost, 1);
}

/* --- opening --- */

static void refuses_what_is_no_stream_socket(void **state)
{
    struct net_backend *backend;
    int ends[2];
    (void)state;

    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(net_stream_from_fd(ends[0], "test", &backend), -EINVAL);
    close(ends[1]);
    assert_int_equal(net_stream_from_fd(open("/dev/null", O_RDWR | O_CLOEXEC), "test", &backend),
                     -ENOTSOCK);
    assert_int_equal(net_stream_from_fd(-1, "test", &backend), -EBADF);
}

static void make_path(char *path, size_t size)
{
    (void)snprintf(path, size, "/tmp/hutch-test-%ld.socket", (long)getpid());
    (void)unlink(path);
}

static void connects_to_a_socket(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct net_backend *backend;
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)state;

    make_path(address.sun_path, sizeof(address.sun_path));
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(net_stream_connect(address.sun_path, &backend), -ECONNREFUSED);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(net_stream_connect(address.sun_path, &backend), 0);
    net_backend_destroy(backend);
    close(listener);
    assert_int_equal(net_stream_connect(address.sun_path, &backend), -ECONNREFUSED);
    (void)unlink(address.sun_path);
    assert_int_equal(net_stream_connect(address.sun_path, &backend), -ENOENT);
}

static void refuses_a_path_that_is_too_long(void **state)
{
    struct net_backend *backend;
    char path[200];
    (void)state;

    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(net_stream_connect(path, &backend), -ENAMETOOLONG);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(frames_come_with_an_empty_header),
        TEST(many_frames_come_in_order),
        TEST(frames_come_in_pieces_of_any_size),
        TEST(the_longest_frames_come_one_behind_another),
        TEST(a_frame_longer_than_the_buffers_is_cut_off_and_gone),
        TEST(sends_a_frame_behind_its_length_without_header),
        TEST(sends_a_frame_whose_header_is_in_pieces),
        TEST(a_slow_peer_gets_all_frames_whole),
        TEST(a_socket_that_takes_nothing_takes_the_frame_later),
        TEST(has_one_pair_and_no_offloads),
        TEST(the_peers_end_takes_the_link_down),
        TEST(frames_before_the_end_still_come),
        TEST(a_frame_of_no_bytes_takes_the_link_down),
        TEST(a_frame_that_is_too_long_takes_the_link_down),
        TEST(the_longest_length_that_can_be_said_takes_the_link_down),
        TEST(an_end_while_it_waits_for_room_takes_the_link_down),
        TEST(a_peer_that_never_stops_is_not_asked_when_the_card_is_full),
        TEST(the_next_card_gets_no_frames_of_the_one_before),
        TEST(a_frame_that_is_half_received_goes_to_the_next_card),
        TEST(a_frame_that_is_half_sent_is_sent_to_its_end),
        TEST(a_lost_link_stays_lost_for_the_next_card),
        TEST(a_loss_that_no_card_was_told_of_is_told_to_the_next_one),
        cmocka_unit_test(refuses_what_is_no_stream_socket),
        cmocka_unit_test(connects_to_a_socket),
        cmocka_unit_test(refuses_a_path_that_is_too_long),
    };

    return cmocka_run_group_tests_name("net_stream", tests, NULL, NULL);
}
