// SPDX-License-Identifier: Apache-2.0
/* What --status-fd gets: a line for each event of a machine, a JSON object that has "event", and
 * "ms" since launch.
 *
 *   starting              all that the user named is there
 *   rebooting             the guest did; the machine is built anew
 *   up, kernel            the agent in the guest is there
 *   started               it started the command
 *   oops, oom, text       the guest's kernel said so; the first time each
 *   stopping, signal      we were asked to stop, and have asked the guest
 *   ended                 with all that --result has; the last one
 *
 * Whoever reads it can be slow: an event for which a pipe has no room is left out, but for the
 * last, which waits two seconds. The descriptor is the user's, and not changed. -1: there is none,
 * and nothing is done. */
#pragma once

#include <stdint.h>

struct outcome;

/* @key may be NULL. */
void status_tell(int fd, uint64_t age_ms, const char *event, const char *key, const char *text);
void status_tell_number(int fd, uint64_t age_ms, const char *event, const char *key,
                        uint64_t number);
void status_tell_end(int fd, const struct outcome *outcome, const char *vm_name);
