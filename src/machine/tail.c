// SPDX-License-Identifier: Apache-2.0
/* A ring of bytes that forgets the oldest. */
#include "tail.h"

#include <string.h>

enum { LINE_MAX_LEN = 1024 };

void tail_add(struct tail *tail, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        tail->text[tail->head++ % TAIL_SIZE] = (char)data[i];
}

static char byte_at(const struct tail *tail, size_t at)
{
    return tail->text[at % TAIL_SIZE];
}

/* Where the last TAIL_LINES lines begin. */
static size_t find_start(const struct tail *tail)
{
    size_t oldest = tail->head > TAIL_SIZE ? tail->head - TAIL_SIZE : 0, at = tail->head;
    int ends = 0;

    while (at > oldest) {
        if (byte_at(tail, at - 1) == '\n' && at != tail->head && ++ends == TAIL_LINES)
            break;
        at--;
    }
    return at;
}

void tail_each(const struct tail *tail, void (*line)(void *ctx, const char *text), void *ctx)
{
    char text[LINE_MAX_LEN + 1];
    size_t len = 0;

    for (size_t at = find_start(tail); at < tail->head; at++) {
        char c = byte_at(tail, at);

        if (c != '\n' && c != '\r' && c != '\0' && len < LINE_MAX_LEN)
            text[len++] = c;
        if ((c == '\n' || at + 1 == tail->head) && len > 0) {
            text[len] = '\0';
            line(ctx, text);
            len = 0;
        }
    }
}
