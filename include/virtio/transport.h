// SPDX-License-Identifier: Apache-2.0
/* The two ways a virtio device is shown to the guest: as a PCI function (virtio 1.2, 4.1, modern
 * only) or behind a page of memory-mapped registers (4.2, version 2).
 *
 * Both own the virtio_dev from the call on, also if it fails, and destroy it with themselves. */
#pragma once

#include "devices/irq.h"
#include "devices/pci/pci.h"
#include "virtio/virtio_dev.h"

struct virtio_pci_params {
    struct virtio_dev *vdev;
    struct msi_port msi;            /* queue_count + 1 vectors, at most MSIX_MAX_VECTORS */
    struct irq_line intx;           /* for drivers that use no MSI-X */
    struct doorbell_port doorbells; /* zeroed: every notification is an exit */
};

/* Returns 0 or -errno. The function is to be put on a PCI bus by the caller, and destroyed by
 * device_destroy(&(*ret)->dev). */
int virtio_pci_create(const struct virtio_pci_params *params, struct pci_function **ret);

struct virtio_mmio_params {
    struct virtio_dev *vdev;
    struct irq_line irq; /* level-triggered */
    struct doorbell_port doorbells;
    uint64_t address; /* where the caller places it, for the doorbells */
};

int virtio_mmio_create(const struct virtio_mmio_params *params, struct device **ret);
