// SPDX-License-Identifier: Apache-2.0
/* A console's bytes, between a device and two descriptors.
 *
 * Sources of the loop may be changed on its thread only, and devices call from vCPU threads: so a
 * call leaves a note in the struct and wakes the loop through an eventfd, once until the loop has
 * looked.
 *
 * A descriptor that was reported ready may not be any more: others who share it read what came in,
 * or filled it up, and a terminal takes more for a newline than a byte. We would stand still then,
 * and with us the user's commands, signals and time limits. So of pipes and terminals we have
 * descriptors of our own which do not block. Only the caller's are watched: a named pipe that is
 * opened after its last writer has gone does not report that.
 *
 * Input waits where it is while the device takes none. But a filter looks for the user's commands,
 * one of which ends a guest that hangs: with a filter, input is read ahead as far as there is room,
 * and once the device has been deaf for a while, what comes in is shown to the filter and lost. */
#include "host/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "host/clock.h"
#include "host/fd.h"
#include "host/loop.h"

enum {
    OUTPUT_SIZE = 16384, /* where the owner does not say */
    INPUT_SIZE = 4096,
    /* Written at a time. Where we could get no descriptor of our own, one that poll() calls
     * writable takes as much without blocking, mostly: a pipe PIPE_BUF, a terminal 256 bytes. A
     * file always takes all. */
    PIPE_PIECE = 4096,
    TERMINAL_PIECE = 256,
    FILE_PIECE = 65536,
    LOST_SIZE = 4096, /* read at a time, to be lost */
    STUCK_MS = 2000,  /* how long the last output waits for a reader that takes nothing */
    DEAF_MS = 1000,   /* a device that takes no input for so long is not going to */
};

struct stream {
    struct stream_params params;
    int own_input_fd, own_output_fd; /* what is read and written; -1: those in @params */
    int wake_fd;
    struct loop_source *wake_source, *input_source, *output_source, *deaf_timer;
    size_t piece;
    bool awake;         /* wake_fd was signalled, and the loop has not looked yet */
    bool device_waits;  /* transmit_ready() is owed ... */
    size_t reserve;     /* with less room than this it is asked to wait, and told when there is */
    bool input_ended;   /* end of file, or an error */
    bool output_failed; /* nobody reads, or the disk is full: output is dropped */
    bool end_was_told;  /* input_ended() was called */
    bool input_wanted;  /* the device can take bytes */
    bool is_deaf;       /* it took none for DEAF_MS while the buffer was full */
    size_t input_len;   /* bytes read that the device did not take yet */
    size_t input_size, output_size;
    size_t head, tail; /* output not yet written: from tail to head, counting on and on */
    uint8_t *output;   /* a ring */
    uint8_t input[];
};

static size_t output_used(const struct stream *stream)
{
    return stream->head - stream->tail;
}

size_t stream_room(const struct stream *stream)
{
    return stream->output_size - output_used(stream);
}

static void wake(struct stream *stream)
{
    uint64_t one = 1;

    if (stream->awake)
        return;
    stream->awake = true;
    ssize_t ignored = write(stream->wake_fd, &one, sizeof(one));
    (void)ignored; /* the counter cannot overflow: it is written once until it is read */
}

static int choose_fd(int own_fd, int fd)
{
    return own_fd >= 0 ? own_fd : fd;
}

static ssize_t read_input(const struct stream *stream, uint8_t *data, size_t len)
{
    return read(choose_fd(stream->own_input_fd, stream->params.input_fd), data, len);
}

static ssize_t write_output(const struct stream *stream, const uint8_t *data, size_t len)
{
    return write(choose_fd(stream->own_output_fd, stream->params.output_fd), data, len);
}

/* Writes one piece of what is buffered. Returns whether there may be more to do at once. */
static bool write_piece(struct stream *stream, int timeout_ms)
{
    struct pollfd room = { .fd = stream->params.output_fd, .events = POLLOUT };
    size_t at = stream->tail & (stream->output_size - 1), len = output_used(stream);

    if (len > stream->output_size - at)
        len = stream->output_size - at;
    if (len > stream->piece)
        len = stream->piece;
    if (len == 0)
        return false;
    int ready = poll(&room, 1, timeout_ms);
    if (ready <= 0)
        return ready < 0 && errno == EINTR;

    ssize_t put = write_output(stream, stream->output + at, len);
    if (put < 0 && errno != EINTR && errno != EAGAIN) {
        int err = -errno;

        stream->output_failed = true;
        stream->tail = stream->head;
        stream->params.output_failed(stream->params.ctx, err);
        return false;
    }
    if (put < 0)
        return errno == EINTR;
    stream->tail += (size_t)put;
    return put > 0;
}

static void flush_output(struct stream *stream)
{
    while (write_piece(stream, 0))
        ;
    if (stream->output_source)
        (void)loop_set_events(stream->output_source, output_used(stream) ? LOOP_WRITABLE : 0);
    if (stream->device_waits && stream_room(stream) >= stream->reserve) {
        stream->device_waits = false;
        stream->params.transmit_ready(stream->params.ctx);
    }
}

static void deliver_input(struct stream *stream)
{
    size_t taken = stream->params.receive(stream->params.ctx, stream->input, stream->input_len);

    memmove(stream->input, stream->input + taken, stream->input_len - taken);
    stream->input_len -= taken;
    stream->input_wanted = stream->input_len == 0;
    if (taken > 0)
        stream->is_deaf = false;
}

static bool input_is_full(const struct stream *stream)
{
    return stream->input_len == stream->input_size;
}

static void tell_end(struct stream *stream)
{
    if (!stream->input_ended || stream->input_len > 0 || stream->end_was_told)
        return;
    stream->end_was_told = true;
    if (stream->params.input_ended)
        stream->params.input_ended(stream->params.ctx);
}

static void watch_input(struct stream *stream)
{
    bool reads_ahead = stream->params.filter && (!input_is_full(stream) || stream->is_deaf);
    bool wanted = (stream->input_wanted || reads_ahead) && !stream->input_ended;

    if (stream->input_source)
        (void)loop_set_events(stream->input_source, wanted ? LOOP_READABLE : 0);
    tell_end(stream);
}

/* Shows what came in to the filter. Returns how much is left. */
static size_t filter_input(struct stream *stream, uint8_t *data, size_t len)
{
    if (stream->params.filter)
        stream->params.filter(stream->params.ctx, data, &len);
    return len;
}

/* There is input for which there is no room. */
static void lose_input(struct stream *stream)
{
    uint8_t lost[LOST_SIZE];
    ssize_t got = read_input(stream, lost, sizeof(lost));

    if (got > 0)
        (void)filter_input(stream, lost, (size_t)got);
    else if (got == 0 || (errno != EINTR && errno != EAGAIN))
        stream->input_ended = true;
}

static void take_input(struct stream *stream)
{
    uint8_t *end = stream->input + stream->input_len;
    ssize_t got = read_input(stream, end, stream->input_size - stream->input_len);

    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (got <= 0) {
        stream->input_ended = true;
        return;
    }
    stream->input_len += filter_input(stream, end, (size_t)got);
    if (stream->input_wanted)
        deliver_input(stream);
    if (input_is_full(stream) && stream->deaf_timer)
        (void)loop_set_timer(stream->deaf_timer, DEAF_MS * NS_PER_MS);
}

static void on_input(void *ctx, unsigned events)
{
    struct stream *stream = ctx;

    (void)events;
    if (input_is_full(stream))
        lose_input(stream);
    else
        take_input(stream);
    watch_input(stream);
}

static void on_deaf(void *ctx)
{
    struct stream *stream = ctx;

    stream->is_deaf = input_is_full(stream);
    watch_input(stream);
}

static void on_output(void *ctx, unsigned events)
{
    (void)events;
    flush_output(ctx);
}

static void on_wake(void *ctx, unsigned events)
{
    struct stream *stream = ctx;
    uint64_t count;
    ssize_t ignored = read(stream->wake_fd, &count, sizeof(count));

    (void)ignored;
    (void)events;
    stream->awake = false;
    flush_output(stream);
    if (stream->input_wanted && stream->input_len > 0)
        deliver_input(stream);
    watch_input(stream);
}

static int stream_open(struct stream *stream)
{
    const struct stream_params *params = &stream->params;
    int err;

    stream->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stream->wake_fd < 0)
        return -errno;
    err = loop_add_fd(params->loop, stream->wake_fd, LOOP_READABLE, params->guard, on_wake, stream,
                      &stream->wake_source);
    if (!err && params->output_fd >= 0)
        err = loop_add_fd(params->loop, params->output_fd, 0, params->guard, on_output, stream,
                          &stream->output_source);
    if (!err && params->input_fd >= 0)
        err = loop_add_fd(params->loop, params->input_fd, LOOP_READABLE, params->guard, on_input,
                          stream, &stream->input_source);
    if (!err && params->input_fd >= 0 && params->filter)
        err = loop_add_timer(params->loop, params->guard, on_deaf, stream, &stream->deaf_timer);
    return err;
}

static size_t piece_size(int fd)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return FILE_PIECE;
    return isatty(fd) ? TERMINAL_PIECE : PIPE_PIECE;
}

static struct stream *stream_alloc(const struct stream_params *params)
{
    size_t input_size = params->input_size ? params->input_size : INPUT_SIZE;
    struct stream *stream = calloc(1, sizeof(*stream) + input_size);

    if (!stream)
        return NULL;
    stream->params = *params;
    stream->own_input_fd = fd_open_again(params->input_fd, O_RDONLY | O_NONBLOCK);
    stream->own_output_fd = fd_open_again(params->output_fd, O_WRONLY | O_NONBLOCK);
    stream->wake_fd = -1;
    stream->input_size = input_size;
    stream->output_size = params->output_size ? params->output_size : OUTPUT_SIZE;
    /* A large one is written while the other half of it is filled. */
    stream->reserve = stream->output_size / (params->output_size ? 2 : 4);
    stream->output = malloc(stream->output_size);
    return stream;
}

int stream_create(const struct stream_params *params, struct stream **ret)
{
    struct stream *stream = stream_alloc(params);

    if (!stream)
        return -ENOMEM;
    stream->input_wanted = true;
    stream->output_failed = params->output_fd < 0;
    stream->piece = piece_size(params->output_fd);
    int err = stream->output ? stream_open(stream) : -ENOMEM;
    if (err) {
        stream_destroy(stream);
        return err;
    }
    *ret = stream;
    return 0;
}

/* Each piece that is taken gives the reader its time anew: a slow one loses nothing. */
static void flush_last_output(struct stream *stream)
{
    uint64_t taken_ns = clock_now_ns(CLOCK_MONOTONIC);

    while (output_used(stream) > 0 && clock_since_ns(taken_ns) < STUCK_MS * NS_PER_MS) {
        size_t tail = stream->tail;

        (void)write_piece(stream, STUCK_MS);
        if (stream->tail != tail)
            taken_ns = clock_now_ns(CLOCK_MONOTONIC);
    }
    if (output_used(stream) > 0)
        stream->params.output_failed(stream->params.ctx, -ETIME);
}

void stream_destroy(struct stream *stream)
{
    if (!stream)
        return;
    flush_last_output(stream);
    loop_remove(stream->wake_source);
    loop_remove(stream->input_source);
    loop_remove(stream->output_source);
    loop_remove(stream->deaf_timer);
    fd_close(&stream->wake_fd);
    fd_close(&stream->own_input_fd);
    fd_close(&stream->own_output_fd);
    free(stream->output);
    free(stream);
}

bool stream_write(struct stream *stream, const uint8_t *data, size_t len)
{
    size_t room = stream_room(stream), at = stream->head & (stream->output_size - 1);
    size_t to_end = stream->output_size - at;

    if (stream->output_failed)
        return true;
    if (len > room)
        len = room;
    memcpy(stream->output + at, data, len < to_end ? len : to_end);
    if (len > to_end)
        memcpy(stream->output, data + to_end, len - to_end);
    stream->head += len;
    wake(stream);
    stream->device_waits = stream_room(stream) < stream->reserve;
    return !stream->device_waits;
}

bool stream_drain(struct stream *stream)
{
    if (output_used(stream) == 0)
        return true;
    stream->device_waits = true;
    stream->reserve = stream->output_size;
    return false;
}

void stream_receive_ready(struct stream *stream)
{
    if (stream->input_wanted)
        return;
    stream->input_wanted = true;
    wake(stream);
}
