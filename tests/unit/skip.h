// SPDX-License-Identifier: Apache-2.0
/* A test that cannot be had on this host is skipped and tells why: tests/tap puts the reason into
 * the test's line. Include it behind cmocka.h. */
#pragma once

static inline void skip_because(const char *reason)
{
    print_message("skipped: %s\n", reason);
    skip();
}
