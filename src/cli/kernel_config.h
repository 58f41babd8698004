// SPDX-License-Identifier: Apache-2.0
/* How a kernel was configured: read from its image (IKCONFIG), or from a file that belongs to it.
 */
#pragma once

#include <stddef.h>

enum { KERNEL_RELEASE_LEN = 128 };

struct kernel_config {
    char *text;                       /* lines "CONFIG_X=y" */
    char *source;                     /* where it is from, for the user */
    char release[KERNEL_RELEASE_LEN]; /* of the kernel, as uname -r would say; "" if unknown */
};

enum config_value { CONFIG_MISSING, CONFIG_MODULE, CONFIG_BUILT_IN };

/* Reads it for the kernel at @path. Logs what is wrong. Returns 0 or -errno, -ENOENT if the image
 * tells nothing and no file was found either. */
int kernel_config_read(const char *path, struct kernel_config *ret);
/* The same without a word, and only of the files beside the image: it takes under a millisecond. */
int kernel_config_peek(const char *path, struct kernel_config *ret);
/* The release of the kernel at @path, as the image itself tells it, without a word. Returns 0,
 * -ENOENT if it does not, or -errno. */
int kernel_release_read(const char *path, char release[KERNEL_RELEASE_LEN]);
/* The same as far as it can be told without unpacking the image. */
int kernel_release_peek(const char *path, char release[KERNEL_RELEASE_LEN]);
void kernel_config_fini(struct kernel_config *config);

/* The value of an option ("VIRTIO_BLK"). */
enum config_value kernel_config_value(const struct kernel_config *config, const char *option);
