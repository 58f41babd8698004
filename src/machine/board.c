// SPDX-License-Identifier: Apache-2.0
/* What is placed where, as the guest is told of it: of a machine that is built, or that would be.
 */
#include <errno.h>
#include <stdlib.h>

#include "host/log.h"
#include "machine_private.h"
#include "mem/layout.h"

int board_init(struct board *board, const struct config *config, const struct vm *vm)
{
    const struct cpu_model model = {
        .count = config->cpu_count,
        .masked_features = (const char *const *)config->masked_features,
    };

    *board = (struct board){
        .ram_size = config->memory_size,
        .has_pci = config->transport == TRANSPORT_PCI ||
                   (config->transport == TRANSPORT_AUTO && (!vm || vm_has_msi(vm))),
        .pci_slot_count = 1,
        .ecam_base = LAYOUT_ECAM_BASE,
        .pci32_base = LAYOUT_PCI32_BASE,
        .pci32_size = LAYOUT_PCI32_SIZE,
        .intx_gsi = LAYOUT_GSI_PCI_INTX,
        .cpu_ids = calloc(config->cpu_count, sizeof(*board->cpu_ids)),
    };
    if (!board->cpu_ids)
        return log_errno(-ENOMEM, "a list of %u CPUs", config->cpu_count);
    for (; board->cpu_count < config->cpu_count; board->cpu_count++)
        board->cpu_ids[board->cpu_count] = cpu_hardware_id(&model, board->cpu_count);
    board_place_chips(board, vm);
    board->has_pmu = vm && cpu_has_pmu(vm, &model);
    return 0;
}

void board_fini(struct board *board)
{
    free(board->cpu_ids);
    board->cpu_ids = NULL;
}

void board_add_virtio(struct board *board, unsigned slot)
{
    if (board->has_pci) {
        board->pci_slot_count = slot + 1;
    } else {
        board->virtio_mmio[board->virtio_mmio_count++] = (struct board_virtio_mmio){
            .base = layout_virtio_mmio_base(slot - 1),
            .size = LAYOUT_VIRTIO_MMIO_SIZE,
            .gsi = layout_virtio_mmio_gsi(slot - 1),
        };
    }
}

void board_foresee_devices(struct board *board, const struct config *config)
{
    for (unsigned i = 0; i < config_device_count(config); i++)
        board_add_virtio(board, i + 1);
}
