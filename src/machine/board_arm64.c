// SPDX-License-Identifier: Apache-2.0
/* The chips of an arm64 machine, as the guest is told of them. */
#include "machine_private.h"
#include "mem/layout.h"

static struct board_gic describe_gic(const struct vm *vm)
{
    return (struct board_gic){
        .version = vm ? vm_gic_version(vm) : 3,
        .has_its = vm ? vm_has_msi(vm) : true,
        .dist_base = LAYOUT_GIC_DIST_BASE,
        .dist_size = LAYOUT_GIC_DIST_SIZE,
        .cpu_base = LAYOUT_GIC_CPU_BASE,
        .cpu_size = LAYOUT_GIC_CPU_SIZE,
        .redist_base = LAYOUT_GIC_REDIST_BASE,
        .redist_stride = LAYOUT_GIC_REDIST_STRIDE,
        .its_base = LAYOUT_GIC_ITS_BASE,
        .its_size = LAYOUT_GIC_ITS_SIZE,
    };
}

void board_place_chips(struct board *board, const struct vm *vm)
{
    board->ram_base = LAYOUT_RAM_BASE;
    board->gic = describe_gic(vm);
    board->serial = (struct board_chip){ LAYOUT_SERIAL, LAYOUT_GSI_SERIAL };
    board->rtc = (struct board_chip){ LAYOUT_RTC, LAYOUT_GSI_RTC };
    board->gpio = (struct board_chip){ LAYOUT_GPIO, LAYOUT_GSI_GPIO };
    board->gpio_power_line = LAYOUT_GPIO_POWER;
    board->pvpanic.address = LAYOUT_PVPANIC;
}
