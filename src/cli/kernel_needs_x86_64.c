// SPDX-License-Identifier: Apache-2.0
/* What a PC needs of its kernel. */
#include <stdio.h>

#include "kernel_needs.h"

const char kernel_debian_flavour[] = "cloud-amd64";

const struct driver kernel_own_drivers[] = {
    { "64BIT", "64-bit", ESSENTIAL, "hutch starts kernels in 64-bit mode" },
    { "ACPI", "ACPI", ESSENTIAL, "finds CPUs, devices and the power button" },
    { "ACPI_BUTTON", "power button", USEFUL, "shutting down on SIGTERM" },
    { "KVM_GUEST", "KVM guest", USEFUL, "a good clock, and CPUs that wait for each other well" },
    { "PVH", "PVH", USEFUL, "starting an uncompressed vmlinux" },
    { "X86_MPPARSE", "MP table", USEFUL, "acpi=off: CPUs and interrupts" },
    { "VIRTIO_MMIO_CMDLINE_DEVICES", "device=", USEFUL, "acpi=off with --transport=mmio: devices" },
    { "OF", "device tree", USEFUL, "--dtb=on" },
    { 0 },
};

/* What stands between this kernel and -a acpi=off. */
void kernel_print_own_conclusions(const struct kernel_config *config)
{
    if (kernel_config_value(config, "X86_MPPARSE") == CONFIG_MISSING)
        puts("  acpi=off finds neither CPUs nor interrupts: it needs CONFIG_X86_MPPARSE");
    else if (kernel_config_value(config, "VIRTIO_MMIO_CMDLINE_DEVICES") == CONFIG_MISSING)
        puts("  acpi=off finds no devices with --transport=mmio: that needs "
             "CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES");
}
