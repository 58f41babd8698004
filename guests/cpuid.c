// SPDX-License-Identifier: Apache-2.0
/* What CPUID tells: that this is KVM, how many cores there are (`cpus=`), how fast the clocks
 * tick, and that features which were masked (`masked=1`: lahf_lm, nx) are gone. */
#include "lib/apic.h"

enum { LEVEL_THREAD = 1, LEVEL_CORE = 2 };

static void check_hypervisor(void)
{
    struct cpuid signature = cpuid(0x40000000, 0);

    check(cpuid(1, 0).ecx >> 31, "the hypervisor bit is set");
    check(signature.ebx == 0x4b4d564b && signature.ecx == 0x564b4d56 && signature.edx == 0x4d,
          "the hypervisor is KVM");
    check(signature.eax >= 0x40000010, "it has a timing leaf");
    check(cpuid(0x40000010, 0).eax > 100000, "the TSC's frequency is told");
    check(cpuid(0x40000010, 0).ebx == 1000000, "the APIC bus has 1 GHz");
}

static void check_topology(unsigned cpus)
{
    struct cpuid threads = cpuid(0xb, 0), cores = cpuid(0xb, 1);

    check((threads.ecx >> 8 & 0xff) == LEVEL_THREAD && threads.ebx == 1 && threads.eax == 0,
          "a core has one thread");
    check((cores.ecx >> 8 & 0xff) == LEVEL_CORE && cores.ebx == cpus, "the package has the cores");
    check(1u << cores.eax >= cpus && (cpus == 1 || 1u << (cores.eax - 1) < cpus),
          "their IDs have as many bits as they need");
    check(threads.edx == apic_id(), "the ID is the APIC's");
    check((cpuid(1, 0).ebx >> 16 & 0xff) == cpus, "leaf 1 agrees");
}

/* The timer of the APIC and the TSC tick at the frequencies that are told, within a tenth. */
static void check_clocks(void)
{
    enum { MSR_TIMER_INITIAL = 0x838, MSR_TIMER_COUNT = 0x839, MSR_TIMER_DIVIDE = 0x83e };
    const uint64_t tsc_khz = cpuid(0x40000010, 0).eax;

    wrmsr(MSR_TIMER_DIVIDE, 0xb); /* by 1 */
    wrmsr(MSR_TIMER_INITIAL, UINT32_MAX);
    uint64_t start = ticks(), first = rdmsr(MSR_TIMER_COUNT);
    while (ticks() < start + 10 * tsc_khz)
        relax();
    uint64_t bus = first - rdmsr(MSR_TIMER_COUNT), tsc = ticks() - start;
    uint64_t expected = tsc * 1000000 / tsc_khz;
    check(bus > expected / 10 * 9 && bus < expected / 10 * 11, "both clocks agree");
    wrmsr(MSR_TIMER_INITIAL, 0);
}

void guest_main(const char *cmdline)
{
    apic_enable();
    check_hypervisor();
    check_topology((unsigned)option_number(cmdline, "cpus", 1));
    check_clocks();
    /* An emulating KVM may show more in leaves 1 and 7 than it was told to, but not here. */
    struct cpuid features = cpuid(0x80000001, 0);
    if (option_number(cmdline, "masked", 0)) {
        check(!(features.ecx & 1), "lahf_lm is masked");
        check(!(features.edx >> 20 & 1), "nx is masked");
    } else {
        check(features.ecx & 1, "lahf_lm is there");
        check(features.edx >> 20 & 1, "nx is there");
    }
}
