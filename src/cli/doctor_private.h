// SPDX-License-Identifier: Apache-2.0
/* What `hutch doctor` finds out, check by check. */
#pragma once

#include <stddef.h>

struct kvm_probe;

enum finding_state { FINDING_OK, FINDING_WARN, FINDING_FAIL };

struct finding {
    const char *name;
    enum finding_state state;
    char value[200]; /* what was found */
    char fix[320];   /* what the user can do about it; "" if nothing need be done */
};

struct doctor {
    struct finding findings[24];
    size_t count;
};

/* --- doctor_findings.c --- */

/* Adds a finding. One too many is dropped. */
void doctor_note(struct doctor *doctor, const char *name, enum finding_state state,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Says what can be done about the last finding. */
void doctor_advise(struct doctor *doctor, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Of all findings; FINDING_OK if there are none. */
enum finding_state doctor_worst_state(const struct doctor *doctor);
void doctor_print_text(const struct doctor *doctor);
void doctor_print_json(const struct doctor *doctor);

/* --- doctor_kvm.c, doctor_host.c --- */

void doctor_check_kvm(struct doctor *doctor);
/* The part of it that differs by architecture: what the CPU has for guests. In
 * doctor_<architecture>.c. */
void doctor_check_cpu(struct doctor *doctor, const struct kvm_probe *probe);
void doctor_check_host(struct doctor *doctor);
void doctor_check_networks(struct doctor *doctor);
