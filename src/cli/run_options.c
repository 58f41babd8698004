// SPDX-License-Identifier: Apache-2.0
/* The options of `hutch run`: what each stores into a struct config.
 *
 * A value is checked here as far as it can be alone; what depends on other options or on the host
 * is checked later, by config_check() and machine_check(). */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "cpu/vcpu.h"
#include "host/fd.h"
#include "machine/config.h"
#include "mem/layout.h"
#include "options.h"
#include "run_options.h"
#include "values.h"

enum { MEMORY_MIN_MIB = 4, CPUS_MAX = 1024, MASKED_MAX = 128 };
#define MEMORY_MAX (UINT64_C(8) << 40) /* what one memory slot of KVM can hold */

static int set_cpus(void *target, const char *value, struct usage_error *error)
{
    struct config *config = target;
    uint64_t count;

    if (value_number(value, 1, CPUS_MAX, &count))
        return usage_fail(error, "not a number of CPUs from 1 to %d", CPUS_MAX);
    config->cpu_count = (unsigned)count;
    return 0;
}

static int set_memory(void *target, const char *value, struct usage_error *error)
{
    struct config *config = target;
    uint64_t size;
    int err = value_size(value, &size);

    if (err == -EINVAL)
        return usage_fail(error, "not a size: a whole number with K, M, G or T behind it, or of "
                                 "MiB without");
    if (err || size < MEMORY_MIN_MIB * MIB || size > MEMORY_MAX)
        return usage_fail(error, "a machine has from %dM to 8T of memory", MEMORY_MIN_MIB);
    if (size % MIB)
        return usage_fail(error, "not whole MiB");
    config->memory_size = size;
    return 0;
}

static int set_kernel(void *target, const char *value, struct usage_error *error)
{
    struct config *config = target;

    return option_replace_path(&config->kernel, value, error);
}

static int set_initrd(void *target, const char *value, struct usage_error *error)
{
    struct config *config = target;

    bool is_auto = !strcmp(value, "auto");

    if (!is_auto && strcmp(value, "none") != 0) {
        config->initrd_auto = false;
        return option_replace_path(&config->initrd, value, error);
    }
    free(config->initrd);
    config->initrd = NULL;
    config->initrd_auto = is_auto;
    return 0;
}

/* Joins what is there and what is new with a blank. */
static int set_append(void *target, const char *value, struct usage_error *error)
{
    struct config *config = target;
    size_t old_len = config->append ? strlen(config->append) + 1 : 0, len = strlen(value);
    char *text = malloc(old_len + len + 1);
    (void)error;

    if (!text)
        return -ENOMEM;
    if (old_len) {
        memcpy(text, config->append, old_len - 1);
        text[old_len - 1] = ' ';
    }
    memcpy(text + old_len, value, len + 1);
    free(config->append);
    config->append = text;
    return 0;
}

static int set_cmdline(void *target, const char *value, struct usage_error *error)
{
    struct config *config = target;
    (void)error;

    return option_replace_text(&config->cmdline, value);
}

static int set_output(struct console_config *console, const char *value, struct usage_error *error)
{
    char *path = NULL;
    int err = 0;

    if (!strcmp(value, "tty"))
        console->kind = CONSOLE_TTY;
    else if (!strcmp(value, "none"))
        console->kind = CONSOLE_NONE;
    else if (!strncmp(value, "file:", 5))
        err = option_replace_path(&path, value + 5, error);
    else
        return usage_fail(error, "neither tty nor none nor file:PATH");
    if (err)
        return err;
    if (path)
        console->kind = CONSOLE_FILE;
    free(console->path);
    console->path = path;
    console->is_set = true;
    return 0;
}

static int set_console(void *target, const char *value, struct usage_error *error)
{
    return set_output(&((struct config *)target)->console, value, error);
}

static int set_serial(void *target, const char *value, struct usage_error *error)
{
    return set_output(&((struct config *)target)->serial, value, error);
}

static int set_rng(void *target, const char *value, struct usage_error *error)
{
    struct config *config = target;
    (void)error;

    config->has_rng = !strcmp(value, "yes");
    return 0;
}

static int set_dry_run(void *target, const char *value, struct usage_error *error)
{
    struct config *config = target;
    (void)error;

    config->dry_run = !strcmp(value, "yes");
    return 0;
}

static void free_names(char **names)
{
    for (char **name = names; name && *name; name++)
        free(*name);
    free(names);
}

/* "-avx2,-smep" as a NULL-terminated list; @names has room for MASKED_MAX and the end. */
static int read_masked(char *rest, char **names, struct usage_error *error)
{
    size_t count = 0;

    for (char *item; (item = value_next_item(&rest));) {
        if (item[0] != '-' || !item[1])
            return usage_fail(error, "'%.40s': a feature can only be taken away: -FEATURE", item);
        if (count == MASKED_MAX)
            return usage_fail(error, "more than %d features", MASKED_MAX);
        if (!cpu_feature_is_known(item + 1)) {
            return usage_fail(error, "no CPU feature '%.40s' that could be taken away; %s",
                              item + 1, cpu_feature_advice);
        }
        names[count] = strdup(item + 1);
        if (!names[count++])
            return -ENOMEM;
    }
    return 0;
}

static int set_cpu(void *target, const char *value, struct usage_error *error)
{
    struct config *config = target;
    AUTO_FREE char *items = strdup(value);
    char *rest = items;

    if (!items)
        return -ENOMEM;
    if (strcmp(value_next_item(&rest), "host") != 0)
        return usage_fail(error, "the CPU is host[,-FEATURE...]");

    char **names = calloc(MASKED_MAX + 1, sizeof(*names));
    int err = names ? read_masked(rest, names, error) : -ENOMEM;
    if (err) {
        free_names(names);
        return err;
    }
    free_names(config->masked_features);
    config->masked_features = names;
    return 0;
}

/* One of the words in @words, which are in the order of the enum that *@choice counts in. */
static int set_choice(int *choice, const char *value, const char *const *words,
                      struct usage_error *error)
{
    int at = value_word(value, words);

    if (at < 0)
        return usage_fail(error, "neither %s nor %s", words[0], words[1]);
    *choice = at;
    return 0;
}

static int set_transport(void *target, const char *value, struct usage_error *error)
{
    static const char *const words[] = { "pci", "mmio", NULL };
    static_assert(TRANSPORT_PCI == 0 && TRANSPORT_MMIO == 1, "the order of the words");
    int choice = 0, err = set_choice(&choice, value, words, error);

    if (!err)
        ((struct config *)target)->transport = (enum transport)choice;
    return err;
}

static int set_dtb(void *target, const char *value, struct usage_error *error)
{
    static const char *const words[] = { "off", "on", NULL };
    static_assert(DTB_OFF == 0 && DTB_ON == 1, "the order of the words");
    int choice = 0, err = set_choice(&choice, value, words, error);

    if (!err)
        ((struct config *)target)->dtb = (enum dtb)choice;
    return err;
}

static int set_dump_dtb(void *target, const char *value, struct usage_error *error)
{
    return option_replace_path(&((struct config *)target)->dtb_path, value, error);
}

static int set_on_reboot(void *target, const char *value, struct usage_error *error)
{
    static const char *const words[] = { "reset", "exit", NULL };
    static_assert(ON_REBOOT_RESET == 0 && ON_REBOOT_EXIT == 1, "the order of the words");
    int choice = 0, err = set_choice(&choice, value, words, error);

    if (!err)
        ((struct config *)target)->on_reboot = (enum on_reboot)choice;
    return err;
}

static int set_on_panic(void *target, const char *value, struct usage_error *error)
{
    static const char *const words[] = { "exit", "hold", NULL };
    static_assert(ON_PANIC_EXIT == 0 && ON_PANIC_HOLD == 1, "the order of the words");
    int choice = 0, err = set_choice(&choice, value, words, error);

    if (!err)
        ((struct config *)target)->on_panic = (enum on_panic)choice;
    return err;
}

static int set_on_oops(void *target, const char *value, struct usage_error *error)
{
    static const char *const words[] = { "ignore", "fail", NULL };
    static_assert(ON_OOPS_IGNORE == 0 && ON_OOPS_FAIL == 1, "the order of the words");
    int choice = 0, err = set_choice(&choice, value, words, error);

    if (!err)
        ((struct config *)target)->on_oops = (enum on_oops)choice;
    return err;
}

static int set_status_fd(void *target, const char *value, struct usage_error *error)
{
    uint64_t fd;

    if (value_number(value, 1, INT_MAX, &fd))
        return usage_fail(error, "not the number of a file descriptor");
    ((struct config *)target)->status_fd = (int)fd;
    return 0;
}

static int set_name(void *target, const char *value, struct usage_error *error)
{
    struct config *config = target;

    if (!config_name_is_valid(value)) {
        return usage_fail(error,
                          "a name has 1 to %d letters, digits, dots, dashes and "
                          "underscores, and begins with a letter or digit",
                          CONFIG_NAME_MAX);
    }
    return option_replace_text(&config->name, value);
}

static int set_time(uint64_t *ret_ms, const char *value, struct usage_error *error)
{
    int err = value_time(value, ret_ms);

    if (err == -ERANGE)
        return usage_fail(error, "more than a year");
    if (err)
        return usage_fail(error, "not a time: a whole number with ms, s, m or h behind it, or of "
                                 "seconds without");
    return 0;
}

static int set_boot_timeout(void *target, const char *value, struct usage_error *error)
{
    return set_time(&((struct config *)target)->boot_timeout_ms, value, error);
}

static int set_root(void *target, const char *value, struct usage_error *error)
{
    struct config *config = target;

    if (!strcmp(value, "none") || !strcmp(value, "host")) {
        config->root = strcmp(value, "none") ? ROOT_HOST : ROOT_NONE;
        return 0;
    }
    config->root = ROOT_PATH;
    return option_replace_path(&config->root_path, value, error);
}

static int set_home(void *target, const char *value, struct usage_error *error)
{
    static const char *const words[] = { "hide", "ro", "rw", NULL };
    static_assert(HOME_HIDE == 0 && HOME_RO == 1 && HOME_RW == 2, "the order of the words");
    int at = value_word(value, words);

    if (at < 0)
        return usage_fail(error, "neither hide nor ro nor rw");
    ((struct config *)target)->home = (enum home)at;
    return 0;
}

static int set_hide(void *target, const char *value, struct usage_error *error)
{
    if (!*value)
        return usage_fail(error, "the path is missing");
    return config_add_text(&((struct config *)target)->hidden, value);
}

static int set_workdir(void *target, const char *value, struct usage_error *error)
{
    return option_replace_path(&((struct config *)target)->workdir, value, error);
}

static int set_user(void *target, const char *value, struct usage_error *error)
{
    if (!*value)
        return usage_fail(error, "the user's name or number is missing");
    return option_replace_text(&((struct config *)target)->user, value);
}

static int set_env(void *target, const char *value, struct usage_error *error)
{
    if (!*value || *value == '=')
        return usage_fail(error, "not NAME or NAME=VALUE");
    return config_add_text(&((struct config *)target)->env, value);
}

static int set_tty(void *target, const char *value, struct usage_error *error)
{
    (void)error;
    ((struct config *)target)->tty = !strcmp(value, "yes") ? TTY_ON : TTY_OFF;
    return 0;
}

static int set_stdin(void *target, const char *value, struct usage_error *error)
{
    (void)error;
    ((struct config *)target)->has_stdin = !strcmp(value, "yes");
    return 0;
}

static int set_timeout(void *target, const char *value, struct usage_error *error)
{
    return set_time(&((struct config *)target)->timeout_ms, value, error);
}

static int set_grace(void *target, const char *value, struct usage_error *error)
{
    return set_time(&((struct config *)target)->grace_ms, value, error);
}

static int set_result(void *target, const char *value, struct usage_error *error)
{
    return option_replace_path(&((struct config *)target)->result_path, value, error);
}

static int set_escape(void *target, const char *value, struct usage_error *error)
{
    if (value_key(value, &((struct config *)target)->escape_key))
        return usage_fail(error, "not a control key: ^a to ^z, ^[, ^\\, ^], ^^, ^_, or none");
    return 0;
}

const struct option run_options[] = {
    { "cpus", 'c', 0, "N", "virtual CPUs (default: up to 4 of the host's)", set_cpus },
    { "memory", 'm', 0, "SIZE", "memory, taken as the guest touches it (default: 2G)", set_memory },
    { "kernel", 'k', 0, "FILE|TREE|VERSION|host",
      "the guest's kernel (default: built here, the host's, or pulled)", set_kernel, COMPLETE_FILE,
      "host" },
    { "initrd", 'i', 0, "FILE|auto|none",
      "its initial RAM disk; auto: made from its modules (default: none)", set_initrd,
      COMPLETE_FILE, "auto none" },
    { "append", 'a', OPTION_LIST, "ARGS", "add to the kernel command line", set_append,
      .excludes = "cmdline" },
    { "cmdline", 0, 0, "ARGS", "replace the whole kernel command line", set_cmdline,
      .excludes = "append" },
    { "disk", 'd', OPTION_LIST,
      "FILE[,format=raw][,readonly][,serial=S][,cache=writeback|none|unsafe][,queues=N]",
      "a disk: /dev/vda, /dev/vdb ...", option_set_disk, COMPLETE_FILE },
    { "net", 'n', OPTION_LIST | OPTION_VALUE_OPTIONAL,
      "user|none|tap:IF|fd:N|stream:SOCKET[,mac=MAC][,mtu=N][,queues=N]",
      "a network card (default: none; of --net alone: user)", option_set_net, COMPLETE_WORDS,
      "user none tap: fd: stream:", .implied = "user" },
    { "volume", 'v', OPTION_LIST, "HOST[:GUEST|:TAG][:ro|rw][,cache=MODE]",
      "a folder, at the same path, at GUEST, or for the guest to mount", option_set_volume,
      COMPLETE_FILE },
    { "console", 0, 0, "tty|none|file:PATH", "where hvc0 goes (default: none)", set_console,
      COMPLETE_WORDS, "tty none file:" },
    { "serial", 0, 0, "tty|none|file:PATH", "where ttyS0 goes (default: tty)", set_serial,
      COMPLETE_WORDS, "tty none file:" },
    { "rng", 0, OPTION_BOOLEAN, NULL, "a source of random numbers (default: yes)", set_rng },
    { "cpu", 0, 0, "host[,-FEATURE...]", "the host's CPU, without some of its features", set_cpu,
      COMPLETE_WORDS, "host host,-" },
    { "transport", 0, 0, "pci|mmio", "how virtio devices are found (default: pci)", set_transport,
      COMPLETE_WORDS, "pci mmio" },
    { "dtb", 0, 0, "on|off", "a device tree (default: where kernels need one)", set_dtb,
      COMPLETE_WORDS, "on off" },
    { "dump-dtb", 0, 0, "FILE", "write the guest's device tree into FILE", set_dump_dtb,
      COMPLETE_FILE },
    { "root", 'r', 0, "host|DIR|IMAGE|none",
      "whose files a COMMAND sees, read-only under a layer in RAM (default: host)", set_root,
      COMPLETE_FILE, "host none" },
    { "home", 0, 0, "hide|ro|rw", "your home folder in the guest (default: hide)", set_home,
      COMPLETE_WORDS, "hide ro rw" },
    { "hide", 0, OPTION_LIST, "PATH", "a file or folder which the guest does not see", set_hide,
      COMPLETE_FILE },
    { "workdir", 'w', 0, "DIR", "where a COMMAND begins (default: the working folder)", set_workdir,
      COMPLETE_FILE },
    { "user", 'u', 0, "NAME|UID", "whom a COMMAND runs as (default: you)", set_user },
    { "env", 'e', OPTION_LIST, "NAME[=VALUE]", "a variable for a COMMAND", set_env },
    { "tty", 't', OPTION_BOOLEAN, NULL,
      "a terminal for a COMMAND (default: if stdin and stdout are)", set_tty, .no_letter = 'T' },
    { "stdin", 0, OPTION_BOOLEAN, NULL, "our standard input for the guest (default: yes)",
      set_stdin, .no_letter = 'N' },
    { "boot-timeout", 0, 0, "TIME", "how long until a COMMAND starts (default: 60s)",
      set_boot_timeout },
    { "name", 0, 0, "NAME", "the machine's name (default: made up)", set_name },
    { "timeout", 0, 0, "TIME", "end the machine after so long (default: never)", set_timeout },
    { "grace", 0, 0, "TIME", "how long it may take to shut down (default: 5s)", set_grace },
    { "on-reboot", 0, 0, "reset|exit", "what a reboot does (default: reset)", set_on_reboot,
      COMPLETE_WORDS, "reset exit" },
    { "on-panic", 0, 0, "exit|hold", "what a panic does (default: exit)", set_on_panic,
      COMPLETE_WORDS, "exit hold" },
    { "on-oops", 0, 0, "ignore|fail", "what a fault of its kernel does (default: ignore)",
      set_on_oops, COMPLETE_WORDS, "ignore fail" },
    { "result", 0, 0, "FILE", "write how it ended into FILE, as JSON", set_result, COMPLETE_FILE },
    { "status-fd", 0, 0, "N", "write what happens to descriptor N, as lines of JSON",
      set_status_fd },
    { "escape", 0, 0, "KEY|none", "the key in front of commands to hutch (default: ^a)", set_escape,
      COMPLETE_WORDS, "^a ^b ^] none" },
    { "dry-run", 0, OPTION_BOOLEAN, NULL, "print the resolved machine as JSON, do not start it",
      set_dry_run },
    { 0 },
};
