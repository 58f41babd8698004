// SPDX-License-Identifier: Apache-2.0
/* How this works: 256 bytes of 32-bit registers, then the device's configuration space (virtio
 * 1.2, 4.2.2; version 2 only). A register is accessed as an aligned 32-bit word (4.2.2.2), any
 * other access to one reads as 0 and writes nothing; configuration space takes every size.
 *
 * Interrupts are one level-triggered wire, high while InterruptStatus is not 0.
 *
 * All queues share one doorbell register, and the value says which is meant. Once the device runs
 * these writes signal the queues' eventfds; before that, or if the kernel has no room, they come
 * as exits and are passed on.
 *
 * The device's lock is the virtio_dev's. */
#include "virtio/transport.h"

#include <errno.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>

#include "doorbells.h"
#include "host/state.h"

enum { STATE_VERSION = 1 };

#define MAGIC UINT32_C(0x74726976)  /* "virt" */
#define VENDOR UINT32_C(0x48435448) /* "HTCH"; means nothing to drivers */

enum { VERSION = 2 };

/* The transport's part of what the guest sees; the rest is in virtio_dev. */
struct virtio_mmio_state {
    uint32_t device_feature_select, driver_feature_select;
    uint32_t queue_select;
    uint32_t interrupt_status;
};

struct virtio_mmio {
    struct device dev;
    struct virtio_dev *vdev;
    struct irq_line irq;
    struct virtio_mmio_state state;
    struct doorbells doorbells;
};

static struct virtio_mmio *from_device(struct device *dev)
{
    return container_of(dev, struct virtio_mmio, dev);
}

static void set_interrupt_status(struct virtio_mmio *mmio, uint32_t status)
{
    mmio->state.interrupt_status = status;
    irq_line_set(&mmio->irq, status != 0);
}

static void queue_interrupt(void *ctx, unsigned queue)
{
    struct virtio_mmio *mmio = ctx;
    (void)queue; /* the driver looks at all of them */

    set_interrupt_status(mmio, mmio->state.interrupt_status | VIRTIO_MMIO_INT_VRING);
}

static void config_interrupt(void *ctx)
{
    struct virtio_mmio *mmio = ctx;

    set_interrupt_status(mmio, mmio->state.interrupt_status | VIRTIO_MMIO_INT_CONFIG);
}

static void forget_driver(struct virtio_mmio *mmio)
{
    mmio->state = (struct virtio_mmio_state){ 0 };
    set_interrupt_status(mmio, 0);
}

/* --- registers --- */

static uint32_t read_queue_register(struct virtio_mmio *mmio, uint64_t offset)
{
    struct virtqueue *vq = virtio_dev_queue(mmio->vdev, mmio->state.queue_select);

    if (!vq)
        return 0;
    return offset == VIRTIO_MMIO_QUEUE_NUM_MAX ? vq->state.max_size : vq->state.ready;
}

static uint32_t read_register(struct virtio_mmio *mmio, uint64_t offset)
{
    switch (offset) {
    case VIRTIO_MMIO_MAGIC_VALUE:
        return MAGIC;
    case VIRTIO_MMIO_VERSION:
        return VERSION;
    case VIRTIO_MMIO_DEVICE_ID:
        return mmio->vdev->device_id;
    case VIRTIO_MMIO_VENDOR_ID:
        return VENDOR;
    case VIRTIO_MMIO_DEVICE_FEATURES:
        return virtio_dev_read_features(mmio->vdev, mmio->state.device_feature_select);
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
    case VIRTIO_MMIO_QUEUE_READY:
        return read_queue_register(mmio, offset);
    case VIRTIO_MMIO_INTERRUPT_STATUS:
        return mmio->state.interrupt_status;
    case VIRTIO_MMIO_STATUS:
        return virtio_dev_read_status(mmio->vdev);
    case VIRTIO_MMIO_SHM_LEN_LOW:
    case VIRTIO_MMIO_SHM_LEN_HIGH:
    case VIRTIO_MMIO_SHM_BASE_LOW:
    case VIRTIO_MMIO_SHM_BASE_HIGH:
        return UINT32_MAX; /* there is no such region (4.2.2.1) */
    case VIRTIO_MMIO_CONFIG_GENERATION:
        return mmio->vdev->state.config_generation;
    default:
        return 0; /* write-only, or nothing */
    }
}

static void set_low(gpa_t *address, uint32_t value)
{
    *address = (*address >> 32 << 32) | value;
}

static void set_high(gpa_t *address, uint32_t value)
{
    *address = (uint32_t)*address | (uint64_t)value << 32;
}

static void write_queue_register(struct virtio_mmio *mmio, uint64_t offset, uint32_t value)
{
    struct virtqueue *vq = virtio_dev_writable_queue(mmio->vdev, mmio->state.queue_select);

    if (!vq)
        return;
    switch (offset) {
    case VIRTIO_MMIO_QUEUE_NUM:
        /* A size that no queue has, so that one that does not fit into 16 bits is refused, too. */
        vq->state.size = value <= UINT16_MAX ? (uint16_t)value : 0;
        break;
    case VIRTIO_MMIO_QUEUE_READY:
        if (value == 1)
            virtio_dev_enable_queue(mmio->vdev, mmio->state.queue_select);
        break;
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
        set_low(&vq->state.desc, value);
        break;
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
        set_high(&vq->state.desc, value);
        break;
    case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
        set_low(&vq->state.avail, value);
        break;
    case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
        set_high(&vq->state.avail, value);
        break;
    case VIRTIO_MMIO_QUEUE_USED_LOW:
        set_low(&vq->state.used, value);
        break;
    case VIRTIO_MMIO_QUEUE_USED_HIGH:
        set_high(&vq->state.used, value);
        break;
    default: /* read-only, or nothing */
        break;
    }
}

/* The register is 32 bits wide, the status 8; what does not fit must not look like a reset. */
static void write_status(struct virtio_mmio *mmio, uint32_t value)
{
    if (value > UINT8_MAX)
        return;
    virtio_dev_write_status(mmio->vdev, (uint8_t)value);
    if (value == 0)
        forget_driver(mmio);
    else
        doorbells_connect(&mmio->doorbells, mmio->vdev);
}

static void write_register(struct virtio_mmio *mmio, uint64_t offset, uint32_t value)
{
    struct virtio_mmio_state *state = &mmio->state;

    switch (offset) {
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        state->device_feature_select = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        state->driver_feature_select = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES:
        virtio_dev_write_features(mmio->vdev, state->driver_feature_select, value);
        break;
    case VIRTIO_MMIO_QUEUE_SEL:
        state->queue_select = value;
        break;
    case VIRTIO_MMIO_QUEUE_NOTIFY:
        virtio_dev_notify(mmio->vdev, value);
        break;
    case VIRTIO_MMIO_INTERRUPT_ACK:
        set_interrupt_status(mmio, state->interrupt_status & ~value);
        break;
    case VIRTIO_MMIO_STATUS:
        write_status(mmio, value);
        break;
    default:
        write_queue_register(mmio, offset, value);
        break;
    }
}

/* --- a device on the bus --- */

static uint64_t virtio_mmio_read(struct device *dev, uint64_t offset, unsigned size)
{
    struct virtio_mmio *mmio = from_device(dev);
    uint64_t value = 0;

    if (offset >= VIRTIO_MMIO_CONFIG)
        virtio_dev_read_config(mmio->vdev, offset - VIRTIO_MMIO_CONFIG, &value, size);
    else if (size == 4 && offset % 4 == 0)
        value = read_register(mmio, offset);
    return value;
}

static void virtio_mmio_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct virtio_mmio *mmio = from_device(dev);

    if (offset >= VIRTIO_MMIO_CONFIG)
        virtio_dev_write_config(mmio->vdev, offset - VIRTIO_MMIO_CONFIG, &value, size);
    else if (size == 4 && offset % 4 == 0)
        write_register(mmio, offset, (uint32_t)value);
}

static void virtio_mmio_reset(struct device *dev)
{
    struct virtio_mmio *mmio = from_device(dev);

    virtio_dev_write_status(mmio->vdev, 0);
    forget_driver(mmio);
}

static int virtio_mmio_save(struct device *dev, struct state_writer *out)
{
    struct virtio_mmio *mmio = from_device(dev);
    int err = state_save(out, "virtio-mmio", STATE_VERSION, &mmio->state, sizeof(mmio->state));

    return err ? err : virtio_dev_save(mmio->vdev, out);
}

static int virtio_mmio_load(struct device *dev, struct state_reader *in)
{
    struct virtio_mmio *mmio = from_device(dev);
    struct virtio_mmio_state state;
    int err = state_load(in, "virtio-mmio", STATE_VERSION, &state, sizeof(state));

    if (!err &&
        (state.interrupt_status & ~(uint32_t)(VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG)))
        err = -EBADMSG;
    if (err)
        return err;
    mmio->state = state;
    set_interrupt_status(mmio, state.interrupt_status);
    err = virtio_dev_load(mmio->vdev, in);
    if (!err)
        doorbells_connect(&mmio->doorbells, mmio->vdev);
    return err;
}

static void virtio_mmio_destroy(struct device *dev)
{
    struct virtio_mmio *mmio = from_device(dev);

    doorbells_disconnect(&mmio->doorbells, mmio->vdev);
    device_fini(&mmio->dev);
    virtio_dev_destroy(mmio->vdev); /* has the lock, so it goes last */
    free(mmio);
}

static const struct device_ops virtio_mmio_ops = {
    .read = virtio_mmio_read,
    .write = virtio_mmio_write,
    .reset = virtio_mmio_reset,
    .save = virtio_mmio_save,
    .load = virtio_mmio_load,
    .destroy = virtio_mmio_destroy,
};

int virtio_mmio_create(const struct virtio_mmio_params *params, struct device **ret)
{
    struct virtio_mmio *mmio = calloc(1, sizeof(*mmio));

    if (!mmio) {
        virtio_dev_destroy(params->vdev);
        return -ENOMEM;
    }
    mmio->vdev = params->vdev;
    mmio->vdev->transport = (struct virtio_transport){ queue_interrupt, config_interrupt, mmio };
    mmio->irq = params->irq;
    mmio->doorbells = (struct doorbells){ .port = params->doorbells,
                                          .address = params->address + VIRTIO_MMIO_QUEUE_NOTIFY };
    device_init(&mmio->dev, mmio->vdev->name, &virtio_mmio_ops, &mmio->vdev->lock);
    *ret = &mmio->dev;
    return 0;
}
