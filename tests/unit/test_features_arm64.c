// SPDX-License-Identifier: Apache-2.0
/* What an Arm CPU has, told from its registers, and what of it a guest gets. */
#include "cpu/arm64/arm64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cpu/vcpu.h"

/* ID_AA64MMFR0_EL1 of those CPUs, as Linux shows it. */
static void page_sizes_are_told_from_the_register(void **state)
{
    static const struct {
        uint64_t mmfr0, sizes;
    } cases[] = {
        { 0x0000000000001122, 4096 | 65536 },         /* Cortex-A53: TGran16 is 0 */
        { 0x0000000000101122, 4096 | 16384 | 65536 }, /* Cortex-A76 */
        { 0x000000000f100003, 4096 | 16384 },         /* Apple M1: TGran64 is 15 */
        { 0x00000000f0000000, 65536 },
        { 0x0000000010201126, 4096 | 16384 | 65536 }, /* with addresses of 52 bits */
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(cpu_page_sizes_of(cases[i].mmfr0), cases[i].sizes);
}

static void a_guest_gets_what_there_is_and_was_not_masked(void **state)
{
    const struct cpu_parts all = { true, true, true };
    const struct cpu_parts no_sve = { false, true, true };
    const char *const masked[] = { "pmu", NULL };
    const struct cpu_model whole = { .count = 1 }, without_pmu = { 1, masked };
    (void)state;

    struct cpu_parts parts = cpu_parts_chosen(&all, &whole);
    assert_true(parts.sve && parts.pauth && parts.pmu);
    parts = cpu_parts_chosen(&all, &without_pmu);
    assert_true(parts.sve && parts.pauth && !parts.pmu);
    parts = cpu_parts_chosen(&no_sve, &without_pmu);
    assert_true(!parts.sve && parts.pauth && !parts.pmu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_sizes_are_told_from_the_register),
        cmocka_unit_test(a_guest_gets_what_there_is_and_was_not_masked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
