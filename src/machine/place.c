// SPDX-License-Identifier: Apache-2.0
/* Where devices go: chips on a bus, virtio devices behind the transport that the user chose. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "machine_private.h"
#include "mem/layout.h"
#include "virtio/transport.h"

int machine_own(struct machine *machine, struct device *dev)
{
    if (machine->device_count == MACHINE_MAX_DEVICES) {
        device_destroy(dev);
        return -ENOSPC;
    }
    machine->devices[machine->device_count++] = dev;
    return 0;
}

int machine_place_chip(struct machine *machine, struct bus *bus, int err,
                       struct device *const *chip, uint64_t address, uint64_t size)
{
    if (!err)
        err = machine_own(machine, *chip);
    return err ? err : bus_add(bus, address, size, *chip, 0);
}

/* --- virtio devices, by either transport --- */

static int place_on_pci(struct machine *machine, struct virtio_dev *vdev)
{
    unsigned slot = machine->next_slot;
    struct msi_block *msi = calloc(1, sizeof(*msi));
    struct pci_function *fn;

    if (!msi) {
        virtio_dev_destroy(vdev);
        return -ENOMEM;
    }
    machine->msi[slot] = msi;
    struct virtio_pci_params params = {
        .vdev = vdev,
        .msi = machine_msi_port(msi, machine->vm, slot),
        .intx = machine_wire_tap(&machine->intx_taps[slot], &machine->intx[slot % INTX_COUNT]),
        .doorbells = machine_doorbells(machine->vm),
    };
    int err = virtio_pci_create(&params, &fn);
    if (!err)
        err = machine_own(machine, &fn->dev);
    if (!err)
        err = pci_host_add(machine->pci, slot, fn);
    return err;
}

static int place_on_mmio(struct machine *machine, struct virtio_dev *vdev)
{
    unsigned slot = machine->next_slot - 1, gsi = layout_virtio_mmio_gsi(slot);
    struct virtio_mmio_params params = {
        .vdev = vdev,
        .irq = machine_pin(&machine->pins[gsi], machine->vm, gsi),
        .doorbells = machine_doorbells(machine->vm),
        .address = layout_virtio_mmio_base(slot),
    };
    struct device *dev;
    int err = virtio_mmio_create(&params, &dev);

    if (!err)
        err = machine_own(machine, dev);
    if (!err)
        err = bus_add(machine->memory, params.address, LAYOUT_VIRTIO_MMIO_SIZE, dev, 0);
    return err;
}

int machine_place_virtio(struct machine *machine, struct virtio_dev *vdev)
{
    bool is_pci = machine->board.has_pci;

    /* config_check_device_count() saw to it. */
    assert(machine->next_slot <= (is_pci ? PCI_SLOT_COUNT - 1 : LAYOUT_VIRTIO_MMIO_MAX));
    int err = is_pci ? place_on_pci(machine, vdev) : place_on_mmio(machine, vdev);
    if (!err)
        board_add_virtio(&machine->board, machine->next_slot);
    machine->next_slot++;
    return err;
}
