// SPDX-License-Identifier: Apache-2.0
/* Signals that ask us to end. Who starts us with one ignored (nohup, a shell's background jobs)
 * counts on that. */
#pragma once

#include <signal.h>
#include <stdbool.h>

bool signals_is_ignored(int signal_number);

/* Adds @signal_number to @set, unless it is ignored. */
void signals_add_unless_ignored(sigset_t *set, int signal_number);
