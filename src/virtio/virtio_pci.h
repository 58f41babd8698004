// SPDX-License-Identifier: Apache-2.0
/* What the files of the PCI transport share: pci.c is the function on the bus, pci_common.c the
 * registers of the common configuration structure in its BAR (virtio 1.2, 4.1.4.3),
 * pci_interrupt.c how it interrupts. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "devices/pci/msix.h"
#include "devices/pci/pci.h"
#include "doorbells.h"
#include "virtio/virtio_dev.h"

/* The transport's part of what the guest sees; the rest is in pci_function, msix, virtio_dev. */
struct virtio_pci_state {
    uint32_t device_feature_select, driver_feature_select;
    uint16_t queue_select;
    uint16_t config_vector;
    uint16_t queue_vectors[VIRTIO_DEV_MAX_QUEUES];
    uint8_t isr;
    uint8_t padding;
};

struct virtio_pci {
    struct pci_function fn;
    struct msix msix;
    struct virtio_dev *vdev;
    struct virtio_pci_state state;
    unsigned window; /* the PCI_CFG capability's offset in configuration space */
    bool decodes;    /* the BAR does, so its doorbells have an address */
    struct doorbells doorbells;
};

/* A vector that the table does not have is none (4.1.5.1.2). */
static inline uint16_t virtio_pci_valid_vector(const struct virtio_pci *pci, uint64_t vector)
{
    return vector < pci->msix.vector_count ? (uint16_t)vector : MSIX_NO_VECTOR;
}

/* Once the device runs: now or when the BAR decodes. */
static inline void virtio_pci_connect_doorbells(struct virtio_pci *pci)
{
    if (pci->decodes)
        doorbells_connect(&pci->doorbells, pci->vdev);
}

/* --- pci_interrupt.c --- */

/* Why the device interrupts, in the ISR (4.1.4.5). */
enum { VIRTIO_PCI_REASON_QUEUE = 1, VIRTIO_PCI_REASON_CONFIG = 2 };

/* For struct virtio_transport; @ctx is the virtio_pci. */
void virtio_pci_interrupt_queue(void *ctx, unsigned queue);
void virtio_pci_interrupt_config(void *ctx);
/* Takes the reasons. */
uint8_t virtio_pci_read_isr(struct virtio_pci *pci);
/* Sets the wire as it must be now. */
void virtio_pci_update_intx(struct virtio_pci *pci);
/* Takes the transport's state back to how the driver found it. */
void virtio_pci_forget_driver(struct virtio_pci *pci);

/* --- pci_common.c --- */

/* Accesses to the structure; @offset + @size is inside it. */
uint64_t virtio_pci_read_common(struct virtio_pci *pci, uint64_t offset, unsigned size);
void virtio_pci_write_common(struct virtio_pci *pci, uint64_t offset, unsigned size,
                             uint32_t value);
