// SPDX-License-Identifier: Apache-2.0
/* Says hello, and what its command line was. */
#include "lib/guest.h"

void guest_main(const char *cmdline)
{
    say("hello\n");
    say("cmdline: %s\n", cmdline);
    check(true, "the guest came up");
}
