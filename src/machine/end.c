// SPDX-License-Identifier: Apache-2.0
/* How a machine ends: whoever is first to know, a chip, a vCPU or the user, says so. */
#include "host/log.h"
#include "machine_private.h"

void machine_end(struct machine *machine, enum outcome_kind kind, uint32_t value)
{
    pthread_mutex_lock(&machine->end_lock);
    if (machine->outcome.kind == OUTCOME_NONE) {
        machine->outcome.kind = atomic_load(&machine->has_panicked) ? OUTCOME_PANIC : kind;
        machine->outcome.value = value;
    }
    pthread_mutex_unlock(&machine->end_lock);
    atomic_store(&machine->is_stopping, true);
    loop_stop(machine->loop);
}

void machine_end_by_reset(struct machine *machine, bool is_warm)
{
    bool is_panic =
        config_marks_panics(machine->config) && platform_reset_is_panic(machine, is_warm);

    machine_end(machine, is_panic ? OUTCOME_PANIC : OUTCOME_REBOOT, 0);
}

static void on_power_event(void *ctx, enum power_event event, uint32_t value)
{
    struct machine *machine = ctx;

    switch (event) {
    case POWER_OFF:
        machine_end(machine, OUTCOME_POWEROFF, 0);
        break;
    case POWER_RESET:
        machine_end_by_reset(machine, false);
        break;
    case POWER_DEBUG_EXIT:
        machine_end(machine, OUTCOME_DEBUG_EXIT, value);
        break;
    case POWER_PANIC:
        if (machine->config->on_panic == ON_PANIC_EXIT)
            machine_end(machine, OUTCOME_PANIC, 0);
        else if (!atomic_exchange(&machine->has_panicked, true))
            log_error("the guest's kernel panicked; its machine is held");
        break;
    case POWER_CRASH_LOAD:
        log_debug("the guest's kernel panicked and starts its crash kernel");
        break;
    }
}

struct power_port machine_power_port(struct machine *machine)
{
    return (struct power_port){ .request = on_power_event, .ctx = machine };
}
