// SPDX-License-Identifier: Apache-2.0
/* How a function of the PCI transport interrupts: by the message that the driver chose for the
 * reason, or, if it did not enable MSI-X, by the wire; then it finds the reason in the ISR (virtio
 * 1.2, 4.1.4.5). */
#include <string.h>

#include "virtio_pci.h"

void virtio_pci_update_intx(struct virtio_pci *pci)
{
    pci_set_intx(&pci->fn, pci->state.isr != 0 && !msix_is_enabled(&pci->msix));
}

static void interrupt(struct virtio_pci *pci, uint8_t reason, uint16_t vector)
{
    if (msix_is_enabled(&pci->msix)) {
        msix_raise(&pci->msix, vector);
        return;
    }
    pci->state.isr |= reason;
    virtio_pci_update_intx(pci);
}

void virtio_pci_interrupt_queue(void *ctx, unsigned queue)
{
    struct virtio_pci *pci = ctx;

    interrupt(pci, VIRTIO_PCI_REASON_QUEUE, pci->state.queue_vectors[queue]);
}

void virtio_pci_interrupt_config(void *ctx)
{
    struct virtio_pci *pci = ctx;

    interrupt(pci, VIRTIO_PCI_REASON_CONFIG, pci->state.config_vector);
}

uint8_t virtio_pci_read_isr(struct virtio_pci *pci)
{
    uint8_t isr = pci->state.isr;

    pci->state.isr = 0;
    virtio_pci_update_intx(pci);
    return isr;
}

void virtio_pci_forget_driver(struct virtio_pci *pci)
{
    memset(&pci->state, 0, sizeof(pci->state));
    pci->state.config_vector = MSIX_NO_VECTOR;
    for (unsigned i = 0; i < VIRTIO_DEV_MAX_QUEUES; i++)
        pci->state.queue_vectors[i] = MSIX_NO_VECTOR;
    virtio_pci_update_intx(pci);
}
