// SPDX-License-Identifier: Apache-2.0
/* The x86 part of a VM: where KVM may keep its own pages, the interrupt controllers, and the CPU
 * features that KVM supports.
 *
 * The interrupt controllers are split (KVM_CAP_SPLIT_IRQCHIP): local APICs in the kernel, the I/O
 * APIC here (ioapic.c), no PICs and no PIT at all. The machine has few wires, nearly all of
 * them idle; what is fast, MSI-X and the timers, goes to the local APICs in the kernel either way.
 * The whole chipset in the kernel would be code under the host's feet that no guest of ours needs.
 * It also costs time: its registers sit on KVM's own bus, each change of which must outwait the
 * bus's readers. On Linux 6.18 that holds a machine up for 10 to 15 ms, at its creation or at its
 * end; without it, a VM comes in 0.3 ms and goes in 0.1 ms. A guest does not need a PIT, as it has
 * the local APIC's timer (TSC-deadline), kvm-clock, and CPUID leaves that tell its frequencies. */
#include "../arch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "host/fd.h"
#include "host/log.h"
#include "mem/layout.h"
#include "x86.h"

/* Every 64-bit CPU has at least so many bits in a physical address. */
enum { MAX_CPUID_ENTRIES = 4096, MIN_ADDRESS_BITS = 36 };

static_assert((int)ARCH_PIN_COUNT == (int)IOAPIC_PIN_COUNT, "its pins are the wires");

const struct capability arch_capabilities[] = {
    { KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP" },
    { KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR" },
    { KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR" },
    { KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
    { KVM_CAP_GET_TSC_KHZ, "KVM_CAP_GET_TSC_KHZ" },
};
const size_t arch_capability_count = sizeof(arch_capabilities) / sizeof(arch_capabilities[0]);

/* KVM tells only whether the room is enough. */
static int get_supported_cpuid(int kvm_fd, struct kvm_cpuid2 **ret)
{
    for (uint32_t max = 128; max <= MAX_CPUID_ENTRIES; max *= 2) {
        AUTO_FREE struct kvm_cpuid2 *table =
            calloc(1, sizeof(*table) + max * sizeof(table->entries[0]));
        if (!table)
            return log_errno(-ENOMEM, "KVM_GET_SUPPORTED_CPUID");
        table->nent = max;
        if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, table) == 0) {
            *ret = take_pointer(table);
            return 0;
        }
        if (errno != E2BIG)
            return log_errno(-errno, "KVM_GET_SUPPORTED_CPUID");
    }
    return log_errno(-E2BIG, "KVM_GET_SUPPORTED_CPUID");
}

/* How wide a guest's physical addresses are (Intel SDM volume 2, CPUID); bits 16 to 23 are KVM's
 * own word for what it can really map. */
static unsigned address_bits(struct kvm_cpuid2 *supported)
{
    const struct kvm_cpuid_entry2 *entry = cpuid_find(supported, 0x80000008, 0);
    unsigned bits = entry ? entry->eax & 0xff : 0, mappable = entry ? entry->eax >> 16 & 0xff : 0;

    if (mappable && mappable < bits)
        bits = mappable;
    return bits > MIN_ADDRESS_BITS && bits < 64 ? bits : MIN_ADDRESS_BITS;
}

int arch_vm_type(int kvm_fd, uint64_t memory_end, unsigned long *ret)
{
    AUTO_FREE struct kvm_cpuid2 *supported = NULL;

    *ret = 0;
    if (memory_end <= UINT64_C(1) << MIN_ADDRESS_BITS)
        return 0;
    int err = get_supported_cpuid(kvm_fd, &supported);
    if (err)
        return err;
    uint64_t limit = UINT64_C(1) << address_bits(supported);
    if (memory_end <= limit)
        return 0;
    log_error("the guest's memory ends at %ju MiB, but a guest of this CPU cannot address more "
              "than %ju MiB; take less (--memory)",
              (uintmax_t)(memory_end / MIB), (uintmax_t)(limit / MIB));
    return -EINVAL;
}

void arch_probe(int kvm_fd, struct kvm_probe *ret)
{
    (void)kvm_fd, (void)ret;
}

/* A destination has 8 bits in a message; KVM's guests put 7 more where the data sheet has none, and
 * KVM, told to, takes them from the upper half of the address. */
struct kvm_msi arch_msi(const struct vm *vm, uint16_t requester, uint64_t address, uint32_t data)
{
    struct kvm_msi msi = { .address_lo = (uint32_t)address, .data = data };

    (void)requester;
    if (vm->arch->has_large_apic_ids) {
        msi.address_hi = (uint32_t)(address >> 5 & 0x7f) << 8;
        msi.address_lo &= ~0xfe0u;
    }
    return msi;
}

bool vm_has_msi(const struct vm *vm)
{
    (void)vm;
    return true;
}

unsigned vm_gic_version(const struct vm *vm)
{
    (void)vm;
    return 0;
}

int arch_vm_set_wire(struct vm *vm, unsigned pin, bool high)
{
    ioapic_set_wire(&vm->arch->ioapic, pin, high);
    return 0;
}

/* What a guest programs wrongly is lost, as on hardware. */
static void send_message(void *ctx, uint64_t address, uint32_t data)
{
    (void)vm_msi_send(ctx, 0, address, data);
}

/* KVM tells us an end of interrupt only for vectors that some level-triggered route has. */
static void watch_message(void *ctx, unsigned pin, uint64_t address, uint32_t data)
{
    (void)route_pin(ctx, pin, address, data);
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
    vm->arch->has_large_apic_ids = true;
    return 0;
}

static int create_irqchip(struct vm *vm)
{
    struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { ARCH_PIN_COUNT } };

    if (ioctl(vm->fd, KVM_ENABLE_CAP, &cap) < 0)
        return log_errno(-errno, "KVM_CAP_SPLIT_IRQCHIP");
    return 0;
}

int arch_vm_init(struct vm *vm)
{
    const struct ioapic_port port = { send_message, watch_message, vm };

    vm->arch = calloc(1, sizeof(*vm->arch));
    if (!vm->arch)
        return log_errno(-ENOMEM, "the virtual machine");
    pthread_mutex_init(&vm->arch->route_lock, NULL);
    ioapic_init(&vm->arch->ioapic, &port);
    vm->arch->has_tsc_deadline =
        ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;

    int err = set_kvm_pages(vm);
    if (!err)
        err = create_irqchip(vm);
    if (!err)
        err = enable_large_apic_ids(vm);
    if (!err)
        err = get_supported_cpuid(vm->kvm_fd, &vm->arch->supported);
    return err;
}

void arch_vm_fini(struct vm *vm)
{
    if (!vm->arch)
        return;
    ioapic_fini(&vm->arch->ioapic);
    pthread_mutex_destroy(&vm->arch->route_lock);
    free(vm->arch->supported);
    free(vm->arch);
    vm->arch = NULL;
}
