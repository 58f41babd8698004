// SPDX-License-Identifier: Apache-2.0
/* What can be found wrong with a machine before it is built.
 *
 * config_check() has looked at the options; here the host is asked about what they name. */
#pragma once

#include "machine/config.h"

/* Whether the result can be written where it should be, if it should, without harm to what the
 * machine is made of. Logs what is wrong. Returns 0 or -errno: nothing may be written then. */
int machine_check_result(const struct config *config);

/* What would otherwise go wrong late or silently: images in formats that we do not read, file
 * descriptors that are not open, folders that are not there, output into what the machine is made
 * of. Logs what is wrong. Returns 0 or -errno. */
int machine_check(const struct config *config);

/* Tries, for --dry-run, all that can be tried without KVM and without a trace: loads the kernel
 * into memory of ours, opens the disks. Logs what is wrong. Returns 0 or -errno. */
int machine_try(const struct config *config);
