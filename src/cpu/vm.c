// SPDX-License-Identifier: Apache-2.0
/* The VM object: its creation, its memory slots, its doorbells. Interrupts are in irq.c.
 *
 * Doorbells sit on KVM's own bus, each change of which must outwait the bus's readers. That is why
 * memory slots, whose changes wait too, come before them. */
#include "arch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "cpu/probe.h"
#include "host/fd.h"
#include "host/log.h"

static const struct capability common_capabilities[] = {
    { KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
    { KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING" },
    { KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI" },
    { KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD" },
    { KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE" },
    { KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
};

static size_t add_missing(int kvm_fd, const struct capability *wanted, size_t wanted_count,
                          const char **missing, size_t count, size_t max)
{
    for (size_t i = 0; i < wanted_count && count < max; i++) {
        if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, wanted[i].number) <= 0)
            missing[count++] = wanted[i].name;
    }
    return count;
}

size_t vm_missing_capabilities(int kvm_fd, const char **missing, size_t max)
{
    size_t common_count = sizeof(common_capabilities) / sizeof(common_capabilities[0]);
    size_t count = add_missing(kvm_fd, common_capabilities, common_count, missing, 0, max);

    return add_missing(kvm_fd, arch_capabilities, arch_capability_count, missing, count, max);
}

static int open_kvm(struct vm *vm, const char *path)
{
    vm->kvm_fd = open(path, O_RDWR | O_CLOEXEC);
    if (vm->kvm_fd >= 0)
        return 0;

    int err = -errno;
    char advice[256];

    kvm_advise(path, err, advice, sizeof(advice));
    log_error("'%s': %s: %s", path, strerror(-err), advice);
    return err;
}

static int check_api(const struct vm *vm, const char *path)
{
    int version = ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0);

    if (version < 0)
        return log_errno(-errno, "'%s': this is not KVM", path);
    if (version != KVM_API_VERSION) {
        log_error("'%s': KVM's interface has version %d, not %d: the kernel is too old", path,
                  version, KVM_API_VERSION);
        return -ENOTSUP;
    }
    return 0;
}

static int check_capabilities(const struct vm *vm, const char *path)
{
    const char *missing[16];
    size_t count = vm_missing_capabilities(vm->kvm_fd, missing, sizeof(missing) / sizeof(*missing));
    char list[512] = "";
    size_t len = 0;

    for (size_t i = 0; i < count && len < sizeof(list); i++)
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", i ? ", " : "", missing[i]);
    if (!count)
        return 0;
    log_error("'%s': this kernel's KVM lacks %s: hutch needs Linux 5.10 or later", path, list);
    return -ENOTSUP;
}

static int check_cpu_count(const struct vm *vm, const char *path)
{
    int max = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);

    if (max <= 0)
        max = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_VCPUS);
    if (max <= 0)
        max = 4; /* "assume that max_vcpus is 4", KVM's documentation */
    if (vm->cpu_count >= 1 && vm->cpu_count <= (unsigned)max)
        return 0;
    log_error("'%s': %u CPUs: this KVM allows 1 to %d", path, vm->cpu_count, max);
    return -EINVAL;
}

int vm_create_fd(int kvm_fd, unsigned long type)
{
    int fd;

    do
        fd = ioctl(kvm_fd, KVM_CREATE_VM, type);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

static int create_vm(struct vm *vm, const char *path, uint64_t memory_end)
{
    unsigned long type;
    int err = arch_vm_type(vm->kvm_fd, memory_end, &type);

    if (err)
        return err;
    vm->fd = vm_create_fd(vm->kvm_fd, type);
    if (vm->fd == -EBUSY) {
        log_error("'%s': KVM_CREATE_VM: another hypervisor (VirtualBox?) has the CPU's "
                  "virtualization: stop its machines",
                  path);
        return -EBUSY;
    }
    if (vm->fd < 0)
        return log_errno(vm->fd, "'%s': KVM_CREATE_VM", path);

    int size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size < (int)sizeof(struct kvm_run))
        return log_errno(size < 0 ? -errno : -ENOTSUP, "'%s': KVM_GET_VCPU_MMAP_SIZE", path);
    vm->run_size = (size_t)size;
    return 0;
}

static int vm_open(struct vm *vm, const char *path, uint64_t memory_end)
{
    int err = open_kvm(vm, path);

    if (!err)
        err = check_api(vm, path);
    if (!err)
        err = check_capabilities(vm, path);
    if (!err)
        err = check_cpu_count(vm, path);
    if (!err)
        err = create_vm(vm, path, memory_end);
    if (!err)
        err = arch_vm_init(vm);
    return err;
}

static struct vm *vm_alloc(unsigned cpu_count)
{
    struct vm *vm = calloc(1, sizeof(*vm));

    if (!vm)
        return NULL;
    vm->kvm_fd = -1;
    vm->fd = -1;
    vm->cpu_count = cpu_count;
    return vm;
}

int vm_create(const char *kvm_path, unsigned cpu_count, uint64_t memory_end, struct vm **ret)
{
    struct vm *vm = vm_alloc(cpu_count);
    if (!vm)
        return log_errno(-ENOMEM, "the virtual machine");
    int err = vm_open(vm, kvm_path ? kvm_path : "/dev/kvm", memory_end);
    if (err) {
        vm_destroy(vm);
        return err;
    }
    *ret = vm;
    return 0;
}

void vm_destroy(struct vm *vm)
{
    if (!vm)
        return;
    arch_vm_fini(vm);
    fd_close(&vm->fd);
    fd_close(&vm->kvm_fd);
    free(vm);
}

int vm_map_memory(struct vm *vm, const struct guest_mem *mem)
{
    for (size_t i = 0; i < guest_mem_region_count(mem); i++) {
        const struct guest_mem_region *region = guest_mem_region(mem, i);
        struct kvm_userspace_memory_region slot = {
            .slot = (uint32_t)i,
            .guest_phys_addr = region->gpa,
            .memory_size = region->size,
            .userspace_addr = (uintptr_t)region->host,
        };

        if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
            return -errno;
    }
    return 0;
}

static int set_doorbell(struct vm *vm, struct kvm_ioeventfd *doorbell, const uint32_t *value)
{
    if (value) {
        doorbell->flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
        doorbell->datamatch = *value;
    }
    return ioctl(vm->fd, KVM_IOEVENTFD, doorbell) < 0 ? -errno : 0;
}

int vm_doorbell_add(struct vm *vm, uint64_t address, unsigned size, const uint32_t *value, int fd)
{
    struct kvm_ioeventfd doorbell = { .addr = address, .len = size, .fd = fd };

    return set_doorbell(vm, &doorbell, value);
}

int vm_doorbell_remove(struct vm *vm, uint64_t address, unsigned size, const uint32_t *value,
                       int fd)
{
    struct kvm_ioeventfd doorbell = {
        .addr = address, .len = size, .fd = fd, .flags = KVM_IOEVENTFD_FLAG_DEASSIGN
    };

    return set_doorbell(vm, &doorbell, value);
}
