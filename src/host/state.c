// SPDX-License-Identifier: Apache-2.0
/* Records of saved state: a header with name, version and length, then the bytes as they are.
 *
 * In the byte order of the host: a state is loaded on the architecture it was saved on. */
#include "host/state.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct state_record {
    char name[32]; /* padded with zeroes */
    uint32_t version;
    uint32_t reserved; /* 0 */
    uint64_t len;      /* bytes that follow */
};

static_assert(sizeof(struct state_record) == 48, "has no padding");

void state_writer_fini(struct state_writer *writer)
{
    free(writer->data);
    *writer = (struct state_writer){ .data = NULL };
}

/* Makes room for @len bytes more. */
static int state_reserve(struct state_writer *out, size_t len)
{
    size_t capacity = out->capacity ? out->capacity : 4096;

    if (len > SIZE_MAX / 4 - out->len)
        return -ENOMEM;
    while (capacity - out->len < len)
        capacity *= 2;
    if (capacity == out->capacity)
        return 0;
    uint8_t *data = realloc(out->data, capacity);
    if (!data)
        return -ENOMEM;
    out->data = data;
    out->capacity = capacity;
    return 0;
}

static void state_append(struct state_writer *out, const void *data, size_t len)
{
    if (len)
        memcpy(out->data + out->len, data, len);
    out->len += len;
}

static int state_record_fill(struct state_record *record, const char *name, uint32_t version,
                             size_t len)
{
    size_t name_len = strlen(name);

    if (name_len >= sizeof(record->name))
        return -EINVAL;
    *record = (struct state_record){ .version = version, .len = len };
    memcpy(record->name, name, name_len);
    return 0;
}

int state_save(struct state_writer *out, const char *name, uint32_t version, const void *data,
               size_t len)
{
    struct state_record record;

    int err = state_record_fill(&record, name, version, len);
    if (err)
        return err;
    if (len > SIZE_MAX - sizeof(record))
        return -ENOMEM;
    err = state_reserve(out, sizeof(record) + len);
    if (err)
        return err;
    state_append(out, &record, sizeof(record));
    state_append(out, data, len);
    return 0;
}

int state_load(struct state_reader *in, const char *name, uint32_t version, void *data, size_t len)
{
    struct state_record expected;
    size_t left = in->len - in->position;

    if (state_record_fill(&expected, name, version, len))
        return -EBADMSG;
    if (left < sizeof(expected) || left - sizeof(expected) < len)
        return -EBADMSG;
    if (memcmp(in->data + in->position, &expected, sizeof(expected)))
        return -EBADMSG;
    if (len)
        memcpy(data, in->data + in->position + sizeof(expected), len);
    in->position += sizeof(expected) + len;
    return 0;
}
