// SPDX-License-Identifier: Apache-2.0
/* Programs for the guest that hutch has inside, built from guests/init/ and guests/agent/: static
 * ELF files of the host's architecture. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* PID 1 of an initial RAM disk that leads to a root file system on a disk. */
extern const uint8_t disk_init_bytes[];
extern const size_t disk_init_len;

/* PID 1 of a guest that runs one command (machine/agent_protocol.h). */
extern const uint8_t agent_bytes[];
extern const size_t agent_len;
