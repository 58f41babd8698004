// SPDX-License-Identifier: Apache-2.0
/* Other programs: where they are, and running them to their end.
 *
 * No shell comes in between, so no file's name is ever taken for shell syntax. */
#pragma once

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

/* Finds @name in the folders of PATH, then in the system's, which a user's PATH may lack.
 * Returns its path, the caller's to free, or NULL. */
char *program_find(const char *name);

struct program {
    const char *const *argv;   /* argv[0] is found by program_find() */
    const char *folder;        /* where it runs; NULL: here */
    int input, output, errors; /* descriptors for it, of the caller; -1: /dev/null */
    uint64_t max_file_size;    /* it is killed when it writes a longer file; 0: no limit */
    /* Signals that the caller has blocked: one that comes ends the program (SIGTERM), and stays
     * pending for the caller. NULL: none. */
    const sigset_t *ending_signals;
};

/* Runs it and waits for its end. Returns its exit status, 128+N if signal N killed it, -ENOENT if
 * there is no such program, -EINTR if one of the ending signals came, or another -errno if it could
 * not be run. */
int program_run(const struct program *program);

/* Runs argv[0] without input and error messages, and gives the first @max bytes of its output with
 * a NUL behind it, the caller's to free. Returns as program_run(); no output if below 0. */
int program_output(const char *const *argv, size_t max, char **ret);
