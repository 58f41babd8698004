// SPDX-License-Identifier: Apache-2.0
/* `hutch run --dry-run`. */
#pragma once

struct config;

/* Prints a checked configuration to stdout, as one JSON object. */
void dry_run_print(const struct config *config);
