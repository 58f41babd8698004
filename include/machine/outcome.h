// SPDX-License-Identifier: Apache-2.0
/* How a machine ended, as an exit status and as the JSON object of --result. */
#pragma once

#include <stdint.h>

enum outcome_kind {
    OUTCOME_NONE, /* it still runs */
    OUTCOME_POWEROFF,
    OUTCOME_REBOOT,
    OUTCOME_DEBUG_EXIT, /* value: what the guest wrote */
    OUTCOME_GUEST_DOWN,
    OUTCOME_PANIC,
    OUTCOME_TIMEOUT,
    OUTCOME_STOPPED, /* the user ended it: escape key, or a second signal; value: the signal or 0 */
    OUTCOME_TOOL_ERROR,
};

struct outcome {
    enum outcome_kind kind;
    uint32_t value;
    uint64_t duration_ms; /* from launch */
};

enum {
    STATUS_REBOOT = 120,
    STATUS_GUEST_DOWN = 121,
    STATUS_PANIC = 122,
    STATUS_TIMEOUT = 124,
    STATUS_TOOL_ERROR = 125,
};

/* 0 to 255, as the manual's table says. */
int outcome_status(const struct outcome *outcome);
/* One word: "poweroff", "reboot", ... */
const char *outcome_name(const struct outcome *outcome);
/* Writes the object to the file @path, whole or not at all (rename). Returns 0 or -errno. */
int outcome_write(const struct outcome *outcome, const char *vm_name, const char *path);
