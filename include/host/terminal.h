// SPDX-License-Identifier: Apache-2.0
/* The user's terminal: raw while a guest has it, and put back whatever happens.
 *
 * A process has one terminal, so this is the second piece of process-wide state (after the log
 * level): signal handlers must find it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Whether @fd is a terminal that we may read from and change the mode of: it is our job's now (in
 * the background either would stop us: SIGTTIN, SIGTTOU), or not our controlling terminal. */
bool terminal_is_ours(int fd);

/* Makes the terminal behind @fd raw. It is put back by terminal_restore(), by exit(), and by every
 * signal that ends us, of our own making or from outside, unless it is ignored, SIGKILL, or a
 * real-time one. It then takes its course.
 * While we are stopped (SIGTSTP) it is put back, too; it becomes raw again when we go on (SIGCONT)
 * in the foreground. In the background it is left alone.
 * Returns 0, or -errno if @fd is no terminal. */
int terminal_make_raw(int fd);

/* Puts the terminal back as it was. Harmless if it is not raw; safe in a signal handler. */
void terminal_restore(void);

/* The window's size. Returns whether @fd is a terminal that knows one. */
bool terminal_size(int fd, uint16_t *columns, uint16_t *rows);
