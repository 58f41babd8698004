// SPDX-License-Identifier: Apache-2.0
/* What a COMMAND finds in the guest: whose files, where, and as whom it runs.
 *
 * Of the options of `hutch run` both functions make a plan in struct config, which the devices
 * (devices.c), the agent's job (job.c) and --dry-run read. */
#pragma once

#include "machine/config.h"

/* Whether root_choose() has to know whose kernel it is: nobody said what the guest's files are, and
 * there is neither a COMMAND nor a disk, an initrd or the like to boot from. */
bool root_is_open(const struct config *config);

/* Decides what kind of machine it is: what --root names, or, if nobody said, the host's files for a
 * COMMAND and for a user who brings nothing to boot from; in these the command is the user's shell,
 * if none is given. What is no Linux (@is_linux; it counts if root_is_open()) has no use for files.
 * An image becomes the first disk. Comes before config_check(). Logs what is wrong. Returns 0 or
 * -errno. */
int root_choose(struct config *config, bool is_linux);

/* Finds out what is hidden in the folders that the guest gets, and for a COMMAND adds those
 * folders, the user and the working folder. Comes after config_check(). Logs. Returns 0 or -errno.
 */
int root_plan(struct config *config);
