// SPDX-License-Identifier: Apache-2.0
/* What the host's kernel says of its CPUs. */
#pragma once

#include <stdbool.h>

/* Whether the flags in /proc/cpuinfo, which only x86 has, have @name. */
bool cpuinfo_has_flag(const char *name);
