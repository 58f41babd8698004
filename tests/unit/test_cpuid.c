// SPDX-License-Identifier: Apache-2.0
/* The CPUID table of one CPU, made from a small table of what KVM might support. */
#include "cpu/x86_64/x86.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "cpu/vcpu.h"

#define INDEXED KVM_CPUID_FLAG_SIGNIFCANT_INDEX

enum { MAX_ENTRIES = 32 };

/* A host like a small Intel one: as KVM tells it, without a topology. */
static const struct kvm_cpuid_entry2 intel[] = {
    { .function = 0, .eax = 0x1f, .ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69 },
    { .function = 1, .ebx = 0x07100800, .ecx = 0x00201000, .edx = 0x078bfbff },
    { .function = 4, .index = 0, .flags = INDEXED, .eax = 0xfc004121 }, /* level 1, data */
    { .function = 4, .index = 1, .flags = INDEXED, .eax = 0xfc004143 }, /* level 2 */
    { .function = 4, .index = 2, .flags = INDEXED, .eax = 0xfc1fc163 }, /* level 3 */
    { .function = 4, .index = 3, .flags = INDEXED },
    { .function = 7, .index = 0, .flags = INDEXED, .ebx = 0xffffffff, .edx = 0xffffffff },
    { .function = 7, .index = 1, .flags = INDEXED, .eax = 0xffffffff },
    { .function = 0xb, .index = 0, .flags = INDEXED, .ebx = 77 },
    { .function = 0x1f, .index = 0, .flags = INDEXED, .ebx = 77 },
    { .function = 0x1f, .index = 5, .flags = INDEXED, .ebx = 77 },
    { .function = 0x40000000,
      .eax = 0x40000001,
      .ebx = 0x4b4d564b,
      .ecx = 0x564b4d56,
      .edx = 0x4d },
    { .function = 0x40000001, .eax = 0x01007efb },
    { .function = 0x80000000, .eax = 0x80000008 },
    { .function = 0x80000001, .ecx = 0x121, .edx = 0x2c100800 },
    { .function = 0x80000008, .eax = 0x3028, .ecx = 0x7007 },
};

static const struct kvm_cpuid_entry2 amd[] = {
    { .function = 0, .eax = 0x10, .ebx = 0x68747541, .ecx = 0x444d4163, .edx = 0x69746e65 },
    { .function = 1, .ebx = 0x07100800, .ecx = 0x00201000, .edx = 0x078bfbff },
    { .function = 0xb, .index = 0, .flags = INDEXED },
    { .function = 0x40000000,
      .eax = 0x40000001,
      .ebx = 0x4b4d564b,
      .ecx = 0x564b4d56,
      .edx = 0x4d },
    { .function = 0x40000001, .eax = 0x01007efb },
    { .function = 0x80000000, .eax = 0x80000026 },
    { .function = 0x80000001, .ecx = 0x00400021, .edx = 0x2c100800 },
    { .function = 0x80000008, .eax = 0x3030, .ebx = 0x1007, .ecx = 0xffff },
    { .function = 0x8000001d, .index = 0, .flags = INDEXED, .eax = 0x00004121 },
    { .function = 0x8000001d, .index = 1, .flags = INDEXED, .eax = 0x01ffc163 },
    { .function = 0x8000001d, .index = 2, .flags = INDEXED },
    { .function = 0x8000001e, .eax = 99, .ebx = 0x0105, .ecx = 0x0303 },
    { .function = 0x80000026, .index = 0, .flags = INDEXED, .ebx = 77 },
};

static struct kvm_cpuid2 *make_from(const struct kvm_cpuid_entry2 *entries, size_t size,
                                    const struct cpuid_params *params)
{
    struct kvm_cpuid2 *supported = calloc(1, sizeof(*supported) + size), *table = NULL;

    assert_non_null(supported);
    supported->nent = (uint32_t)(size / sizeof(entries[0]));
    memcpy(supported->entries, entries, size);
    assert_int_equal(cpuid_create(supported, params, &table), 0);
    free(supported);
    return table;
}

#define MAKE(host, ...) make_from(host, sizeof(host), &(struct cpuid_params){ __VA_ARGS__ })

static struct kvm_cpuid_entry2 leaf(struct kvm_cpuid2 *table, uint32_t function, uint32_t index)
{
    struct kvm_cpuid_entry2 *entry = cpuid_find(table, function, index);

    assert_non_null(entry);
    return *entry;
}

static unsigned count_leaves(const struct kvm_cpuid2 *table, uint32_t function)
{
    unsigned count = 0;

    for (uint32_t i = 0; i < table->nent; i++)
        count += table->entries[i].function == function;
    return count;
}

struct topology {
    unsigned count, bits;
};
static const struct topology topologies[] = { { 1, 0 }, { 2, 1 }, { 3, 2 },
                                              { 4, 2 }, { 8, 3 }, { 300, 9 } };

static void both_topology_leaves_show_single_threaded_cores(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(topologies) / sizeof(topologies[0]); i++) {
        unsigned count = topologies[i].count;
        struct kvm_cpuid2 *table = MAKE(intel, .cpu_count = count, .index = count - 1);

        for (uint32_t function = 0xb; function <= 0x1f; function += 0x1f - 0xb) {
            struct kvm_cpuid_entry2 thread = leaf(table, function, 0);
            struct kvm_cpuid_entry2 core = leaf(table, function, 1);
            struct kvm_cpuid_entry2 end = leaf(table, function, 2);

            assert_int_equal(count_leaves(table, function), 3);
            assert_int_equal(thread.eax, 0);
            assert_int_equal(thread.ebx, 1);
            assert_int_equal(thread.ecx, 0x100);
            assert_int_equal(core.eax, topologies[i].bits);
            assert_int_equal(core.ebx, count);
            assert_int_equal(core.ecx, 0x201);
            assert_int_equal(end.eax | end.ebx, 0);
            assert_int_equal(end.ecx, 2);
            assert_int_equal(thread.edx, count - 1);
            assert_int_equal(core.edx, count - 1);
            assert_int_equal(end.edx, count - 1);
        }
        free(table);
    }
}

static void leaf_1_has_the_apic_id_and_the_count(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(topologies) / sizeof(topologies[0]); i++) {
        unsigned count = topologies[i].count;
        struct kvm_cpuid2 *table = MAKE(intel, .cpu_count = count, .index = count - 1);
        struct kvm_cpuid_entry2 entry = leaf(table, 1, 0);

        assert_int_equal(entry.ebx >> 24, (count - 1) & 0xff);
        assert_int_equal(entry.ebx >> 16 & 0xff, count < 255 ? count : 255);
        assert_int_equal(entry.ebx & 0xffff, 0x0800);
        assert_int_equal(entry.edx >> 28 & 1, count > 1);
        free(table);
    }
}

static void the_third_cache_is_shared_and_the_others_are_not(void **state)
{
    (void)state;
    struct kvm_cpuid2 *table = MAKE(intel, .cpu_count = 3);

    for (uint32_t index = 0; index < 2; index++)
        assert_int_equal(leaf(table, 4, index).eax >> 14 & 0xfff, 0);
    assert_int_equal(leaf(table, 4, 2).eax >> 14 & 0xfff, 3); /* IDs 0 to 3 are addressable */
    for (uint32_t index = 0; index < 3; index++)
        assert_int_equal(leaf(table, 4, index).eax >> 26, 3);
    assert_int_equal(leaf(table, 4, 2).eax & 0x3fff, 0x163);
    assert_int_equal(leaf(table, 4, 3).eax, 0);
    free(table);
}

static void cache_sharing_fits_its_fields_with_many_cpus(void **state)
{
    (void)state;
    struct kvm_cpuid2 *table = MAKE(intel, .cpu_count = 300);

    assert_int_equal(leaf(table, 4, 2).eax >> 14 & 0xfff, 511);
    assert_int_equal(leaf(table, 4, 2).eax >> 26, 63);
    free(table);
}

static void an_amd_guest_learns_the_topology_its_way(void **state)
{
    (void)state;
    struct kvm_cpuid2 *table = MAKE(amd, .cpu_count = 3, .index = 2);

    assert_int_equal(leaf(table, 0x80000008, 0).ecx, 2 | 2 << 12);
    assert_int_equal(leaf(table, 0x80000008, 0).ebx, 0x1007);
    assert_int_equal(leaf(table, 0x80000001, 0).ecx, 0x00400023); /* CmpLegacy */
    assert_int_equal(leaf(table, 0x8000001e, 0).eax, 2);
    assert_int_equal(leaf(table, 0x8000001e, 0).ebx, 2);
    assert_int_equal(leaf(table, 0x8000001e, 0).ecx, 0);
    assert_int_equal(leaf(table, 0x8000001d, 0).eax >> 14 & 0xfff, 0);
    assert_int_equal(leaf(table, 0x8000001d, 1).eax >> 14 & 0xfff, 3);
    assert_int_equal(leaf(table, 0xb, 1).ebx, 3);
    assert_int_equal(count_leaves(table, 0x80000026), 0);
    free(table);
}

static void one_amd_core_has_no_legacy_siblings(void **state)
{
    (void)state;
    struct kvm_cpuid2 *table = MAKE(amd, .cpu_count = 1);

    assert_int_equal(leaf(table, 0x80000008, 0).ecx, 0);
    assert_int_equal(leaf(table, 0x80000001, 0).ecx, 0x00400021);
    free(table);
}

static void an_intel_guest_sees_no_amd_topology(void **state)
{
    (void)state;
    struct kvm_cpuid2 *table = MAKE(intel, .cpu_count = 4);

    assert_int_equal(leaf(table, 0x80000008, 0).ecx, 0);
    assert_int_equal(leaf(table, 0x80000001, 0).ecx, 0x121);
    free(table);
}

static void leaves_beyond_the_last_one_are_not_made_up(void **state)
{
    (void)state;
    struct kvm_cpuid2 *table = MAKE(amd, .cpu_count = 4); /* its last leaf is 0x10 */

    assert_int_equal(count_leaves(table, 0x1f), 0);
    assert_int_equal(count_leaves(table, 0x15), 0);
    assert_int_equal(leaf(table, 0, 0).eax, 0x10);
    free(table);
}

static void the_guest_knows_that_it_is_one(void **state)
{
    (void)state;
    struct kvm_cpuid2 *table = MAKE(intel, .cpu_count = 1, .has_tsc_deadline = true);

    assert_int_equal(leaf(table, 1, 0).ecx >> 31, 1);
    assert_int_equal(leaf(table, 1, 0).ecx >> 24 & 1, 1); /* TSC deadline */
    assert_int_equal(leaf(table, 1, 0).ecx >> 21 & 1, 1); /* x2APIC */
    free(table);
}

static void no_deadline_timer_is_told_where_kvm_has_none(void **state)
{
    (void)state;
    struct kvm_cpuid2 *table = MAKE(intel, .cpu_count = 1);

    assert_int_equal(leaf(table, 1, 0).ecx >> 24 & 1, 0);
    free(table);
}

static void the_timing_leaf_has_the_exact_frequencies(void **state)
{
    (void)state;
    struct kvm_cpuid2 *table = MAKE(intel, .cpu_count = 1, .tsc_khz = 2599998);

    assert_int_equal(leaf(table, 0x40000000, 0).eax, 0x40000010);
    assert_int_equal(leaf(table, 0x40000010, 0).eax, 2599998);
    assert_int_equal(leaf(table, 0x40000010, 0).ebx, 1000000);
    free(table);
}

static void an_unknown_frequency_is_not_told(void **state)
{
    (void)state;
    struct kvm_cpuid2 *table = MAKE(intel, .cpu_count = 1);

    assert_int_equal(count_leaves(table, 0x15), 0);
    assert_int_equal(leaf(table, 0x40000000, 0).eax, 0x40000001);
    free(table);
}

/* As Linux computes it (native_calibrate_tsc), in 32 bits. */
static uint32_t linux_tsc_khz(struct kvm_cpuid_entry2 entry)
{
    uint32_t crystal_khz = entry.ecx / 1000;

    return crystal_khz * entry.ebx / entry.eax;
}

static void the_crystal_gives_the_tsc_to_120_millionths_in_32_bits(void **state)
{
    static const uint32_t frequencies[] = { 999884,  1000000, 1999999, 2100000, 2399998, 2599998,
                                            2900001, 3000000, 3391600, 3700007, 4000512, 4200123 };

    (void)state;
    for (size_t i = 0; i < sizeof(frequencies) / sizeof(frequencies[0]); i++) {
        struct kvm_cpuid2 *table = MAKE(intel, .cpu_count = 1, .tsc_khz = frequencies[i]);
        struct kvm_cpuid_entry2 entry = leaf(table, 0x15, 0);
        int64_t error = (int64_t)linux_tsc_khz(entry) - frequencies[i];

        assert_int_equal(entry.ecx, 1000000000); /* KVM's APIC timer, which goes by it too */
        assert_true(llabs(error) * 1000000 <= 120 * (int64_t)frequencies[i]);
        free(table);
    }
}

static void an_old_intel_cpu_gets_the_crystal_leaf(void **state)
{
    struct kvm_cpuid_entry2 old[sizeof(intel) / sizeof(intel[0])];

    (void)state;
    memcpy(old, intel, sizeof(intel));
    old[0].eax = 0xd;
    struct kvm_cpuid2 *table = MAKE(old, .cpu_count = 1, .tsc_khz = 2000000);

    assert_int_equal(leaf(table, 0, 0).eax, 0x15);
    assert_int_equal(leaf(table, 0x15, 0).ebx, 2);
    assert_int_equal(leaf(table, 0x15, 0).eax, 1);
    free(table);
}

static void masked_features_are_gone_and_their_neighbours_stay(void **state)
{
    static const char *const names[] = { "avx2", "arch_capabilities", "avx_vnni", "nx", NULL };

    (void)state;
    struct kvm_cpuid2 *table = MAKE(intel, .cpu_count = 1, .masked_features = names);

    assert_int_equal(leaf(table, 7, 0).ebx, 0xffffffffu & ~(1u << 5));
    assert_int_equal(leaf(table, 7, 0).edx, 0xffffffffu & ~(1u << 29));
    assert_int_equal(leaf(table, 7, 1).eax, 0xffffffffu & ~(1u << 4));
    assert_int_equal(leaf(table, 0x80000001, 0).edx, 0x2c000800);
    free(table);
}

static void masking_wins_over_what_is_added(void **state)
{
    static const char *const names[] = { "hypervisor", "tsc_deadline_timer", "x2apic", NULL };

    (void)state;
    struct kvm_cpuid2 *table =
        MAKE(intel, .cpu_count = 1, .has_tsc_deadline = true, .masked_features = names);

    assert_int_equal(leaf(table, 1, 0).ecx & (1u << 31 | 1u << 24 | 1u << 21), 0);
    free(table);
}

static void a_masked_feature_of_a_missing_leaf_is_harmless(void **state)
{
    static const char *const names[] = { "npt", "xsaves", NULL };

    (void)state;
    struct kvm_cpuid2 *table = MAKE(intel, .cpu_count = 1, .masked_features = names);

    assert_int_equal(count_leaves(table, 0x8000000a), 0);
    free(table);
}

static void many_cpus_need_wide_message_destinations(void **state)
{
    (void)state;
    struct kvm_cpuid2 *few = MAKE(intel, .cpu_count = 255);
    struct kvm_cpuid2 *many = MAKE(intel, .cpu_count = 256, .has_large_apic_ids = true);

    assert_int_equal(leaf(few, 0x40000001, 0).eax >> 15 & 1, 0);
    assert_int_equal(leaf(many, 0x40000001, 0).eax >> 15 & 1, 1);
    free(few);
    free(many);
}

static void what_nobody_changes_stays_as_kvm_says(void **state)
{
    (void)state;
    struct kvm_cpuid2 *table = MAKE(intel, .cpu_count = 2, .tsc_khz = 1000000);

    assert_int_equal(leaf(table, 7, 0).ebx, 0xffffffff);
    assert_int_equal(leaf(table, 0x40000000, 0).ebx, 0x4b4d564b);
    assert_int_equal(leaf(table, 0x80000000, 0).eax, 0x80000008);
    assert_true(table->nent <= MAX_ENTRIES);
    free(table);
}

static void a_table_without_any_leaf_is_survived(void **state)
{
    static const struct kvm_cpuid_entry2 nothing[] = { { .function = 0x99 } };

    (void)state;
    struct kvm_cpuid2 *table = MAKE(nothing, .cpu_count = 4, .tsc_khz = 1000000);

    assert_int_equal(table->nent, 1);
    free(table);
}

static void features_are_known_by_their_names_in_cpuinfo(void **state)
{
    (void)state;
    assert_true(cpu_feature_is_known("avx512f"));
    assert_true(cpu_feature_is_known("pni"));
    assert_false(cpu_feature_is_known("AVX2"));
    assert_false(cpu_feature_is_known("constant_tsc")); /* Linux made it up */
    assert_false(cpu_feature_is_known(""));
}

static void a_cpu_is_named_by_its_index(void **state)
{
    struct cpu_model model = { .count = 3 };

    (void)state;
    assert_int_equal(cpu_hardware_id(&model, 0), 0);
    assert_int_equal(cpu_hardware_id(&model, 2), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_topology_leaves_show_single_threaded_cores),
        cmocka_unit_test(leaf_1_has_the_apic_id_and_the_count),
        cmocka_unit_test(the_third_cache_is_shared_and_the_others_are_not),
        cmocka_unit_test(cache_sharing_fits_its_fields_with_many_cpus),
        cmocka_unit_test(an_amd_guest_learns_the_topology_its_way),
        cmocka_unit_test(one_amd_core_has_no_legacy_siblings),
        cmocka_unit_test(an_intel_guest_sees_no_amd_topology),
        cmocka_unit_test(leaves_beyond_the_last_one_are_not_made_up),
        cmocka_unit_test(the_guest_knows_that_it_is_one),
        cmocka_unit_test(no_deadline_timer_is_told_where_kvm_has_none),
        cmocka_unit_test(the_timing_leaf_has_the_exact_frequencies),
        cmocka_unit_test(an_unknown_frequency_is_not_told),
        cmocka_unit_test(the_crystal_gives_the_tsc_to_120_millionths_in_32_bits),
        cmocka_unit_test(an_old_intel_cpu_gets_the_crystal_leaf),
        cmocka_unit_test(masked_features_are_gone_and_their_neighbours_stay),
        cmocka_unit_test(masking_wins_over_what_is_added),
        cmocka_unit_test(a_masked_feature_of_a_missing_leaf_is_harmless),
        cmocka_unit_test(many_cpus_need_wide_message_destinations),
        cmocka_unit_test(what_nobody_changes_stays_as_kvm_says),
        cmocka_unit_test(a_table_without_any_leaf_is_survived),
        cmocka_unit_test(features_are_known_by_their_names_in_cpuinfo),
        cmocka_unit_test(a_cpu_is_named_by_its_index),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
