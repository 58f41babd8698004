// SPDX-License-Identifier: Apache-2.0
/* How a machine with a COMMAND ended: what the agent said, what became of the machine, and what its
 * console says about the reason, put together to one outcome. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/agent.h"
#include "machine/outcome.h"
#include "tail.h"

struct verdict_facts {
    const struct agent_result *agent;
    bool has_ended;   /* the command, and all that it wrote is written */
    bool oops_counts; /* a fault that the guest's kernel survives is an end like a panic */
    uint64_t boot_timeout_ms;
    const struct tail *console;
    bool console_is_kept; /* in @console, if it says something */
};

/* @outcome: how the machine ended; gets kind and value in the command's terms, and its texts. */
void verdict_reach(const struct verdict_facts *facts, struct outcome *outcome);

/* Tells the user why, with the console's last lines, if it is not the command's own end. */
void verdict_tell(const struct verdict_facts *facts, const struct outcome *outcome);
