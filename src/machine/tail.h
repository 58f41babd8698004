// SPDX-License-Identifier: Apache-2.0
/* The last lines of a console that nobody watches, for the case that things go wrong. Not
 * thread-safe: under the console's lock, or when the guest has stopped. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { TAIL_SIZE = 16384, TAIL_LINES = 50 };

struct tail {
    size_t head; /* counts on and on */
    char text[TAIL_SIZE];
};

void tail_add(struct tail *tail, const uint8_t *data, size_t len);

/* Calls @line for each of the last TAIL_LINES lines that are kept, without their ends. */
void tail_each(const struct tail *tail, void (*line)(void *ctx, const char *text), void *ctx);
