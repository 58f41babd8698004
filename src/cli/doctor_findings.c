// SPDX-License-Identifier: Apache-2.0
/* What `hutch doctor` found, kept and printed. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "doctor_private.h"
#include "host/json.h"

void doctor_note(struct doctor *doctor, const char *name, enum finding_state state,
                 const char *format, ...)
{
    va_list args;

    if (doctor->count == sizeof(doctor->findings) / sizeof(doctor->findings[0]))
        return;
    struct finding *finding = &doctor->findings[doctor->count++];
    *finding = (struct finding){ .name = name, .state = state };
    va_start(args, format);
    (void)vsnprintf(finding->value, sizeof(finding->value), format, args);
    va_end(args);
}

void doctor_advise(struct doctor *doctor, const char *format, ...)
{
    struct finding *finding = &doctor->findings[doctor->count - 1];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(finding->fix, sizeof(finding->fix), format, args);
    va_end(args);
}

enum finding_state doctor_worst_state(const struct doctor *doctor)
{
    enum finding_state worst = FINDING_OK;

    for (size_t i = 0; i < doctor->count; i++) {
        if (doctor->findings[i].state > worst)
            worst = doctor->findings[i].state;
    }
    return worst;
}

static const char *const state_names[] = { "ok", "warn", "fail" };
static const char *const verdicts[] = { "ok", "degraded", "unusable" };

void doctor_print_text(const struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->count; i++) {
        const struct finding *finding = &doctor->findings[i];
        printf("%-5s %-19s %s\n", state_names[finding->state], finding->name, finding->value);
        if (finding->fix[0])
            printf("%-25s -> %s\n", "", finding->fix);
    }
    printf("\nhutch is %s here\n", doctor_worst_state(doctor) == FINDING_OK ? "fully usable"
                                   : doctor_worst_state(doctor) == FINDING_WARN
                                       ? "usable, but for the warnings above,"
                                       : "unusable");
}

void doctor_print_json(const struct doctor *doctor)
{
    struct json json;

    json_init(&json, stdout, true);
    json_begin_object(&json, NULL);
    json_text(&json, "state", verdicts[doctor_worst_state(doctor)]);
    json_begin_array(&json, "findings");
    for (size_t i = 0; i < doctor->count; i++) {
        const struct finding *finding = &doctor->findings[i];
        json_begin_object(&json, NULL);
        json_text(&json, "name", finding->name);
        json_text(&json, "state", state_names[finding->state]);
        json_text(&json, "value", finding->value);
        json_text(&json, "fix", finding->fix[0] ? finding->fix : NULL);
        json_end_object(&json);
    }
    json_end_array(&json);
    json_end_object(&json);
}
