// SPDX-License-Identifier: Apache-2.0
/* How much of the host this process may use.
 *
 * @root stands before the paths of /proc and /sys, for tests; "" otherwise. */
#pragma once

#include <stdint.h>

/* Bytes of memory: the host's RAM, or what the tightest control group (v2 or v1) around us allows
 * if that is less. 0 if neither can be read. */
uint64_t limits_memory(const char *root);

/* The same of the control groups alone; UINT64_MAX if they set no limit. */
uint64_t limits_cgroup_memory(const char *root);

/* CPUs that this thread may run on; at least 1. */
unsigned limits_cpus(void);
