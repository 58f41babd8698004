// SPDX-License-Identifier: Apache-2.0
/* Writes AML, the byte code of ACPI's namespace (ACPI 6.4, chapter 20), into a caller's buffer.
 *
 * Calls follow the order of the ASL text that they stand for. What has a length (a scope, a
 * package, a buffer of resources) is opened and closed; the length is put in when it is closed. A
 * buffer that is too small, or blocks nested too deep, only set a flag, so that callers check once
 * at the end, with aml_fini(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AML_DEPTH_MAX = 8 };

struct aml {
    uint8_t *data; /* the caller's */
    size_t size, len;
    bool is_broken;
    unsigned depth;
    size_t starts[AML_DEPTH_MAX]; /* of the content of the open blocks */
};

enum aml_interrupt { AML_LEVEL_HIGH = 0x1, AML_EDGE_HIGH = 0x3 }; /* both exclusive, consumer */

void aml_init(struct aml *aml, uint8_t *data, size_t size);
/* Returns the number of bytes written, or -ENOSPC. */
int aml_fini(const struct aml *aml);

/* Blocks. Paths are written as in ASL: "PCI0", "_SB_"; names have four characters. */
void aml_open_scope(struct aml *aml, const char *path);
void aml_open_device(struct aml *aml, const char *name);
void aml_open_method(struct aml *aml, const char *name, unsigned arg_count);
void aml_open_package(struct aml *aml, unsigned element_count);
void aml_open_if(struct aml *aml);
void aml_open_else(struct aml *aml);
void aml_close(struct aml *aml);

/* Values. */
void aml_name(struct aml *aml, const char *name); /* Name (NAME, the value that follows) */
void aml_path(struct aml *aml, const char *path);
void aml_integer(struct aml *aml, uint64_t value);
void aml_uuid(struct aml *aml, const char *uuid); /* as ToUUID() */
/* Bytes of code that have no function here, such as a lone operator. */
void aml_bytes(struct aml *aml, const void *bytes, size_t len);

/* Name (NAME, VALUE), the common cases. */
void aml_name_integer(struct aml *aml, const char *name, uint64_t value);
void aml_name_string(struct aml *aml, const char *name, const char *text);
void aml_name_eisa_id(struct aml *aml, const char *name, const char *id); /* "PNP0A03" */

/* OperationRegion (NAME, SystemIO, PORT, LEN) with one field of eight bits at its start. */
void aml_port_field(struct aml *aml, const char *region, const char *field, uint16_t port);

/* A resource template, and what may stand in it (ACPI 6.4, 6.4). */
void aml_open_resources(struct aml *aml);
void aml_close_resources(struct aml *aml);
void aml_io(struct aml *aml, uint16_t port, uint8_t len);
void aml_memory32(struct aml *aml, uint32_t base, uint32_t size);
void aml_interrupt(struct aml *aml, enum aml_interrupt kind, uint32_t gsi);
/* What a bridge passes on: bus numbers, and memory. */
void aml_bus_window(struct aml *aml, uint16_t first, uint16_t last);
void aml_memory32_window(struct aml *aml, uint32_t base, uint32_t size);
