// SPDX-License-Identifier: Apache-2.0
/* Frames through a tap (or macvtap) interface of the host.
 *
 * How this works: one descriptor is one queue pair, and one read() or write() one frame behind a
 * virtio_net_hdr, whose offloads the kernel understands: what the driver can take
 * (TUNSETOFFLOAD) comes unsegmented and without checksums. Frames go from and to the guest's
 * buffers without a copy of ours. The kernel spreads frames over the attached queues, so those
 * that the driver does not use are detached (TUNSETQUEUE), or their frames would be lost. */
#include "net_tap.h"

#include <errno.h>
#include <limits.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "devices/device.h"
#include "host/fd.h"
#include "host/log.h"
#include "host/loop.h"

/* Twice what the queue of an interface holds, unless somebody has made it longer. */
enum { DRAIN_MAX = 2000 };

#define FEATURE(bit) (UINT64_C(1) << (bit))

static struct tap *to_tap(struct net_backend *backend)
{
    return container_of(backend, struct tap, base);
}

/* --- frames --- */

static void update_events(struct tap_queue *queue)
{
    unsigned events =
        (queue->wants_frames ? LOOP_READABLE : 0) | (queue->wants_room ? LOOP_WRITABLE : 0);

    /* A detached queue reports errors all the time. */
    if (queue->source)
        (void)loop_set_events(queue->source, queue->is_attached ? events : 0);
}

static int tap_send(struct net_backend *backend, unsigned pair, const struct iovec *iov,
                    size_t count)
{
    struct tap *tap = to_tap(backend);
    struct tap_queue *queue = &tap->queues[pair];
    ssize_t len;

    if (tap->base.link_was_lost)
        return -ENOTCONN;
    do {
        len = writev(queue->fd, iov, (int)count);
    } while (len < 0 && errno == EINTR);
    if (len >= 0)
        return 0;
    int err = -errno;
    if (err == -EAGAIN) {
        queue->wants_room = true;
        update_events(queue);
    }
    return err;
}

static ssize_t tap_receive(struct net_backend *backend, unsigned pair, const struct iovec *iov,
                           size_t count)
{
    struct tap *tap = to_tap(backend);
    ssize_t len;

    if (tap->base.link_was_lost)
        return -ENOTCONN;
    do {
        len = readv(tap->queues[pair].fd, iov, (int)count);
    } while (len < 0 && errno == EINTR);
    return len < 0 ? -errno : len;
}

static void tap_set_receiving(struct net_backend *backend, unsigned pair, bool wanted)
{
    struct tap_queue *queue = &to_tap(backend)->queues[pair];

    queue->wants_frames = wanted;
    update_events(queue);
}

static void stop_watching(struct tap *tap)
{
    for (unsigned i = 0; i < NET_MAX_QUEUE_PAIRS; i++) {
        loop_remove(tap->queues[i].source);
        tap->queues[i].source = NULL;
    }
}

/* The interface was removed: its descriptors report an error for ever. */
static void lose(struct tap *tap)
{
    tap->base.link_was_lost = true;
    stop_watching(tap);
    log_warn("network '%s': the interface is gone; the guest's link is down", tap->name);
}

static void wake_up(void *ctx, unsigned events)
{
    struct tap_queue *queue = ctx;
    struct tap *tap = queue->tap;

    if (events & LOOP_HANGUP) {
        lose(tap);
        tap->events.link_lost(tap->events.ctx);
        return;
    }
    if ((events & LOOP_WRITABLE) && queue->wants_room) {
        queue->wants_room = false;
        update_events(queue);
        tap->events.can_send(tap->events.ctx, queue->pair);
    }
    if ((events & LOOP_READABLE) && queue->wants_frames)
        tap->events.can_receive(tap->events.ctx, queue->pair);
}

/* --- settings --- */

static int tap_set_offloads(struct net_backend *backend, uint64_t features)
{
    static const struct {
        unsigned bit;
        unsigned tun_flag;
    } offloads[] = {
        { VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM },
        { VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
        { VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 },
        { VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
    };
    struct tap *tap = to_tap(backend);
    unsigned long flags = 0;

    for (size_t i = 0; i < sizeof(offloads) / sizeof(offloads[0]); i++)
        if (features & FEATURE(offloads[i].bit))
            flags |= offloads[i].tun_flag;
    if (flags == tap->tun_flags)
        return 0;
    /* One setting for the interface, whichever queue it is set through. */
    if (ioctl(tap->queues[0].fd, TUNSETOFFLOAD, flags) < 0)
        return -errno;
    tap->tun_flags = flags;
    return 0;
}

static int set_attached(struct tap_queue *queue, bool attached)
{
    struct ifreq request = { .ifr_flags = attached ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

    if (queue->is_attached == attached)
        return 0;
    if (ioctl(queue->fd, TUNSETQUEUE, &request) < 0)
        return -errno;
    queue->is_attached = attached;
    update_events(queue);
    return 0;
}

static int tap_set_pairs(struct net_backend *backend, unsigned pairs)
{
    struct tap *tap = to_tap(backend);
    int err = 0;

    if (tap->base.link_was_lost)
        return -ENOTCONN;
    for (unsigned i = 0; !err && i < tap->base.pair_count; i++)
        err = set_attached(&tap->queues[i], i < pairs);
    return err;
}

/* Throws away what came for the card before: frames that it never took, maybe with offloads that
 * the next one has not asked for. Bounded, as more may come meanwhile. */
static void drain(struct tap *tap)
{
    uint8_t head[sizeof(struct virtio_net_hdr_v1) + NET_FRAME_MIN];
    struct iovec iov = { head, sizeof(head) };

    for (unsigned i = 0; i < tap->base.pair_count; i++) {
        bool is_empty = !tap->queues[i].is_attached; /* by the kernel, then */

        for (int frames = 0; !is_empty && frames < DRAIN_MAX; frames++)
            is_empty = tap_receive(&tap->base, i, &iov, 1) == -EAGAIN;
    }
}

/* All settings as for the first card. */
static int start_anew(struct tap *tap)
{
    int err;

    tap->tun_flags = ULONG_MAX; /* asks the kernel in any case, which knows if it is gone */
    err = tap_set_offloads(&tap->base, 0);
    if (err == -EBADFD || err == -ENOLINK) { /* tap, macvtap: while nobody was attached */
        lose(tap);
        return 0;
    }
    if (err)
        return err;
    drain(tap); /* also those queues that are to be detached, while they can be read */
    return tap_set_pairs(&tap->base, 1);
}

static int tap_attach(struct net_backend *backend, struct loop *loop, pthread_mutex_t *guard,
                      const struct net_events *events)
{
    struct tap *tap = to_tap(backend);
    int err = 0;

    tap->events = *events;
    if (!backend->link_was_lost)
        err = start_anew(tap);
    if (backend->link_was_lost)
        return err;
    for (unsigned i = 0; !err && i < backend->pair_count; i++)
        err = loop_add_fd(loop, tap->queues[i].fd, 0, guard, wake_up, &tap->queues[i],
                          &tap->queues[i].source);
    return err;
}

static void tap_detach(struct net_backend *backend)
{
    struct tap *tap = to_tap(backend);

    stop_watching(tap);
    for (unsigned i = 0; i < NET_MAX_QUEUE_PAIRS; i++)
        tap->queues[i].wants_frames = tap->queues[i].wants_room = false;
}

static void tap_destroy(struct net_backend *backend)
{
    struct tap *tap = to_tap(backend);

    tap_detach(backend);
    for (unsigned i = 0; i < NET_MAX_QUEUE_PAIRS; i++)
        fd_close(&tap->queues[i].fd);
    free(tap);
}

static const struct net_backend_ops tap_ops = {
    .attach = tap_attach,
    .detach = tap_detach,
    .send = tap_send,
    .receive = tap_receive,
    .set_receiving = tap_set_receiving,
    .set_offloads = tap_set_offloads,
    .set_pairs = tap_set_pairs,
    .destroy = tap_destroy,
};

/* --- making one --- */

struct tap *tap_alloc(void)
{
    struct tap *tap = calloc(1, sizeof(*tap));

    if (!tap)
        return NULL;
    tap->base.ops = &tap_ops;
    tap->tun_flags = ULONG_MAX; /* whatever was set by others */
    for (unsigned i = 0; i < NET_MAX_QUEUE_PAIRS; i++)
        tap->queues[i] = (struct tap_queue){ .tap = tap, .pair = i, .fd = -1 };
    return tap;
}

/* Sets what every queue needs: our header, little-endian on every host, and no waiting. */
static int prepare_queue(int fd)
{
    int header_len = sizeof(struct virtio_net_hdr_v1);
    int little_endian = 1;

    if (ioctl(fd, TUNSETVNETHDRSZ, &header_len) < 0)
        return -errno;
    if (ioctl(fd, TUNSETVNETLE, &little_endian) < 0)
        return -errno;
    return fd_set_nonblocking(fd, true);
}

int tap_add_queue(struct tap *tap, int fd)
{
    struct tap_queue *queue = &tap->queues[tap->base.pair_count];

    queue->fd = fd;
    queue->is_attached = true;
    tap->base.pair_count++;
    return prepare_queue(fd);
}

/* Finds out what the kernel takes; towards it there is nothing that it does not take. */
void tap_find_offloads(struct tap *tap)
{
    const uint64_t to_host = FEATURE(VIRTIO_NET_F_CSUM) | FEATURE(VIRTIO_NET_F_HOST_TSO4) |
                             FEATURE(VIRTIO_NET_F_HOST_TSO6) | FEATURE(VIRTIO_NET_F_HOST_ECN);
    const uint64_t to_guest = FEATURE(VIRTIO_NET_F_GUEST_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_TSO4) |
                              FEATURE(VIRTIO_NET_F_GUEST_TSO6) | FEATURE(VIRTIO_NET_F_GUEST_ECN);

    tap->base.offloads = to_host;
    if (tap_set_offloads(&tap->base, to_guest) == 0)
        tap->base.offloads |= to_guest;
    (void)tap_set_offloads(&tap->base, 0);
}
