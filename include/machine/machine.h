// SPDX-License-Identifier: Apache-2.0
/* A virtual machine, from its configuration to its end. */
#pragma once

#include "machine/config.h"
#include "machine/outcome.h"

/* Builds the machine, runs it to its end, takes it down, building it again whenever the guest
 * rebooted and on_reboot says so. Logs what fails. The calling thread becomes the machine's I/O
 * thread; signals SIGINT, SIGTERM are handled meanwhile. */
void machine_run(const struct config *config, struct outcome *ret);
