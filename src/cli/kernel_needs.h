// SPDX-License-Identifier: Apache-2.0
/* What machines need of a kernel, as far as it differs by architecture: in
 * kernel_needs_<architecture>.c. */
#pragma once

#include "kernel_config.h"

/* A driver is ESSENTIAL if no machine of ours is of use without it. */
enum need { ESSENTIAL, USEFUL };

struct driver {
    const char *option;
    const char *name;
    enum need need;
    const char *what; /* it is for; what is missing without it */
};

/* Those of this architecture alone; the last one has no option. */
extern const struct driver kernel_own_drivers[];

/* Prints what follows from them. */
void kernel_print_own_conclusions(const struct kernel_config *config);

/* Debian's kernels for machines like ours: "cloud-amd64". */
extern const char kernel_debian_flavour[];
