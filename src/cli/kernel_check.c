// SPDX-License-Identifier: Apache-2.0
/* Which drivers a kernel has built in, as modules or not at all, and what follows from it. */
#include "kernel_check.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cli_private.h"
#include "host/log.h"
#include "kernel_config.h"
#include "kernel_needs.h"

enum { STATUS_LACKING = 1 };

/* What every machine needs. */
static const struct driver drivers[] = {
    { "PCI", "PCI", USEFUL, "--transport=pci" },
    { "SERIAL_8250_CONSOLE", "8250 console", USEFUL, "the kernel's words on ttyS0" },
    { "BLK_DEV_INITRD", "initrd", USEFUL, "--initrd" },
    { "VIRTIO_PCI", "virtio_pci", USEFUL, "every virtio device of --transport=pci" },
    { "VIRTIO_MMIO", "virtio_mmio", USEFUL, "every virtio device of --transport=mmio" },
    { "VIRTIO_BLK", "virtio_blk", USEFUL, "--disk" },
    { "VIRTIO_NET", "virtio_net", USEFUL, "--net" },
    { "VIRTIO_CONSOLE", "virtio_console", USEFUL, "--console (hvc0)" },
    { "HW_RANDOM_VIRTIO", "virtio_rng", USEFUL, "--rng" },
    { "PVPANIC_MMIO", "pvpanic", USEFUL, "telling of a panic at once, also with --cmdline" },
    { "EXT4_FS", "ext4", USEFUL, "root file systems of that kind" },
    { "DEVTMPFS", "devtmpfs", USEFUL, "/dev in the guest" },
    { "OVERLAY_FS", "overlay", USEFUL, "a writable layer over a read-only root" },
    { "VIRTIO_FS", "virtiofs", USEFUL, "--volume (folders of the host)" },
    { "VIRTIO_VSOCKETS", "virtio_vsock", USEFUL, "sockets between host and guest" },
    { 0 },
};

static enum config_value value_of(const struct kernel_config *config, const char *option)
{
    enum config_value value = kernel_config_value(config, option);

    /* Linux 5.13 split the driver: before, all of it was CONFIG_PVPANIC. */
    if (value == CONFIG_MISSING && !strcmp(option, "PVPANIC_MMIO") &&
        !strstr(config->text, "CONFIG_PVPANIC_MMIO"))
        return kernel_config_value(config, "PVPANIC");
    return value;
}

/* Prints them up to one without an option. Returns how many essential ones are missing. */
static int print_drivers(const struct kernel_config *config, const struct driver *driver)
{
    static const char *const words[] = {
        [CONFIG_MISSING] = "missing", [CONFIG_MODULE] = "module", [CONFIG_BUILT_IN] = "built in"
    };
    int lacking = 0;

    for (; driver->option; driver++) {
        enum config_value value = value_of(config, driver->option);
        bool is_lacking = value == CONFIG_MISSING && driver->need == ESSENTIAL;
        printf("%-9s %-15s %s%s\n", words[value], driver->name, is_lacking ? "NEEDED: " : "",
               driver->what);
        lacking += is_lacking;
    }
    return lacking;
}

/* What stands between this kernel and root=/dev/vda. */
static bool print_root_advice(const struct kernel_config *config, const char *transport_option,
                              const char *transport, const char *flag)
{
    enum config_value bus = kernel_config_value(config, transport_option);
    enum config_value disk = kernel_config_value(config, "VIRTIO_BLK");

    if (bus == CONFIG_MISSING || disk == CONFIG_MISSING) {
        printf("  no disks with %s: %s is missing\n", flag,
               bus == CONFIG_MISSING ? transport : "virtio_blk");
        return false;
    }
    if (bus == CONFIG_BUILT_IN && disk == CONFIG_BUILT_IN) {
        printf("  root=/dev/vda needs no initrd with %s\n", flag);
    } else {
        printf("  root=/dev/vda with %s needs an initrd (-i) that loads %s%s%s\n", flag,
               bus == CONFIG_MODULE ? transport : "",
               bus == CONFIG_MODULE && disk == CONFIG_MODULE ? ", " : "",
               disk == CONFIG_MODULE ? "virtio_blk" : "");
    }
    return true;
}

/* Returns whether there is a way to a disk and to a console. */
static bool print_conclusions(const struct kernel_config *config)
{
    enum config_value hvc = kernel_config_value(config, "VIRTIO_CONSOLE");
    bool has_serial = kernel_config_value(config, "SERIAL_8250_CONSOLE") == CONFIG_BUILT_IN;

    puts("what follows:");
    bool by_pci = print_root_advice(config, "VIRTIO_PCI", "virtio_pci", "--transport=pci");
    bool by_mmio = print_root_advice(config, "VIRTIO_MMIO", "virtio_mmio", "--transport=mmio");
    if (!has_serial)
        puts("  the kernel says nothing on ttyS0: use --console=tty");
    if (hvc == CONFIG_MODULE)
        puts("  hvc0 is silent until the initrd or the root file system loads virtio_console");
    if (kernel_config_value(config, "EXT4_FS") == CONFIG_MODULE)
        puts("  a root file system of ext4 needs an initrd that loads ext4");
    kernel_print_own_conclusions(config);
    return (by_pci || by_mmio) && (has_serial || hvc != CONFIG_MISSING);
}

int kernel_check(const char *path)
{
    struct kernel_config config;

    if (kernel_config_read(path, &config))
        return STATUS_TOOL_ERROR;
    printf("kernel    %s\nrelease   %s\nconfig    %s\n\n", path,
           config.release[0] ? config.release : "unknown", config.source);
    int lacking = print_drivers(&config, kernel_own_drivers);
    lacking += print_drivers(&config, drivers);
    putchar('\n');
    bool is_usable = print_conclusions(&config) && !lacking;
    kernel_config_fini(&config);
    return cli_finish_output(is_usable ? 0 : STATUS_LACKING);
}

void kernel_warn_about_root(const char *path, const char *cmdline, bool by_pci)
{
    const char *bus_option = by_pci ? "VIRTIO_PCI" : "VIRTIO_MMIO";
    const char *bus_driver = by_pci ? "virtio_pci" : "virtio_mmio";
    struct kernel_config config;

    if (!strstr(cmdline, "root=/dev/vd") || kernel_config_peek(path, &config))
        return;
    bool has_bus = kernel_config_value(&config, bus_option) == CONFIG_BUILT_IN;
    bool has_disk = kernel_config_value(&config, "VIRTIO_BLK") == CONFIG_BUILT_IN;
    if (!has_bus || !has_disk) {
        log_warn("kernel '%s' does not have %s%s%s built in: its root=/dev/vd... needs an initrd "
                 "(-i) that loads them",
                 path, has_bus ? "" : bus_driver, has_bus || has_disk ? "" : " and ",
                 has_disk ? "" : "virtio_blk");
    }
    kernel_config_fini(&config);
}
