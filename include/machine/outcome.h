// SPDX-License-Identifier: Apache-2.0
/* How a machine ended, as an exit status and as the JSON object of --result. */
#pragma once

#include <stdint.h>

struct json;

enum {
    OUTCOME_TEXT_MAX = 512,
    OUTCOME_REASON_MAX = OUTCOME_TEXT_MAX + 128,
    OUTCOME_RELEASE_MAX = 64
};

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
    OUTCOME_EXIT,         /* the command's exit; value: its status */
    OUTCOME_SIGNAL,       /* a signal ended the command; value: which */
    OUTCOME_NOT_STARTED,  /* the command could not be started; value: 125 to 127 */
    OUTCOME_BOOT_FAILURE, /* the guest did not come as far as the command, or not in time */
    OUTCOME_OOPS,         /* its kernel found a fault of its own, which is to count as a panic */
};

struct outcome {
    enum outcome_kind kind;
    uint32_t value;
    uint64_t duration_ms; /* from launch */
    uint64_t launched_ms; /* CLOCK_REALTIME in milliseconds; 0: not said */
    /* Of a guest with an agent, from launch; 0: it never happened. */
    uint64_t up_ms;                       /* until the agent was there */
    uint64_t started_ms;                  /* until the command was started */
    uint64_t ended_ms;                    /* until it had ended, and its output was written */
    char kernel[OUTCOME_RELEASE_MAX + 1]; /* the guest's release */
    /* Why it is not the command's own end; and what its kernel said first of a fault, and of
     * killing a process for want of memory. "": nothing. */
    char reason[OUTCOME_REASON_MAX + 1];
    char oops[OUTCOME_TEXT_MAX + 1], oom[OUTCOME_TEXT_MAX + 1];
};

enum {
    STATUS_REBOOT = 120,
    STATUS_GUEST_DOWN = 121,
    STATUS_PANIC = 122,
    STATUS_BOOT_FAILURE = 123,
    STATUS_TIMEOUT = 124,
    STATUS_TOOL_ERROR = 125,
};

/* 0 to 255, as the manual's table says. */
int outcome_status(const struct outcome *outcome);
/* One word: "poweroff", "reboot", ... */
const char *outcome_name(const struct outcome *outcome);
/* Writes the members of the object, without its braces. */
void outcome_write_members(struct json *json, const struct outcome *outcome, const char *vm_name);
/* Writes the object to the file @path, whole or not at all (rename). Returns 0 or -errno. */
int outcome_write(const struct outcome *outcome, const char *vm_name, const char *path);
