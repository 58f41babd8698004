// SPDX-License-Identifier: Apache-2.0
/* Asks the kernel: nothing about signals is kept here. */
#include "host/signals.h"

#include <stddef.h>

bool signals_is_ignored(int signal_number)
{
    struct sigaction action;

    return !sigaction(signal_number, NULL, &action) && action.sa_handler == SIG_IGN;
}

void signals_add_unless_ignored(sigset_t *set, int signal_number)
{
    if (!signals_is_ignored(signal_number))
        (void)sigaddset(set, signal_number);
}
