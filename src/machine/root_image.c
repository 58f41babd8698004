// SPDX-License-Identifier: Apache-2.0
/* Looks for the superblocks of the usual file systems: at the start of the image, and else in the
 * partitions, of a GPT or the four of an MBR. The root is in the largest one that has such a file
 * system: before it come those for firmware and boot loader, which are small. */
#include "root_image.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/fd.h"
#include "host/log.h"

enum {
    SECTOR = 512,
    MBR_TABLE = 446,
    MBR_ENTRY = 16,
    MBR_ENTRIES = 4,
    MBR_GPT = 0xee, /* the type of the one partition that stands for a GPT */
    GPT_ENTRIES_MAX = 128,
    GPT_ENTRY_MIN = 128,
    GPT_ENTRY_MAX = 4096,
};

struct partition {
    unsigned number; /* 0: the whole image */
    uint64_t start, size;
    const char *type; /* NULL: none that we know */
};

/* --- file systems --- */

struct magic {
    const char *type;
    uint64_t offset;
    unsigned len;
    uint64_t value; /* little-endian */
    const char *options;
};

#define BTRFS_MAGIC UINT64_C(0x4d5f53665248425f) /* "_BHRfS_M" */
#define XFS_MAGIC_LE UINT64_C(0x42534658)        /* "XFSB" */

static const struct magic magics[] = {
    { "ext4", 1024 + 56, 2, EXT4_SUPER_MAGIC, "noload" },
    { "xfs", 0, 4, XFS_MAGIC_LE, "norecovery" },
    { "btrfs", 0x10040, 8, BTRFS_MAGIC, "" },
    { "f2fs", 1024, 4, F2FS_SUPER_MAGIC, "" },
    { "erofs", 1024, 4, EROFS_SUPER_MAGIC_V1, "" },
    { "squashfs", 0, 4, SQUASHFS_MAGIC, "" },
};

const char *root_image_options(const char *type)
{
    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
        if (!strcmp(magics[i].type, type))
            return magics[i].options;
    }
    return "";
}

static const char *find_type(int fd, uint64_t start)
{
    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
        uint64_t value = 0;

        if (start <= INT64_MAX - magics[i].offset &&
            !fd_pread_full(fd, &value, magics[i].len, (off_t)(start + magics[i].offset)) &&
            le64toh(value) == magics[i].value)
            return magics[i].type;
    }
    return NULL;
}

/* --- partitions --- */

static uint64_t number_at(const uint8_t *data, unsigned len)
{
    uint64_t number = 0;

    memcpy(&number, data, len);
    return le64toh(number);
}

/* Takes a partition, in sectors, if it is larger than the best so far. */
static void consider(int fd, unsigned number, uint64_t first, uint64_t count,
                     struct partition *best)
{
    if (first == 0 || count == 0 || first > INT64_MAX / SECTOR || count > INT64_MAX / SECTOR ||
        count * SECTOR <= best->size)
        return;
    const char *type = find_type(fd, first * SECTOR);
    if (type)
        *best = (struct partition){ number, first * SECTOR, count * SECTOR, type };
}

static void search_gpt(int fd, struct partition *best)
{
    uint8_t header[SECTOR], entry[GPT_ENTRY_MIN];

    if (fd_pread_full(fd, header, sizeof(header), SECTOR) || memcmp(header, "EFI PART", 8) != 0)
        return;
    uint64_t table = number_at(header + 72, 8);
    uint64_t count = number_at(header + 80, 4), size = number_at(header + 84, 4);
    if (table > INT64_MAX / SECTOR / 2 || size < GPT_ENTRY_MIN || size > GPT_ENTRY_MAX)
        return;
    for (unsigned i = 0; i < count && i < GPT_ENTRIES_MAX; i++) {
        if (fd_pread_full(fd, entry, sizeof(entry), (off_t)(table * SECTOR + i * size)))
            return;
        uint64_t first = number_at(entry + 32, 8), last = number_at(entry + 40, 8);
        if (first <= last)
            consider(fd, i + 1, first, last - first + 1, best);
    }
}

static void search_partitions(int fd, struct partition *best)
{
    uint8_t sector[SECTOR];

    if (fd_pread_full(fd, sector, sizeof(sector), 0) || sector[510] != 0x55 || sector[511] != 0xaa)
        return;
    for (unsigned i = 0; i < MBR_ENTRIES; i++) {
        const uint8_t *entry = sector + MBR_TABLE + (size_t)i * MBR_ENTRY;

        if (entry[4] == MBR_GPT) {
            search_gpt(fd, best);
            return;
        }
        consider(fd, i + 1, number_at(entry + 8, 4), number_at(entry + 12, 4), best);
    }
}

static struct partition find_root(int fd)
{
    struct partition best = { .type = find_type(fd, 0) };

    if (!best.type)
        search_partitions(fd, &best);
    return best;
}

/* --- what follows from it --- */

static int put_disk_first(struct config *config)
{
    const struct disk_config disk = { .path = strdup(config->root_path),
                                      .read_only = config->command != NULL };

    if (!disk.path)
        return log_errno(-ENOMEM, "--root=%s", config->root_path);
    if (config->disk_count == CONFIG_MAX_DISKS) {
        free(disk.path);
        log_error("--root=%s: a machine has at most %d disks, this one included", config->root_path,
                  CONFIG_MAX_DISKS);
        return -EINVAL;
    }
    memmove(&config->disks[1], &config->disks[0], config->disk_count * sizeof(disk));
    config->disks[0] = disk;
    config->disk_count++;
    return 0;
}

/* In front of what the user added, which so goes before ours. The type, if it is known, spares an
 * automatic initial RAM disk the modules of others. */
static int boot_from(struct config *config, const struct partition *root)
{
    char *append, number[12] = "", type[32] = "";

    if (config->cmdline)
        return 0;
    if (!config->initrd)
        config->initrd_auto = true;
    if (root->number)
        (void)snprintf(number, sizeof(number), "%u", root->number);
    if (root->type)
        (void)snprintf(type, sizeof(type), " rootfstype=%s", root->type);
    if (asprintf(&append, "root=/dev/vda%s rw%s%s%s", number, type, config->append ? " " : "",
                 config->append ? config->append : "") < 0)
        return log_errno(-ENOMEM, "kernel command line");
    free(config->append);
    config->append = append;
    return 0;
}

int root_image_take(struct config *config)
{
    AUTO_CLOSE int fd = open(config->root_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return log_errno(-errno, "--root=%s", config->root_path);

    const struct partition root = find_root(fd);
    int err = put_disk_first(config);
    if (err)
        return err;
    config->root_partition = root.number;
    if (root.type) {
        config->root_type = strdup(root.type);
        if (!config->root_type)
            return log_errno(-ENOMEM, "--root=%s", config->root_path);
    }
    return config->command ? 0 : boot_from(config, &root);
}
