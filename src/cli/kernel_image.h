// SPDX-License-Identifier: Apache-2.0
/* What the header of a kernel's image tells, which differs by architecture. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* What a build leaves in a tree of sources. */
extern const char kernel_tree_image[];

/* Where the kernel's release begins in an image of @len bytes; @len if its header does not say. */
size_t kernel_image_release(const uint8_t *data, size_t len);

/* Where the compressed kernel inside an image begins, and how long it is: *@payload_len is 0 if
 * there is none. */
size_t kernel_image_payload(const uint8_t *data, size_t len, size_t *payload_len);
