// SPDX-License-Identifier: Apache-2.0
/* A machine's configuration: defaults, what follows from others, the kernel command line. */
#include "machine/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mem/layout.h"
#include "skip.h"

static int set_up(void **state)
{
    static struct config config;

    *state = &config;
    return config_init(&config);
}

static int tear_down(void **state)
{
    config_fini(*state);
    return 0;
}

static void check_cmdline(const struct config *config, const char *expected)
{
    char *cmdline = config_cmdline(config);

    assert_string_equal(cmdline, expected);
    free(cmdline);
}

static void add_net(struct config *config, enum net_kind kind, const char *target)
{
    config->nets[config->net_count++] =
        (struct net_config){ .kind = kind, .target = target ? strdup(target) : NULL, .fd = 7 };
}

static void defaults_are_modest(void **state)
{
    const struct config *config = *state;

    assert_in_range(config->cpu_count, 1, 4);
    assert_in_range(config->memory_size, 128 * MIB, 2 * GIB);
    assert_int_equal(config->memory_size % MIB, 0);
    assert_int_equal(config->grace_ms, 5000);
    assert_int_equal(config->escape_key, 1);
    assert_true(config->has_rng);
}

static void a_name_is_made_up_and_valid(void **state)
{
    struct config *config = *state;

    assert_int_equal(config_check(config), 0);
    assert_true(config_name_is_valid(config->name));
}

static void names_are_parts_of_paths(void **state)
{
    char name[CONFIG_NAME_MAX + 2];
    (void)state;

    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_false(config_name_is_valid(name));
    name[CONFIG_NAME_MAX] = '\0';
    assert_true(config_name_is_valid(name));
    assert_true(config_name_is_valid("web-1.test_2"));
    assert_false(config_name_is_valid(""));
    assert_false(config_name_is_valid(".."));
    assert_false(config_name_is_valid("a/b"));
    assert_false(config_name_is_valid("a b"));
    assert_false(config_name_is_valid("\xc3\xa4"));
}

static void the_serial_port_has_the_terminal(void **state)
{
    struct config *config = *state;

    assert_int_equal(config_check(config), 0);
    assert_int_equal(config->serial.kind, CONSOLE_TTY);
    assert_int_equal(config->console.kind, CONSOLE_NONE);
    check_cmdline(config, "console=ttyS0 cryptomgr.notests panic=-1 reboot=panic_warm");
}

static void the_console_takes_the_terminal_if_told_to(void **state)
{
    struct config *config = *state;

    config->console = (struct console_config){ .is_set = true, .kind = CONSOLE_TTY };
    assert_int_equal(config_check(config), 0);
    assert_int_equal(config->serial.kind, CONSOLE_NONE);
    check_cmdline(config, "console=hvc0 cryptomgr.notests panic=-1 reboot=panic_warm");
}

static void two_on_one_terminal_are_refused(void **state)
{
    struct config *config = *state;

    config->console = (struct console_config){ .is_set = true, .kind = CONSOLE_TTY };
    config->serial = config->console;
    assert_true(config_check(config) < 0);
}

static void the_terminals_console_comes_last(void **state)
{
    struct config *config = *state;

    config->console.kind = CONSOLE_FILE;
    config->serial.kind = CONSOLE_TTY;
    check_cmdline(config,
                  "console=hvc0 console=ttyS0 cryptomgr.notests panic=-1 reboot=panic_warm");
    config->console.kind = CONSOLE_TTY;
    config->serial.kind = CONSOLE_FILE;
    check_cmdline(config,
                  "console=ttyS0 console=hvc0 cryptomgr.notests panic=-1 reboot=panic_warm");
}

static void append_comes_behind_the_defaults(void **state)
{
    struct config *config = *state;

    config->append = strdup("root=/dev/vda quiet");
    config->on_panic = ON_PANIC_HOLD;
    check_cmdline(config, "cryptomgr.notests panic=0 root=/dev/vda quiet");
}

static void cmdline_replaces_all_of_it(void **state)
{
    struct config *config = *state;

    config->cmdline = strdup("mine");
    check_cmdline(config, "mine");
    assert_false(config_marks_panics(config));
}

static void a_reboot_of_the_users_own_leaves_panics_unmarked(void **state)
{
    struct config *config = *state;

    assert_true(config_marks_panics(config));
    config->append = strdup("noreboot=x");
    assert_true(config_marks_panics(config));
    free(config->append);
    config->append = strdup("quiet reboot=w");
    assert_false(config_marks_panics(config));
    check_cmdline(config, "cryptomgr.notests panic=-1 quiet reboot=w");
}

static void virtio_may_be_either_until_the_host_tells(void **state)
{
    struct config *config = *state;

    config->transport = TRANSPORT_AUTO;
    assert_true(config_may_be_pci(config));
    assert_int_equal(config_may_be_mmio(config), !LAYOUT_HAS_MSI);

    config->transport = TRANSPORT_PCI;
    assert_true(config_may_be_pci(config));
    assert_false(config_may_be_mmio(config));

    config->transport = TRANSPORT_MMIO;
    assert_false(config_may_be_pci(config));
    assert_true(config_may_be_mmio(config));
}

static void a_guest_without_acpi_is_told_of_virtio_mmio_by_parameters(void **state)
{
    struct config *config = *state;

    if (!LAYOUT_VIRTIO_MMIO_BY_CMDLINE)
        skip_because("not on this architecture");
    config->transport = TRANSPORT_MMIO;
    config->disks[config->disk_count++] = (struct disk_config){ .path = strdup("a.img") };
    config->append = strdup("acpi=off -- word");
    check_cmdline(config, "pci=off virtio_mmio.device=512@0xfea00000:5 "
                          "virtio_mmio.device=512@0xfea01000:6 cryptomgr.notests panic=-1 "
                          "reboot=panic_warm acpi=off -- word");

    config->has_rng = false;
    config->disk_count = 0;
    free(config->disks[0].path);
    check_cmdline(config, "pci=off cryptomgr.notests panic=-1 reboot=panic_warm acpi=off -- word");
}

static void a_guest_that_finds_its_devices_needs_no_parameters(void **state)
{
    struct config *config = *state;

    config->append = strdup("acpi=off");
    check_cmdline(config, "cryptomgr.notests panic=-1 reboot=panic_warm acpi=off");

    config->transport = TRANSPORT_MMIO;
    free(config->append);
    config->append = strdup("noacpi=off acpi=on");
    const char *cmdline = "pci=off cryptomgr.notests panic=-1 reboot=panic_warm noacpi=off acpi=on";
    check_cmdline(config, LAYOUT_PORT_PCI_CONFIG ? cmdline : cmdline + strlen("pci=off "));

    config->cmdline = strdup("acpi=off");
    check_cmdline(config, "acpi=off");
}

static void a_command_line_longer_than_its_place_is_refused(void **state)
{
    struct config *config = *state;

    config->cmdline = calloc(1, LAYOUT_CMDLINE_MAX + 1);
    memset(config->cmdline, 'x', LAYOUT_CMDLINE_MAX);
    assert_true(config_check(config) < 0);
    config->cmdline[LAYOUT_CMDLINE_MAX - 1] = '\0';
    assert_int_equal(config_check(config), 0);
}

static void macs_follow_from_name_and_place(void **state)
{
    struct config *config = *state;
    uint8_t first[NET_MAC_LEN];

    config->name = strdup("web");
    add_net(config, NET_KIND_USER, NULL);
    add_net(config, NET_KIND_USER, NULL);
    assert_int_equal(config_check(config), 0);
    memcpy(first, config->nets[0].mac, sizeof(first));
    assert_int_equal(first[0] & 3, 2); /* locally administered, not a group's */
    assert_memory_not_equal(first, config->nets[1].mac, sizeof(first));

    config->nets[0].has_mac = false;
    assert_int_equal(config_check(config), 0);
    assert_memory_equal(first, config->nets[0].mac, sizeof(first));

    config->nets[0].has_mac = false;
    config->name[0] = 'v';
    assert_int_equal(config_check(config), 0);
    assert_memory_not_equal(first, config->nets[0].mac, sizeof(first));
}

static void a_tap_or_descriptor_serves_one_card(void **state)
{
    struct config *config = *state;

    add_net(config, NET_KIND_TAP, "t0");
    add_net(config, NET_KIND_TAP, "t1");
    add_net(config, NET_KIND_FD, NULL);
    assert_int_equal(config_check(config), 0);
    add_net(config, NET_KIND_FD, NULL);
    assert_true(config_check(config) < 0);
    config->net_count--;
    add_net(config, NET_KIND_TAP, "t1");
    assert_true(config_check(config) < 0);
}

static void only_a_tap_has_several_queues(void **state)
{
    struct config *config = *state;

    add_net(config, NET_KIND_TAP, "t0");
    config->nets[0].queue_pairs = 4;
    assert_int_equal(config_check(config), 0);
    config->nets[0].kind = NET_KIND_STREAM;
    assert_true(config_check(config) < 0);
}

static void a_disk_is_shared_by_readers_only(void **state)
{
    struct config *config = *state;

    for (int i = 0; i < 2; i++)
        config->disks[config->disk_count++] =
            (struct disk_config){ .path = strdup("a.img"), .read_only = true };
    assert_int_equal(config_check(config), 0);
    config->disks[1].read_only = false;
    assert_true(config_check(config) < 0);
}

#define checked(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void add_disks(struct config *config, size_t count)
{
    char path[32];

    for (size_t i = 0; i < count; i++) {
        (void)snprintf(path, sizeof(path), "%zu.img", i);
        config->disks[config->disk_count++] = (struct disk_config){ .path = strdup(path) };
    }
}

static void there_are_no_more_devices_than_pci_slots(void **state)
{
    struct config *config = *state;

    add_disks(config, CONFIG_MAX_DISKS);
    for (int i = 0; i < 6; i++)
        add_net(config, NET_KIND_USER, NULL);
    assert_int_equal(config_check(config), 0); /* 31 with the rng */

    config->console = (struct console_config){ .is_set = true, .kind = CONSOLE_TTY };
    assert_int_equal(config_check(config), -EINVAL);
}

static void there_are_no_more_devices_than_virtio_mmio_pins(void **state)
{
    struct config *config = *state;

    config->transport = TRANSPORT_MMIO;
    add_disks(config, LAYOUT_VIRTIO_MMIO_MAX);
    assert_int_equal(config_check(config), -EINVAL); /* one too many with the rng */

    config->has_rng = false;
    assert_int_equal(config_check(config), 0);
}

/* It is the machine that asks once more: a host without MSI makes it virtio-mmio. */
static void an_automatic_transport_counts_for_what_it_becomes(void **state)
{
    struct config *config = *state;

    config->transport = TRANSPORT_AUTO;
    add_disks(config, LAYOUT_VIRTIO_MMIO_MAX); /* and the rng */
    assert_int_equal(config_check(config), 0);
    assert_int_equal(config_check_device_count(config, true), 0);
    assert_int_equal(config_check_device_count(config, false), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        checked(defaults_are_modest),
        checked(a_name_is_made_up_and_valid),
        checked(names_are_parts_of_paths),
        checked(the_serial_port_has_the_terminal),
        checked(the_console_takes_the_terminal_if_told_to),
        checked(two_on_one_terminal_are_refused),
        checked(the_terminals_console_comes_last),
        checked(append_comes_behind_the_defaults),
        checked(cmdline_replaces_all_of_it),
        checked(a_reboot_of_the_users_own_leaves_panics_unmarked),
        checked(virtio_may_be_either_until_the_host_tells),
        checked(a_guest_without_acpi_is_told_of_virtio_mmio_by_parameters),
        checked(a_guest_that_finds_its_devices_needs_no_parameters),
        checked(a_command_line_longer_than_its_place_is_refused),
        checked(macs_follow_from_name_and_place),
        checked(a_tap_or_descriptor_serves_one_card),
        checked(only_a_tap_has_several_queues),
        checked(a_disk_is_shared_by_readers_only),
        checked(there_are_no_more_devices_than_pci_slots),
        checked(there_are_no_more_devices_than_virtio_mmio_pins),
        checked(an_automatic_transport_counts_for_what_it_becomes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
