// SPDX-License-Identifier: Apache-2.0
/* A bzImage's header (Linux: Documentation/arch/x86/boot.rst). */
#include <asm/bootparam.h>
#include <stdbool.h>
#include <string.h>

#include "kernel_image.h"

const char kernel_tree_image[] = "arch/x86/boot/bzImage";

enum { HEADER_OFFSET = 0x1f1, SETUP_SECTOR = 512 };

/* The header of boot protocol 2.08 or later, which tells about the payload. */
static bool read_header(const uint8_t *data, size_t len, struct setup_header *ret)
{
    const uint32_t magic = 0x53726448; /* "HdrS" */

    if (len < HEADER_OFFSET + sizeof(*ret))
        return false;
    memcpy(ret, data + HEADER_OFFSET, sizeof(*ret));
    return ret->header == magic && ret->version >= 0x208;
}

size_t kernel_image_release(const uint8_t *data, size_t len)
{
    struct setup_header header;

    if (!read_header(data, len, &header) || !header.kernel_version)
        return len;
    return SETUP_SECTOR + (size_t)header.kernel_version;
}

size_t kernel_image_payload(const uint8_t *data, size_t len, size_t *payload_len)
{
    struct setup_header header;

    *payload_len = 0;
    if (!read_header(data, len, &header))
        return 0;
    uint64_t sectors = header.setup_sects ? header.setup_sects : 4;
    uint64_t offset = (sectors + 1) * SETUP_SECTOR + header.payload_offset;
    const size_t size_len = 4;
    if (offset >= len || header.payload_length > len - offset || header.payload_length <= size_len)
        return 0;
    /* Behind it stands how many bytes it becomes, which is a part of gzip's format only. */
    *payload_len = header.payload_length;
    if (memcmp(data + offset, "\x1f\x8b", 2) != 0)
        *payload_len -= size_len;
    return offset;
}
