// SPDX-License-Identifier: Apache-2.0
/* The form in which a device's state is saved: a row of named, versioned records.
 *
 * What a guest can observe of a device lives in one plain struct without pointers; saving it is
 * one state_save() of that struct, loading one state_load(). A saved state is outside data:
 * the device checks every field it loads before it believes it. Not thread-safe. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct state_writer {
    uint8_t *data; /* the writer's, until state_writer_fini() */
    size_t len, capacity;
};

struct state_reader {
    const uint8_t *data; /* the caller's */
    size_t len, position;
};

void state_writer_fini(struct state_writer *writer);

/* Appends a record. @name: at most 31 bytes. Returns 0, -EINVAL or -ENOMEM. */
int state_save(struct state_writer *out, const char *name, uint32_t version, const void *data,
               size_t len);

/* Takes the next record, which must have this name, version and length; @data is untouched
 * otherwise. Returns 0, or -EBADMSG if the record is another or cut off. */
int state_load(struct state_reader *in, const char *name, uint32_t version, void *data, size_t len);
