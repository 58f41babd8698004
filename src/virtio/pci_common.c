// SPDX-License-Identifier: Apache-2.0
/* The common configuration structure: status, features, and one queue at a time, which the driver
 * selects (virtio 1.2, 4.1.4.3).
 *
 * A field is accessed by its own size, a 64-bit one as two halves (4.1.3.1); any other access
 * reads as 0 and writes nothing. */
#include "virtio_pci.h"

#include <assert.h>
#include <linux/virtio_pci.h>

/* How long the field at @offset is, or 0 if none starts there. */
static unsigned common_field_size(uint64_t offset)
{
    switch (offset) {
    case VIRTIO_PCI_COMMON_STATUS:
    case VIRTIO_PCI_COMMON_CFGGENERATION:
        return 1;
    case VIRTIO_PCI_COMMON_MSIX:
    case VIRTIO_PCI_COMMON_NUMQ:
    case VIRTIO_PCI_COMMON_Q_SELECT:
    case VIRTIO_PCI_COMMON_Q_SIZE:
    case VIRTIO_PCI_COMMON_Q_MSIX:
    case VIRTIO_PCI_COMMON_Q_ENABLE:
    case VIRTIO_PCI_COMMON_Q_NOFF:
        return 2;
    default:
        return offset % 4 == 0 && offset < sizeof(struct virtio_pci_common_cfg) ? 4 : 0;
    }
}

/* The address that the register at @offset is a half of. */
static gpa_t *queue_address(struct virtqueue *vq, uint64_t offset)
{
    switch (offset & ~UINT64_C(4)) {
    case VIRTIO_PCI_COMMON_Q_DESCLO:
        return &vq->state.desc;
    case VIRTIO_PCI_COMMON_Q_AVAILLO:
        return &vq->state.avail;
    case VIRTIO_PCI_COMMON_Q_USEDLO:
        return &vq->state.used;
    default:
        return NULL;
    }
}

static_assert(VIRTIO_PCI_COMMON_Q_DESCLO % 8 == 0 && VIRTIO_PCI_COMMON_Q_AVAILLO % 8 == 0 &&
                  VIRTIO_PCI_COMMON_Q_USEDLO % 8 == 0,
              "bit 2 of an offset tells the high half from the low one");

/* Of a queue that does not exist, all reads as 0: a size of 0 says so (4.1.4.3.1). */
static uint64_t read_queue_field(struct virtio_pci *pci, uint64_t offset)
{
    uint16_t index = pci->state.queue_select;
    struct virtqueue *vq = virtio_dev_queue(pci->vdev, index);

    if (!vq)
        return offset == VIRTIO_PCI_COMMON_Q_MSIX ? MSIX_NO_VECTOR : 0;
    switch (offset) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
        return vq->state.size;
    case VIRTIO_PCI_COMMON_Q_MSIX:
        return pci->state.queue_vectors[index];
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        return vq->state.ready;
    case VIRTIO_PCI_COMMON_Q_NOFF:
        return index;
    default: {
        const gpa_t *address = queue_address(vq, offset);

        return !address ? 0 : offset & 4 ? *address >> 32 : (uint32_t)*address;
    }
    }
}

uint64_t virtio_pci_read_common(struct virtio_pci *pci, uint64_t offset, unsigned size)
{
    const struct virtio_pci_state *state = &pci->state;

    if (size != common_field_size(offset))
        return 0;
    switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        return state->device_feature_select;
    case VIRTIO_PCI_COMMON_DF:
        return virtio_dev_read_features(pci->vdev, state->device_feature_select);
    case VIRTIO_PCI_COMMON_GFSELECT:
        return state->driver_feature_select;
    case VIRTIO_PCI_COMMON_GF:
        return virtio_dev_read_driver_features(pci->vdev, state->driver_feature_select);
    case VIRTIO_PCI_COMMON_MSIX:
        return state->config_vector;
    case VIRTIO_PCI_COMMON_NUMQ:
        return pci->vdev->queue_count;
    case VIRTIO_PCI_COMMON_STATUS:
        return virtio_dev_read_status(pci->vdev);
    case VIRTIO_PCI_COMMON_CFGGENERATION:
        return (uint8_t)pci->vdev->state.config_generation;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        return state->queue_select;
    default:
        return read_queue_field(pci, offset);
    }
}

static void write_status(struct virtio_pci *pci, uint8_t status)
{
    virtio_dev_write_status(pci->vdev, status);
    if (status == 0)
        virtio_pci_forget_driver(pci);
    else
        virtio_pci_connect_doorbells(pci);
}

static void write_queue_place(struct virtio_pci *pci, uint64_t offset, uint32_t value)
{
    struct virtqueue *vq = virtio_dev_writable_queue(pci->vdev, pci->state.queue_select);
    gpa_t *address = vq ? queue_address(vq, offset) : NULL;

    if (address && (offset & 4))
        *address = (uint32_t)*address | (uint64_t)value << 32;
    else if (address)
        *address = (*address >> 32 << 32) | value;
    else if (vq && offset == VIRTIO_PCI_COMMON_Q_SIZE)
        vq->state.size = (uint16_t)value;
}

static void write_queue_field(struct virtio_pci *pci, uint64_t offset, uint32_t value)
{
    uint16_t index = pci->state.queue_select;

    switch (offset) {
    case VIRTIO_PCI_COMMON_Q_MSIX:
        if (virtio_dev_queue(pci->vdev, index))
            pci->state.queue_vectors[index] = virtio_pci_valid_vector(pci, value);
        break;
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        if (value == 1) /* 0 is forbidden (4.1.4.3.2) */
            virtio_dev_enable_queue(pci->vdev, index);
        break;
    default:
        write_queue_place(pci, offset, value);
        break;
    }
}

void virtio_pci_write_common(struct virtio_pci *pci, uint64_t offset, unsigned size, uint32_t value)
{
    struct virtio_pci_state *state = &pci->state;

    if (size != common_field_size(offset))
        return;
    switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        state->device_feature_select = value;
        break;
    case VIRTIO_PCI_COMMON_GFSELECT:
        state->driver_feature_select = value;
        break;
    case VIRTIO_PCI_COMMON_GF:
        virtio_dev_write_features(pci->vdev, state->driver_feature_select, value);
        break;
    case VIRTIO_PCI_COMMON_MSIX:
        state->config_vector = virtio_pci_valid_vector(pci, value);
        break;
    case VIRTIO_PCI_COMMON_STATUS:
        write_status(pci, (uint8_t)value);
        break;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        state->queue_select = (uint16_t)value;
        break;
    default:
        write_queue_field(pci, offset, value);
        break;
    }
}
