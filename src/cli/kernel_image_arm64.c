// SPDX-License-Identifier: Apache-2.0
/* An arm64 kernel's image: plain, it has no header that would tell of its content; compressed, it
 * is all payload; as an EFI program that unpacks itself (zboot), it says where its payload is
 * (Linux: drivers/firmware/efi/libstub/zboot-header.S). */
#include <endian.h>
#include <string.h>

#include "kernel_image.h"

const char kernel_tree_image[] = "arch/arm64/boot/Image";

enum { ZBOOT_MAGIC = 4, ZBOOT_PAYLOAD_OFFSET = 8, ZBOOT_PAYLOAD_LEN = 12, ZBOOT_HEADER_LEN = 16 };

size_t kernel_image_release(const uint8_t *data, size_t len)
{
    (void)data;
    return len;
}

static uint32_t number_at(const uint8_t *data)
{
    uint32_t value;

    memcpy(&value, data, sizeof(value));
    return le32toh(value);
}

size_t kernel_image_payload(const uint8_t *data, size_t len, size_t *payload_len)
{
    *payload_len = 0;
    if (len < ZBOOT_HEADER_LEN || memcmp(data, "MZ", 2)) {
        *payload_len = len;
        return 0;
    }
    if (memcmp(data + ZBOOT_MAGIC, "zimg", 4))
        return 0;
    size_t offset = number_at(data + ZBOOT_PAYLOAD_OFFSET);
    size_t size = number_at(data + ZBOOT_PAYLOAD_LEN);
    if (offset > len || size > len - offset)
        return 0;
    *payload_len = size;
    return offset;
}
