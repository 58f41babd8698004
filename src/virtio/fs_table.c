// SPDX-License-Identifier: Apache-2.0
/* Numbers from 1 on, which a guest knows things by: a place in a table each. A number that is free
 * again is the next one given out. */
#include <errno.h>
#include <stdlib.h>

#include "fs_tree.h"

enum { TABLE_MIN = 64 };

static int table_grow(struct fs_table *table)
{
    uint32_t capacity = table->capacity ? 2 * table->capacity : TABLE_MIN;
    void **slots = realloc(table->slots, capacity * sizeof(*slots));

    if (!slots)
        return -ENOMEM;
    table->slots = slots;
    uint32_t *free_ids = realloc(table->free, capacity * sizeof(*free_ids));
    if (!free_ids)
        return -ENOMEM;
    table->free = free_ids;
    table->capacity = capacity;
    return 0;
}

int fs_table_add(struct fs_table *table, void *item, uint64_t *id)
{
    if (table->free_count > 0) {
        uint32_t slot = table->free[--table->free_count];

        table->slots[slot] = item;
        *id = (uint64_t)slot + 1;
        return 0;
    }
    if (table->size == table->capacity) {
        int err = table_grow(table);

        if (err)
            return err;
    }
    table->slots[table->size++] = item;
    *id = table->size;
    return 0;
}

void *fs_table_find(const struct fs_table *table, uint64_t id)
{
    return id > 0 && id <= table->size ? table->slots[id - 1] : NULL;
}

void fs_table_remove(struct fs_table *table, uint64_t id)
{
    table->slots[id - 1] = NULL;
    table->free[table->free_count++] = (uint32_t)(id - 1);
}

void fs_table_fini(struct fs_table *table)
{
    free(table->slots);
    free(table->free);
    *table = (struct fs_table){ 0 };
}
