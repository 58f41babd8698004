// SPDX-License-Identifier: Apache-2.0
/* The parts of an Arm CPU that a guest can be denied, those which KVM gives only when asked; and
 * the sizes of its pages. */
#include <string.h>

#include "arm64.h"
#include "cpu/vcpu.h"

const char cpu_feature_advice[] = "there are sve, pauth and pmu";

bool cpu_feature_is_known(const char *name)
{
    return !strcmp(name, "sve") || !strcmp(name, "pauth") || !strcmp(name, "pmu");
}

static bool is_masked(const struct cpu_model *model, const char *name)
{
    for (const char *const *masked = model->masked_features; masked && *masked; masked++) {
        if (!strcmp(*masked, name))
            return true;
    }
    return false;
}

struct cpu_parts cpu_parts_chosen(const struct cpu_parts *offered, const struct cpu_model *model)
{
    return (struct cpu_parts){
        .sve = offered->sve && !is_masked(model, "sve"),
        .pauth = offered->pauth && !is_masked(model, "pauth"),
        .pmu = offered->pmu && !is_masked(model, "pmu"),
    };
}

/* Arm DDI 0487, ID_AA64MMFR0_EL1: the field of 16 KiB counts up from "not there" as 0, the others
 * from "there" as 0, with 15 as "not there". */
uint64_t cpu_page_sizes_of(uint64_t mmfr0)
{
    enum { NOT_THERE = 15 };
    uint64_t sizes = 0;

    if ((mmfr0 >> 28 & 0xf) != NOT_THERE)
        sizes |= 4096;
    if (mmfr0 >> 20 & 0xf)
        sizes |= 16384;
    if ((mmfr0 >> 24 & 0xf) != NOT_THERE)
        sizes |= 65536;
    return sizes;
}
