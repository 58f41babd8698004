// SPDX-License-Identifier: Apache-2.0
/* `hutch run --volume`: a folder of the host, its tag, and whether the guest may write. */
#include <errno.h>
#include <string.h>

#include "host/fd.h"
#include "machine/config.h"
#include "options.h"
#include "run_options.h"
#include "virtio/fs.h"

/* Cuts ":ro" or ":rw" off the end. */
static void take_mode(char *text, bool *read_only)
{
    char *colon = strrchr(text, ':');

    if (!colon || (strcmp(colon, ":ro") != 0 && strcmp(colon, ":rw") != 0))
        return;
    *read_only = !strcmp(colon, ":ro");
    *colon = '\0';
}

int option_set_volume(void *target, const char *value, struct usage_error *error)
{
    struct config *config = target;
    struct volume_config *volume = &config->volumes[config->volume_count];
    AUTO_FREE char *path = strdup(value);

    if (!path)
        return -ENOMEM;
    if (config->volume_count == CONFIG_MAX_VOLUMES)
        return usage_fail(error, "a machine has at most %d volumes", CONFIG_MAX_VOLUMES);
    config->volume_count++; /* from here on config_fini() frees what it has */
    take_mode(path, &volume->read_only);

    char *tag = strchr(path, ':');
    if (tag)
        *tag++ = '\0';
    else
        tag = path;
    if (!*path || !*tag)
        return usage_fail(error, "not HOST[:TAG][:ro|rw], where HOST is a folder");
    if (strlen(tag) > FS_TAG_LEN) {
        return usage_fail(error, "the tag '%.80s' has more than %d bytes; choose another: HOST:TAG",
                          tag, FS_TAG_LEN);
    }
    int err = option_replace_text(&volume->tag, tag);
    return err ? err : option_replace_text(&volume->path, path);
}
