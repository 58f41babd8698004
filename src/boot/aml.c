// SPDX-License-Identifier: Apache-2.0
#include "aml.h"

#include <errno.h>
#include <string.h>

/* Operators (ACPI 6.4, 20.3). */
enum {
    OP_ZERO = 0x00,
    OP_ONE = 0x01,
    OP_NAME = 0x08,
    OP_BYTE = 0x0a,
    OP_WORD = 0x0b,
    OP_DWORD = 0x0c,
    OP_STRING = 0x0d,
    OP_QWORD = 0x0e,
    OP_SCOPE = 0x10,
    OP_BUFFER = 0x11,
    OP_PACKAGE = 0x12,
    OP_METHOD = 0x14,
    OP_EXTENDED = 0x5b,
    OP_REGION = 0x80, /* this and the next two behind OP_EXTENDED */
    OP_FIELD = 0x81,
    OP_DEVICE = 0x82,
    OP_IF = 0xa0,
    OP_ELSE = 0xa1,
};

enum { METHOD_SERIALIZED = 0x08, REGION_SYSTEM_IO = 1, FIELD_BYTE_ACCESS = 1, PKG_LENGTH_MAX = 4 };

/* Resource descriptors (ACPI 6.4, 6.4.2 and 6.4.3). */
enum {
    RESOURCE_IO = 0x47,
    RESOURCE_END = 0x79,
    RESOURCE_MEMORY32_FIXED = 0x86,
    RESOURCE_DWORD_SPACE = 0x87,
    RESOURCE_WORD_SPACE = 0x88,
    RESOURCE_INTERRUPT = 0x89,
    RESOURCE_QWORD_SPACE = 0x8a,
};
enum { SPACE_MEMORY = 0, SPACE_BUS = 2 };
/* The window is the bridge's own; its ends are fixed. */
enum { SPACE_PRODUCER_FIXED = 0x0c, MEMORY_READ_WRITE = 0x01 };

void aml_init(struct aml *aml, uint8_t *data, size_t size)
{
    *aml = (struct aml){ .size = size };
    aml->data = data;
}

int aml_fini(const struct aml *aml)
{
    return aml->is_broken || aml->depth ? -ENOSPC : (int)aml->len;
}

void aml_bytes(struct aml *aml, const void *bytes, size_t len)
{
    if (aml->is_broken || len > aml->size - aml->len) {
        aml->is_broken = true;
        return;
    }
    memcpy(aml->data + aml->len, bytes, len);
    aml->len += len;
}

static void put8(struct aml *aml, uint8_t value)
{
    aml_bytes(aml, &value, 1);
}

/* @size bytes, little-endian. */
static void put(struct aml *aml, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        put8(aml, (uint8_t)(value >> (8 * i)));
}

static void open_block(struct aml *aml)
{
    if (aml->depth == AML_DEPTH_MAX)
        aml->is_broken = true;
    if (!aml->is_broken)
        aml->starts[aml->depth++] = aml->len;
}

/* Puts @len bytes in front of the content of the innermost block. */
static void insert(struct aml *aml, const uint8_t *bytes, size_t len)
{
    static const uint8_t room[PKG_LENGTH_MAX + 4];
    size_t start = aml->starts[aml->depth - 1];

    aml_bytes(aml, room, len);
    if (aml->is_broken)
        return;
    memmove(aml->data + start + len, aml->data + start, aml->len - start - len);
    memcpy(aml->data + start, bytes, len);
}

/* The length of a block counts its own encoding (20.2.4): one byte for up to 63, otherwise the
 * low four bits in the first byte and the rest in one to three more. */
static size_t encode_length(size_t content, uint8_t bytes[PKG_LENGTH_MAX])
{
    if (content + 1 < 0x40) {
        bytes[0] = (uint8_t)(content + 1);
        return 1;
    }
    size_t more = content + 2 < (1u << 12) ? 1 : content + 3 < (1u << 20) ? 2 : 3;
    size_t total = content + 1 + more;
    bytes[0] = (uint8_t)(more << 6 | (total & 0xf));
    for (size_t i = 0; i < more; i++)
        bytes[1 + i] = (uint8_t)(total >> (4 + 8 * i));
    return 1 + more;
}

void aml_close(struct aml *aml)
{
    uint8_t bytes[PKG_LENGTH_MAX];

    if (aml->is_broken || aml->depth == 0) {
        aml->is_broken = true;
        return;
    }
    size_t len = encode_length(aml->len - aml->starts[aml->depth - 1], bytes);
    insert(aml, bytes, len);
    aml->depth--;
}

void aml_path(struct aml *aml, const char *path)
{
    aml_bytes(aml, path, strlen(path));
}

void aml_open_scope(struct aml *aml, const char *path)
{
    put8(aml, OP_SCOPE);
    open_block(aml);
    aml_path(aml, path);
}

void aml_open_device(struct aml *aml, const char *name)
{
    put8(aml, OP_EXTENDED);
    put8(aml, OP_DEVICE);
    open_block(aml);
    aml_path(aml, name);
}

void aml_open_method(struct aml *aml, const char *name, unsigned arg_count)
{
    put8(aml, OP_METHOD);
    open_block(aml);
    aml_path(aml, name);
    put8(aml, (uint8_t)(METHOD_SERIALIZED | arg_count));
}

void aml_open_package(struct aml *aml, unsigned element_count)
{
    put8(aml, OP_PACKAGE);
    open_block(aml);
    put8(aml, (uint8_t)element_count);
}

void aml_open_if(struct aml *aml)
{
    put8(aml, OP_IF);
    open_block(aml);
}

void aml_open_else(struct aml *aml)
{
    put8(aml, OP_ELSE);
    open_block(aml);
}

void aml_name(struct aml *aml, const char *name)
{
    put8(aml, OP_NAME);
    aml_path(aml, name);
}

void aml_integer(struct aml *aml, uint64_t value)
{
    if (value <= 1) {
        put8(aml, value ? OP_ONE : OP_ZERO);
    } else if (value <= UINT8_MAX) {
        put8(aml, OP_BYTE);
        put(aml, value, 1);
    } else if (value <= UINT16_MAX) {
        put8(aml, OP_WORD);
        put(aml, value, 2);
    } else if (value <= UINT32_MAX) {
        put8(aml, OP_DWORD);
        put(aml, value, 4);
    } else {
        put8(aml, OP_QWORD);
        put(aml, value, 8);
    }
}

static void put_string(struct aml *aml, const char *text)
{
    put8(aml, OP_STRING);
    aml_bytes(aml, text, strlen(text) + 1);
}

static unsigned hex_digit(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

/* Three letters of five bits and four hexadecimal digits, big-endian (ACPI 6.4, 19.3.4). */
static void put_eisa_id(struct aml *aml, const char *id)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < 3; i++)
        value = value << 5 | (uint32_t)(id[i] - '@');
    for (unsigned i = 3; i < 7; i++)
        value = value << 4 | hex_digit(id[i]);
    aml_integer(aml, __builtin_bswap32(value));
}

static void put_buffer_header(struct aml *aml, unsigned len)
{
    put8(aml, OP_BUFFER);
    open_block(aml);
    aml_integer(aml, len);
}

/* The first three groups of a UUID are little-endian numbers (ACPI 6.4, 19.6.142). */
void aml_uuid(struct aml *aml, const char *uuid)
{
    static const uint8_t order[16] = { 6, 4, 2, 0, 11, 9, 16, 14, 19, 21, 24, 26, 28, 30, 32, 34 };

    put_buffer_header(aml, sizeof(order));
    for (size_t i = 0; i < sizeof(order); i++)
        put8(aml, (uint8_t)(hex_digit(uuid[order[i]]) << 4 | hex_digit(uuid[order[i] + 1])));
    aml_close(aml);
}

void aml_name_integer(struct aml *aml, const char *name, uint64_t value)
{
    aml_name(aml, name);
    aml_integer(aml, value);
}

void aml_name_string(struct aml *aml, const char *name, const char *text)
{
    aml_name(aml, name);
    put_string(aml, text);
}

void aml_name_eisa_id(struct aml *aml, const char *name, const char *id)
{
    aml_name(aml, name);
    put_eisa_id(aml, id);
}

void aml_port_field(struct aml *aml, const char *region, const char *field, uint16_t port)
{
    put8(aml, OP_EXTENDED);
    put8(aml, OP_REGION);
    aml_path(aml, region);
    put8(aml, REGION_SYSTEM_IO);
    aml_integer(aml, port);
    aml_integer(aml, 1);

    put8(aml, OP_EXTENDED);
    put8(aml, OP_FIELD);
    open_block(aml);
    aml_path(aml, region);
    put8(aml, FIELD_BYTE_ACCESS);
    aml_path(aml, field);
    put8(aml, 8); /* bits, as a package length */
    aml_close(aml);
}

void aml_open_resources(struct aml *aml)
{
    put8(aml, OP_BUFFER);
    open_block(aml);
}

/* The buffer's size, itself an integer, comes before the bytes. */
void aml_close_resources(struct aml *aml)
{
    uint8_t size[3] = { OP_WORD };

    put8(aml, RESOURCE_END);
    put8(aml, 0); /* no checksum */
    if (aml->is_broken || aml->depth == 0)
        return;
    size_t len = aml->len - aml->starts[aml->depth - 1];
    size[1] = (uint8_t)len;
    size[2] = (uint8_t)(len >> 8);
    if (len <= UINT8_MAX)
        size[0] = OP_BYTE;
    insert(aml, size, len <= UINT8_MAX ? 2 : 3);
    aml_close(aml);
}

void aml_io(struct aml *aml, uint16_t port, uint8_t len)
{
    put8(aml, RESOURCE_IO);
    put8(aml, 1); /* decodes 16 bits */
    put(aml, port, 2);
    put(aml, port, 2);
    put8(aml, 1); /* alignment */
    put8(aml, len);
}

void aml_memory32(struct aml *aml, uint32_t base, uint32_t size)
{
    put8(aml, RESOURCE_MEMORY32_FIXED);
    put(aml, 9, 2);
    put8(aml, MEMORY_READ_WRITE);
    put(aml, base, 4);
    put(aml, size, 4);
}

void aml_interrupt(struct aml *aml, enum aml_interrupt kind, uint32_t gsi)
{
    put8(aml, RESOURCE_INTERRUPT);
    put(aml, 6, 2);
    put8(aml, (uint8_t)kind);
    put8(aml, 1);
    put(aml, gsi, 4);
}

/* An address space descriptor with numbers of @width bytes: granularity, first, last,
 * translation, length. */
static void put_space(struct aml *aml, uint8_t tag, uint8_t type, uint8_t flags, unsigned width,
                      uint64_t base, uint64_t size)
{
    put8(aml, tag);
    put(aml, 3 + 5 * width, 2);
    put8(aml, type);
    put8(aml, SPACE_PRODUCER_FIXED);
    put8(aml, flags);
    put(aml, 0, width);
    put(aml, base, width);
    put(aml, base + size - 1, width);
    put(aml, 0, width);
    put(aml, size, width);
}

void aml_bus_window(struct aml *aml, uint16_t first, uint16_t last)
{
    put_space(aml, RESOURCE_WORD_SPACE, SPACE_BUS, 0, 2, first, (uint64_t)last - first + 1);
}

void aml_memory32_window(struct aml *aml, uint32_t base, uint32_t size)
{
    put_space(aml, RESOURCE_DWORD_SPACE, SPACE_MEMORY, MEMORY_READ_WRITE, 4, base, size);
}
