// SPDX-License-Identifier: Apache-2.0
/* The parts of an Arm CPU that a guest can be denied: those which KVM gives only when asked. */
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
