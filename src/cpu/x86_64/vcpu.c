// SPDX-License-Identifier: Apache-2.0
/* The x86 part of a vCPU: CPUID, MSRs, local APIC, its first registers, and its own exits. */
#include "../arch.h"

#include <asm/processor-flags.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "host/fd.h"
#include "host/log.h"
#include "mem/layout.h"
#include "x86.h"

/* MSRs and local APIC registers (Intel SDM volume 4; volume 3, 11.4.1). */
#define MSR_IA32_MISC_ENABLE 0x1a0u
#define MISC_ENABLE_FAST_STRING UINT64_C(1)
#define MSR_IA32_MTRR_DEF_TYPE 0x2ffu
#define MTRR_ENABLED (UINT64_C(1) << 11)
#define MTRR_WRITE_BACK UINT64_C(6)

enum { APIC_LVT_LINT0 = 0x350, APIC_LVT_LINT1 = 0x360 };
enum { APIC_MODE_NMI = 4 << 8, APIC_MODE_EXTINT = 7 << 8 };

uint64_t cpu_hardware_id(const struct cpu_model *model, unsigned index)
{
    (void)model;
    return index;
}

uint64_t vcpu_page_sizes(const struct vcpu *vcpu)
{
    (void)vcpu;
    return 4096;
}

bool cpu_has_pmu(const struct vm *vm, const struct cpu_model *model)
{
    (void)vm, (void)model;
    return false; /* CPUID tells */
}

/* Before anything that depends on it: since Linux 6.13 KVM wants CPUID set before such MSRs. */
static int set_cpuid(struct vcpu *vcpu, const struct cpu_model *model)
{
    int tsc_khz = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);
    struct cpuid_params params = {
        .cpu_count = model->count,
        .index = vcpu->index,
        .tsc_khz = tsc_khz > 0 ? (uint32_t)tsc_khz : 0,
        .has_tsc_deadline = vcpu->vm->arch->has_tsc_deadline,
        .has_large_apic_ids = vcpu->vm->arch->has_large_apic_ids,
        .masked_features = model->masked_features,
    };
    AUTO_FREE struct kvm_cpuid2 *table = NULL;

    int err = cpuid_create(vcpu->vm->arch->supported, &params, &table);
    if (err)
        return log_errno(err, "CPU %u: CPUID", vcpu->index);
    if (ioctl(vcpu->fd, KVM_SET_CPUID2, table) < 0)
        return log_errno(-errno, "CPU %u: KVM_SET_CPUID2", vcpu->index);
    return 0;
}

/* What firmware would have set: without fast strings or with MTRRs off, Linux does less than it
 * could. KVM may know fewer MSRs than these; a guest finds that out as on any CPU. */
static void set_msrs(struct vcpu *vcpu)
{
    static const struct kvm_msr_entry wanted[] = {
        { .index = MSR_IA32_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING },
        { .index = MSR_IA32_MTRR_DEF_TYPE, .data = MTRR_ENABLED | MTRR_WRITE_BACK },
    };
    _Alignas(struct kvm_msrs) uint8_t room[sizeof(struct kvm_msrs) + sizeof(wanted)] = { 0 };
    struct kvm_msrs *msrs = (void *)room;

    msrs->nmsrs = sizeof(wanted) / sizeof(wanted[0]);
    memcpy(msrs->entries, wanted, sizeof(wanted));
    (void)ioctl(vcpu->fd, KVM_SET_MSRS, msrs);
}

int arch_vcpu_init(struct vcpu *vcpu, const struct cpu_model *model)
{
    int err = set_cpuid(vcpu, model);

    if (!err)
        set_msrs(vcpu);
    return err;
}

int arch_vcpu_complete(struct vcpu *vcpu)
{
    (void)vcpu;
    return 0;
}

static void set_apic_register(struct kvm_lapic_state *apic, unsigned offset, uint32_t value)
{
    memcpy(apic->regs + offset, &value, sizeof(value));
}

/* As firmware leaves it: NMI on LINT1, and on LINT0 what the PICs would send if there were any.
 * Only for the first CPU: the INIT that starts another one resets its APIC. */
static int set_local_interrupts(struct vcpu *vcpu)
{
    struct kvm_lapic_state apic;

    if (ioctl(vcpu->fd, KVM_GET_LAPIC, &apic) < 0)
        return log_errno(-errno, "CPU %u: KVM_GET_LAPIC", vcpu->index);
    set_apic_register(&apic, APIC_LVT_LINT0, APIC_MODE_EXTINT);
    set_apic_register(&apic, APIC_LVT_LINT1, APIC_MODE_NMI);
    if (ioctl(vcpu->fd, KVM_SET_LAPIC, &apic) < 0)
        return log_errno(-errno, "CPU %u: KVM_SET_LAPIC", vcpu->index);
    return 0;
}

static int set_registers(struct vcpu *vcpu, const struct cpu_entry *entry)
{
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_fpu fpu = { .fcw = 0x37f, .mxcsr = 0x1f80 }; /* all exceptions masked */

    if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
        return log_errno(-errno, "CPU %u: KVM_GET_SREGS", vcpu->index);
    entry_set_sregs(&sregs, entry->mode);
    if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0)
        return log_errno(-errno, "CPU %u: KVM_SET_SREGS", vcpu->index);
    entry_set_regs(&regs, entry);
    if (ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
        return log_errno(-errno, "CPU %u: KVM_SET_REGS", vcpu->index);
    if (ioctl(vcpu->fd, KVM_SET_FPU, &fpu) < 0)
        return log_errno(-errno, "CPU %u: KVM_SET_FPU", vcpu->index);
    return 0;
}

int arch_vcpu_set_entry(struct vcpu *vcpu, struct guest_mem *mem, const struct cpu_entry *entry)
{
    int err = entry_write_tables(mem, entry->mode);

    if (!err)
        err = set_local_interrupts(vcpu);
    if (!err)
        err = set_registers(vcpu, entry);
    return err;
}

static void access_ioapic(struct ioapic *ioapic, struct kvm_run *run)
{
    uint64_t offset = run->mmio.phys_addr - LAYOUT_IOAPIC_BASE;
    uint32_t value = 0;
    size_t size = run->mmio.len < sizeof(value) ? run->mmio.len : sizeof(value);

    if (run->mmio.is_write) {
        memcpy(&value, run->mmio.data, size);
        ioapic_write(ioapic, offset, value);
    } else {
        value = ioapic_read(ioapic, offset);
        memset(run->mmio.data, 0, sizeof(run->mmio.data));
        memcpy(run->mmio.data, &value, size);
    }
}

bool arch_vcpu_settle_exit(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    struct ioapic *ioapic = &vcpu->vm->arch->ioapic;

    switch (run->exit_reason) {
    case KVM_EXIT_IOAPIC_EOI:
        ioapic_end_of_interrupt(ioapic, run->eoi.vector);
        return true;
    case KVM_EXIT_MMIO:
        if (run->mmio.phys_addr - LAYOUT_IOAPIC_BASE >= IOAPIC_WINDOW_SIZE)
            return false;
        access_ioapic(ioapic, run);
        return true;
    default:
        return false;
    }
}

bool arch_vcpu_decode_exit(struct vcpu *vcpu, struct vcpu_exit *exit)
{
    struct kvm_run *run = vcpu->run;

    if (run->exit_reason != KVM_EXIT_IO)
        return false;
    *exit = (struct vcpu_exit){
        .reason = VCPU_EXIT_PORT,
        .address = run->io.port,
        .size = run->io.size,
        .count = run->io.count,
        .is_write = run->io.direction == KVM_EXIT_IO_OUT,
        .data = (uint8_t *)run + run->io.data_offset,
    };
    return true;
}

bool arch_vcpu_explain_exit(const struct vcpu *vcpu, char *buf, size_t size)
{
    (void)vcpu;
    if (size > 0)
        buf[0] = '\0';
    return false;
}

static const char *mode_name(const struct kvm_sregs *sregs)
{
    if (!(sregs->cr0 & X86_CR0_PE))
        return "real mode";
    if (sregs->cs.l)
        return "64-bit mode";
    return sregs->cs.db ? "32-bit mode" : "16-bit mode";
}

void arch_vcpu_describe(const struct vcpu *vcpu, char *buf, size_t size)
{
    struct kvm_regs regs;
    struct kvm_sregs sregs;

    if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0 || ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0) {
        snprintf(buf, size, "an unknown address (%s)", strerror(errno));
        return;
    }
    snprintf(buf, size, "%#llx, %s, privilege level %u, sp %#llx, cr0 %#llx, cr3 %#llx",
             (unsigned long long)regs.rip, mode_name(&sregs), sregs.cs.dpl,
             (unsigned long long)regs.rsp, (unsigned long long)sregs.cr0,
             (unsigned long long)sregs.cr3);
}
