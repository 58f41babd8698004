// SPDX-License-Identifier: Apache-2.0
/* How this works: the status byte is the device's state (virtio 1.2, 2.1 and 3.1.1).
 *
 *   0 .. DRIVER     the driver writes its features
 *   FEATURES_OK     features are settled; it sets its queues up
 *   DRIVER_OK       the device runs: chains are popped and pushed
 *   NEEDS_RESET     set by us, FAILED by the driver: nothing but a reset leads on
 *   reset pending   0 was written, requests are still with the host; then everything starts anew
 *
 * vCPU threads write the status, the loop's thread does the work; both hold the lock, and every
 * way to a queue asks virtio_dev_is_running() or the status first. So a wake-up or an answer of
 * the host that comes too late finds the door closed, and guest memory is left alone. The buffers
 * of requests that are with the host are the exception: the host may fill them until it is done,
 * which is why a reset waits for them. */
#include "virtio/virtio_dev.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "host/fd.h"
#include "host/log.h"
#include "host/loop.h"
#include "host/state.h"

/* The most chains popped from a queue in one wake-up. */
enum { WAKEUP_MAX = VIRTQUEUE_MAX_SIZE };

enum { STATE_VERSION = 1 };

#define FEATURE(bit) (UINT64_C(1) << (bit))
#define COMMON_FEATURES                                                                            \
    (FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_RING_F_INDIRECT_DESC) |                          \
     FEATURE(VIRTIO_RING_F_EVENT_IDX))

/* --- making one --- */

static void signal_notifier(const struct virtio_dev_notifier *notifier)
{
    (void)eventfd_write(notifier->fd, 1); /* fails only if it is signalled already */
}

static bool queue_is_running(const struct virtio_dev *vdev, unsigned index)
{
    return virtio_dev_is_running(vdev) && vdev->queues[index].state.ready;
}

static void wake_up(void *ctx, unsigned events)
{
    struct virtio_dev_notifier *notifier = ctx;
    struct virtio_dev *vdev = notifier->vdev;
    eventfd_t count;
    (void)events;

    if (eventfd_read(notifier->fd, &count) < 0 || !queue_is_running(vdev, notifier->index))
        return;
    notifier->is_awake = true;
    notifier->popped = 0;
    vdev->ops->queue_notify(vdev, notifier->index);
    notifier->is_awake = false;
    if (notifier->popped == WAKEUP_MAX)
        signal_notifier(notifier);
}

static int add_notifier(struct virtio_dev *vdev, unsigned index, struct loop *loop)
{
    struct virtio_dev_notifier *notifier = &vdev->notifiers[index];

    notifier->fd = eventfd(0, EFD_CLOEXEC | (loop ? EFD_NONBLOCK : 0));
    if (notifier->fd < 0)
        return -errno;
    if (!loop)
        return 0;
    return loop_add_fd(loop, notifier->fd, LOOP_READABLE, &vdev->lock, wake_up, notifier,
                       &notifier->source);
}

int virtio_dev_init(struct virtio_dev *vdev, const struct virtio_dev_params *params)
{
    assert(params->queue_count > 0 && params->queue_count <= VIRTIO_DEV_MAX_QUEUES);
    memset(vdev, 0, sizeof(*vdev));
    pthread_mutex_init(&vdev->lock, NULL);
    vdev->ops = params->ops;
    vdev->device_id = params->device_id;
    vdev->config_size = params->config_size;
    vdev->device_features = params->device_features | COMMON_FEATURES;
    for (unsigned i = 0; i < params->queue_count; i++) {
        virtqueue_init(&vdev->queues[i], params->mem, params->queue_size);
        vdev->notifiers[i] = (struct virtio_dev_notifier){ .vdev = vdev, .index = i, .fd = -1 };
    }
    vdev->queue_count = params->queue_count;
    vdev->name = strdup(params->name);
    if (!vdev->name)
        return -ENOMEM;

    int err = 0;

    for (unsigned i = 0; !err && i < vdev->queue_count; i++)
        err = add_notifier(vdev, i, params->loop);
    return err;
}

void virtio_dev_fini(struct virtio_dev *vdev)
{
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        loop_remove(vdev->notifiers[i].source);
        fd_close(&vdev->notifiers[i].fd);
    }
    vdev->queue_count = 0;
    free((char *)(uintptr_t)vdev->name);
    vdev->name = NULL;
    pthread_mutex_destroy(&vdev->lock);
}

void virtio_dev_destroy(struct virtio_dev *vdev)
{
    if (vdev)
        vdev->ops->destroy(vdev);
}

/* --- for device types --- */

bool virtio_dev_is_running(const struct virtio_dev *vdev)
{
    const uint8_t relevant =
        VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED;

    return (vdev->state.status & relevant) == VIRTIO_CONFIG_S_DRIVER_OK &&
           !vdev->state.reset_pending;
}

static bool pop(struct virtio_dev *vdev, unsigned index, struct virtqueue_chain *chain,
                bool asks_if_empty)
{
    struct virtqueue *vq = &vdev->queues[index];
    struct virtio_dev_notifier *notifier = &vdev->notifiers[index];

    if (!queue_is_running(vdev, index) || (notifier->is_awake && notifier->popped == WAKEUP_MAX))
        return false;

    int found = virtqueue_pop(vq, chain);

    if (found == 0 && asks_if_empty && virtqueue_enable_notify(vq))
        found = virtqueue_pop(vq, chain); /* it came while we were not to be notified */
    if (found < 0)
        virtio_dev_needs_reset(vdev, "a broken ring");
    if (found <= 0)
        return false;
    virtqueue_disable_notify(vq);
    notifier->popped++;
    return true;
}

bool virtio_dev_pop(struct virtio_dev *vdev, unsigned index, struct virtqueue_chain *chain)
{
    return pop(vdev, index, chain, true);
}

bool virtio_dev_pop_unasked(struct virtio_dev *vdev, unsigned index, struct virtqueue_chain *chain)
{
    return pop(vdev, index, chain, false);
}

void virtio_dev_push(struct virtio_dev *vdev, unsigned index, uint16_t head, uint32_t written)
{
    if (queue_is_running(vdev, index))
        virtqueue_push(&vdev->queues[index], head, written);
}

void virtio_dev_push_all(struct virtio_dev *vdev, unsigned index,
                         const struct virtqueue_used *chains, size_t count)
{
    if (queue_is_running(vdev, index))
        virtqueue_push_all(&vdev->queues[index], chains, count);
}

void virtio_dev_flush_interrupt(struct virtio_dev *vdev, unsigned index)
{
    if (queue_is_running(vdev, index) && virtqueue_wants_interrupt(&vdev->queues[index]) &&
        vdev->transport.queue_interrupt)
        vdev->transport.queue_interrupt(vdev->transport.ctx, index);
}

static void complete_reset(struct virtio_dev *vdev)
{
    for (unsigned i = 0; i < vdev->queue_count; i++)
        virtqueue_reset(&vdev->queues[i]);
    vdev->state.driver_features = 0;
    vdev->state.status = 0;
    vdev->state.reset_pending = false;
}

void virtio_dev_begin_request(struct virtio_dev *vdev)
{
    vdev->requests_in_flight++;
}

void virtio_dev_end_request(struct virtio_dev *vdev)
{
    assert(vdev->requests_in_flight > 0);
    vdev->requests_in_flight--;
    if (vdev->requests_in_flight == 0 && vdev->state.reset_pending)
        complete_reset(vdev);
}

/* The driver hears of changes only while the device runs for it (3.1.1). */
static void interrupt_config(struct virtio_dev *vdev)
{
    if ((vdev->state.status & VIRTIO_CONFIG_S_DRIVER_OK) && !vdev->state.reset_pending &&
        vdev->transport.config_interrupt)
        vdev->transport.config_interrupt(vdev->transport.ctx);
}

void virtio_dev_config_changed(struct virtio_dev *vdev)
{
    vdev->state.config_generation++;
    interrupt_config(vdev);
}

void virtio_dev_needs_reset(struct virtio_dev *vdev, const char *why)
{
    if (vdev->state.reset_pending || (vdev->state.status & VIRTIO_CONFIG_S_NEEDS_RESET))
        return;
    log_debug("%s: needs a reset: %s", vdev->name, why);
    vdev->state.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    interrupt_config(vdev);
}

/* --- status and features --- */

uint8_t virtio_dev_read_status(const struct virtio_dev *vdev)
{
    return vdev->state.status;
}

static void reset(struct virtio_dev *vdev)
{
    if (vdev->state.reset_pending)
        return;
    vdev->state.reset_pending = true;
    if (vdev->ops->reset)
        vdev->ops->reset(vdev);
    /* The device's reset may have ended the last request itself. */
    if (vdev->state.reset_pending && vdev->requests_in_flight == 0)
        complete_reset(vdev);
}

/* Takes the driver's features, if they are a subset of ours that we can work with (3.1.1, 6.1). */
static void settle_features(struct virtio_dev *vdev)
{
    uint64_t features = vdev->state.driver_features;

    if ((features & ~vdev->device_features) || !virtio_dev_has_feature(vdev, VIRTIO_F_VERSION_1)) {
        log_debug("%s: features %#jx refused", vdev->name, (uintmax_t)features);
        return;
    }
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        struct virtqueue_state *queue = &vdev->queues[i].state;

        queue->event_idx = virtio_dev_has_feature(vdev, VIRTIO_RING_F_EVENT_IDX);
        queue->indirect = virtio_dev_has_feature(vdev, VIRTIO_RING_F_INDIRECT_DESC);
    }
    vdev->state.status |= VIRTIO_CONFIG_S_FEATURES_OK;
}

/* Looks at what the driver has put into its queues before anybody listened. */
static void wake_up_filled_queues(struct virtio_dev *vdev)
{
    for (unsigned i = 0; i < vdev->queue_count; i++)
        if (queue_is_running(vdev, i) && virtqueue_available(&vdev->queues[i]) > 0)
            signal_notifier(&vdev->notifiers[i]);
}

static void activate(struct virtio_dev *vdev)
{
    vdev->state.status |= VIRTIO_CONFIG_S_DRIVER_OK;
    if (vdev->ops->activate && vdev->ops->activate(vdev))
        virtio_dev_needs_reset(vdev, "it cannot work with what the driver chose");
    wake_up_filled_queues(vdev);
}

/* Bits only ever get added; of several at once each must be due after those before it. */
void virtio_dev_write_status(struct virtio_dev *vdev, uint8_t status)
{
    const uint8_t known = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
    uint8_t *now = &vdev->state.status;

    if (status == 0) {
        reset(vdev);
        return;
    }
    /* NEEDS_RESET is ours: a driver that did not see it yet does not clear it. */
    if (vdev->state.reset_pending || (*now & ~status & ~VIRTIO_CONFIG_S_NEEDS_RESET))
        return;
    *now |= status & (known | VIRTIO_CONFIG_S_FAILED);
    if (*now & (VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET))
        return;

    uint8_t added = status & ~*now;

    if ((added & VIRTIO_CONFIG_S_FEATURES_OK) && (*now & known) == known)
        settle_features(vdev);
    if ((added & VIRTIO_CONFIG_S_DRIVER_OK) && (*now & VIRTIO_CONFIG_S_FEATURES_OK))
        activate(vdev);
}

uint32_t virtio_dev_read_features(const struct virtio_dev *vdev, uint32_t select)
{
    return select < 2 ? (uint32_t)(vdev->device_features >> (32 * select)) : 0;
}

uint32_t virtio_dev_read_driver_features(const struct virtio_dev *vdev, uint32_t select)
{
    return select < 2 ? (uint32_t)(vdev->state.driver_features >> (32 * select)) : 0;
}

void virtio_dev_write_features(struct virtio_dev *vdev, uint32_t select, uint32_t features)
{
    if (select >= 2 || vdev->state.reset_pending ||
        (vdev->state.status & VIRTIO_CONFIG_S_FEATURES_OK))
        return;

    uint64_t mask = UINT64_C(0xffffffff) << (32 * select);

    vdev->state.driver_features &= ~mask;
    vdev->state.driver_features |= (uint64_t)features << (32 * select);
}

/* --- configuration space --- */

static bool is_in_config(const struct virtio_dev *vdev, uint64_t offset, uint32_t len)
{
    return offset <= vdev->config_size && len <= vdev->config_size - offset;
}

void virtio_dev_read_config(struct virtio_dev *vdev, uint64_t offset, void *data, uint32_t len)
{
    memset(data, 0, len);
    if (is_in_config(vdev, offset, len))
        vdev->ops->config_read(vdev, (uint32_t)offset, data, len);
}

void virtio_dev_write_config(struct virtio_dev *vdev, uint64_t offset, const void *data,
                             uint32_t len)
{
    if (is_in_config(vdev, offset, len) && vdev->ops->config_write && !vdev->state.reset_pending)
        vdev->ops->config_write(vdev, (uint32_t)offset, data, len);
}

/* --- queues --- */

struct virtqueue *virtio_dev_queue(struct virtio_dev *vdev, uint32_t index)
{
    return index < vdev->queue_count ? &vdev->queues[index] : NULL;
}

struct virtqueue *virtio_dev_writable_queue(struct virtio_dev *vdev, uint32_t index)
{
    const uint8_t beyond =
        VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED;
    struct virtqueue *vq = virtio_dev_queue(vdev, index);
    bool is_time = (vdev->state.status & VIRTIO_CONFIG_S_FEATURES_OK) &&
                   !(vdev->state.status & beyond) && !vdev->state.reset_pending;

    return is_time && vq && !vq->state.ready ? vq : NULL;
}

void virtio_dev_enable_queue(struct virtio_dev *vdev, uint32_t index)
{
    struct virtqueue *vq = virtio_dev_writable_queue(vdev, index);

    if (!vq)
        return;
    if (virtqueue_start(vq))
        virtio_dev_needs_reset(vdev, "a queue of a wrong size or place");
    else
        vq->state.ready = true;
}

void virtio_dev_notify(struct virtio_dev *vdev, uint32_t index)
{
    if (index < vdev->queue_count)
        signal_notifier(&vdev->notifiers[index]);
}

void virtio_dev_wait(struct virtio_dev *vdev, unsigned index)
{
    eventfd_t count;

    while (eventfd_read(vdev->notifiers[index].fd, &count) < 0 && errno == EINTR)
        ;
}

/* --- saved state --- */

int virtio_dev_save(struct virtio_dev *vdev, struct state_writer *out)
{
    struct virtqueue_state queues[VIRTIO_DEV_MAX_QUEUES];

    if (vdev->requests_in_flight > 0)
        return -EBUSY;
    if (vdev->ops->settle)
        vdev->ops->settle(vdev);
    for (unsigned i = 0; i < vdev->queue_count; i++)
        queues[i] = vdev->queues[i].state;

    int err = state_save(out, "virtio", STATE_VERSION, &vdev->state, sizeof(vdev->state));

    if (!err)
        err = state_save(out, "virtqueues", STATE_VERSION, queues,
                         vdev->queue_count * sizeof(queues[0]));
    if (!err && vdev->ops->save)
        err = vdev->ops->save(vdev, out);
    return err;
}

/* Whether the driver can have brought a device of ours into this state. */
static bool state_is_possible(const struct virtio_dev *vdev, const struct virtio_dev_state *state)
{
    const uint8_t all = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                        VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK |
                        VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED;
    bool is_settled = state->status & VIRTIO_CONFIG_S_FEATURES_OK;

    if ((state->status & ~all) || state->reset_pending)
        return false;
    if ((state->status & VIRTIO_CONFIG_S_DRIVER_OK) && !is_settled)
        return false;
    return !is_settled || (!(state->driver_features & ~vdev->device_features) &&
                           (state->driver_features & FEATURE(VIRTIO_F_VERSION_1)));
}

static bool queue_is_possible(const struct virtqueue_state *own,
                              const struct virtqueue_state *state,
                              const struct virtio_dev_state *dev_state)
{
    bool is_settled = dev_state->status & VIRTIO_CONFIG_S_FEATURES_OK;
    uint64_t features = is_settled ? dev_state->driver_features : 0;
    bool event_idx = features & FEATURE(VIRTIO_RING_F_EVENT_IDX);
    bool indirect = features & FEATURE(VIRTIO_RING_F_INDIRECT_DESC);

    return state->max_size == own->max_size && state->ready <= is_settled &&
           state->event_idx == event_idx && state->indirect == indirect &&
           (uint16_t)(state->next_avail - state->next_used) <= state->size;
}

static int load_queues(struct virtio_dev *vdev, const struct virtio_dev_state *state,
                       struct state_reader *in)
{
    struct virtqueue_state queues[VIRTIO_DEV_MAX_QUEUES];
    int err =
        state_load(in, "virtqueues", STATE_VERSION, queues, vdev->queue_count * sizeof(queues[0]));

    for (unsigned i = 0; !err && i < vdev->queue_count; i++) {
        struct virtqueue *vq = &vdev->queues[i];

        if (!queue_is_possible(&vq->state, &queues[i], state))
            return -EBADMSG;
        virtqueue_reset(vq);
        vq->state = queues[i];
        if (vq->state.ready && virtqueue_start(vq))
            err = -EBADMSG;
    }
    return err;
}

int virtio_dev_load(struct virtio_dev *vdev, struct state_reader *in)
{
    struct virtio_dev_state state;
    int err = state_load(in, "virtio", STATE_VERSION, &state, sizeof(state));

    if (!err && !state_is_possible(vdev, &state))
        err = -EBADMSG;
    if (!err)
        err = load_queues(vdev, &state, in);
    if (err)
        return err;
    vdev->state = state;
    if (vdev->ops->load)
        err = vdev->ops->load(vdev, in);
    /* Empty ones, too: who saved them may not have asked the driver for a notification. */
    for (unsigned i = 0; !err && i < vdev->queue_count; i++)
        if (queue_is_running(vdev, i))
            signal_notifier(&vdev->notifiers[i]);
    return err;
}
