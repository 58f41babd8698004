// SPDX-License-Identifier: Apache-2.0
/* What CPUID tells the guest: what KVM supports, with this machine's topology and clock.
 *
 * One package of cpu_count cores, one thread each; a CPU's APIC ID is its index. Where a leaf
 * speaks of "addressable IDs" it means the next power of two. A pure function of its inputs: no
 * KVM is needed. (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E.) */
#include "x86.h"

#include <asm/kvm_para.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Entries that may come on top of what KVM supports. */
enum { EXTRA_ENTRIES = 16 };

enum { LEVEL_TYPE_THREAD = 1, LEVEL_TYPE_CORE = 2 };

#define LEAF1_ECX_X2APIC (1u << 21)
#define LEAF1_ECX_TSC_DEADLINE (1u << 24)
#define LEAF1_ECX_HYPERVISOR (1u << 31)
#define LEAF1_EDX_HTT (1u << 28)
#define LEAF_80000001_ECX_CMP_LEGACY (1u << 1)

/* The frequency of the local APIC's timer in KVM, which is also our "crystal". */
#define APIC_BUS_KHZ 1000000u

#define KVM_CPUID_TIMING 0x40000010u

struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid2 *table, uint32_t function, uint32_t index)
{
    for (uint32_t i = 0; i < table->nent; i++) {
        struct kvm_cpuid_entry2 *entry = &table->entries[i];
        bool has_index = entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX;

        if (entry->function == function && (!has_index || entry->index == index))
            return entry;
    }
    return NULL;
}

static void remove_leaf(struct kvm_cpuid2 *table, uint32_t function)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < table->nent; i++) {
        if (table->entries[i].function != function)
            table->entries[kept++] = table->entries[i];
    }
    table->nent = kept;
}

/* There is room: each caller first removed the leaf, or adds one of EXTRA_ENTRIES. */
static struct kvm_cpuid_entry2 *add_entry(struct kvm_cpuid2 *table, uint32_t function,
                                          uint32_t index, uint32_t flags)
{
    struct kvm_cpuid_entry2 *entry = &table->entries[table->nent++];

    *entry = (struct kvm_cpuid_entry2){ .function = function, .index = index, .flags = flags };
    return entry;
}

static uint32_t max_leaf(struct kvm_cpuid2 *table, uint32_t base)
{
    const struct kvm_cpuid_entry2 *entry = cpuid_find(table, base, 0);

    return entry ? entry->eax : 0;
}

static bool is_vendor(struct kvm_cpuid2 *table, const char name[12])
{
    const struct kvm_cpuid_entry2 *entry = cpuid_find(table, 0, 0);

    return entry && memcmp(&entry->ebx, name, 4) == 0 && memcmp(&entry->edx, name + 4, 4) == 0 &&
           memcmp(&entry->ecx, name + 8, 4) == 0;
}

static bool is_amd(struct kvm_cpuid2 *table)
{
    return is_vendor(table, "AuthenticAMD") || is_vendor(table, "HygonGenuine");
}

/* How many bits an APIC ID has. */
static uint32_t id_bits(unsigned cpu_count)
{
    uint32_t bits = 0;

    while ((1u << bits) < cpu_count)
        bits++;
    return bits;
}

static uint32_t at_most(uint32_t value, uint32_t max)
{
    return value < max ? value : max;
}

static void set_features(struct kvm_cpuid2 *table, const struct cpuid_params *params)
{
    struct kvm_cpuid_entry2 *entry = cpuid_find(table, 1, 0);

    if (!entry)
        return;
    entry->ecx |= LEAF1_ECX_HYPERVISOR | LEAF1_ECX_X2APIC;
    if (params->has_tsc_deadline)
        entry->ecx |= LEAF1_ECX_TSC_DEADLINE;
    entry->ebx = (entry->ebx & 0x0000ffff) | at_most(params->cpu_count, 255) << 16 |
                 (params->index & 0xff) << 24;
    entry->edx &= ~LEAF1_EDX_HTT;
    if (params->cpu_count > 1)
        entry->edx |= LEAF1_EDX_HTT;
}

/* Leaf 4, and AMD's 0x8000001d in the same form: the last-level cache is shared by all, the
 * others are each core's own. Leaf 4 also tells how many cores the package could have. */
static void set_caches(struct kvm_cpuid2 *table, uint32_t function,
                       const struct cpuid_params *params)
{
    uint32_t ids = 1u << id_bits(params->cpu_count);
    uint32_t shared_level = 3;

    for (uint32_t i = 0; i < table->nent; i++) {
        struct kvm_cpuid_entry2 *entry = &table->entries[i];
        uint32_t type = entry->eax & 0x1f, level = entry->eax >> 5 & 7;

        if (entry->function != function || type == 0)
            continue;
        entry->eax &= 0x3fff;
        if (level >= shared_level)
            entry->eax |= at_most(ids - 1, 0xfff) << 14;
        if (function == 4)
            entry->eax |= at_most(ids - 1, 0x3f) << 26;
    }
}

/* Leaves 0xb and 0x1f: a level of threads (one per core), then one of cores. */
static void set_extended_topology(struct kvm_cpuid2 *table, uint32_t function,
                                  const struct cpuid_params *params)
{
    if (max_leaf(table, 0) < function)
        return;
    remove_leaf(table, function);
    for (uint32_t level = 0; level < 3; level++) {
        struct kvm_cpuid_entry2 *entry =
            add_entry(table, function, level, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);

        entry->ecx = level;
        entry->edx = params->index;
        if (level == 0) {
            entry->ebx = 1;
            entry->ecx |= LEVEL_TYPE_THREAD << 8;
        } else if (level == 1) {
            entry->eax = id_bits(params->cpu_count);
            entry->ebx = at_most(params->cpu_count, 0xffff);
            entry->ecx |= LEVEL_TYPE_CORE << 8;
        }
    }
}

static void set_amd_topology(struct kvm_cpuid2 *table, const struct cpuid_params *params)
{
    struct kvm_cpuid_entry2 *features = cpuid_find(table, 0x80000001, 0);
    struct kvm_cpuid_entry2 *sizes = cpuid_find(table, 0x80000008, 0);
    struct kvm_cpuid_entry2 *ids = cpuid_find(table, 0x8000001e, 0);

    if (sizes)
        sizes->ecx = is_amd(table)
                         ? at_most(params->cpu_count - 1, 0xff) | id_bits(params->cpu_count) << 12
                         : 0;
    if (!is_amd(table))
        return;
    if (features) {
        features->ecx &= ~LEAF_80000001_ECX_CMP_LEGACY;
        if (params->cpu_count > 1)
            features->ecx |= LEAF_80000001_ECX_CMP_LEGACY;
    }
    if (ids) {
        ids->eax = params->index;
        ids->ebx = params->index & 0xff; /* core; one thread in it */
        ids->ecx = 0;                    /* one node */
    }
    set_caches(table, 0x8000001d, params);
    remove_leaf(table, 0x80000026); /* the same as 0xb, in yet another form */
}

/* Finds the fraction nearest to @value / @unit whose numerator is below @limit: a convergent of its
 * continued fraction, or, where the next one is too large, one between the two. */
static void approximate(uint32_t value, uint32_t unit, uint64_t limit, uint32_t *numerator,
                        uint32_t *denominator)
{
    uint64_t rest = value, divisor = unit;
    uint64_t n0 = 0, n1 = 1, d0 = 1, d1 = 0;
    bool fits = true;

    while (divisor && fits) {
        uint64_t whole = rest / divisor, next = rest % divisor;
        uint64_t digit = whole;

        fits = whole * n1 + n0 < limit;
        if (!fits)
            digit = (limit - 1 - n0) / n1;
        if (!fits && 2 * digit <= whole)
            break; /* what we have is nearer */

        uint64_t n2 = digit * n1 + n0, d2 = digit * d1 + d0;
        n0 = n1, n1 = n2, d0 = d1, d1 = d2;
        rest = divisor, divisor = next;
    }
    *numerator = (uint32_t)n1;
    *denominator = (uint32_t)d1;
}

/* Leaf 0x15: the TSC counts ebx / eax times per tick of a crystal of ecx Hz. Guests also take that
 * crystal for the local APIC's timer, so it must be KVM's 1 GHz; and they multiply its kHz by ebx
 * in 32 bits, which bounds the fraction: it is off by up to 120 millionths, mostly by under one.
 * Only Intel has this leaf; kvm-clock and leaf 0x40000010 are exact. */
static void set_crystal(struct kvm_cpuid2 *table, uint32_t tsc_khz)
{
    struct kvm_cpuid_entry2 *base = cpuid_find(table, 0, 0);

    if (!base || !is_vendor(table, "GenuineIntel"))
        return;
    if (base->eax < 0x15)
        base->eax = 0x15;
    remove_leaf(table, 0x15);

    struct kvm_cpuid_entry2 *entry = add_entry(table, 0x15, 0, 0);
    approximate(tsc_khz, APIC_BUS_KHZ, UINT32_MAX / APIC_BUS_KHZ, &entry->ebx, &entry->eax);
    entry->ecx = APIC_BUS_KHZ * 1000;
}

/* KVM's own leaves: its signature and features are KVM's, the frequencies are what VMware and
 * after it others made of leaf 0x40000010: the TSC's and the APIC bus's kHz. */
static void set_hypervisor(struct kvm_cpuid2 *table, const struct cpuid_params *params)
{
    struct kvm_cpuid_entry2 *base = cpuid_find(table, KVM_CPUID_SIGNATURE, 0);
    struct kvm_cpuid_entry2 *features = cpuid_find(table, KVM_CPUID_FEATURES, 0);

    if (features && params->has_large_apic_ids)
        features->eax |= 1u << KVM_FEATURE_MSI_EXT_DEST_ID;
    if (!base || !params->tsc_khz)
        return;
    if (base->eax < KVM_CPUID_TIMING)
        base->eax = KVM_CPUID_TIMING;
    remove_leaf(table, KVM_CPUID_TIMING);

    struct kvm_cpuid_entry2 *entry = add_entry(table, KVM_CPUID_TIMING, 0, 0);
    entry->eax = params->tsc_khz;
    entry->ebx = APIC_BUS_KHZ;
}

static uint32_t *entry_register(struct kvm_cpuid_entry2 *entry, uint8_t reg)
{
    switch (reg) {
    case CPUID_EAX:
        return &entry->eax;
    case CPUID_EBX:
        return &entry->ebx;
    case CPUID_ECX:
        return &entry->ecx;
    default:
        return &entry->edx;
    }
}

static void mask_features(struct kvm_cpuid2 *table, const char *const *names)
{
    for (; names && *names; names++) {
        const struct cpu_feature *feature = cpu_feature_find(*names);
        struct kvm_cpuid_entry2 *entry =
            feature ? cpuid_find(table, feature->function, feature->index) : NULL;

        if (entry)
            *entry_register(entry, feature->reg) &= ~(1u << feature->bit);
    }
}

int cpuid_create(const struct kvm_cpuid2 *supported, const struct cpuid_params *params,
                 struct kvm_cpuid2 **ret)
{
    uint32_t room = supported->nent + EXTRA_ENTRIES;
    struct kvm_cpuid2 *table = calloc(1, sizeof(*table) + room * sizeof(table->entries[0]));

    if (!table)
        return -ENOMEM;
    table->nent = supported->nent;
    memcpy(table->entries, supported->entries, supported->nent * sizeof(table->entries[0]));

    set_features(table, params);
    set_caches(table, 4, params);
    set_extended_topology(table, 0xb, params);
    set_extended_topology(table, 0x1f, params);
    set_amd_topology(table, params);
    set_hypervisor(table, params);
    if (params->tsc_khz)
        set_crystal(table, params->tsc_khz);
    mask_features(table, params->masked_features);
    *ret = table;
    return 0;
}
