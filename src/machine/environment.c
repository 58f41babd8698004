// SPDX-License-Identifier: Apache-2.0
/* Which variables of ours a COMMAND gets.
 *
 * All but three kinds: those that name something which is not there in the guest (sockets of
 * agents and of the desktop, the session, the terminal's window, the service manager's
 * descriptors), our own, and secrets, as far as their names tell: what a build needs of those is
 * said with --env=NAME. The manual has the list. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host/fd.h"
#include "root_private.h"

/* One that ends in '*' stands for all that begin so. */
static const char *const misleading[] = {
    "HUTCH_*",
    "HOSTNAME",
    "OLDPWD",
    "TMPDIR",
    "TMP",
    "TEMP",
    "TEMPDIR",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
    "XDG_SESSION_*",
    "XDG_SEAT*",
    "XDG_VTNR",
    "DBUS_*",
    "SESSION_MANAGER",
    "DESKTOP_SESSION",
    "WINDOWID",
    "SSH_*",
    "GPG_AGENT_INFO",
    "GPG_TTY",
    "GNOME_KEYRING_*",
    "KRB5CCNAME",
    "TMUX*",
    "STY",
    "PULSE_SERVER",
    "PIPEWIRE_REMOTE",
    "LISTEN_*",
    "NOTIFY_SOCKET",
    "WATCHDOG_*",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "MAINPID",
    "MANAGERPID",
    "SYSTEMD_EXEC_PID",
    "CREDENTIALS_DIRECTORY",
    "DOCKER_HOST",
    "LINES",
    "COLUMNS",
    "SUDO_*",
};

/* The ends of names of secrets, in any case. */
static const char *const secret_ends[] = {
    "TOKEN",   "SECRET",     "PASSWORD",    "PASSWD",     "PASSPHRASE",  "CREDENTIALS",
    "API_KEY", "ACCESS_KEY", "PRIVATE_KEY", "SECRET_KEY", "SIGNING_KEY", "_PAT",
};

static bool is_named(const char *name, size_t len, const char *pattern)
{
    size_t pattern_len = strlen(pattern);

    if (pattern[pattern_len - 1] == '*')
        return len >= pattern_len - 1 && !strncmp(name, pattern, pattern_len - 1);
    return len == pattern_len && !strncmp(name, pattern, len);
}

static bool ends_in(const char *name, size_t len, const char *end)
{
    size_t end_len = strlen(end);

    return len >= end_len && !strncasecmp(name + len - end_len, end, end_len);
}

static bool may_pass(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(misleading) / sizeof(misleading[0]); i++) {
        if (is_named(name, len, misleading[i]))
            return false;
    }
    for (size_t i = 0; i < sizeof(secret_ends) / sizeof(secret_ends[0]); i++) {
        if (ends_in(name, len, secret_ends[i]))
            return false;
    }
    return len > 0;
}

void environment_fini(struct environment *environment)
{
    for (size_t i = 0; i < environment->count; i++)
        free(environment->variables[i]);
    free(environment->variables);
    *environment = (struct environment){ 0 };
}

/* Where the variable of this name is, that of "NAME" or "NAME=VALUE"; or their count. */
static size_t find(const struct environment *environment, const char *name)
{
    size_t len = strcspn(name, "="), at = 0;

    while (at < environment->count && (strncmp(environment->variables[at], name, len) != 0 ||
                                       environment->variables[at][len] != '='))
        at++;
    return at;
}

void environment_put(struct environment *environment, const char *variable)
{
    size_t at = find(environment, variable);
    char *copy = strdup(variable);

    if (copy && at < environment->count) {
        free(environment->variables[at]);
        environment->variables[at] = copy;
        return;
    }
    char **grown = reallocarray(environment->variables, at + 2, sizeof(*grown));
    if (grown)
        environment->variables = grown;
    if (!grown || !copy) {
        free(copy);
        environment->err = -ENOMEM;
        return;
    }
    grown[at] = copy;
    grown[at + 1] = NULL;
    environment->count++;
}

void environment_set(struct environment *environment, const char *name, const char *value)
{
    AUTO_FREE char *variable = NULL;

    if (asprintf(&variable, "%s=%s", name, value) < 0) {
        variable = NULL;
        environment->err = -ENOMEM;
        return;
    }
    environment_put(environment, variable);
}

void environment_drop(struct environment *environment, const char *name)
{
    size_t at = find(environment, name);

    if (at == environment->count)
        return;
    free(environment->variables[at]);
    environment->variables[at] = environment->variables[--environment->count];
    environment->variables[environment->count] = NULL;
}

void environment_take(struct environment *environment, char *const *variables)
{
    for (; *variables; variables++) {
        size_t len = strcspn(*variables, "=");

        if ((*variables)[len] == '=' && may_pass(*variables, len))
            environment_put(environment, *variables);
    }
}
