// SPDX-License-Identifier: Apache-2.0
/* The arm64 part of a vCPU: what it has of the host's CPU, its first registers, and its own exits.
 *
 * All but the first CPU start powered off, until the guest calls PSCI's CPU_ON, which KVM answers
 * as it does all of PSCI; what ends the machine comes to us as a system event. */
#include <asm/ptrace.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "../arch.h"
#include "arm64.h"
#include "host/log.h"
#include "mem/layout.h"

/* The private interrupt of the performance monitors that Arm's base system architecture asks for
 * (SBSA), as an INTID. */
enum { PMU_INTID = 23 };

/* As KVM numbers its vCPUs: 16 of them in each lowest group, so that a GICv3 can send one
 * interrupt to all of a group (Linux: arch/arm64/kvm, the reset value of MPIDR_EL1). */
uint64_t cpu_hardware_id(const struct cpu_model *model, unsigned index)
{
    (void)model;
    return (index & 0xf) | (uint64_t)(index >> 4 & 0xff) << 8 | (uint64_t)(index >> 12) << 16;
}

int kvm_get_register(int vcpu_fd, uint64_t id, uint64_t *value)
{
    uint64_t read;
    struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&read };

    if (ioctl(vcpu_fd, KVM_GET_ONE_REG, &reg) < 0)
        return -errno;
    *value = read;
    return 0;
}

int kvm_set_register(int vcpu_fd, uint64_t id, uint64_t value)
{
    struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&value };

    return ioctl(vcpu_fd, KVM_SET_ONE_REG, &reg) < 0 ? -errno : 0;
}

uint64_t vcpu_page_sizes(const struct vcpu *vcpu)
{
    uint64_t mmfr0;
    int err = kvm_get_register(vcpu->fd, ARM64_SYS_REG(3, 0, 0, 7, 0), &mmfr0);

    return err ? 0 : cpu_page_sizes_of(mmfr0);
}

static void choose(struct kvm_vcpu_init *init, unsigned feature)
{
    init->features[feature / 32] |= 1u << feature % 32;
}

int arch_vcpu_init(struct vcpu *vcpu, const struct cpu_model *model)
{
    const struct cpu_parts parts = cpu_parts_chosen(&vcpu->vm->arch->parts, model);
    int sve = KVM_ARM_VCPU_SVE;
    struct kvm_vcpu_init init;

    if (ioctl(vcpu->vm->fd, KVM_ARM_PREFERRED_TARGET, &init) < 0)
        return log_errno(-errno, "CPU %u: KVM_ARM_PREFERRED_TARGET", vcpu->index);
    choose(&init, KVM_ARM_VCPU_PSCI_0_2);
    if (vcpu->index > 0)
        choose(&init, KVM_ARM_VCPU_POWER_OFF);
    if (parts.sve)
        choose(&init, KVM_ARM_VCPU_SVE);
    if (parts.pauth) {
        choose(&init, KVM_ARM_VCPU_PTRAUTH_ADDRESS);
        choose(&init, KVM_ARM_VCPU_PTRAUTH_GENERIC);
    }
    if (parts.pmu)
        choose(&init, KVM_ARM_VCPU_PMU_V3);
    vcpu->vm->arch->has_pmu = parts.pmu;
    if (ioctl(vcpu->fd, KVM_ARM_VCPU_INIT, &init) < 0)
        return log_errno(-errno, "CPU %u: KVM_ARM_VCPU_INIT", vcpu->index);
    /* With all vector lengths of the host. */
    if (parts.sve && ioctl(vcpu->fd, KVM_ARM_VCPU_FINALIZE, &sve) < 0)
        return log_errno(-errno, "CPU %u: KVM_ARM_VCPU_FINALIZE", vcpu->index);
    return 0;
}

static int complete_pmu(const struct vcpu *vcpu)
{
    int intid = PMU_INTID;
    int err =
        kvm_set_attribute(vcpu->fd, KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_IRQ, &intid);

    if (!err)
        err = kvm_set_attribute(vcpu->fd, KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_INIT, NULL);
    if (err == -ENODEV) {
        log_error("CPU %u: KVM found no performance monitors here; leave them out with "
                  "--cpu=host,-pmu",
                  vcpu->index);
        return err;
    }
    return err ? log_errno(err, "CPU %u: performance monitors", vcpu->index) : 0;
}

/* The guest asks KVM by itself whether there is such a record (Arm DEN0057). */
static void place_stolen_time(const struct vcpu *vcpu)
{
    uint64_t address = LAYOUT_STOLEN_TIME_BASE + (uint64_t)vcpu->index * LAYOUT_STOLEN_TIME_STRIDE;

    (void)kvm_set_attribute(vcpu->fd, KVM_ARM_VCPU_PVTIME_CTRL, KVM_ARM_VCPU_PVTIME_IPA, &address);
}

int arch_vcpu_complete(struct vcpu *vcpu)
{
    struct arch_vm *arch = vcpu->vm->arch;

    if (!arch->is_gic_complete) {
        int err = gic_complete(vcpu->vm);
        if (err)
            return err;
    }
    place_stolen_time(vcpu);
    return arch->has_pmu ? complete_pmu(vcpu) : 0;
}

int arch_vcpu_set_entry(struct vcpu *vcpu, struct guest_mem *mem, const struct cpu_entry *entry)
{
    int err = kvm_set_register(vcpu->fd, CORE_REGISTER(regs.pstate), PSTATE_START);

    (void)mem;
    if (!err)
        err = kvm_set_register(vcpu->fd, CORE_REGISTER(regs.pc), entry->address);
    if (!err)
        err = kvm_set_register(vcpu->fd, CORE_REGISTER(regs.regs[0]), entry->argument);
    return err ? log_errno(err, "CPU %u: its first registers", vcpu->index) : 0;
}

bool arch_vcpu_settle_exit(struct vcpu *vcpu)
{
    (void)vcpu;
    return false;
}

bool arch_vcpu_decode_exit(struct vcpu *vcpu, struct vcpu_exit *exit)
{
    const struct kvm_run *run = vcpu->run;

    if (run->exit_reason != KVM_EXIT_SYSTEM_EVENT)
        return false;
    switch (run->system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
        exit->reason = VCPU_EXIT_GUEST_OFF;
        break;
    case KVM_SYSTEM_EVENT_RESET:
        exit->reason = VCPU_EXIT_GUEST_RESET;
        exit->is_warm = run->system_event.flags & KVM_SYSTEM_EVENT_RESET_FLAG_PSCI_RESET2;
        break;
    default:
        exit->reason = VCPU_EXIT_GUEST_DOWN;
        break;
    }
    return true;
}

bool arch_vcpu_explain_exit(const struct vcpu *vcpu, char *buf, size_t size)
{
    const struct kvm_run *run = vcpu->run;

    if (run->exit_reason != KVM_EXIT_ARM_NISV)
        return false;
    snprintf(buf, size,
             "an instruction that is none for device registers accessed address %#llx, where there "
             "is no memory (syndrome %#llx)",
             (unsigned long long)run->arm_nisv.fault_ipa,
             (unsigned long long)run->arm_nisv.esr_iss);
    return true;
}

void arch_vcpu_describe(const struct vcpu *vcpu, char *buf, size_t size)
{
    uint64_t pc, pstate, sp = 0, esr = 0, far = 0;

    int err = kvm_get_register(vcpu->fd, CORE_REGISTER(regs.pc), &pc);
    if (!err)
        err = kvm_get_register(vcpu->fd, CORE_REGISTER(regs.pstate), &pstate);
    if (err) {
        snprintf(buf, size, "an unknown address (%s)", strerror(-err));
        return;
    }
    (void)kvm_get_register(vcpu->fd, CORE_REGISTER(sp_el1), &sp);
    (void)kvm_get_register(vcpu->fd, ARM64_SYS_REG(3, 0, 5, 2, 0), &esr);
    (void)kvm_get_register(vcpu->fd, ARM64_SYS_REG(3, 0, 6, 0, 0), &far);
    snprintf(buf, size,
             "%#llx, EL%u, pstate %#llx, sp_el1 %#llx, last esr_el1 %#llx, far_el1 %#llx",
             (unsigned long long)pc, (unsigned)(pstate >> 2 & 3), (unsigned long long)pstate,
             (unsigned long long)sp, (unsigned long long)esr, (unsigned long long)far);
}
