// SPDX-License-Identifier: Apache-2.0
/* Frames through a UNIX stream socket, each behind its length as 4 bytes, big-endian.
 *
 * How this works: as many frames as there are come with one recv() into a buffer and are copied
 * out of it one by one; the buffer always has room for the rest of the frame at its start. A
 * frame goes out with one sendmsg() from where it lies; what the socket does not take of it is
 * kept, and until that is gone the answer is -EAGAIN. So the memory is bounded both ways, and only
 * pages that were used count.
 *
 * The other side is not believed: a length of 0 or beyond the longest frame means that the
 * framing is lost, and with it the connection. */
#include "net_stream.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "devices/device.h"
#include "host/fd.h"
#include "host/log.h"
#include "host/loop.h"
#include "virtio/virtqueue.h"

enum {
    LENGTH_LEN = sizeof(uint32_t),
    RECORD_MAX = LENGTH_LEN + NET_FRAME_MAX,
    IN_SIZE = 128 * 1024,
    HEADER_LEN = sizeof(struct virtio_net_hdr_v1),
    DRAIN_MAX = 2000, /* frames; more than a socket's buffers hold */
};
static_assert(IN_SIZE >= RECORD_MAX, "the longest frame must fit");

static struct net_stream *to_stream(struct net_backend *backend)
{
    return container_of(backend, struct net_stream, base);
}

/* After a loss the loop must call in any case, to tell of it. */
static void update_events(struct net_stream *stream)
{
    unsigned events = (stream->wants_frames || stream->is_lost ? LOOP_READABLE : 0) |
                      (stream->wants_room ? LOOP_WRITABLE : 0);

    if (stream->source)
        (void)loop_set_events(stream->source, events);
}

/* --- the end --- */

/* Nothing is sent or received from now on; the loop calls soon, and then the card is told. @why
 * may be NULL. */
static void lose(struct net_stream *stream, const char *why)
{
    stream->is_lost = true;
    (void)shutdown(stream->fd, SHUT_RDWR);
    update_events(stream);
    (void)snprintf(stream->lost_why, sizeof(stream->lost_why), "%s", why ? why : "");
}

static void tell_loss(struct net_stream *stream)
{
    loop_remove(stream->source);
    stream->source = NULL;
    if (stream->lost_why[0] || !stream->on_end_of_stream)
        log_warn("network '%s': %s; the guest's link is down", stream->name,
                 stream->lost_why[0] ? stream->lost_why : "the other side closed the connection");
    if (stream->on_end_of_stream)
        stream->on_end_of_stream(stream);
    stream->base.link_was_lost = true;
    stream->events.link_lost(stream->events.ctx);
}

void net_stream_end(struct net_stream *stream)
{
    if (stream->is_lost)
        return;
    lose(stream, NULL);
    tell_loss(stream);
}

/* --- receiving --- */

/* Finds the whole frame at the start of the buffer, if it is there yet. */
static bool find_frame(struct net_stream *stream, size_t *len)
{
    size_t filled = stream->in_end - stream->in_start;
    uint32_t length;
    char why[80];

    if (filled < LENGTH_LEN)
        return false;
    memcpy(&length, stream->in + stream->in_start, LENGTH_LEN);
    length = ntohl(length);
    if (length == 0 || length > NET_FRAME_MAX) {
        (void)snprintf(why, sizeof(why), "the other side sent a frame of %u bytes", length);
        lose(stream, why);
        stream->in_start = stream->in_end = 0;
        return false;
    }
    *len = length;
    return filled - LENGTH_LEN >= length;
}

/* Makes room for the rest of the frame at the start of the buffer. */
static void compact(struct net_stream *stream)
{
    size_t filled = stream->in_end - stream->in_start;

    if (filled > 0 && IN_SIZE - stream->in_start >= RECORD_MAX)
        return;
    memmove(stream->in, stream->in + stream->in_start, filled);
    stream->in_start = 0;
    stream->in_end = filled;
}

static void fill(struct net_stream *stream)
{
    compact(stream);

    size_t room = IN_SIZE - stream->in_end;
    ssize_t len = recv(stream->fd, stream->in + stream->in_end, room, MSG_DONTWAIT);

    if (len > 0) {
        stream->in_end += (size_t)len;
        stream->is_drained = (size_t)len < room;
    } else if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
        stream->is_drained = errno == EAGAIN;
    } else {
        lose(stream, len < 0 && errno != ECONNRESET ? strerror(errno) : NULL);
    }
}

ssize_t net_stream_receive(struct net_backend *backend, unsigned pair, const struct iovec *iov,
                           size_t count)
{
    const struct virtio_net_hdr_v1 no_offloads = { 0 };
    struct net_stream *stream = to_stream(backend);
    size_t len;
    (void)pair;

    while (!find_frame(stream, &len)) {
        if (stream->is_lost)
            return -ENOTCONN;
        if (stream->is_drained)
            return -EAGAIN;
        fill(stream);
    }
    const uint8_t *frame = stream->in + stream->in_start + LENGTH_LEN;
    size_t copied = iov_write(iov, count, 0, &no_offloads, HEADER_LEN);

    copied += iov_write(iov, count, HEADER_LEN, frame, len);
    stream->in_start += LENGTH_LEN + len;
    return (ssize_t)copied;
}

void net_stream_set_receiving(struct net_backend *backend, unsigned pair, bool wanted)
{
    struct net_stream *stream = to_stream(backend);
    (void)pair;

    stream->wants_frames = wanted;
    update_events(stream);
}

/* --- sending --- */

/* Sends from @row. Returns how much the socket took, or -errno. */
static ssize_t send_row(int fd, struct iovec *row, size_t count)
{
    struct msghdr message = { .msg_iov = row, .msg_iovlen = count };
    ssize_t len;

    do {
        len = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (len < 0 && errno == EINTR);
    return len < 0 ? -errno : len;
}

static void wait_for_room(struct net_stream *stream)
{
    stream->wants_room = true;
    update_events(stream);
}

int net_stream_send(struct net_backend *backend, unsigned pair, const struct iovec *iov,
                    size_t count)
{
    struct net_stream *stream = to_stream(backend);
    struct iovec copy[1 + NET_SEND_BUFFERS], *row = copy + 1;
    size_t total = LENGTH_LEN;
    (void)pair;

    if (stream->is_lost)
        return -ENOTCONN;
    if (stream->wants_room)
        return -EAGAIN;
    assert(count <= NET_SEND_BUFFERS);
    memcpy(row, iov, count * sizeof(*iov));
    count = iov_skip(&row, count, HEADER_LEN);
    for (size_t i = 0; i < count; i++)
        total += row[i].iov_len;
    assert(total <= RECORD_MAX);
    uint32_t length = htonl((uint32_t)(total - LENGTH_LEN));
    *--row = (struct iovec){ &length, LENGTH_LEN };
    count++;

    ssize_t sent = send_row(stream->fd, row, count);
    if (sent == -EAGAIN)
        wait_for_room(stream);
    if (sent < 0)
        return (int)sent;
    if ((size_t)sent < total) {
        stream->out_start = 0;
        count = iov_skip(&row, count, (size_t)sent);
        stream->out_end = iov_read(row, count, 0, stream->out, RECORD_MAX);
        wait_for_room(stream);
    }
    return 0;
}

/* Sends what was left of a frame, then lets the card go on. */
static void continue_sending(struct net_stream *stream)
{
    struct iovec rest = { stream->out + stream->out_start, stream->out_end - stream->out_start };
    ssize_t sent = rest.iov_len > 0 ? send_row(stream->fd, &rest, 1) : 0;

    if (sent == -EAGAIN)
        return;
    if (sent < 0) {
        lose(stream, sent == -EPIPE || sent == -ECONNRESET ? NULL : strerror((int)-sent));
        return;
    }
    stream->out_start += (size_t)sent;
    if (stream->out_start < stream->out_end)
        return;
    stream->wants_room = false;
    update_events(stream);
    stream->events.can_send(stream->events.ctx, 0);
}

/* --- the back-end --- */

/* A hang-up means that there is nothing to wait for: then reading or writing tells the end. */
static void wake_up(void *ctx, unsigned events)
{
    struct net_stream *stream = ctx;

    if (stream->wants_room && (events & (LOOP_WRITABLE | LOOP_HANGUP)))
        continue_sending(stream);
    if (stream->wants_frames && !stream->is_lost && (events & (LOOP_READABLE | LOOP_HANGUP))) {
        stream->is_drained = false;
        stream->events.can_receive(stream->events.ctx, 0);
    }
    if (stream->is_lost)
        tell_loss(stream);
}

/* Throws away whole frames that came for the card before. What there is of another one stays, as
 * the rest of it will come. Bounded, as more may come meanwhile. */
static void drain(struct net_stream *stream)
{
    int frames = 0;

    stream->is_drained = false;
    while (frames < DRAIN_MAX && net_stream_receive(&stream->base, 0, NULL, 0) >= 0)
        frames++;
}

int net_stream_attach(struct net_backend *backend, struct loop *loop, pthread_mutex_t *guard,
                      const struct net_events *events)
{
    struct net_stream *stream = to_stream(backend);

    stream->events = *events;
    if (backend->link_was_lost)
        return 0;
    drain(stream);
    int err = loop_add_fd(loop, stream->fd, 0, guard, wake_up, stream, &stream->source);

    if (!err)
        update_events(stream); /* half a frame may wait to go out, or a loss to be told */
    return err;
}

void net_stream_detach(struct net_backend *backend)
{
    struct net_stream *stream = to_stream(backend);

    loop_remove(stream->source);
    stream->source = NULL;
    stream->wants_frames = false;
    stream->wants_room = stream->out_start < stream->out_end;
}

/* Without offloads on either side there is nothing to choose. */
int net_stream_set_offloads(struct net_backend *backend, uint64_t features)
{
    (void)backend;
    return features ? -EOPNOTSUPP : 0;
}

int net_stream_set_pairs(struct net_backend *backend, unsigned pairs)
{
    (void)backend;
    return pairs == 1 ? 0 : -EINVAL;
}

int net_stream_init(struct net_stream *stream, int fd, const char *name,
                    const struct net_backend_ops *ops)
{
    stream->base = (struct net_backend){ .ops = ops, .pair_count = 1 };
    stream->fd = fd;
    stream->name = strdup(name);
    stream->in = malloc(IN_SIZE);
    stream->out = malloc(RECORD_MAX);
    return stream->name && stream->in && stream->out ? 0 : -ENOMEM;
}

void net_stream_fini(struct net_stream *stream)
{
    net_stream_detach(&stream->base);
    fd_close(&stream->fd);
    free(stream->name);
    free(stream->in);
    free(stream->out);
}

static void stream_destroy_backend(struct net_backend *backend)
{
    struct net_stream *stream = to_stream(backend);

    net_stream_fini(stream);
    free(stream);
}

static const struct net_backend_ops stream_ops = {
    .attach = net_stream_attach,
    .detach = net_stream_detach,
    .send = net_stream_send,
    .receive = net_stream_receive,
    .set_receiving = net_stream_set_receiving,
    .set_offloads = net_stream_set_offloads,
    .set_pairs = net_stream_set_pairs,
    .destroy = stream_destroy_backend,
};

static int check_socket(int fd, const char *name)
{
    int type;
    socklen_t len = sizeof(type);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
        return log_errno(-errno, "network '%s': descriptor %d", name, fd);
    if (type != SOCK_STREAM) {
        log_error("network '%s': descriptor %d is not a stream socket", name, fd);
        return -EINVAL;
    }
    return 0;
}

int net_stream_from_fd(int fd, const char *name, struct net_backend **ret)
{
    AUTO_CLOSE int owned = fd;
    int err = check_socket(fd, name);

    if (err)
        return err;
    struct net_stream *stream = calloc(1, sizeof(*stream));

    if (!stream)
        return log_errno(-ENOMEM, "network '%s'", name);
    err = net_stream_init(stream, take_fd(&owned), name, &stream_ops);
    if (err) {
        stream_destroy_backend(&stream->base);
        return log_errno(err, "network '%s'", name);
    }
    *ret = &stream->base;
    return 0;
}

/* What a failed connect() means for the user. */
static int explain_connect(int err, const char *path)
{
    if (err == -ENOENT) {
        log_error("network 'stream:%s': no such socket; start the other side first "
                  "(passt --socket %s)",
                  path, path);
    } else if (err == -ECONNREFUSED) {
        log_error("network 'stream:%s': nobody listens on this socket; start the other side "
                  "first (passt --socket %s)",
                  path, path);
    } else if (err == -EPROTOTYPE) {
        log_error("network 'stream:%s': not a stream socket", path);
    } else {
        log_errno(err, "network 'stream:%s': connect", path);
    }
    return err;
}

int net_stream_connect(const char *socket_path, struct net_backend **ret)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char name[sizeof("stream:") + sizeof(address.sun_path)];

    if (strlen(socket_path) >= sizeof(address.sun_path)) {
        log_error("network 'stream:%s': the path has more than %zu bytes", socket_path,
                  sizeof(address.sun_path) - 1);
        return -ENAMETOOLONG;
    }
    memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
    (void)snprintf(name, sizeof(name), "stream:%s", socket_path);

    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return log_errno(-errno, "network '%s': socket", name);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return explain_connect(-errno, socket_path);
    return net_stream_from_fd(take_fd(&fd), name, ret);
}
