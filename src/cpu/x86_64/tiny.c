// SPDX-License-Identifier: Apache-2.0
/* The guest whose speed is measured, in 32-bit protected mode. */
#include <asm/processor-flags.h>
#include <errno.h>
#include <sys/ioctl.h>

#include "../arch.h"
#include "mem/layout.h"
#include "x86.h"

static const uint8_t code[] = {
    0x49,       /* 1: dec %ecx */
    0x75, 0xfd, /* jnz 1b */
    0xf4,       /* hlt */
};

const struct tiny_guest arch_tiny_guest = {
    .code = code, .size = sizeof(code), .instructions_per_round = 2, .last_exit = KVM_EXIT_HLT
};

void arch_tiny_prepare(int vm_fd)
{
    uint64_t identity_map = LAYOUT_KVM_IDENTITY_MAP;

    (void)ioctl(vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
    (void)ioctl(vm_fd, KVM_SET_TSS_ADDR, (unsigned long)LAYOUT_KVM_TSS);
}

int arch_tiny_start(int vm_fd, int vcpu_fd, uint64_t address, uint32_t rounds)
{
    struct kvm_regs regs = { .rip = address, .rflags = X86_EFLAGS_FIXED, .rcx = rounds };
    struct kvm_sregs sregs;

    (void)vm_fd;
    if (ioctl(vcpu_fd, KVM_GET_SREGS, &sregs) < 0)
        return -errno;
    entry_set_sregs(&sregs, CPU_ENTRY_PROTECTED);
    if (ioctl(vcpu_fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu_fd, KVM_SET_REGS, &regs) < 0)
        return -errno;
    return 0;
}
