// SPDX-License-Identifier: Apache-2.0
/* The guest whose speed is measured, at EL1 without address translation.
 *
 * It switches the instruction cache on, as any kernel does first. It ends with a store to where
 * there is no memory; KVM takes the next run to be behind that instruction, wherever it starts:
 * hence the instruction in front that may be missed. */
#include <asm/ptrace.h>
#include <errno.h>
#include <sys/ioctl.h>

#include "../arch.h"
#include "arm64.h"
#include "mem/layout.h"

static const uint32_t code[] = {
    0xd503201f, /*    nop */
    0xd5381003, /*    mrs x3, sctlr_el1 */
    0xb2740063, /*    orr x3, x3, #0x1000 */
    0xd5181003, /*    msr sctlr_el1, x3 */
    0xd5033fdf, /*    isb */
    0xf1000400, /* 1: subs x0, x0, #1 */
    0x54ffffe1, /*    b.ne 1b */
    0xb900003f, /*    str wzr, [x1] */
};

const struct tiny_guest arch_tiny_guest = {
    .code = code, .size = sizeof(code), .instructions_per_round = 2, .last_exit = KVM_EXIT_MMIO
};

void arch_tiny_prepare(int vm_fd)
{
    (void)vm_fd;
}

int arch_tiny_start(int vm_fd, int vcpu_fd, uint64_t address, uint32_t rounds)
{
    struct kvm_vcpu_init init;

    if (ioctl(vm_fd, KVM_ARM_PREFERRED_TARGET, &init) < 0 ||
        ioctl(vcpu_fd, KVM_ARM_VCPU_INIT, &init) < 0)
        return -errno;
    int err = kvm_set_register(vcpu_fd, CORE_REGISTER(regs.pstate), PSTATE_START);
    if (!err)
        err = kvm_set_register(vcpu_fd, CORE_REGISTER(regs.pc), address);
    if (!err)
        err = kvm_set_register(vcpu_fd, CORE_REGISTER(regs.regs[0]), rounds);
    if (!err)
        err = kvm_set_register(vcpu_fd, CORE_REGISTER(regs.regs[1]), LAYOUT_SERIAL);
    return err;
}
