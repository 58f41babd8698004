// SPDX-License-Identifier: Apache-2.0
/* Lines of JSON for --status-fd, written in pieces that a descriptor which poll() calls writable
 * takes without blocking. Who does not read any more is not told of. */
#include "machine/status.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/json.h"
#include "machine/outcome.h"

enum { END_PATIENCE_MS = 2000 };

struct line {
    struct json json;
    FILE *out;
    char *text;
    size_t len;
};

/* Returns whether there is memory for a line. */
static bool begin_line(struct line *line, const char *event, uint64_t age_ms)
{
    line->text = NULL;
    line->out = open_memstream(&line->text, &line->len);
    if (!line->out)
        return false;
    json_init(&line->json, line->out, false);
    json_begin_object(&line->json, NULL);
    json_text(&line->json, "event", event);
    json_number(&line->json, "ms", age_ms);
    return true;
}

static void write_pieces(int fd, const char *text, size_t len, int patience_ms)
{
    struct pollfd room = { .fd = fd, .events = POLLOUT };

    while (len > 0) {
        int ready = poll(&room, 1, patience_ms);

        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0 || !(room.revents & POLLOUT))
            return;
        ssize_t put = write(fd, text, len < PIPE_BUF ? len : PIPE_BUF);
        if (put < 0 && errno != EINTR && errno != EAGAIN)
            return;
        text += put > 0 ? put : 0;
        len -= put > 0 ? (size_t)put : 0;
        patience_ms = END_PATIENCE_MS; /* half a line is worse than none */
    }
}

static void end_line(struct line *line, int fd, int patience_ms)
{
    json_end_object(&line->json);
    if (!fclose(line->out))
        write_pieces(fd, line->text, line->len, patience_ms);
    free(line->text);
}

void status_tell(int fd, uint64_t age_ms, const char *event, const char *key, const char *text)
{
    struct line line;

    if (fd < 0 || !begin_line(&line, event, age_ms))
        return;
    if (key)
        json_text(&line.json, key, text);
    end_line(&line, fd, 0);
}

void status_tell_number(int fd, uint64_t age_ms, const char *event, const char *key,
                        uint64_t number)
{
    struct line line;

    if (fd < 0 || !begin_line(&line, event, age_ms))
        return;
    json_number(&line.json, key, number);
    end_line(&line, fd, 0);
}

void status_tell_end(int fd, const struct outcome *outcome, const char *vm_name)
{
    struct line line;

    if (fd < 0 || !begin_line(&line, "ended", outcome->duration_ms))
        return;
    outcome_write_members(&line.json, outcome, vm_name);
    end_line(&line, fd, END_PATIENCE_MS);
}
