// SPDX-License-Identifier: Apache-2.0
/* `hutch run --disk`: the name of a file, and sub-options. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "host/fd.h"
#include "machine/config.h"
#include "options.h"
#include "run_options.h"
#include "values.h"
#include "virtio/blk.h"

static int set_disk_serial(struct disk_config *disk, const char *value, struct usage_error *error)
{
    size_t len = value ? strlen(value) : 0;

    if (!len || len > BLK_SERIAL_LEN)
        return usage_fail(error, "serial= has 1 to %d characters", BLK_SERIAL_LEN);
    for (size_t i = 0; i < len; i++) {
        if (value[i] <= ' ' || value[i] > '~')
            return usage_fail(error, "serial= is of printable ASCII characters without blanks");
    }
    return option_replace_text(&disk->serial, value);
}

static int set_disk_format(struct disk_config *disk, const char *value, struct usage_error *error)
{
    if (!value || strcmp(value, "raw") != 0) {
        return usage_fail(error, "format= is raw; convert other images first: "
                                 "`qemu-img convert -O raw OLD NEW`");
    }
    disk->format_given = true;
    return 0;
}

static int set_disk_item(struct disk_config *disk, char *item, struct usage_error *error)
{
    static const char *const keys[] = { "format", "readonly", "serial", "cache", "queues", NULL };
    static const char *const caches[] = { "writeback", "none", "unsafe", NULL };
    char *value = value_split(item);

    switch (value_word(item, keys)) {
    case 0:
        return set_disk_format(disk, value, error);
    case 1:
        if (value)
            return usage_fail(error, "readonly takes no value");
        disk->read_only = true;
        return 0;
    case 2:
        return set_disk_serial(disk, value, error);
    case 3: {
        int cache = value ? value_word(value, caches) : -EINVAL;
        if (cache < 0)
            return usage_fail(error, "cache= is writeback, none or unsafe");
        disk->cache = (enum block_cache)cache;
        return 0;
    }
    case 4:
        return option_set_queues(&disk->queue_count, value, BLK_MAX_QUEUES, error);
    default:
        return option_unknown_key(item, keys, error);
    }
}

static_assert(BLOCK_CACHE_WRITEBACK == 0 && BLOCK_CACHE_NONE == 1 && BLOCK_CACHE_UNSAFE == 2,
              "the words of cache= are in this order");

int option_set_disk(void *target, const char *value, struct usage_error *error)
{
    struct config *config = target;
    struct disk_config *disk = &config->disks[config->disk_count];
    AUTO_FREE char *items = strdup(value);
    char *rest = items;

    if (!items)
        return -ENOMEM;
    if (config->disk_count == CONFIG_MAX_DISKS)
        return usage_fail(error, "a machine has at most %d disks", CONFIG_MAX_DISKS);
    config->disk_count++; /* from here on config_fini() frees what it has */

    int err = option_replace_path(&disk->path, value_next_item(&rest), error);
    for (char *item; !err && (item = value_next_item(&rest));)
        err = set_disk_item(disk, item, error);
    return err;
}
