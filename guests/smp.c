// SPDX-License-Identifier: Apache-2.0
/* Starts every CPU that `cpus=` on the command line promises, by INIT and SIPI, and lets them
 * work at the same time. */
#include "lib/apic.h"

enum { MAX_CPUS = 64, ROUNDS = 100 };

static volatile uint32_t ids[MAX_CPUS], package_sizes[MAX_CPUS];
static volatile uint32_t up, counter, done;
static volatile uint8_t go;

static void work(void)
{
    for (unsigned i = 0; i < ROUNDS; i++)
        __atomic_fetch_add(&counter, 1, __ATOMIC_SEQ_CST);
}

static void other_cpu(unsigned n)
{
    apic_enable();
    ids[n] = apic_id();
    package_sizes[n] = cpu_count();
    __atomic_fetch_add(&up, 1, __ATOMIC_SEQ_CST);
    while (!go)
        relax();
    work();
    __atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
    halt_for_ever();
}

/* Every ID from 0 on is there once. */
static bool ids_are_distinct(unsigned count)
{
    uint64_t seen = 1; /* our own */

    for (unsigned i = 0; i + 1 < count; i++) {
        if (ids[i] >= count || seen >> ids[i] & 1)
            return false;
        seen |= UINT64_C(1) << ids[i];
    }
    return true;
}

static bool all_agree(unsigned count)
{
    for (unsigned i = 0; i + 1 < count; i++) {
        if (package_sizes[i] != count)
            return false;
    }
    return cpu_count() == count;
}

void guest_main(const char *cmdline)
{
    unsigned count = (unsigned)option_number(cmdline, "cpus", 1);

    if (count > MAX_CPUS)
        give_up("the guest is made for so many CPUs");
    apic_enable();
    check(apic_id() == 0, "the first CPU has APIC ID 0");
    start_cpus(other_cpu);
    check(wait_until(up == count - 1), "every CPU comes up");
    say("# %u CPUs\n", up + 1);
    check(ids_are_distinct(count), "their APIC IDs are distinct");
    check(all_agree(count), "CPUID tells each of them how many there are");
    go = true;
    work();
    check(wait_until(done == count - 1), "every CPU does its work");
    check(counter == count * ROUNDS, "no atomic addition is lost");
}
