// SPDX-License-Identifier: Apache-2.0
/* The arm64 part of a VM: how large its addresses are, its interrupts, and what the host's CPUs
 * have to offer. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "../arch.h"
#include "arm64.h"
#include "host/fd.h"
#include "host/log.h"
#include "mem/layout.h"

const struct capability arch_capabilities[] = {
    { KVM_CAP_DEVICE_CTRL, "KVM_CAP_DEVICE_CTRL" },
    { KVM_CAP_ONE_REG, "KVM_CAP_ONE_REG" },
    { KVM_CAP_ARM_PSCI_0_2, "KVM_CAP_ARM_PSCI_0_2" },
};
const size_t arch_capability_count = sizeof(arch_capabilities) / sizeof(arch_capabilities[0]);

static_assert(ARCH_PIN_COUNT <= 64, "each wire has a bit");

/* A memory slot behind those of the guest's RAM. */
enum { STOLEN_TIME_SLOT = 31 };

/* Before Linux 4.20 there was one size only. */
enum { ADDRESS_BITS_DEFAULT = 40, ADDRESS_BITS_MIN = 32 };

static unsigned max_address_bits(int kvm_fd)
{
    int bits = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_ARM_VM_IPA_SIZE);

    return bits > 0 ? (unsigned)bits : ADDRESS_BITS_DEFAULT;
}

static unsigned bits_of(uint64_t value)
{
    return value ? 64 - (unsigned)__builtin_clzll(value) : 0;
}

/* No more bits than there is memory: the tables by which the CPU translates the guest's addresses
 * then have fewer levels. */
int arch_vm_type(int kvm_fd, uint64_t memory_end, unsigned long *ret)
{
    bool has_choice = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_ARM_VM_IPA_SIZE) > 0;
    unsigned max = max_address_bits(kvm_fd), bits = bits_of(memory_end - 1);

    if (bits > max) {
        log_error("the guest's memory ends at %ju MiB, but a guest of this CPU cannot address more "
                  "than %ju MiB; take less (--memory)",
                  (uintmax_t)(memory_end / MIB), (uintmax_t)((UINT64_C(1) << max) / MIB));
        return -EINVAL;
    }
    if (bits < ADDRESS_BITS_MIN)
        bits = ADDRESS_BITS_MIN;
    *ret = has_choice ? KVM_VM_TYPE_ARM_IPA_SIZE(bits) : 0;
    return 0;
}

bool cpu_has_pmu(const struct vm *vm, const struct cpu_model *model)
{
    return cpu_parts_chosen(&vm->arch->parts, model).pmu;
}

bool vm_has_msi(const struct vm *vm)
{
    return vm->arch->its_fd >= 0;
}

unsigned vm_gic_version(const struct vm *vm)
{
    return vm->arch->gic_version;
}

/* The ITS finds the interrupt by who sends the message and what it says. */
struct kvm_msi arch_msi(const struct vm *vm, uint16_t requester, uint64_t address, uint32_t data)
{
    (void)vm;
    return (struct kvm_msi){ .address_lo = (uint32_t)address,
                             .address_hi = (uint32_t)(address >> 32),
                             .data = data,
                             .flags = KVM_MSI_VALID_DEVID,
                             .devid = requester };
}

/* Until the GIC is complete KVM takes no level of a GICv3, and the first one of a GICv2 as a sign
 * that there will be no more vCPUs. */
static void note_early_wire(struct arch_vm *arch, unsigned pin, bool high)
{
    uint64_t bit = UINT64_C(1) << pin;

    arch->early_wires = high ? arch->early_wires | bit : arch->early_wires & ~bit;
}

int arch_vm_set_wire(struct vm *vm, unsigned pin, bool high)
{
    struct kvm_irq_level line = {
        .irq = KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | (PRIVATE_INTERRUPTS + pin),
        .level = high,
    };

    if (!vm->arch->is_gic_complete) {
        note_early_wire(vm->arch, pin, high);
        return 0;
    }

    return ioctl(vm->fd, KVM_IRQ_LINE, &line) < 0 ? -errno : 0;
}

static bool vm_has(const struct vm *vm, int capability)
{
    return ioctl(vm->fd, KVM_CHECK_EXTENSION, capability) > 0;
}

/* An access to a device by an instruction that the CPU does not describe to KVM then comes to us,
 * to be told of, instead of a bare error (Linux 5.5). */
static void ask_for_odd_accesses(const struct vm *vm)
{
    struct kvm_enable_cap cap = { .cap = KVM_CAP_ARM_NISV_TO_USER };

    (void)ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
}

/* Memory that is no RAM to the guest, but for KVM to write to and for the guest to find by asking.
 * Without it a guest just does not know what was stolen from it. */
static void map_stolen_time(struct vm *vm)
{
    struct kvm_userspace_memory_region slot = {
        .slot = STOLEN_TIME_SLOT,
        .guest_phys_addr = LAYOUT_STOLEN_TIME_BASE,
        .memory_size = LAYOUT_STOLEN_TIME_SIZE,
    };

    if (!vm_has(vm, KVM_CAP_STEAL_TIME))
        return;
    vm->arch->stolen_time = mmap(NULL, LAYOUT_STOLEN_TIME_SIZE, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    slot.userspace_addr = (uintptr_t)vm->arch->stolen_time;
    if (vm->arch->stolen_time != MAP_FAILED)
        (void)ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot);
}

int arch_vm_init(struct vm *vm)
{
    vm->arch = calloc(1, sizeof(*vm->arch));
    if (!vm->arch)
        return log_errno(-ENOMEM, "the virtual machine");
    vm->arch->gic_fd = -1;
    vm->arch->its_fd = -1;
    vm->arch->stolen_time = MAP_FAILED;
    vm->arch->parts = (struct cpu_parts){
        .sve = vm_has(vm, KVM_CAP_ARM_SVE),
        .pauth = vm_has(vm, KVM_CAP_ARM_PTRAUTH_ADDRESS) && vm_has(vm, KVM_CAP_ARM_PTRAUTH_GENERIC),
        .pmu = vm_has(vm, KVM_CAP_ARM_PMU_V3),
    };
    ask_for_odd_accesses(vm);
    map_stolen_time(vm);
    return gic_create(vm);
}

void arch_vm_fini(struct vm *vm)
{
    if (!vm->arch)
        return;
    fd_close(&vm->arch->its_fd);
    fd_close(&vm->arch->gic_fd);
    if (vm->arch->stolen_time != MAP_FAILED)
        (void)munmap(vm->arch->stolen_time, LAYOUT_STOLEN_TIME_SIZE);
    free(vm->arch);
    vm->arch = NULL;
}

void arch_probe(int kvm_fd, struct kvm_probe *ret)
{
    unsigned long type;

    ret->address_bits = max_address_bits(kvm_fd);
    if (arch_vm_type(kvm_fd, MIB, &type))
        return;
    AUTO_CLOSE int vm_fd = vm_create_fd(kvm_fd, type);
    ret->gic_version = vm_fd < 0 ? 0 : gic_best_version(vm_fd);
}
