// SPDX-License-Identifier: Apache-2.0
/* What the user asked for: its defaults, what follows from it, and what contradicts itself.
 *
 * Nothing here looks at files: that is machine_check()'s. */
#include "machine/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "boot/boot.h"
#include "devices/pci/pci.h"
#include "host/fd.h"
#include "host/limits.h"
#include "host/log.h"
#include "mem/layout.h"
#include "virtio/fs.h"

enum {
    DEFAULT_CPUS_MAX = 4,
    DEFAULT_GRACE_MS = 5000,
    DEFAULT_BOOT_TIMEOUT_MS = 60000,
    DEFAULT_ESCAPE_KEY = 1, /* ^a */
};
#define DEFAULT_MEMORY_MAX (2 * GIB)
#define DEFAULT_MEMORY_MIN (128 * MIB) /* even if that is more than half of what there is */

static uint64_t default_memory(void)
{
    uint64_t half = limits_memory("") / 2 / MIB * MIB;

    if (half > DEFAULT_MEMORY_MAX || !half)
        return DEFAULT_MEMORY_MAX;
    return half < DEFAULT_MEMORY_MIN ? DEFAULT_MEMORY_MIN : half;
}

int config_init(struct config *config)
{
    unsigned cpus = limits_cpus();

    *config = (struct config){
        .cpu_count = cpus < DEFAULT_CPUS_MAX ? cpus : DEFAULT_CPUS_MAX,
        .memory_size = default_memory(),
        .has_rng = true,
        .has_stdin = true,
        .status_fd = -1,
        .transport = TRANSPORT_AUTO,
        .dtb = DTB_AUTO,
        .grace_ms = DEFAULT_GRACE_MS,
        .tty = TTY_AUTO,
        .boot_timeout_ms = DEFAULT_BOOT_TIMEOUT_MS,
        .escape_key = DEFAULT_ESCAPE_KEY,
    };
    return 0;
}

int config_add_text(char ***list, const char *text)
{
    size_t count = 0;

    while (*list && (*list)[count])
        count++;
    char **grown = reallocarray(*list, count + 2, sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    *list = grown;
    grown[count] = strdup(text);
    if (!grown[count])
        return -ENOMEM;
    grown[count + 1] = NULL;
    return 0;
}

static void free_list(char **list)
{
    for (char **text = list; text && *text; text++)
        free(*text);
    free(list);
}

void config_fini(struct config *config)
{
    free_list(config->masked_features);
    free_list(config->hidden);
    free_list(config->env);
    for (size_t i = 0; i < config->disk_count; i++) {
        free(config->disks[i].path);
        free(config->disks[i].serial);
    }
    for (size_t i = 0; i < config->net_count; i++)
        free(config->nets[i].target);
    for (size_t i = 0; i < config->volume_count; i++) {
        free(config->volumes[i].path);
        free(config->volumes[i].tag);
        free(config->volumes[i].target);
    }
    free(config->console.path);
    free(config->serial.path);
    free(config->name);
    free(config->kernel);
    free(config->initrd);
    free(config->modules_folder);
    free(config->cache_folder);
    free(config->unpacked_folder);
    free(config->append);
    free(config->cmdline);
    free(config->dtb_path);
    free(config->result_path);
    free(config->shell[0]);
    free(config->root_path);
    free(config->root_type);
    free(config->workdir);
    free(config->user);
    free(config->run_as.name);
    free(config->run_as.home);
    *config = (struct config){ 0 };
}

bool config_name_is_valid(const char *name)
{
    size_t len = strlen(name);

    if (!len || len > CONFIG_NAME_MAX || !isalnum((unsigned char)name[0]))
        return false;
    for (; *name; name++) {
        if (!isascii((unsigned char)*name) ||
            (!isalnum((unsigned char)*name) && !strchr("._-", *name)))
            return false;
    }
    return true;
}

/* "vm-" and six letters or digits by chance. */
static int make_name(struct config *config)
{
    static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789"; /* 32, none like another */
    unsigned char random[6];
    char name[] = "vm-xxxxxx";

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return log_errno(-errno, "random numbers for the machine's name");
    for (size_t i = 0; i < sizeof(random); i++)
        name[3 + i] = letters[random[i] % 32];
    config->name = strdup(name);
    return config->name ? 0 : log_errno(-ENOMEM, "the machine's name");
}

static int check_memory_and_cpus(const struct config *config)
{
    if (!config->cpu_count || !config->memory_size || config->memory_size % MIB) {
        log_error("a machine has at least one CPU and whole MiB of memory");
        return -EINVAL;
    }
    return 0;
}

/* The terminal is the serial port's, unless the user gave it to the console. */
static int resolve_terminal(struct config *config)
{
    struct console_config *console = &config->console, *serial = &config->serial;

    if (!console->is_set)
        console->kind = CONSOLE_NONE;
    if (!serial->is_set && config->command)
        serial->kind = CONSOLE_TAIL;
    else if (!serial->is_set)
        serial->kind = console->kind == CONSOLE_TTY ? CONSOLE_NONE : CONSOLE_TTY;
    if (console->kind == CONSOLE_TTY && serial->kind == CONSOLE_TTY) {
        log_error("--console=tty and --serial=tty: there is only one terminal; send one of them to "
                  "file:PATH or none");
        return -EINVAL;
    }
    if (console->kind == CONSOLE_FILE && serial->kind == CONSOLE_FILE &&
        !strcmp(console->path, serial->path)) {
        log_error("--console and --serial go to the same file '%s'", console->path);
        return -EINVAL;
    }
    return 0;
}

static void warn_without_command(const struct config *config)
{
    const char *option = config->user                ? "--user"
                         : config->workdir           ? "--workdir"
                         : config->env               ? "--env"
                         : config->tty == TTY_ON     ? "--tty"
                         : config->home != HOME_HIDE ? "--home"
                                                     : NULL;

    if (option)
        log_warn("%s has no effect: it is for a COMMAND, and this machine has none", option);
}

/* The standard streams are the command's, and the initial RAM disk brings the agent that runs it.
 */
static int check_command(struct config *config)
{
    if (!config->command) {
        warn_without_command(config);
        return 0;
    }
    if (config->tty == TTY_AUTO)
        config->tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) ? TTY_ON : TTY_OFF;
    if (config->root == ROOT_NONE && !config->initrd) {
        log_error("--root=none: the COMMAND ('%s') needs an initial RAM disk of yours (-i FILE) "
                  "that has it",
                  config->command[0]);
        return -EINVAL;
    }
    if (config->console.kind == CONSOLE_TTY || config->serial.kind == CONSOLE_TTY) {
        log_error("--console=tty and --serial=tty: the terminal is the COMMAND's; send consoles to "
                  "file:PATH or none");
        return -EINVAL;
    }
    return 0;
}

static int check_disks(const struct config *config)
{
    for (size_t i = 0; i < config->disk_count; i++) {
        const struct disk_config *disk = &config->disks[i];
        for (size_t j = 0; j < i; j++) {
            const struct disk_config *other = &config->disks[j];
            if (strcmp(disk->path, other->path) != 0 || (disk->read_only && other->read_only))
                continue;
            log_error("disk '%s' is given twice: both must be readonly then", disk->path);
            return -EINVAL;
        }
    }
    return 0;
}

static bool is_same_host_end(const struct net_config *a, const struct net_config *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == NET_KIND_FD)
        return a->fd == b->fd;
    return a->kind == NET_KIND_TAP && !strcmp(a->target, b->target);
}

static int check_net_pair(const struct net_config *net, const struct net_config *other)
{
    if (!memcmp(net->mac, other->mac, NET_MAC_LEN)) {
        log_error("two network cards have the address %02x:%02x:%02x:%02x:%02x:%02x", net->mac[0],
                  net->mac[1], net->mac[2], net->mac[3], net->mac[4], net->mac[5]);
        return -EINVAL;
    }
    if (!is_same_host_end(net, other))
        return 0;
    if (net->kind == NET_KIND_FD)
        log_error("--net=fd:%d is given twice", net->fd);
    else
        log_error("--net=tap:%s is given twice", net->target);
    return -EINVAL;
}

static int check_nets(struct config *config)
{
    for (size_t i = 0; i < config->net_count; i++) {
        struct net_config *net = &config->nets[i];

        if (!net->has_mac)
            net_default_mac(config->name, (unsigned)i, net->mac);
        net->has_mac = true;
        if (net->queue_pairs > 1 && net->kind != NET_KIND_TAP) {
            log_error("--net: queues=%u needs a tap:IF: the other networks have one queue",
                      net->queue_pairs);
            return -EINVAL;
        }
        for (size_t j = 0; j < i; j++) {
            int err = check_net_pair(net, &config->nets[j]);
            if (err)
                return err;
        }
    }
    return 0;
}

/* A tag that nobody named is the folder's name as given, but for one that the agent mounts. */
static int resolve_tag(const struct config *config, struct volume_config *volume)
{
    bool by_agent = config->command && (!volume->tag || volume->tag[0] == '/');

    if (by_agent)
        return 0;
    if (!volume->tag)
        volume->tag = strdup(volume->path);
    if (!volume->tag)
        return log_errno(-ENOMEM, "--volume=%s", volume->path);
    if (strlen(volume->tag) > FS_TAG_LEN) {
        log_error("--volume=%s: the tag '%.80s' has more than %d bytes; choose another: HOST:TAG",
                  volume->path, volume->tag, FS_TAG_LEN);
        return -EINVAL;
    }
    return 0;
}

static int check_volumes(struct config *config)
{
    for (size_t i = 0; i < config->volume_count; i++) {
        struct volume_config *volume = &config->volumes[i];
        int err = resolve_tag(config, volume);

        if (err)
            return err;
        for (size_t j = 0; volume->tag && j < i; j++) {
            if (!config->volumes[j].tag || strcmp(volume->tag, config->volumes[j].tag) != 0)
                continue;
            log_error("--volume=%s: '%s' is given twice; choose another: HOST:GUEST or HOST:TAG",
                      volume->path, volume->tag);
            return -EINVAL;
        }
    }
    return 0;
}

bool config_may_be_pci(const struct config *config)
{
    return config->transport != TRANSPORT_MMIO;
}

bool config_may_be_mmio(const struct config *config)
{
    return config->transport == TRANSPORT_MMIO ||
           (config->transport == TRANSPORT_AUTO && !LAYOUT_HAS_MSI);
}

size_t config_device_count(const struct config *config)
{
    return config->disk_count + config->net_count + config->volume_count + config->has_rng +
           (config->console.kind != CONSOLE_NONE) + (config->command != NULL);
}

/* Each virtio device takes a slot on the PCI bus, whose first is the bridge's, or one of the pages
 * that there are interrupt pins for. */
int config_check_device_count(const struct config *config, bool is_pci)
{
    size_t places = is_pci ? PCI_SLOT_COUNT - 1 : LAYOUT_VIRTIO_MMIO_MAX;
    size_t count = config_device_count(config);

    if (count <= places)
        return 0;
    log_error(
        "%zu virtio devices (disks, network cards, volumes, rng, console): %s has room for %zu%s",
        count, is_pci ? "PCI" : "virtio-mmio", places, is_pci ? "" : "; --transport=pci has more");
    return -EINVAL;
}

static int resolve_dtb(struct config *config)
{
    if (config->dtb == DTB_AUTO)
        config->dtb = boot_needs_fdt ? DTB_ON : DTB_OFF;
    if (config->dtb == DTB_OFF && boot_needs_fdt) {
        log_error("--dtb=off: without a device tree this machine's kernel would find nothing");
        return -EINVAL;
    }
    if (config->dtb == DTB_OFF && config->dtb_path) {
        log_error("--dump-dtb: the guest gets no device tree; add --dtb=on");
        return -EINVAL;
    }
    return 0;
}

static int check_cmdline(const struct config *config)
{
    AUTO_FREE char *cmdline = config_cmdline(config);

    if (!cmdline)
        return log_errno(-ENOMEM, "kernel command line");
    if (strlen(cmdline) >= LAYOUT_CMDLINE_MAX) {
        log_error("the kernel command line has %zu bytes; there is room for %ju", strlen(cmdline),
                  (uintmax_t)LAYOUT_CMDLINE_MAX - 1);
        return -EINVAL;
    }
    return 0;
}

int config_check(struct config *config)
{
    int err = config->name ? 0 : make_name(config);

    if (!err)
        err = check_memory_and_cpus(config);
    if (!err)
        err = resolve_terminal(config);
    if (!err)
        err = check_command(config);
    if (!err)
        err = check_disks(config);
    if (!err)
        err = check_nets(config);
    if (!err)
        err = check_volumes(config);
    if (!err)
        err = config_check_device_count(config, config_may_be_pci(config));
    if (!err)
        err = resolve_dtb(config);
    if (!err)
        err = check_cmdline(config);
    return err;
}

bool config_appends(const struct config *config, const char *prefix)
{
    const char *at = config->append;

    for (; at && (at = strstr(at, prefix)); at++) {
        if (at == config->append || at[-1] == ' ')
            return true;
    }
    return false;
}

/* Linux (5.1 and later) can be told to reboot warm only after a panic: so the way of a reset says
 * whether it was one, without any driver in the guest. How it shows is the platform's. */
bool config_marks_panics(const struct config *config)
{
    return config->on_panic == ON_PANIC_EXIT && !config->cmdline &&
           !config_appends(config, "reboot=");
}

/* Kernels that know virtio_mmio.device= (Linux with CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES) need it
 * only without ACPI; with ACPI, each device would be announced twice. */
static bool announces_devices(const struct config *config)
{
    return LAYOUT_VIRTIO_MMIO_BY_CMDLINE && config->transport == TRANSPORT_MMIO &&
           config_appends(config, "acpi=off");
}

/* Every device takes the next slot; which it is does not matter here. */
static void write_announcements(const struct config *config, FILE *out)
{
    size_t count = config_device_count(config);

    for (unsigned slot = 0; slot < count && slot < LAYOUT_VIRTIO_MMIO_MAX; slot++)
        (void)fprintf(out, "virtio_mmio.device=%ju@0x%jx:%u ", (uintmax_t)LAYOUT_VIRTIO_MMIO_SIZE,
                      (uintmax_t)layout_virtio_mmio_base(slot), layout_virtio_mmio_gsi(slot));
}

/* The kernel opens the last console= as /dev/console, so the terminal's comes last. The user's own
 * words come behind all others, as a `--` among them ends the kernel's. */
static void write_cmdline(const struct config *config, FILE *out)
{
    bool has_hvc = config->console.kind != CONSOLE_NONE;
    bool has_serial = config->serial.kind != CONSOLE_NONE;
    bool hvc_last = config->console.kind == CONSOLE_TTY;
    const char *append = config->append ? config->append : "";

    (void)fprintf(out, "%s%s%s", has_hvc && !hvc_last ? "console=hvc0 " : "",
                  has_serial ? "console=ttyS0 " : "", hvc_last ? "console=hvc0 " : "");
    /* A PC's kernel looks for a bus behind ports, told of one or not. */
    if (LAYOUT_PORT_PCI_CONFIG && config->transport == TRANSPORT_MMIO)
        (void)fputs("pci=off ", out);
    if (announces_devices(config))
        write_announcements(config, out);
    /* Writing its log would take the better part of a boot that nobody watches. */
    if (config->serial.kind == CONSOLE_TAIL)
        (void)fputs("quiet ", out);
    /* Nobody watches its log then, as the agent would. */
    if (config->on_oops == ON_OOPS_FAIL && !config->command)
        (void)fputs("oops=panic ", out);
    (void)fprintf(
        out, "cryptomgr.notests panic=%s%s%s%s", config->on_panic == ON_PANIC_EXIT ? "-1" : "0",
        config_marks_panics(config) ? " reboot=panic_warm" : "", *append ? " " : "", append);
}

/* What the kernel is told unless --cmdline replaces it; the manual gives the reasons. */
char *config_cmdline(const struct config *config)
{
    char *text = NULL;
    size_t len;

    if (config->cmdline)
        return strdup(config->cmdline);
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    write_cmdline(config, out);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}
