// SPDX-License-Identifier: Apache-2.0
/* A virtual machine, from its configuration to its end. */
#pragma once

#include "machine/config.h"
#include "machine/outcome.h"

/* Builds the machine, runs it to its end, takes it down, building it again whenever the guest
 * rebooted and on_reboot says so. Logs what fails. The calling thread becomes the machine's I/O
 * thread. SIGINT, SIGTERM and SIGHUP ask the guest to shut down meanwhile, and these and SIGQUIT,
 * SIGUSR1 and SIGUSR2 go to a COMMAND, unless they were ignored; from now on SIGPIPE and SIGXFSZ
 * are. */
void machine_run(const struct config *config, struct outcome *ret);
