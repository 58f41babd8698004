// SPDX-License-Identifier: Apache-2.0
/* The small chips of an Arm machine, Arm's PrimeCells: each a create function.
 *
 * A PrimeCell has 4 KiB of 32-bit registers, of which a driver may also access the lowest bytes
 * alone; the last eight say which one it is. Create functions return 0 or -errno, and a device
 * that is the caller's to destroy. */
#pragma once

#include "devices/device.h"
#include "devices/irq.h"

struct loop;

/* PL031 real-time clock (Arm DDI 0224): counts the seconds since 1970, as the host does; a guest
 * that sets it only moves its own offset. Its alarm comes by the loop, also when the host's clock
 * was set meanwhile. */
struct pl031_params {
    struct irq_line irq;
    struct loop *loop; /* outlives the device */
};
int pl031_create(const struct pl031_params *params, struct device **ret);

/* PL061 general-purpose inputs and outputs (Arm DDI 0190), eight lines. What the guest puts out
 * goes nowhere; inputs are buttons, which are low but for pl061_press(). */
enum { PL061_LINE_COUNT = 8 };
int pl061_create(const struct irq_line *irq, struct device **ret);
/* Presses a button: the line is high until the guest has seen it so. The device is locked by the
 * caller. */
void pl061_press(struct device *dev, unsigned line);
