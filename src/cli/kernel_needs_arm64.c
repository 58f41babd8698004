// SPDX-License-Identifier: Apache-2.0
/* What an arm64 machine needs of its kernel. */
#include <stdio.h>

#include "kernel_needs.h"

const char kernel_debian_flavour[] = "cloud-arm64";

const struct driver kernel_own_drivers[] = {
    { "ARM64", "arm64", ESSENTIAL, "hutch starts kernels of this host's architecture" },
    { "OF", "device tree", ESSENTIAL, "finds all of the machine" },
    { "SERIAL_OF_PLATFORM", "8250 by tree", USEFUL, "finding ttyS0" },
    { "PCI_HOST_GENERIC", "PCI host", USEFUL, "--transport=pci" },
    { "KEYBOARD_GPIO", "power button", USEFUL, "shutting down on SIGTERM" },
    { "GPIO_PL061", "GPIO", USEFUL, "the power button's line" },
    { "RTC_DRV_PL031", "clock", USEFUL, "the time of day" },
    { "PARAVIRT", "stolen time", USEFUL, "knowing when the host was busy" },
    { 0 },
};

void kernel_print_own_conclusions(const struct kernel_config *config)
{
    if (kernel_config_value(config, "KEYBOARD_GPIO") == CONFIG_MISSING)
        puts("  SIGTERM does not shut the guest down, but ends it after --grace: the power button "
             "needs CONFIG_KEYBOARD_GPIO");
    else if (kernel_config_value(config, "KEYBOARD_GPIO") == CONFIG_MODULE)
        puts("  SIGTERM shuts the guest down once gpio_keys is loaded");
}
