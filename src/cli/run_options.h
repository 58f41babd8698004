// SPDX-License-Identifier: Apache-2.0
/* What the files share that store the options of `hutch run` into a struct config. */
#pragma once

struct usage_error;

/* Replaces a text that the configuration owns. Returns 0 or -ENOMEM. */
int option_replace_text(char **text, const char *value);
/* The same with the name of a file, which cannot be empty. */
int option_replace_path(char **path, const char *value, struct usage_error *error);

/* Says that there is no sub-option @key among @keys, and which one may have been meant. */
int option_unknown_key(const char *key, const char *const *keys, struct usage_error *error);
/* The sub-option queues=, of up to @max. @value: NULL if there is none. */
int option_set_queues(unsigned *queues, const char *value, unsigned max, struct usage_error *error);

/* --disk, --net and --volume; as struct option's set. */
int option_set_disk(void *target, const char *value, struct usage_error *error);
int option_set_net(void *target, const char *value, struct usage_error *error);
int option_set_volume(void *target, const char *value, struct usage_error *error);
