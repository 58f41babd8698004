// SPDX-License-Identifier: Apache-2.0
/* How this works: everything lies in one 32-bit BAR, and capabilities tell the driver where
 * (virtio 1.2, 4.1.4).
 *
 *   0x0000  common configuration: status, features, queues
 *   0x0100  ISR: why the INTx wire is high
 *   0x0200  the device's configuration space
 *   0x1000  doorbells, 4 bytes for each queue
 *   0x2000  MSI-X table
 *   0x3000  MSI-X pending bits
 *
 * A fifth capability is a window for drivers that cannot map the BAR, such as firmware:
 * configuration space accesses to it become accesses to the BAR.
 *
 * A doorbell is connected to its queue's eventfd once the device runs and for as long as the BAR
 * stays where it is; before that, or if the kernel has no room, the write comes as an exit and
 * ends in the same eventfd.
 *
 * The function's lock is the virtio_dev's. */
#include "virtio/transport.h"

#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "host/state.h"
#include "virtio_pci.h"

enum {
    BAR = 0,
    BAR_SIZE = 0x4000,
    COMMON_OFFSET = 0x0000,
    COMMON_LEN = sizeof(struct virtio_pci_common_cfg),
    ISR_OFFSET = 0x0100,
    ISR_LEN = 1,
    CONFIG_OFFSET = 0x0200,
    CONFIG_LEN_MAX = 0x0e00,
    NOTIFY_OFFSET = 0x1000,
    NOTIFY_MULTIPLIER = 4,
    TABLE_OFFSET = 0x2000,
    PBA_OFFSET = 0x3000,
};

static_assert(VIRTIO_DEV_MAX_QUEUES * NOTIFY_MULTIPLIER <= TABLE_OFFSET - NOTIFY_OFFSET, "fits");
static_assert(VIRTIO_DEV_MAX_QUEUES + 1 <= MSIX_MAX_VECTORS, "each queue can have a vector");

enum { STATE_VERSION = 1 };

/* Identity (4.1.2); the vendor is Red Hat, as for all virtio devices. */
enum { VENDOR_ID = 0x1af4, DEVICE_ID_BASE = 0x1040, SUBSYSTEM_ID_BASE = 0x40, REVISION = 1 };

static struct virtio_pci *from_device(struct device *dev)
{
    return container_of(dev, struct virtio_pci, fn.dev);
}

static struct virtio_pci *from_function(struct pci_function *fn)
{
    return container_of(fn, struct virtio_pci, fn);
}

/* --- doorbells --- */

static void bar_changed(struct pci_function *fn, unsigned bar, bool decodes, uint64_t address)
{
    struct virtio_pci *pci = from_function(fn);
    (void)bar; /* there is only one */

    doorbells_disconnect(&pci->doorbells, pci->vdev);
    pci->decodes = decodes;
    pci->doorbells.address = address + NOTIFY_OFFSET;
    virtio_pci_connect_doorbells(pci);
}

/* The guest rang by an access that the kernel did not take. */
static void write_notify(struct virtio_pci *pci, uint64_t offset)
{
    if (offset % NOTIFY_MULTIPLIER == 0)
        virtio_dev_notify(pci->vdev, (uint32_t)(offset / NOTIFY_MULTIPLIER));
}

/* --- the BAR --- */

static bool is_inside(uint64_t offset, unsigned size, uint64_t start, uint64_t len)
{
    return offset >= start && size <= len && offset - start <= len - size;
}

static uint64_t virtio_pci_read(struct device *dev, uint64_t offset, unsigned size)
{
    struct virtio_pci *pci = from_device(dev);
    uint64_t value = 0;

    if (is_inside(offset, size, COMMON_OFFSET, COMMON_LEN))
        return virtio_pci_read_common(pci, offset - COMMON_OFFSET, size);
    if (is_inside(offset, size, ISR_OFFSET, ISR_LEN))
        return virtio_pci_read_isr(pci);
    if (is_inside(offset, size, CONFIG_OFFSET, CONFIG_LEN_MAX))
        virtio_dev_read_config(pci->vdev, offset - CONFIG_OFFSET, &value, size);
    else if (is_inside(offset, size, TABLE_OFFSET, PBA_OFFSET - TABLE_OFFSET))
        return msix_table_read(&pci->msix, offset - TABLE_OFFSET, size);
    else if (is_inside(offset, size, PBA_OFFSET, BAR_SIZE - PBA_OFFSET))
        return msix_pba_read(&pci->msix, offset - PBA_OFFSET, size);
    return value;
}

static void virtio_pci_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct virtio_pci *pci = from_device(dev);

    if (is_inside(offset, size, COMMON_OFFSET, COMMON_LEN))
        virtio_pci_write_common(pci, offset - COMMON_OFFSET, size, (uint32_t)value);
    else if (is_inside(offset, size, CONFIG_OFFSET, CONFIG_LEN_MAX))
        virtio_dev_write_config(pci->vdev, offset - CONFIG_OFFSET, &value, size);
    else if (is_inside(offset, size, NOTIFY_OFFSET, TABLE_OFFSET - NOTIFY_OFFSET))
        write_notify(pci, offset - NOTIFY_OFFSET);
    else if (is_inside(offset, size, TABLE_OFFSET, PBA_OFFSET - TABLE_OFFSET))
        msix_table_write(&pci->msix, offset - TABLE_OFFSET, size, value);
}

/* --- configuration space --- */

/* Whether a configuration access touches the window's data, and the window is aimed at something
 * (4.1.4.9): then the access is to go to the BAR, at @offset with @size bytes. */
static bool window_is_used(const struct virtio_pci *pci, unsigned config_offset,
                           unsigned config_size, uint32_t *offset, uint32_t *size)
{
    unsigned data = pci->window + (unsigned)offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);
    struct virtio_pci_cap cap;

    if (config_offset >= data + 4 || config_offset + config_size <= data)
        return false;
    memcpy(&cap, pci->fn.state.config + pci->window, sizeof(cap));
    if (cap.bar != BAR || (cap.length != 1 && cap.length != 2 && cap.length != 4) ||
        cap.offset % cap.length || cap.offset >= BAR_SIZE)
        return false;
    *offset = cap.offset;
    *size = cap.length;
    return true;
}

static uint8_t *window_data(struct virtio_pci *pci)
{
    return pci->fn.state.config + pci->window + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);
}

static void config_read(struct pci_function *fn, unsigned offset, unsigned size)
{
    struct virtio_pci *pci = from_function(fn);
    uint32_t bar_offset, bar_size;

    if (window_is_used(pci, offset, size, &bar_offset, &bar_size)) {
        uint64_t value = virtio_pci_read(&fn->dev, bar_offset, bar_size);

        memcpy(window_data(pci), &value, bar_size);
    }
}

static void config_written(struct pci_function *fn, unsigned offset, unsigned size)
{
    struct virtio_pci *pci = from_function(fn);
    uint32_t bar_offset, bar_size;

    msix_config_written(&pci->msix, offset, size);
    virtio_pci_update_intx(pci); /* MSI-X may have been switched */
    if (window_is_used(pci, offset, size, &bar_offset, &bar_size)) {
        uint64_t value = 0;

        memcpy(&value, window_data(pci), bar_size);
        virtio_pci_write(&fn->dev, bar_offset, bar_size, value);
    }
}

static void add_capability(struct virtio_pci *pci, uint8_t type, uint32_t offset, uint32_t len)
{
    struct virtio_pci_cap cap = {
        .cap_len = sizeof(cap),
        .cfg_type = type,
        .bar = BAR,
        .offset = offset,
        .length = len,
    };

    (void)pci_add_capability(&pci->fn, PCI_CAP_ID_VNDR, &cap.cap_len, sizeof(cap));
}

static void add_notify_capability(struct virtio_pci *pci)
{
    struct virtio_pci_notify_cap notify = {
        .cap = { .cap_len = sizeof(notify),
                 .cfg_type = VIRTIO_PCI_CAP_NOTIFY_CFG,
                 .bar = BAR,
                 .offset = NOTIFY_OFFSET,
                 .length = pci->vdev->queue_count * NOTIFY_MULTIPLIER },
        .notify_off_multiplier = NOTIFY_MULTIPLIER,
    };

    (void)pci_add_capability(&pci->fn, PCI_CAP_ID_VNDR, &notify.cap.cap_len, sizeof(notify));
}

static void add_window(struct virtio_pci *pci)
{
    struct virtio_pci_cfg_cap window = {
        .cap = { .cap_len = sizeof(window), .cfg_type = VIRTIO_PCI_CAP_PCI_CFG },
    };
    const size_t from = offsetof(struct virtio_pci_cap, offset); /* offset, length and data */

    pci->window =
        pci_add_capability(&pci->fn, PCI_CAP_ID_VNDR, &window.cap.cap_len, sizeof(window));
    pci->fn.writable[pci->window + offsetof(struct virtio_pci_cap, bar)] = 0xff;
    memset(pci->fn.writable + pci->window + from, 0xff, sizeof(window) - from);
}

static void add_capabilities(struct virtio_pci *pci, const struct msi_port *msi)
{
    add_capability(pci, VIRTIO_PCI_CAP_COMMON_CFG, COMMON_OFFSET, COMMON_LEN);
    add_notify_capability(pci);
    add_capability(pci, VIRTIO_PCI_CAP_ISR_CFG, ISR_OFFSET, ISR_LEN);
    if (pci->vdev->config_size > 0)
        add_capability(pci, VIRTIO_PCI_CAP_DEVICE_CFG, CONFIG_OFFSET, pci->vdev->config_size);
    add_window(pci);
    msix_init(&pci->msix, &pci->fn, msi, pci->vdev->queue_count + 1, BAR, TABLE_OFFSET, PBA_OFFSET);
}

/* --- a device on the bus --- */

static void virtio_pci_reset(struct device *dev)
{
    struct virtio_pci *pci = from_device(dev);

    virtio_dev_write_status(pci->vdev, 0);
    msix_reset(&pci->msix);
    pci_function_reset(&pci->fn);
    virtio_pci_forget_driver(pci);
}

static int virtio_pci_save(struct device *dev, struct state_writer *out)
{
    struct virtio_pci *pci = from_device(dev);
    int err = pci_function_save(&pci->fn, out);

    if (!err)
        err = msix_save(&pci->msix, out);
    if (!err)
        err = state_save(out, "virtio-pci", STATE_VERSION, &pci->state, sizeof(pci->state));
    return err ? err : virtio_dev_save(pci->vdev, out);
}

static bool state_is_possible(const struct virtio_pci *pci, const struct virtio_pci_state *state)
{
    for (unsigned i = 0; i < VIRTIO_DEV_MAX_QUEUES; i++) {
        if (state->queue_vectors[i] != virtio_pci_valid_vector(pci, state->queue_vectors[i]))
            return false;
    }
    return state->config_vector == virtio_pci_valid_vector(pci, state->config_vector) &&
           !(state->isr & ~(VIRTIO_PCI_REASON_QUEUE | VIRTIO_PCI_REASON_CONFIG));
}

static int virtio_pci_load(struct device *dev, struct state_reader *in)
{
    struct virtio_pci *pci = from_device(dev);
    struct virtio_pci_state state;
    int err = pci_function_load(&pci->fn, in);

    if (!err)
        err = msix_load(&pci->msix, in);
    if (!err)
        err = state_load(in, "virtio-pci", STATE_VERSION, &state, sizeof(state));
    if (!err && !state_is_possible(pci, &state))
        err = -EBADMSG;
    if (err)
        return err;
    pci->state = state;
    virtio_pci_update_intx(pci);
    err = virtio_dev_load(pci->vdev, in);
    if (!err)
        virtio_pci_connect_doorbells(pci);
    return err;
}

static void virtio_pci_destroy(struct device *dev)
{
    struct virtio_pci *pci = from_device(dev);

    doorbells_disconnect(&pci->doorbells, pci->vdev);
    msix_reset(&pci->msix);
    pci_function_fini(&pci->fn);
    virtio_dev_destroy(pci->vdev); /* has the lock, so it goes last */
    free(pci);
}

static const struct device_ops virtio_pci_device_ops = {
    .read = virtio_pci_read,
    .write = virtio_pci_write,
    .reset = virtio_pci_reset,
    .save = virtio_pci_save,
    .load = virtio_pci_load,
    .destroy = virtio_pci_destroy,
};

static const struct pci_function_ops virtio_pci_function_ops = {
    .config_read = config_read,
    .config_written = config_written,
    .bar_changed = bar_changed,
};

/* Class, subclass and interface; drivers go by the device ID, people by this. */
static uint32_t class_code(uint32_t device_id)
{
    switch (device_id) {
    case VIRTIO_ID_NET:
        return 0x020000; /* Ethernet controller */
    case VIRTIO_ID_BLOCK:
        return 0x018000; /* mass storage controller, other */
    case VIRTIO_ID_CONSOLE:
        return 0x078000; /* communication controller, other */
    default:
        return 0xff0000; /* fits no class */
    }
}

static void init_function(struct virtio_pci *pci, const struct virtio_pci_params *params)
{
    const struct pci_function_params function = {
        .name = pci->vdev->name,
        .vendor_id = VENDOR_ID,
        .device_id = (uint16_t)(DEVICE_ID_BASE + pci->vdev->device_id),
        .subsystem_vendor_id = VENDOR_ID,
        .subsystem_id = (uint16_t)(SUBSYSTEM_ID_BASE + pci->vdev->device_id),
        .revision = REVISION,
        .class_code = class_code(pci->vdev->device_id),
        .has_intx = true,
        .intx = params->intx,
        .device_ops = &virtio_pci_device_ops,
        .ops = &virtio_pci_function_ops,
        .lock = &pci->vdev->lock,
    };

    pci_function_init(&pci->fn, &function);
    pci_add_bar(&pci->fn, BAR, BAR_SIZE, false);
    add_capabilities(pci, &params->msi);
    virtio_pci_forget_driver(pci);
}

int virtio_pci_create(const struct virtio_pci_params *params, struct pci_function **ret)
{
    struct virtio_pci *pci = calloc(1, sizeof(*pci));

    if (!pci) {
        virtio_dev_destroy(params->vdev);
        return -ENOMEM;
    }
    assert(params->vdev->config_size <= CONFIG_LEN_MAX);
    pci->vdev = params->vdev;
    pci->vdev->transport =
        (struct virtio_transport){ virtio_pci_interrupt_queue, virtio_pci_interrupt_config, pci };
    pci->doorbells = (struct doorbells){ .port = params->doorbells, .stride = NOTIFY_MULTIPLIER };
    init_function(pci, params);
    *ret = &pci->fn;
    return 0;
}
