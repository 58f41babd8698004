// SPDX-License-Identifier: Apache-2.0
/* A virtio device as any transport sees it (virtio 1.2, 2): identity, features, configuration
 * space, status, queues.
 *
 * How this works: a device type (blk.c, net.c ...) embeds struct virtio_dev and gives it
 * operations. A transport (pci.c, mmio.c) owns the virtio_dev, turns the guest's register
 * accesses into the virtio_dev_* calls below, and delivers interrupts. Notifications arrive
 * through one eventfd per queue: the kernel signals it (ioeventfd), or the transport does when
 * the write came as an exit; the loop then calls the device's queue_notify operation, so device
 * work is always done on the loop's thread. Devices need not care when the driver notifies:
 * virtio_dev_pop() tells the driver to be silent while there are chains, and asks for a
 * notification once it has found the queue empty. What is popped in one wake-up is bounded; the
 * rest is done in the next one, so a driver that refills its ring for ever starves nobody. Who pops
 * elsewhere than in queue_notify() bounds that himself.
 *
 * The status sequence is enforced: queues can be written only between FEATURES_OK and DRIVER_OK,
 * features only before FEATURES_OK, a device works only after DRIVER_OK. A reset while requests
 * are with the host completes when the last one has come back (virtio_dev_end_request()); until
 * then the status reads as before, and the driver waits for 0 (2.4.1).
 *
 * All is called with @lock held; transports use it as their device lock. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/virtqueue.h"

struct loop;
struct loop_source;
struct state_writer;
struct state_reader;
struct virtio_dev;

enum { VIRTIO_DEV_MAX_QUEUES = 33 };

struct virtio_dev_ops {
    /* Read or write configuration space; @offset + @len is inside config_size. Write may be NULL:
     * then it is read-only; both may be if there is no configuration space. */
    void (*config_read)(struct virtio_dev *vdev, uint32_t offset, void *data, uint32_t len);
    void (*config_write)(struct virtio_dev *vdev, uint32_t offset, const void *data, uint32_t len);
    /* The driver is ready (DRIVER_OK); features and queues are settled. Not 0: the device cannot
     * work and asks to be reset. May be NULL. */
    int (*activate)(struct virtio_dev *vdev);
    /* The driver notified queue @index, which is started: pop until nothing comes. May come
     * without anything new in the queue. On the loop's thread. */
    void (*queue_notify)(struct virtio_dev *vdev, unsigned index);
    /* Forget all requests that are not with the host; nothing of the old driver's is left when
     * requests_in_flight is 0. May be NULL. */
    void (*reset)(struct virtio_dev *vdev);
    /* Puts back (virtqueue_unpop()) what was popped ahead and is not begun; the queues are saved
     * next. May be NULL. */
    void (*settle)(struct virtio_dev *vdev);
    /* The device's own state, beyond what virtio_dev_save() keeps; features and queues are loaded
     * before it. activate() is not called again; queue_notify() is, for every queue. May be
     * NULL. */
    int (*save)(struct virtio_dev *vdev, struct state_writer *out);
    int (*load)(struct virtio_dev *vdev, struct state_reader *in);
    /* Ends back-ends and frees the device, calling virtio_dev_fini(). Half-built is fine. */
    void (*destroy)(struct virtio_dev *vdev);
};

/* How the transport reaches the guest; set by it before the guest runs. */
struct virtio_transport {
    void (*queue_interrupt)(void *ctx, unsigned queue);
    void (*config_interrupt)(void *ctx);
    void *ctx;
};

/* The part that the guest sees and a snapshot keeps; the queues' states are kept with it. */
struct virtio_dev_state {
    uint64_t driver_features;
    uint32_t config_generation;
    uint8_t status;
    uint8_t reset_pending; /* the driver wrote 0 and waits */
    uint8_t padding[2];
};

/* What wakes the device for one queue. */
struct virtio_dev_notifier {
    struct virtio_dev *vdev;
    unsigned index;
    bool is_awake;   /* queue_notify() is being called, and has ... */
    unsigned popped; /* ... popped so many chains */
    int fd;          /* the eventfd of notifications */
    struct loop_source *source;
};

struct virtio_dev {
    const char *name; /* for logs: "disk 'root.img'"; owned, freed by virtio_dev_fini() */
    const struct virtio_dev_ops *ops;
    uint32_t device_id; /* virtio 1.2, 5 */
    uint32_t config_size;
    uint64_t device_features; /* VIRTIO_F_VERSION_1, INDIRECT_DESC and EVENT_IDX are added */
    struct virtio_dev_state state;
    unsigned queue_count;
    unsigned requests_in_flight; /* popped, and with the host */
    struct virtqueue queues[VIRTIO_DEV_MAX_QUEUES];
    struct virtio_dev_notifier notifiers[VIRTIO_DEV_MAX_QUEUES];
    struct virtio_transport transport;
    pthread_mutex_t lock;
};

struct virtio_dev_params {
    const char *name; /* copied */
    uint32_t device_id;
    uint32_t config_size;
    uint64_t device_features;
    unsigned queue_count; /* 1 to VIRTIO_DEV_MAX_QUEUES */
    uint16_t queue_size;  /* a power of two */
    const struct virtio_dev_ops *ops;
    const struct guest_mem *mem;
    struct loop *loop; /* NULL: threads of the device's wait for the driver: virtio_dev_wait() */
};

/* Fills in the common part, with its eventfds in the loop. Returns 0 or -errno; on failure
 * virtio_dev_fini() still is to be called. */
int virtio_dev_init(struct virtio_dev *vdev, const struct virtio_dev_params *params);
/* Releases what virtio_dev_init() made; a zeroed virtio_dev is fine. */
void virtio_dev_fini(struct virtio_dev *vdev);
/* Calls the destroy operation. NULL is fine. */
void virtio_dev_destroy(struct virtio_dev *vdev);

/* --- for device types --- */

static inline bool virtio_dev_has_feature(const struct virtio_dev *vdev, unsigned bit)
{
    return vdev->state.driver_features & (UINT64_C(1) << bit);
}

/* Whether the driver is ready and the device neither broken nor being reset: whether queues may
 * be touched at all. */
bool virtio_dev_is_running(const struct virtio_dev *vdev);

/* Takes a chain from queue @index, as virtqueue_pop(). If it returns false, queue_notify() follows
 * as soon as there is something again. A broken ring makes the device need a reset, and counts as
 * empty, as do the queues of a device that does not run. virtqueue_unpop() may follow; whoever
 * leaves chains in the queue that way looks again without being notified. */
bool virtio_dev_pop(struct virtio_dev *vdev, unsigned index, struct virtqueue_chain *chain);
/* The same, but the driver of an empty queue is not asked for a notification: who calls this calls
 * virtio_dev_notify() later, to look again. */
bool virtio_dev_pop_unasked(struct virtio_dev *vdev, unsigned index, struct virtqueue_chain *chain);
/* Gives a chain back; the driver hears of it by virtio_dev_flush_interrupt(), once for all that was
 * pushed, if it wants to. */
void virtio_dev_push(struct virtio_dev *vdev, unsigned index, uint16_t head, uint32_t written);
/* Gives several back at once: the driver sees all of them or none. */
void virtio_dev_push_all(struct virtio_dev *vdev, unsigned index,
                         const struct virtqueue_used *chains, size_t count);
void virtio_dev_flush_interrupt(struct virtio_dev *vdev, unsigned index);

/* A request went to the host, or came back from it. When the last one came back during a reset,
 * virtio_dev_end_request() completes the reset. The answer to a request that came back after
 * virtio_dev_is_running() ended is dropped, not pushed. */
void virtio_dev_begin_request(struct virtio_dev *vdev);
void virtio_dev_end_request(struct virtio_dev *vdev);

/* The configuration space changed: counts the generation up and tells the driver. */
void virtio_dev_config_changed(struct virtio_dev *vdev);

/* The driver did what it must not, or the device cannot go on: sets DEVICE_NEEDS_RESET and tells
 * the driver (2.1.2). @why goes to the debug log. */
void virtio_dev_needs_reset(struct virtio_dev *vdev, const char *why);

/* --- for transports --- */

/* Status as the driver reads and writes it. Writing 0 resets; a bit out of order is ignored or
 * answered with FAILED or DEVICE_NEEDS_RESET as 2.1 and 3.1.1 say. */
uint8_t virtio_dev_read_status(const struct virtio_dev *vdev);
void virtio_dev_write_status(struct virtio_dev *vdev, uint8_t status);

/* 32 feature bits from bit 32 * @select on; 0 beyond 64. */
uint32_t virtio_dev_read_features(const struct virtio_dev *vdev, uint32_t select);
void virtio_dev_write_features(struct virtio_dev *vdev, uint32_t select, uint32_t features);
uint32_t virtio_dev_read_driver_features(const struct virtio_dev *vdev, uint32_t select);

/* Configuration space: outside of it reads give 0 and writes go nowhere. */
void virtio_dev_read_config(struct virtio_dev *vdev, uint64_t offset, void *data, uint32_t len);
void virtio_dev_write_config(struct virtio_dev *vdev, uint64_t offset, const void *data,
                             uint32_t len);

/* Queue @index, or NULL if there is none. */
struct virtqueue *virtio_dev_queue(struct virtio_dev *vdev, uint32_t index);
/* The same, if the driver may change it now: between FEATURES_OK and DRIVER_OK, not yet ready. */
struct virtqueue *virtio_dev_writable_queue(struct virtio_dev *vdev, uint32_t index);
/* The driver enables queue @index: it starts, or the device needs a reset. */
void virtio_dev_enable_queue(struct virtio_dev *vdev, uint32_t index);
/* Makes queue_notify() of queue @index follow soon, on the loop's thread: for a notification that
 * came as an exit, and for a device that stops early so that others get their turn. */
void virtio_dev_notify(struct virtio_dev *vdev, uint32_t index);

/* Of a device without a loop, and without its lock: waits for the next virtio_dev_notify(), or
 * takes the one that came since. One thread at a time for a queue. */
void virtio_dev_wait(struct virtio_dev *vdev, unsigned index);

/* Save and load the common state, the queues and the device's own. Not while requests are in
 * flight: -EBUSY. Return 0 or -errno: -EBADMSG if the saved state cannot be that of this device. */
int virtio_dev_save(struct virtio_dev *vdev, struct state_writer *out);
int virtio_dev_load(struct virtio_dev *vdev, struct state_reader *in);
