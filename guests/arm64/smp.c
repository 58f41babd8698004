// SPDX-License-Identifier: Apache-2.0
/* Starts every CPU that `cpus=` on the command line promises, by PSCI, and lets them work at the
 * same time. */
#include "../lib/guest.h"

enum { MAX_CPUS = 64, ROUNDS = 100, CPUS_PER_CLUSTER = 16 };

static volatile uint64_t ids[MAX_CPUS];
static volatile uint32_t up, counter, done;
static volatile uint8_t go;

/* How the machine numbers its CPUs. */
static uint64_t affinity_of(unsigned n)
{
    return n % CPUS_PER_CLUSTER | (uint64_t)(n / CPUS_PER_CLUSTER) << 8;
}

static void work(void)
{
    for (unsigned i = 0; i < ROUNDS; i++)
        __atomic_fetch_add(&counter, 1, __ATOMIC_SEQ_CST);
}

static void other_cpu(unsigned n)
{
    ids[n] = cpu_affinity();
    __atomic_fetch_add(&up, 1, __ATOMIC_SEQ_CST);
    while (!go)
        relax();
    work();
    __atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
    halt_for_ever();
}

static bool ids_are_theirs(unsigned count)
{
    for (unsigned n = 1; n < count; n++) {
        if (ids[n] != affinity_of(n))
            return false;
    }
    return cpu_affinity() == 0;
}

void guest_main(const char *cmdline)
{
    unsigned count = (unsigned)option_number(cmdline, "cpus", 1);
    bool all_started = true;

    if (count > MAX_CPUS)
        give_up("the guest is made for so many CPUs");
    check(psci_call(PSCI_VERSION, 0, 0, 0) >= 2, "PSCI is 0.2 or later");
    for (unsigned n = 1; n < count; n++)
        all_started = start_cpu(affinity_of(n), other_cpu, n) == 0 && all_started;
    check(all_started, "every CPU can be started");
    check(start_cpu(affinity_of(count), other_cpu, count % MAX_CPUS) < 0, "and one more cannot");
    check(wait_until(up == count - 1), "every CPU comes up");
    say("# %u CPUs\n", up + 1);
    check(ids_are_theirs(count), "each of them is who it was started as");
    go = true;
    work();
    check(wait_until(done == count - 1), "every CPU does its work");
    check(counter == count * ROUNDS, "no atomic addition is lost");
}
