// SPDX-License-Identifier: Apache-2.0
/* `hutch run --volume`: a folder of the host, its place or its tag in the guest, and how it is
 * shared: words after the last colon, so that a path may have commas. */
#include <errno.h>
#include <string.h>

#include "host/fd.h"
#include "machine/config.h"
#include "options.h"
#include "run_options.h"
#include "virtio/fs.h"

enum word { NO_WORD = -1, READ_ONLY, READ_WRITE, CACHE_FIRST };

static const char *const words[] = {
    [READ_ONLY] = "ro",
    [READ_WRITE] = "rw",
    [CACHE_FIRST + FS_CACHE_AUTO] = "cache=auto",
    [CACHE_FIRST + FS_CACHE_ALWAYS] = "cache=always",
    [CACHE_FIRST + FS_CACHE_NONE] = "cache=none",
};

static int find_word(const char *text)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (!strcmp(text, words[i]))
            return (int)i;
    return NO_WORD;
}

static bool begins_with_word(const char *text)
{
    AUTO_FREE char *first = strndup(text, strcspn(text, ","));

    return first && (find_word(first) != NO_WORD || !strncmp(first, "cache=", 6));
}

/* Cuts the words off the end, if there are any. */
static int take_words(char *text, struct volume_config *volume, struct usage_error *error)
{
    char *colon = strrchr(text, ':'), *rest = NULL;

    if (!colon || !begins_with_word(colon + 1))
        return 0;
    *colon = '\0';
    for (char *part = strtok_r(colon + 1, ",", &rest); part; part = strtok_r(NULL, ",", &rest)) {
        int word = find_word(part);

        if (word == NO_WORD) {
            return usage_fail(error, "'%.80s' is not ro, rw or cache=auto|always|none", part);
        }
        if (word >= CACHE_FIRST)
            volume->cache = (enum fs_cache)(word - CACHE_FIRST);
        else
            volume->read_only = word == READ_ONLY;
    }
    return 0;
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
    int err = take_words(path, volume, error);
    if (err)
        return err;

    char *tag = strchr(path, ':');
    if (tag)
        *tag++ = '\0';
    if (!*path || (tag && !*tag))
        return usage_fail(error,
                          "not HOST[:GUEST|:TAG][:ro|rw][,cache=MODE], where HOST is a folder");
    if (tag && strchr(tag, ':')) {
        return usage_fail(error,
                          "behind '%.*s' come ro, rw or cache=MODE, with commas, not '%.80s'",
                          (int)strcspn(tag, ":"), tag, strchr(tag, ':') + 1);
    }
    if (tag && tag[0] != '/' && strlen(tag) > FS_TAG_LEN) {
        return usage_fail(error, "the tag '%.80s' has more than %d bytes; choose another: HOST:TAG",
                          tag, FS_TAG_LEN);
    }
    if (tag && !strncmp(tag, "hutch.", 6))
        return usage_fail(error, "tags that begin with 'hutch.' are hutch's own");
    err = tag ? option_replace_text(&volume->tag, tag) : 0;
    return err ? err : option_replace_text(&volume->path, path);
}
