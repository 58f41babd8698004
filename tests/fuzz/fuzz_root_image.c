// SPDX-License-Identifier: Apache-2.0
/* Any bytes as a disk image for --root: its partition tables and superblocks. What is found must be
 * of a kind that the guest can be told. The first byte says whether there is a COMMAND; behind the
 * rest the image goes on with zeroes. */
#include "machine/root_image.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/fd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IMAGE_SIZE = 1 << 20, PARTITIONS_MAX = 128, SUPERBLOCK_MAX = 0x10048 };

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check(const struct config *config)
{
    require(config->disk_count == 1 && !strcmp(config->disks[0].path, config->root_path));
    require(config->disks[0].read_only == (config->command != NULL));
    require(config->root_partition <= PARTITIONS_MAX);
    require(!config->root_partition || config->root_type);
    require(!config->root_type || root_image_options(config->root_type));
    if (config->command)
        return;
    require(config->initrd_auto && !strncmp(config->append, "root=/dev/vda", 13));
    require(!config->root_type || strstr(config->append, config->root_type));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char program[] = "true", *command[] = { program, NULL };
    AUTO_CLOSE int fd = memfd_create("image", MFD_CLOEXEC);
    struct config config;

    if (size < 1 || size > IMAGE_SIZE)
        return 0;
    require(fd >= 0 && fd_write_full(fd, data + 1, size - 1) == 0);
    require(ftruncate(fd, IMAGE_SIZE + SUPERBLOCK_MAX) == 0);
    require(config_init(&config) == 0);
    require(asprintf(&config.root_path, "/proc/self/fd/%d", fd) > 0);
    config.command = data[0] & 1 ? command : NULL;
    require(root_image_take(&config) == 0);
    check(&config);
    config_fini(&config);
    return 0;
}
