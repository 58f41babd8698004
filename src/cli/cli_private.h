// SPDX-License-Identifier: Apache-2.0
/* What the verbs share. */
#pragma once

#include <stdio.h>

#include "machine/outcome.h"
#include "options.h"

/* Reads the options and operands of a verb; argv[0] is its name. On return argv[0] and on are
 * the operands. Returns -1 to go on, or the status to exit with: the help was asked for and
 * printed, or something is wrong and was logged. */
int cli_parse(const char *verb_name, int argc, char **argv, void *target, int max_operands,
              int *operand_count);

/* Logs what is wrong with a command line. Returns the exit status. */
int cli_usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Empties the buffer of stdout. Returns @status, or that of a failure if the bytes did not arrive.
 */
int cli_finish_output(int status);

void usage_print_verb(const struct verb *verb);
void usage_print_overview(FILE *out);
