// SPDX-License-Identifier: Apache-2.0
/* The namespace of the machine: the devices that a guest cannot find by probing. */
#pragma once

#include "aml.h"
#include "boot/acpi.h"

/* Writes the content of the DSDT, without the table's header. */
void dsdt_write(const struct board *board, struct aml *aml);
