// SPDX-License-Identifier: Apache-2.0
/* What options with sub-options have in common, and texts that a configuration owns. */
#include "run_options.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "values.h"

int option_replace_text(char **text, const char *value)
{
    char *copy = strdup(value);

    if (!copy)
        return -ENOMEM;
    free(*text);
    *text = copy;
    return 0;
}

int option_replace_path(char **path, const char *value, struct usage_error *error)
{
    if (!*value)
        return usage_fail(error, "the name of a file is missing");
    return option_replace_text(path, value);
}

int option_unknown_key(const char *key, const char *const *keys, struct usage_error *error)
{
    const char *meant = value_suggest(key, keys);
    char all[160] = "";

    if (meant)
        return usage_fail(error, "no sub-option '%.40s'; did you mean '%s'?", key, meant);
    for (; *keys; keys++) {
        strncat(all, all[0] ? ", " : "", sizeof(all) - strlen(all) - 1);
        strncat(all, *keys, sizeof(all) - strlen(all) - 1);
    }
    return usage_fail(error,
                      "no sub-option '%.40s' (there are %s; a comma in a name is written twice)",
                      key, all);
}

int option_set_queues(unsigned *queues, const char *value, unsigned max, struct usage_error *error)
{
    uint64_t count;

    if (!value || value_number(value, 1, max, &count))
        return usage_fail(error, "queues= is a number from 1 to %u", max);
    *queues = (unsigned)count;
    return 0;
}
