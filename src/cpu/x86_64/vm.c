// SPDX-License-Identifier: Apache-2.0
/* The x86 part of a VM: where KVM may keep its own pages, the interrupt controllers, and the CPU
 * features that KVM supports. */
#include "../arch.h"

#include <asm/kvm_para.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "host/fd.h"
#include "host/log.h"
#include "mem/layout.h"
#include "x86.h"

/* The pins of the two 8259 PICs, and how many entries of CPUID KVM may have at most. */
enum { PIC_PIN_COUNT = 8, MAX_CPUID_ENTRIES = 4096 };

_Static_assert((int)ARCH_PIN_COUNT == LAYOUT_GSI_COUNT, "the I/O APIC has the layout's pins");
_Static_assert(ARCH_PIN_ROUTE_COUNT == ARCH_PIN_COUNT + 2 * PIC_PIN_COUNT,
               "each pin is on the I/O APIC, the first 16 on a PIC too");

const struct capability arch_capabilities[] = {
    { KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR" },
    { KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR" },
    { KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
    { KVM_CAP_GET_TSC_KHZ, "KVM_CAP_GET_TSC_KHZ" },
};
const size_t arch_capability_count = sizeof(arch_capabilities) / sizeof(arch_capabilities[0]);

void arch_pin_routes(struct kvm_irq_routing_entry *entries)
{
    memset(entries, 0, ARCH_PIN_ROUTE_COUNT * sizeof(*entries));
    for (unsigned gsi = 0; gsi < ARCH_PIN_COUNT; gsi++, entries++) {
        entries->gsi = gsi;
        entries->type = KVM_IRQ_ROUTING_IRQCHIP;
        entries->u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
        entries->u.irqchip.pin = gsi;
    }
    for (unsigned gsi = 0; gsi < 2 * PIC_PIN_COUNT; gsi++, entries++) {
        bool is_master = gsi < PIC_PIN_COUNT;

        entries->gsi = gsi;
        entries->type = KVM_IRQ_ROUTING_IRQCHIP;
        entries->u.irqchip.irqchip = is_master ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
        entries->u.irqchip.pin = gsi % PIC_PIN_COUNT;
    }
}

/* On Intel hosts that cannot run real mode KVM needs four pages of guest addresses for itself. */
static int set_kvm_pages(struct vm *vm)
{
    uint64_t identity_map = LAYOUT_KVM_IDENTITY_MAP;

    if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0)
        return log_errno(-errno, "KVM_SET_IDENTITY_MAP_ADDR");
    if (ioctl(vm->fd, KVM_SET_TSS_ADDR, (unsigned long)LAYOUT_KVM_TSS) < 0)
        return log_errno(-errno, "KVM_SET_TSS_ADDR");
    return 0;
}

/* Masks both PICs, as firmware leaves them. KVM starts them unmasked, and the first CPU's local
 * APIC takes their interrupts: one for a device of the I/O APIC would come twice, the second time
 * with a vector that nobody programmed. A guest that wants them initializes them first. */
static int mask_pics(struct vm *vm)
{
    for (uint32_t id = KVM_IRQCHIP_PIC_MASTER; id <= KVM_IRQCHIP_PIC_SLAVE; id++) {
        struct kvm_irqchip chip = { .chip_id = id };

        if (ioctl(vm->fd, KVM_GET_IRQCHIP, &chip) < 0)
            return log_errno(-errno, "KVM_GET_IRQCHIP");
        chip.chip.pic.imr = 0xff;
        if (ioctl(vm->fd, KVM_SET_IRQCHIP, &chip) < 0)
            return log_errno(-errno, "KVM_SET_IRQCHIP");
    }
    return 0;
}

/* More than 255 CPUs have APIC IDs that only the x2APIC form of KVM's interfaces can name. */
static int enable_large_apic_ids(struct vm *vm)
{
    struct kvm_enable_cap cap = {
        .cap = KVM_CAP_X2APIC_API,
        .args = { KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK },
    };

    if (vm->cpu_count <= 255)
        return 0;
    if (ioctl(vm->fd, KVM_ENABLE_CAP, &cap) < 0)
        return log_errno(-errno, "%u CPUs: KVM_CAP_X2APIC_API", vm->cpu_count);
    return 0;
}

static int create_irqchip(struct vm *vm)
{
    if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
        return log_errno(-errno, "KVM_CREATE_IRQCHIP");
    return mask_pics(vm);
}

/* KVM tells only whether the room is enough. */
static int get_supported_cpuid(struct vm *vm)
{
    for (uint32_t max = 128; max <= MAX_CPUID_ENTRIES; max *= 2) {
        AUTO_FREE
        struct kvm_cpuid2 *table = calloc(1, sizeof(*table) + max * sizeof(table->entries[0]));
        if (!table)
            return -ENOMEM;
        table->nent = max;
        if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, table) == 0) {
            vm->arch->supported = take_pointer(table);
            return 0;
        }
        if (errno != E2BIG)
            return log_errno(-errno, "KVM_GET_SUPPORTED_CPUID");
    }
    return log_errno(-E2BIG, "KVM_GET_SUPPORTED_CPUID");
}

int arch_vm_init(struct vm *vm)
{
    vm->arch = calloc(1, sizeof(*vm->arch));
    if (!vm->arch)
        return -ENOMEM;
    vm->arch->has_tsc_deadline =
        ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;

    int err = set_kvm_pages(vm);
    if (!err)
        err = enable_large_apic_ids(vm);
    if (!err)
        err = create_irqchip(vm);
    if (!err)
        err = get_supported_cpuid(vm);
    return err;
}

void arch_vm_fini(struct vm *vm)
{
    if (!vm->arch)
        return;
    free(vm->arch->supported);
    free(vm->arch);
    vm->arch = NULL;
}
