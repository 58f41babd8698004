// SPDX-License-Identifier: Apache-2.0
/* The escape key among typed bytes. An escape key followed by something that is no command is
 * dropped with it, as terminal programs do. */
#include "escape.h"

enum escape_command escape_filter(struct escape *escape, uint8_t *data, size_t *len)
{
    enum escape_command command = ESCAPE_NONE;
    size_t kept = 0;

    if (escape->key < 0)
        return ESCAPE_NONE;
    for (size_t i = 0; i < *len && command != ESCAPE_QUIT; i++) {
        uint8_t byte = data[i];

        if (!escape->is_pending && byte != escape->key) {
            data[kept++] = byte;
            continue;
        }
        if (escape->is_pending && byte == escape->key)
            data[kept++] = byte;
        else if (escape->is_pending && byte == 'x')
            command = ESCAPE_QUIT;
        else if (escape->is_pending && byte == 'b')
            command = ESCAPE_BREAK;
        else if (escape->is_pending && (byte == 'h' || byte == '?'))
            command = ESCAPE_HELP;
        escape->is_pending = !escape->is_pending;
    }
    *len = kept;
    return command;
}
