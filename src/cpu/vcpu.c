// SPDX-License-Identifier: Apache-2.0
/* Runs a virtual CPU and says why it stopped.
 *
 * How a kick works: KVM_RUN returns EINTR when a signal arrives or immediate_exit is set.
 * vcpu_kick() sets immediate_exit first and then sends a signal with an empty handler, so a kick
 * is seen whether the thread is in KVM_RUN, on its way in, or on its way out. vcpu_run() takes
 * immediate_exit back before it returns, and thus before its caller looks for what the kick was
 * about: a kick that comes later stops the next run.
 *
 * How a memory exit is split: an instruction may touch a device with 3 or 7 bytes, when it crosses
 * a page; a bus knows only 1, 2, 4 and 8. Such an exit is handed out in pieces, and KVM_RUN is
 * called again when the last one was answered. */
#include "arch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "host/fd.h"
#include "host/log.h"

static int vcpu_open(struct vcpu *vcpu, const struct cpu_model *model)
{
    vcpu->fd = ioctl(vcpu->vm->fd, KVM_CREATE_VCPU, (unsigned long)vcpu->index);
    if (vcpu->fd < 0)
        return log_errno(-errno, "CPU %u: KVM_CREATE_VCPU", vcpu->index);

    void *run = mmap(NULL, vcpu->vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (run == MAP_FAILED)
        return log_errno(-errno, "CPU %u: mapping its state", vcpu->index);
    vcpu->run = run;
    return arch_vcpu_init(vcpu, model);
}

int vcpu_create(struct vm *vm, unsigned index, const struct cpu_model *model, struct vcpu **ret)
{
    struct vcpu *vcpu = calloc(1, sizeof(*vcpu));

    if (!vcpu)
        return log_errno(-ENOMEM, "CPU %u", index);
    vcpu->vm = vm;
    vcpu->fd = -1;
    vcpu->index = index;

    int err = vcpu_open(vcpu, model);
    if (err) {
        vcpu_destroy(vcpu);
        return err;
    }
    *ret = vcpu;
    return 0;
}

void vcpu_destroy(struct vcpu *vcpu)
{
    if (!vcpu)
        return;
    if (vcpu->run)
        munmap(vcpu->run, vcpu->vm->run_size);
    fd_close(&vcpu->fd);
    free(vcpu);
}

int vcpu_complete(struct vcpu *vcpu)
{
    return arch_vcpu_complete(vcpu);
}

int vcpu_set_entry(struct vcpu *vcpu, struct guest_mem *mem, const struct cpu_entry *entry)
{
    return arch_vcpu_set_entry(vcpu, mem, entry);
}

/* The next piece of a memory exit: the largest power of two that is left. */
static void next_memory_piece(struct vcpu *vcpu, struct vcpu_exit *exit)
{
    struct kvm_run *run = vcpu->run;
    unsigned left = run->mmio.len - vcpu->mmio_done;
    unsigned size = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;

    *exit = (struct vcpu_exit){
        .reason = VCPU_EXIT_MEMORY,
        .address = run->mmio.phys_addr + vcpu->mmio_done,
        .size = size,
        .count = 1,
        .is_write = run->mmio.is_write,
        .data = run->mmio.data + vcpu->mmio_done,
    };
    vcpu->mmio_done = size < left ? vcpu->mmio_done + size : 0;
}

static void decode_exit(struct vcpu *vcpu, struct vcpu_exit *exit)
{
    *exit = (struct vcpu_exit){ .reason = VCPU_EXIT_FAILED };

    switch (vcpu->run->exit_reason) {
    case KVM_EXIT_MMIO:
        next_memory_piece(vcpu, exit);
        break;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        exit->reason = VCPU_EXIT_NONE;
        break;
    case KVM_EXIT_SHUTDOWN:
        exit->reason = VCPU_EXIT_GUEST_DOWN;
        break;
    default:
        (void)arch_vcpu_decode_exit(vcpu, exit);
        break;
    }
}

int vcpu_run(struct vcpu *vcpu, struct vcpu_exit *exit)
{
    if (vcpu->mmio_done) {
        next_memory_piece(vcpu, exit);
        return 0;
    }
    for (;;) {
        if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
            if (arch_vcpu_settle_exit(vcpu))
                continue;
            decode_exit(vcpu, exit);
            return 0;
        }
        if (errno == EINTR) {
            __atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
            *exit = (struct vcpu_exit){ .reason = VCPU_EXIT_NONE };
            return 0;
        }
        /* EAGAIN: the CPU was woken up by another one (INIT or SIPI on x86) and can run now. */
        if (errno != EAGAIN)
            return -errno;
    }
}

static void ignore_signal(int signal)
{
    (void)signal;
}

void vcpu_setup_kick_signal(void)
{
    /* No SA_RESTART: KVM_RUN is to end. */
    struct sigaction action = { .sa_handler = ignore_signal };
    sigset_t kick;

    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGRTMIN, &action, NULL);
    /* Who started us may have blocked it: then nothing would get a CPU out of the guest. */
    sigemptyset(&kick);
    sigaddset(&kick, SIGRTMIN);
    (void)pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
}

void vcpu_kick(struct vcpu *vcpu, pthread_t thread)
{
    __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    (void)pthread_kill(thread, SIGRTMIN);
}

bool vcpu_failure_is_guests(const struct vcpu *vcpu)
{
    if (vcpu->run->exit_reason == KVM_EXIT_ARM_NISV)
        return true;
    if (vcpu->run->exit_reason != KVM_EXIT_INTERNAL_ERROR)
        return false;
    switch (vcpu->run->internal.suberror) {
    case KVM_INTERNAL_ERROR_EMULATION:
    case KVM_INTERNAL_ERROR_SIMUL_EX:
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
        return arch_has_hardware_flag();
    default:
        return false;
    }
}

static const char *internal_error_name(uint32_t suberror)
{
    switch (suberror) {
    case KVM_INTERNAL_ERROR_EMULATION:
        return "KVM's emulator does not know an instruction";
    case KVM_INTERNAL_ERROR_SIMUL_EX:
        return "two exceptions at once";
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
        return "an exit while an event was delivered";
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
        return "an exit for an unexpected reason";
    default:
        return "an internal error";
    }
}

/* " (0f c7 0f)", if KVM tells the bytes of the instruction. */
static void describe_instruction(const struct kvm_run *run, char *buf, size_t size)
{
    unsigned count = run->emulation_failure.insn_size;
    size_t len = 0;

    buf[0] = '\0';
    if (run->emulation_failure.suberror != KVM_INTERNAL_ERROR_EMULATION ||
        run->emulation_failure.ndata < 3 ||
        !(run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
        return;
    if (count > sizeof(run->emulation_failure.insn_bytes))
        count = sizeof(run->emulation_failure.insn_bytes);
    for (unsigned i = 0; i < count && len < size; i++)
        len += (size_t)snprintf(buf + len, size - len, "%s%02x", i ? " " : " (",
                                run->emulation_failure.insn_bytes[i]);
    if (count && len < size)
        snprintf(buf + len, size - len, ")");
}

void vcpu_describe_failure(const struct vcpu *vcpu, char *buf, size_t size)
{
    const struct kvm_run *run = vcpu->run;
    char what[128], bytes[64] = "", where[256];

    switch (run->exit_reason) {
    case KVM_EXIT_INTERNAL_ERROR:
        snprintf(what, sizeof(what), "%s", internal_error_name(run->internal.suberror));
        describe_instruction(run, bytes, sizeof(bytes));
        break;
    case KVM_EXIT_FAIL_ENTRY:
        snprintf(what, sizeof(what), "the hardware refused to enter the guest, reason %#llx",
                 (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
        break;
    case KVM_EXIT_UNKNOWN:
        snprintf(what, sizeof(what), "KVM does not know the hardware's exit reason %#llx",
                 (unsigned long long)run->hw.hardware_exit_reason);
        break;
    default:
        if (!arch_vcpu_explain_exit(vcpu, what, sizeof(what)))
            snprintf(what, sizeof(what), "KVM stopped it for reason %u", run->exit_reason);
        break;
    }
    arch_vcpu_describe(vcpu, where, sizeof(where));
    snprintf(buf, size, "CPU %u: %s%s at %s", vcpu->index, what, bytes, where);
}
