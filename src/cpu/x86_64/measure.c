// SPDX-License-Identifier: Apache-2.0
/* How fast a guest runs in kernel mode: a loop that counts down in 32-bit protected mode.
 *
 * A KVM that cannot run guest kernel code on the CPU emulates it, hundreds of times slower, and
 * says so nowhere; only the clock tells. The loop is run with ever more rounds until one run takes
 * long enough to be measured, so it takes some milliseconds on any host. What a run takes without
 * any rounds does not count: in a nested machine that is long. The little machine has
 * one page, no interrupt controller and one CPU, so that it runs where hutch's own would not. */
#include "../arch.h"

#include <asm/processor-flags.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "host/cpuinfo.h"
#include "host/fd.h"
#include "mem/layout.h"
#include "x86.h"

enum { PAGE_SIZE = 4096, INSTRUCTIONS_PER_ROUND = 2, OVERHEAD_RUNS = 4 };
#define CODE_ADDRESS UINT64_C(0x1000)
#define MIN_RUN_NS UINT64_C(2000000)
#define FIRST_ROUNDS 1000u
#define MAX_ROUNDS 1000000000u

static const uint8_t code[] = {
    0x49,       /* 1: dec %ecx */
    0x75, 0xfd, /* jnz 1b */
    0xf4,       /* hlt */
};

struct tiny_machine {
    int vm_fd, vcpu_fd;
    struct kvm_run *run;
    size_t run_size;
    void *page;
};

static int tiny_open(struct tiny_machine *tiny, int kvm_fd)
{
    int run_size = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    uint64_t identity_map = LAYOUT_KVM_IDENTITY_MAP;

    tiny->vm_fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
    if (tiny->vm_fd < 0 || run_size <= 0)
        return -1;
    (void)ioctl(tiny->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
    (void)ioctl(tiny->vm_fd, KVM_SET_TSS_ADDR, (unsigned long)LAYOUT_KVM_TSS);
    tiny->page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    tiny->vcpu_fd = ioctl(tiny->vm_fd, KVM_CREATE_VCPU, 0UL);
    if (tiny->page == MAP_FAILED || tiny->vcpu_fd < 0)
        return -1;
    memcpy(tiny->page, code, sizeof(code));

    struct kvm_userspace_memory_region slot = {
        .guest_phys_addr = CODE_ADDRESS,
        .memory_size = PAGE_SIZE,
        .userspace_addr = (uintptr_t)tiny->page,
    };
    tiny->run_size = (size_t)run_size;
    tiny->run = mmap(NULL, tiny->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, tiny->vcpu_fd, 0);
    if (tiny->run == MAP_FAILED)
        return -1;
    return ioctl(tiny->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot);
}

static void tiny_close(struct tiny_machine *tiny)
{
    if (tiny->run != MAP_FAILED)
        munmap(tiny->run, tiny->run_size);
    fd_close(&tiny->vcpu_fd);
    fd_close(&tiny->vm_fd);
    if (tiny->page != MAP_FAILED)
        munmap(tiny->page, PAGE_SIZE);
}

/* Of this thread, so that others on the same CPU do not count. */
static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Returns how long the rounds took, 0 if they did not run. */
static uint64_t tiny_run(struct tiny_machine *tiny, uint32_t rounds)
{
    struct kvm_regs regs = { .rip = CODE_ADDRESS, .rflags = X86_EFLAGS_FIXED, .rcx = rounds };
    struct kvm_sregs sregs;

    if (ioctl(tiny->vcpu_fd, KVM_GET_SREGS, &sregs) < 0)
        return 0;
    entry_set_sregs(&sregs, CPU_ENTRY_PROTECTED);
    if (ioctl(tiny->vcpu_fd, KVM_SET_SREGS, &sregs) < 0 ||
        ioctl(tiny->vcpu_fd, KVM_SET_REGS, &regs) < 0)
        return 0;

    uint64_t start = now_ns();
    if (ioctl(tiny->vcpu_fd, KVM_RUN, 0) < 0 || tiny->run->exit_reason != KVM_EXIT_HLT)
        return 0;
    return now_ns() - start + 1;
}

/* How long getting in and out of the guest takes; its first time, which brings in pages, is left
 * out. 0 if the guest does not run. */
static uint64_t measure_overhead(struct tiny_machine *tiny)
{
    uint64_t least = 0;

    for (int i = 0; i < OVERHEAD_RUNS; i++) {
        uint64_t elapsed_ns = tiny_run(tiny, 1);

        if (!elapsed_ns)
            return 0;
        if (i > 0 && (!least || elapsed_ns < least))
            least = elapsed_ns;
    }
    return least;
}

static uint64_t measure_speed(struct tiny_machine *tiny)
{
    uint64_t overhead_ns = measure_overhead(tiny), speed = 0;

    if (!overhead_ns)
        return 0;
    for (uint32_t rounds = FIRST_ROUNDS; rounds <= MAX_ROUNDS; rounds *= 8) {
        uint64_t elapsed_ns = tiny_run(tiny, rounds);

        if (!elapsed_ns)
            break;
        if (elapsed_ns <= overhead_ns)
            continue;
        elapsed_ns -= overhead_ns;
        speed = UINT64_C(1000000000) * INSTRUCTIONS_PER_ROUND * rounds / elapsed_ns;
        if (elapsed_ns >= MIN_RUN_NS && elapsed_ns >= 4 * overhead_ns)
            break;
    }
    return speed;
}

uint64_t arch_measure_speed(int kvm_fd)
{
    struct tiny_machine tiny = {
        .vm_fd = -1, .vcpu_fd = -1, .run = MAP_FAILED, .page = MAP_FAILED
    };
    uint64_t speed = 0;

    if (tiny_open(&tiny, kvm_fd) == 0)
        speed = measure_speed(&tiny);
    tiny_close(&tiny);
    return speed;
}

bool arch_has_hardware_flag(void)
{
    return cpuinfo_has_flag("vmx") || cpuinfo_has_flag("svm");
}
