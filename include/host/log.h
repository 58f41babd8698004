// SPDX-License-Identifier: Apache-2.0
/* What hutch itself has to say: one line each, to stderr, behind "hutch: ".
 *
 * stdout belongs to the guest, so nothing here writes to it. Low-level modules return errors and
 * do not log; the layer that knows the user's word for a thing does. What a guest can trigger at
 * will is logged at LOG_LEVEL_DEBUG. Any thread may log; a line is written with one system call,
 * so lines do not mix. One that nobody takes within two seconds is lost, and so are those after it
 * until the reader goes on. */
#pragma once

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Shows messages up to @level; LOG_LEVEL_WARN at start. It is the process's, as all of the
 * log's state. */
void log_set_level(enum log_level level);

/* Writes one line, if @level is shown; control characters in it are written as \n or \033. In raw
 * terminal mode the line still starts at column 0. What is longer than a pipe takes in one piece
 * (PIPE_BUF) loses its middle. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Logs the message and what @err (a negative errno) means as an error. Returns @err, so that a
 * failing function can end with `return log_errno(-errno, "disk '%s': open", path);`. */
int log_errno(int err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
