// SPDX-License-Identifier: Apache-2.0
/* How fast a guest runs in kernel mode: a loop that counts down.
 *
 * A KVM that cannot run guest kernel code on the CPU emulates it, hundreds of times slower, and
 * says so nowhere; only the clock tells. The loop is run with ever more rounds until one run takes
 * long enough to be measured, so it takes some milliseconds on any host. What a run takes without
 * any rounds does not count: in a nested machine that is long. The little machine has one page of
 * the host's, no interrupt controller and one CPU, so that it runs where hutch's own would not. */
#include "arch.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/clock.h"
#include "host/fd.h"
#include "mem/layout.h"

enum { OVERHEAD_RUNS = 4 };
#define CODE_ADDRESS MIB
#define MIN_RUN_NS UINT64_C(2000000)
#define FIRST_ROUNDS 1000u
#define MAX_ROUNDS 1000000000u

struct tiny_machine {
    int vm_fd, vcpu_fd;
    struct kvm_run *run;
    size_t run_size;
    void *page;
    size_t page_size;
};

static int tiny_create_vm(struct tiny_machine *tiny, int kvm_fd)
{
    unsigned long type;
    int err = arch_vm_type(kvm_fd, CODE_ADDRESS + tiny->page_size, &type);

    if (err)
        return err;
    tiny->vm_fd = vm_create_fd(kvm_fd, type);
    if (tiny->vm_fd < 0)
        return tiny->vm_fd;
    arch_tiny_prepare(tiny->vm_fd);
    tiny->vcpu_fd = ioctl(tiny->vm_fd, KVM_CREATE_VCPU, 0UL);
    return tiny->vcpu_fd < 0 ? -errno : 0;
}

static int tiny_map(struct tiny_machine *tiny, int kvm_fd)
{
    int run_size = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);

    if (run_size <= 0)
        return -EINVAL;
    tiny->run_size = (size_t)run_size;
    tiny->run = mmap(NULL, tiny->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, tiny->vcpu_fd, 0);
    tiny->page =
        mmap(NULL, tiny->page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (tiny->run == MAP_FAILED || tiny->page == MAP_FAILED)
        return -ENOMEM;
    memcpy(tiny->page, arch_tiny_guest.code, arch_tiny_guest.size);

    struct kvm_userspace_memory_region slot = {
        .guest_phys_addr = CODE_ADDRESS,
        .memory_size = tiny->page_size,
        .userspace_addr = (uintptr_t)tiny->page,
    };
    return ioctl(tiny->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0 ? -errno : 0;
}

static void tiny_close(struct tiny_machine *tiny)
{
    if (tiny->run != MAP_FAILED)
        munmap(tiny->run, tiny->run_size);
    fd_close(&tiny->vcpu_fd);
    fd_close(&tiny->vm_fd);
    if (tiny->page != MAP_FAILED)
        munmap(tiny->page, tiny->page_size);
}

/* Returns how long the rounds took, 0 if they did not run. */
static uint64_t tiny_run(struct tiny_machine *tiny, uint32_t rounds)
{
    if (arch_tiny_start(tiny->vm_fd, tiny->vcpu_fd, CODE_ADDRESS, rounds))
        return 0;

    /* Of this thread, so that others on the same CPU do not count. */
    uint64_t start = clock_now_ns(CLOCK_THREAD_CPUTIME_ID);
    if (ioctl(tiny->vcpu_fd, KVM_RUN, 0) < 0 || tiny->run->exit_reason != arch_tiny_guest.last_exit)
        return 0;
    return clock_now_ns(CLOCK_THREAD_CPUTIME_ID) - start + 1;
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
        speed = NS_PER_S * arch_tiny_guest.instructions_per_round * rounds / elapsed_ns;
        if (elapsed_ns >= MIN_RUN_NS && elapsed_ns >= 4 * overhead_ns)
            break;
    }
    return speed;
}

uint64_t measure_guest_speed(int kvm_fd)
{
    struct tiny_machine tiny = {
        .vm_fd = -1,
        .vcpu_fd = -1,
        .run = MAP_FAILED,
        .page = MAP_FAILED,
        .page_size = (size_t)sysconf(_SC_PAGESIZE),
    };
    int err = tiny_create_vm(&tiny, kvm_fd);

    if (!err)
        err = tiny_map(&tiny, kvm_fd);
    uint64_t speed = err ? 0 : measure_speed(&tiny);
    tiny_close(&tiny);
    return speed;
}
