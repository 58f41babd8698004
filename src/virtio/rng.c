// SPDX-License-Identifier: Apache-2.0
/* The driver offers empty buffers, the device fills them (virtio 1.2, 5.4.6).
 *
 * A driver may offer as much as its RAM has; what one wake-up generates is bounded, so that it
 * keeps neither the host nor the other devices from their work. A chain that is larger than that
 * comes back partly filled, which is allowed. */
#include "virtio/rng.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <sys/random.h>

#include "devices/device.h"

enum {
    QUEUE = 0,
    QUEUE_SIZE = 64,
    CHAIN_MAX = 64 * 1024,   /* bytes given for one chain */
    WAKEUP_MAX = 256 * 1024, /* bytes given in one wake-up, but for the last chain's */
};

struct rng {
    struct virtio_dev vdev;
};

/* Fills one buffer. Returns how many bytes of it, fewer than @len only if the host failed. */
static size_t fill_buffer(uint8_t *buf, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t count = getrandom(buf + done, len - done, 0);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            break;
        done += (size_t)count;
    }
    return done;
}

static uint32_t fill_chain(struct virtqueue_chain *chain)
{
    const struct iovec *iov = virtqueue_writable(chain);
    size_t done = 0;

    for (unsigned i = 0; i < chain->writable_count && done < CHAIN_MAX; i++) {
        size_t len = iov[i].iov_len;

        if (len > CHAIN_MAX - done)
            len = CHAIN_MAX - done;

        size_t count = fill_buffer(iov[i].iov_base, len);

        done += count;
        if (count < len)
            break;
    }
    return (uint32_t)done;
}

static void rng_queue_notify(struct virtio_dev *vdev, unsigned index)
{
    struct virtqueue_chain chain;
    size_t given = 0;

    while (given < WAKEUP_MAX && virtio_dev_pop(vdev, index, &chain)) {
        uint32_t len = fill_chain(&chain);

        given += len;
        virtio_dev_push(vdev, index, chain.head, len);
    }
    virtio_dev_flush_interrupt(vdev, index);
    if (given >= WAKEUP_MAX)
        virtio_dev_notify(vdev, index); /* the rest in the next wake-up */
}

static void rng_destroy(struct virtio_dev *vdev)
{
    struct rng *rng = container_of(vdev, struct rng, vdev);

    virtio_dev_fini(vdev);
    free(rng);
}

static const struct virtio_dev_ops rng_ops = {
    .queue_notify = rng_queue_notify,
    .destroy = rng_destroy,
};

int rng_create(const struct guest_mem *mem, struct loop *loop, struct virtio_dev **ret)
{
    const struct virtio_dev_params params = {
        .name = "rng",
        .device_id = VIRTIO_ID_RNG,
        .queue_count = 1,
        .queue_size = QUEUE_SIZE,
        .ops = &rng_ops,
        .mem = mem,
        .loop = loop,
    };
    struct rng *rng = calloc(1, sizeof(*rng));

    if (!rng)
        return -ENOMEM;

    int err = virtio_dev_init(&rng->vdev, &params);

    if (err) {
        rng_destroy(&rng->vdev);
        return err;
    }
    *ret = &rng->vdev;
    return 0;
}
