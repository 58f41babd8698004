// SPDX-License-Identifier: Apache-2.0
/* A console's stream on pipes, with a fake device that has little room. */
#include "host/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "host/fd.h"
#include "host/loop.h"
#include "scratch.h"

struct fixture {
    struct loop *loop;
    struct stream *stream;
    pthread_mutex_t guard;
    int in[2], out[2]; /* pipes: the stream reads in[0] and writes out[1] */
    char received[64];
    size_t received_len, room; /* of the fake device */
    int ready_calls, failures;
    int failure;  /* what output failed with */
    int commands; /* that a filter has seen */
    int ends;
    int stolen; /* bytes that another reader took */
};

static size_t take_bytes(void *ctx, const uint8_t *data, size_t len)
{
    struct fixture *f = ctx;

    if (len > f->room)
        len = f->room;
    memcpy(f->received + f->received_len, data, len);
    f->received_len += len;
    f->room -= len;
    return len;
}

static void note_ready(void *ctx)
{
    ((struct fixture *)ctx)->ready_calls++;
}

static void note_failure(void *ctx, int err)
{
    struct fixture *f = ctx;

    f->failures++;
    f->failure = err;
}

static void note_end(void *ctx)
{
    ((struct fixture *)ctx)->ends++;
}

static void stop(void *ctx)
{
    loop_stop(((struct fixture *)ctx)->loop);
}

/* Runs the loop long enough for everything that is ready. */
static void settle(struct fixture *f)
{
    struct loop_source *timer;

    assert_int_equal(loop_add_timer(f->loop, NULL, stop, f, &timer), 0);
    assert_int_equal(loop_set_timer(timer, 10000000), 0);
    assert_int_equal(loop_run(f->loop), 0);
    loop_remove(timer);
}

static int make_stream(struct fixture *f, int input_fd, int output_fd)
{
    const struct stream_params params = { .loop = f->loop,
                                          .guard = &f->guard,
                                          .input_fd = input_fd,
                                          .output_fd = output_fd,
                                          .receive = take_bytes,
                                          .transmit_ready = note_ready,
                                          .input_ended = note_end,
                                          .output_failed = note_failure,
                                          .ctx = f };

    return stream_create(&params, &f->stream);
}

static void replace_stream(struct fixture *f, int input_fd, int output_fd)
{
    stream_destroy(f->stream);
    f->stream = NULL;
    assert_int_equal(make_stream(f, input_fd, output_fd), 0);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    pthread_mutex_init(&f->guard, NULL);
    if (pipe2(f->in, O_CLOEXEC) || pipe2(f->out, O_CLOEXEC) || loop_create(&f->loop))
        return -1;
    f->room = sizeof(f->received);
    *state = f;
    return make_stream(f, f->in[0], f->out[1]);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    stream_destroy(f->stream);
    loop_destroy(f->loop);
    for (int i = 0; i < 2; i++) {
        fd_close(&f->in[i]);
        fd_close(&f->out[i]);
    }
    free(f);
    return 0;
}

static void what_comes_in_reaches_the_device(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(fd_write_full(f->in[1], "hello", 5), 0);

    settle(f);

    assert_int_equal(f->received_len, 5);
    assert_memory_equal(f->received, "hello", 5);
}

static void input_waits_until_the_device_has_room(void **state)
{
    struct fixture *f = *state;
    f->room = 2;
    assert_int_equal(fd_write_full(f->in[1], "hello", 5), 0);
    settle(f);
    assert_int_equal(f->received_len, 2);

    f->room = 16;
    pthread_mutex_lock(&f->guard);
    stream_receive_ready(f->stream);
    pthread_mutex_unlock(&f->guard);
    settle(f);

    assert_int_equal(f->received_len, 5);
    assert_memory_equal(f->received, "hello", 5);
}

static void what_the_device_sends_comes_out(void **state)
{
    struct fixture *f = *state;
    char buf[16] = "";

    pthread_mutex_lock(&f->guard);
    assert_true(stream_write(f->stream, (const uint8_t *)"out", 3));
    pthread_mutex_unlock(&f->guard);
    settle(f);

    assert_int_equal(read(f->out[0], buf, sizeof(buf)), 3);
    assert_string_equal(buf, "out");
}

/* Sends until the stream asks to wait, after @sent bytes before. Returns how many it is now. */
static size_t fill(struct fixture *f, size_t sent)
{
    bool more = true;

    pthread_mutex_lock(&f->guard);
    while (more) {
        uint8_t byte = (uint8_t)('a' + sent % 26);
        more = stream_write(f->stream, &byte, 1);
        sent++;
    }
    pthread_mutex_unlock(&f->guard);
    return sent;
}

/* Sends until nobody takes any more. */
static void fill_pipe_and_buffer(struct fixture *f, size_t *sent)
{
    do {
        f->ready_calls = 0;
        *sent = fill(f, *sent);
        settle(f);
    } while (f->ready_calls);
}

static void a_slow_reader_makes_the_device_wait_and_loses_nothing(void **state)
{
    struct fixture *f = *state;
    size_t sent = 0, seen = 0;
    char buf[4096];

    fill_pipe_and_buffer(f, &sent);
    assert_int_equal(fd_set_nonblocking(f->out[0], 1), 0);
    while (seen < sent) {
        ssize_t got = read(f->out[0], buf, sizeof(buf));
        for (ssize_t i = 0; i < got; i++, seen++)
            assert_int_equal(buf[i], 'a' + seen % 26);
        settle(f);
    }
    assert_true(f->ready_calls > 0);
}

static void output_without_a_reader_is_dropped(void **state)
{
    struct fixture *f = *state;
    fd_close(&f->out[0]);

    pthread_mutex_lock(&f->guard);
    (void)stream_write(f->stream, (const uint8_t *)"x", 1);
    pthread_mutex_unlock(&f->guard);
    settle(f);
    pthread_mutex_lock(&f->guard);
    for (int i = 0; i < 100000; i++)
        assert_true(stream_write(f->stream, (const uint8_t *)"x", 1));
    pthread_mutex_unlock(&f->guard);
    assert_int_equal(f->failures, 1);
    assert_int_equal(f->failure, -EPIPE);
}

static void destroy_writes_out_what_is_buffered(void **state)
{
    struct fixture *f = *state;
    char buf[16] = "";

    pthread_mutex_lock(&f->guard);
    assert_true(stream_write(f->stream, (const uint8_t *)"last words", 10));
    pthread_mutex_unlock(&f->guard);
    stream_destroy(f->stream);
    f->stream = NULL;

    assert_int_equal(read(f->out[0], buf, sizeof(buf)), 10);
    assert_string_equal(buf, "last words");
}

struct reader {
    int fd;
    size_t seen;
};

/* Takes a page now and then, until the writer is gone. */
static void *read_slowly(void *ctx)
{
    struct reader *reader = ctx;
    char buf[4096];
    ssize_t got;

    do {
        (void)poll(NULL, 0, 20);
        got = read(reader->fd, buf, sizeof(buf));
        for (ssize_t i = 0; i < got; i++, reader->seen++)
            if (buf[i] != (char)('a' + reader->seen % 26))
                return NULL;
    } while (got > 0);
    return NULL;
}

static void destroy_waits_for_a_slow_reader(void **state)
{
    struct fixture *f = *state;
    struct reader reader = { .fd = f->out[0] };
    size_t sent = 0;
    pthread_t thread;
    fill_pipe_and_buffer(f, &sent);
    assert_int_equal(pthread_create(&thread, NULL, read_slowly, &reader), 0);

    stream_destroy(f->stream);

    f->stream = NULL;
    fd_close(&f->out[1]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(reader.seen, sent);
    assert_int_equal(f->failures, 0);
}

static void destroy_does_not_wait_for_ever_for_a_reader_that_is_stuck(void **state)
{
    struct fixture *f = *state;
    size_t sent = 0;
    fill_pipe_and_buffer(f, &sent);

    (void)alarm(10);
    stream_destroy(f->stream);
    (void)alarm(0);

    f->stream = NULL;
    assert_int_equal(f->failures, 1);
    assert_int_equal(f->failure, -ETIME);
}

/* Takes every 'q' out, and counts them. */
static void count_commands(void *ctx, uint8_t *data, size_t *len)
{
    struct fixture *f = ctx;
    size_t kept = 0;

    for (size_t i = 0; i < *len; i++) {
        if (data[i] == 'q')
            f->commands++;
        else
            data[kept++] = data[i];
    }
    *len = kept;
}

static int set_up_with_filter(void **state)
{
    if (set_up(state))
        return -1;
    struct fixture *f = *state;
    struct stream_params params = { .loop = f->loop,
                                    .guard = &f->guard,
                                    .input_fd = f->in[0],
                                    .output_fd = f->out[1],
                                    .filter = count_commands,
                                    .receive = take_bytes,
                                    .transmit_ready = note_ready,
                                    .output_failed = note_failure,
                                    .ctx = f };
    stream_destroy(f->stream);
    return stream_create(&params, &f->stream);
}

static void type(struct fixture *f, char c, size_t count)
{
    char text[1024];

    assert_true(count <= sizeof(text));
    memset(text, c, count);
    assert_int_equal(write(f->in[1], text, count), count);
}

static void a_filter_sees_what_a_deaf_device_does_not_take(void **state)
{
    struct fixture *f = *state;
    f->room = 1;

    type(f, 'a', 10);
    settle(f);
    type(f, 'q', 1);
    settle(f);
    assert_int_equal(f->commands, 1);
}

static void a_filter_sees_what_there_is_no_room_for(void **state)
{
    struct fixture *f = *state;
    f->room = 0;

    for (int i = 0; i < 5; i++)
        type(f, 'a', 1000);
    type(f, 'q', 1);
    settle(f);
    assert_int_equal(f->commands, 0); /* the device may still wake up */
    for (int i = 0; i < 500 && f->commands == 0; i++)
        settle(f);
    assert_int_equal(f->commands, 1);
}

static void a_filter_loses_nothing_of_a_device_that_is_slow(void **state)
{
    struct fixture *f = *state;
    size_t sent = 1000;
    f->room = 0;

    type(f, 'a', sent);
    for (size_t taken = 0; taken < sent; taken += f->received_len) {
        f->received_len = 0;
        f->room = sizeof(f->received);
        pthread_mutex_lock(&f->guard);
        stream_receive_ready(f->stream);
        pthread_mutex_unlock(&f->guard);
        settle(f);
        assert_true(f->received_len > 0);
    }
}

static void the_end_of_input_is_told_when_all_of_it_was_taken(void **state)
{
    struct fixture *f = *state;
    f->room = 2;
    assert_int_equal(fd_write_full(f->in[1], "hello", 5), 0);
    fd_close(&f->in[1]);
    settle(f);
    assert_int_equal(f->ends, 0);

    f->room = 16;
    pthread_mutex_lock(&f->guard);
    stream_receive_ready(f->stream);
    pthread_mutex_unlock(&f->guard);
    settle(f);
    settle(f);

    assert_int_equal(f->received_len, 5);
    assert_int_equal(f->ends, 1);
}

static void draining_waits_for_the_last_byte(void **state)
{
    struct fixture *f = *state;
    static uint8_t data[4096];
    char buf[65536];
    bool has_room = true;

    assert_true(stream_drain(f->stream));
    while (has_room) { /* until the pipe is full, and the stream's buffer begins to be */
        has_room = stream_write(f->stream, data, sizeof(data));
        settle(f);
    }
    f->ready_calls = 0;
    assert_false(stream_drain(f->stream));
    assert_int_equal(read(f->out[0], buf, 8192), 8192);
    settle(f);
    assert_int_equal(f->ready_calls, 0);
    while (f->ready_calls == 0) {
        assert_true(read(f->out[0], buf, sizeof(buf)) > 0);
        settle(f);
    }
    assert_true(stream_drain(f->stream));
}

static void read_before_the_stream(void *ctx, unsigned events)
{
    struct fixture *f = ctx;
    char data[16];
    (void)events;

    f->stolen += (int)read(f->in[0], data, sizeof(data));
}

/* Two programs that share their standard input both hear that it is ready. */
static void input_that_somebody_else_took_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    AUTO_CLOSE int shared = dup(f->in[0]);
    struct loop_source *thief;
    assert_int_equal(
        loop_add_fd(f->loop, shared, LOOP_READABLE, NULL, read_before_the_stream, f, &thief), 0);
    assert_int_equal(fd_write_full(f->in[1], "x", 1), 0);

    (void)alarm(10);
    settle(f);
    (void)alarm(0);

    assert_int_equal(f->stolen, 1);
    assert_int_equal(f->received_len, 0);
    loop_remove(thief);
    assert_int_equal(fd_write_full(f->in[1], "y", 1), 0);
    settle(f);
    assert_memory_equal(f->received, "y", 1);
}

static void the_end_of_a_named_pipe_that_was_over_before_is_seen(void **state)
{
    struct fixture *f = *state;
    char folder[] = "/tmp/hutch-stream.XXXXXX", path[64];
    assert_non_null(scratch_make(folder));
    (void)snprintf(path, sizeof(path), "%s/pipe", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    AUTO_CLOSE int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    AUTO_CLOSE int writer = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(fd_write_full(writer, "z", 1), 0);
    fd_close(&writer);

    replace_stream(f, reader, -1);
    settle(f);
    stream_destroy(f->stream);
    f->stream = NULL;
    scratch_remove(folder);

    assert_int_equal(f->received_len, 1);
    assert_int_equal(f->ends, 1);
}

/* One that is not raw makes two bytes of a newline. */
static void a_terminal_that_nobody_reads_does_not_stop_the_loop(void **state)
{
    struct fixture *f = *state;
    AUTO_CLOSE int reader = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_int_equal(grantpt(reader) | unlockpt(reader), 0);
    AUTO_CLOSE int terminal = open(ptsname(reader), O_RDWR | O_NOCTTY | O_CLOEXEC);
    size_t sent = 0, seen = 0;
    char data[4096];
    replace_stream(f, -1, terminal);

    (void)alarm(10);
    do {
        f->ready_calls = 0;
        pthread_mutex_lock(&f->guard);
        while (stream_write(f->stream, (const uint8_t *)"y\n", 2))
            sent += 2;
        pthread_mutex_unlock(&f->guard);
        sent += 2;
        settle(f);
    } while (f->ready_calls);
    (void)alarm(0);

    assert_int_equal(fd_set_nonblocking(reader, 1), 0);
    for (ssize_t got = 1; got > 0; settle(f)) {
        got = read(reader, data, sizeof(data));
        for (ssize_t i = 0; i < got; i++)
            seen += data[i] != '\r';
    }
    assert_int_equal(seen, sent);
    stream_destroy(f->stream);
    f->stream = NULL;
}

static void the_end_of_input_does_not_spin(void **state)
{
    struct fixture *f = *state;
    fd_close(&f->in[1]);

    settle(f);

    assert_int_equal(f->received_len, 0);
}

int main(void)
{
#define STREAM_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define FILTER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_with_filter, tear_down)
    const struct CMUnitTest tests[] = {
        STREAM_TEST(what_comes_in_reaches_the_device),
        STREAM_TEST(input_waits_until_the_device_has_room),
        STREAM_TEST(what_the_device_sends_comes_out),
        STREAM_TEST(a_slow_reader_makes_the_device_wait_and_loses_nothing),
        STREAM_TEST(output_without_a_reader_is_dropped),
        STREAM_TEST(destroy_writes_out_what_is_buffered),
        STREAM_TEST(destroy_waits_for_a_slow_reader),
        STREAM_TEST(destroy_does_not_wait_for_ever_for_a_reader_that_is_stuck),
        STREAM_TEST(the_end_of_input_is_told_when_all_of_it_was_taken),
        STREAM_TEST(draining_waits_for_the_last_byte),
        STREAM_TEST(the_end_of_input_does_not_spin),
        STREAM_TEST(input_that_somebody_else_took_is_not_waited_for),
        STREAM_TEST(the_end_of_a_named_pipe_that_was_over_before_is_seen),
        STREAM_TEST(a_terminal_that_nobody_reads_does_not_stop_the_loop),
        FILTER_TEST(a_filter_sees_what_a_deaf_device_does_not_take),
        FILTER_TEST(a_filter_sees_what_there_is_no_room_for),
        FILTER_TEST(a_filter_loses_nothing_of_a_device_that_is_slow),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
