// SPDX-License-Identifier: Apache-2.0
/* Which device answers at which address: one bus for ports, one for memory.
 *
 * A lookup is a binary search over sorted windows and takes no lock: windows are read under a
 * sequence counter and read again if somebody moved one meanwhile. Windows come and go while the
 * guest runs (it may move a BAR at any moment), devices do not: a device stays alive as long as
 * the bus, so an access that lost such a race reaches the old device, as on real hardware. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"

struct bus;

int bus_create(struct bus **ret);
/* Frees the bus, not the devices on it. NULL is fine. */
void bus_destroy(struct bus *bus);

/* Lets @dev answer for @size bytes at @base; the offsets it sees start at @first_offset, so that
 * a device with several windows can tell them apart.
 * Returns 0, -EINVAL if @size is 0 or the range wraps around, -EEXIST if another window overlaps,
 * -ENOSPC if the bus is full. Any thread. */
int bus_add(struct bus *bus, uint64_t base, uint64_t size, struct device *dev,
            uint64_t first_offset);
/* Takes away the window that starts at @base. Returns 0, or -ENOENT if there is none. */
int bus_remove(struct bus *bus, uint64_t base);

/* An access of @size (1, 2, 4, 8) bytes goes to the device whose window holds its first byte,
 * with that device locked. Where nothing answers, reads give all ones, as a floating bus does,
 * and writes go nowhere. Return whether a device answered. Any thread. */
bool bus_read(struct bus *bus, uint64_t address, unsigned size, uint64_t *value);
bool bus_write(struct bus *bus, uint64_t address, unsigned size, uint64_t value);
