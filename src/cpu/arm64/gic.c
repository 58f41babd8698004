// SPDX-License-Identifier: Apache-2.0
/* The Generic Interrupt Controller, which is KVM's (Linux: Documentation/virt/kvm/devices/
 * arm-vgic.rst, arm-vgic-v3.rst, arm-vgic-its.rst).
 *
 * A guest gets a GICv3 with an Interrupt Translation Service, which takes messages, where the
 * host's own controller lets KVM emulate that; else a GICv2, which has wires only and at most 8
 * CPUs. The controller is created before the vCPUs and completed after them, as the number of
 * its redistributors, or CPU interfaces, is theirs. */
#include <errno.h>
#include <sys/ioctl.h>

#include "../arch.h"
#include "arm64.h"
#include "host/log.h"
#include "mem/layout.h"

enum { GICV2_MAX_CPUS = 8 };

int kvm_set_attribute(int fd, uint32_t group, uint64_t attribute, const void *value)
{
    struct kvm_device_attr attr = { .group = group, .attr = attribute, .addr = (uintptr_t)value };

    return ioctl(fd, KVM_SET_DEVICE_ATTR, &attr) < 0 ? -errno : 0;
}

/* Returns a descriptor, or -errno. */
static int create_device(int vm_fd, uint32_t type, uint32_t flags)
{
    struct kvm_create_device device = { .type = type, .flags = flags };

    if (ioctl(vm_fd, KVM_CREATE_DEVICE, &device) < 0)
        return -errno;
    return flags & KVM_CREATE_DEVICE_TEST ? 0 : (int)device.fd;
}

static int place(int fd, uint64_t part, uint64_t address)
{
    return kvm_set_attribute(fd, KVM_DEV_ARM_VGIC_GRP_ADDR, part, &address);
}

/* Redistributors in one region (Linux 4.18), which may be as many as there are CPUs. */
static int place_redistributors(const struct vm *vm)
{
    const unsigned count_shift = 52;
    uint64_t region = LAYOUT_GIC_REDIST_BASE | (uint64_t)vm->cpu_count << count_shift;

    return kvm_set_attribute(vm->arch->gic_fd, KVM_DEV_ARM_VGIC_GRP_ADDR,
                             KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION, &region);
}

/* Without one there are no messages, and virtio falls back on wires. */
static int create_its(struct vm *vm)
{
    int fd = create_device(vm->fd, KVM_DEV_TYPE_ARM_VGIC_ITS, 0);

    if (fd == -ENODEV)
        return 0;
    if (fd < 0)
        return log_errno(fd, "KVM: interrupt translation service");
    vm->arch->its_fd = fd;
    int err = place(fd, KVM_VGIC_ITS_ADDR_TYPE, LAYOUT_GIC_ITS_BASE);
    return err ? log_errno(err, "KVM: placing the interrupt translation service") : 0;
}

static int create_v3(struct vm *vm)
{
    if (vm->cpu_count > LAYOUT_GIC_REDIST_MAX) {
        log_error("%u CPUs: an Arm machine has at most %d", vm->cpu_count, LAYOUT_GIC_REDIST_MAX);
        return -EINVAL;
    }
    vm->arch->gic_version = 3;
    int err = place(vm->arch->gic_fd, KVM_VGIC_V3_ADDR_TYPE_DIST, LAYOUT_GIC_DIST_BASE);
    if (!err)
        err = place_redistributors(vm);
    return err ? log_errno(err, "KVM: placing the GICv3") : create_its(vm);
}

static int create_v2(struct vm *vm)
{
    if (vm->cpu_count > GICV2_MAX_CPUS) {
        log_error("%u CPUs: this host's KVM has only a GICv2 for guests, which takes at most %d",
                  vm->cpu_count, GICV2_MAX_CPUS);
        return -EINVAL;
    }
    vm->arch->gic_version = 2;
    int err = place(vm->arch->gic_fd, KVM_VGIC_V2_ADDR_TYPE_DIST, LAYOUT_GIC_DIST_BASE);
    if (!err)
        err = place(vm->arch->gic_fd, KVM_VGIC_V2_ADDR_TYPE_CPU, LAYOUT_GIC_CPU_BASE);
    return err ? log_errno(err, "KVM: placing the GICv2") : 0;
}

unsigned gic_best_version(int vm_fd)
{
    if (create_device(vm_fd, KVM_DEV_TYPE_ARM_VGIC_V3, KVM_CREATE_DEVICE_TEST) == 0)
        return 3;
    return create_device(vm_fd, KVM_DEV_TYPE_ARM_VGIC_V2, KVM_CREATE_DEVICE_TEST) == 0 ? 2 : 0;
}

int gic_create(struct vm *vm)
{
    unsigned version = gic_best_version(vm->fd);
    uint32_t interrupts = PRIVATE_INTERRUPTS + LAYOUT_GSI_COUNT;

    if (!version)
        return log_errno(-ENODEV, "KVM has no interrupt controller for guests");
    int fd = create_device(vm->fd,
                           version == 3 ? KVM_DEV_TYPE_ARM_VGIC_V3 : KVM_DEV_TYPE_ARM_VGIC_V2, 0);
    if (fd < 0)
        return log_errno(fd, "KVM: GICv%u", version);
    vm->arch->gic_fd = fd;
    int err = kvm_set_attribute(fd, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &interrupts);
    if (err)
        return log_errno(err, "KVM: %u interrupts", interrupts);
    return version == 3 ? create_v3(vm) : create_v2(vm);
}

/* What devices set while the machine was built. */
static int set_early_wires(struct vm *vm)
{
    int err = 0;

    for (unsigned pin = 0; !err && pin < ARCH_PIN_COUNT; pin++) {
        if (vm->arch->early_wires >> pin & 1)
            err = arch_vm_set_wire(vm, pin, true);
    }
    return err;
}

int gic_complete(struct vm *vm)
{
    struct arch_vm *arch = vm->arch;
    int err = kvm_set_attribute(arch->gic_fd, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT,
                                NULL);

    if (!err && arch->its_fd >= 0)
        err = kvm_set_attribute(arch->its_fd, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT,
                                NULL);
    arch->is_gic_complete = !err;
    if (!err)
        err = set_early_wires(vm);
    return err ? log_errno(err, "KVM: setting up the GICv%u", arch->gic_version) : 0;
}
