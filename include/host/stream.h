// SPDX-License-Identifier: Apache-2.0
/* The host's end of a console: bytes in from one descriptor, bytes out to another.
 *
 * Output is buffered and written by the loop's thread, so that a vCPU that sends a byte neither
 * waits for a slow terminal nor pays a system call for each. The descriptors may be shared with
 * other programs (a shell's terminal, a CI's pipe), so they are not made non-blocking; pipes and
 * terminals are opened once more for us alone.
 *
 * Everything is protected by the guard, the lock of the device that the stream belongs to: the
 * loop holds it around callbacks, and whoever calls stream_write() or stream_receive_ready()
 * holds it too. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct stream;

struct stream_params {
    struct loop *loop;
    pthread_mutex_t *guard;
    int input_fd, output_fd; /* the caller's; -1: none */
    /* Room for bytes that came in, and for output, a power of two; 0: a little, for a console. */
    size_t input_size, output_size;
    /* Looks at bytes as they come in, also those that a device which hangs will never take, and may
     * take some out, in place; NULL: none. */
    void (*filter)(void *ctx, uint8_t *data, size_t *len);
    /* Takes bytes that came in; returns how many it had room for, the rest waits for
     * stream_receive_ready(). */
    size_t (*receive)(void *ctx, const uint8_t *data, size_t len);
    /* There is room for output again, after stream_write() said that there was none. */
    void (*transmit_ready)(void *ctx);
    /* The input came to its end, and receive() has taken all of it. Once; NULL: nobody cares. */
    void (*input_ended)(void *ctx);
    /* Writing failed with @err (-EPIPE: nobody reads), and all output from now on is lost; or, at
     * the end, the reader took nothing for some seconds (-ETIME), and the last of it is. Once. */
    void (*output_failed)(void *ctx, int err);
    void *ctx;
};

int stream_create(const struct stream_params *params, struct stream **ret);
/* Writes out what is buffered, unless the reader takes nothing for some seconds; then frees. The
 * loop does not run any more. NULL is fine. */
void stream_destroy(struct stream *stream);

/* Sends @len bytes. Returns whether there is room for as many again; if not, transmit_ready()
 * follows. Bytes beyond the room are lost. Any thread. */
bool stream_write(struct stream *stream, const uint8_t *data, size_t len);

/* How many bytes stream_write() would take now. */
size_t stream_room(const struct stream *stream);

/* transmit_ready() follows when all was written, or writing failed, unless that is so already:
 * then it returns true. Nothing is to be sent any more. */
bool stream_drain(struct stream *stream);

/* receive() would take bytes again. Any thread. */
void stream_receive_ready(struct stream *stream);
