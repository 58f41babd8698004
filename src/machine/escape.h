// SPDX-License-Identifier: Apache-2.0
/* The escape key among typed bytes: ^a x, ^a b, ^a h, ^a ^a. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct escape {
    int key;         /* the control character, or -1: none */
    bool is_pending; /* it was the last byte seen */
};

enum escape_command { ESCAPE_NONE, ESCAPE_QUIT, ESCAPE_BREAK, ESCAPE_HELP };

/* Takes commands out of @data, in place; *@len becomes what is left. Returns the last command
 * found; nothing is kept of what follows ESCAPE_QUIT. */
enum escape_command escape_filter(struct escape *escape, uint8_t *data, size_t *len);
