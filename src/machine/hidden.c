// SPDX-License-Identifier: Apache-2.0
/* What of the host a guest may not see: what --hide names; and of the host's files that a COMMAND
 * finds, credentials always, and the homes of users unless --home shows them.
 *
 * The paths need not exist: virtio-fs hides both the file that is there and what is made there
 * later (virtio/fs_share.h), in every folder that is shared. The manual has this list. */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/fd.h"
#include "host/log.h"
#include "root_private.h"

enum { HOMES_MAX = 256 }; /* whose credentials are hidden one by one */

const char *const hidden_of_root[] = { "/proc", "/sys", "/dev", "/run", "/tmp", NULL };

static const char *const system_credentials[] = {
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/security/opasswd",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/ssh/ssh_host_*_key",
    "/etc/ssl/private",
    "/etc/pki/tls/private",
    "/etc/letsencrypt",
    "/etc/krb5.keytab",
    "/etc/wireguard",
    "/etc/openvpn",
    "/etc/ipsec.secrets",
    "/etc/ppp/*-secrets",
    "/etc/NetworkManager/system-connections",
    "/etc/wpa_supplicant",
    "/etc/netplan",
    "/etc/cryptsetup-keys.d",
    "/etc/credstore",
    "/etc/credstore.encrypted",
    "/etc/kubernetes",
    "/etc/rancher",
    "/etc/docker/key.json",
    "/etc/apt/auth.conf",
    "/etc/apt/auth.conf.d",
    "/var/backups/shadow.bak",
    "/var/backups/gshadow.bak",
    "/var/lib/systemd/credential.secret",
    "/var/lib/sss",
    "/var/lib/iwd",
    "/var/lib/kubelet",
};

/* Below a home. */
static const char *const home_credentials[] = {
    ".ssh",
    ".gnupg",
    ".pki",
    ".aws",
    ".azure",
    ".oci",
    ".config/gcloud",
    ".config/gh",
    ".config/glab-cli",
    ".config/hub",
    ".config/git/credentials",
    ".config/op",
    ".config/sops",
    ".config/age",
    ".config/containers/auth.json",
    ".config/google-chrome",
    ".config/chromium",
    ".mozilla",
    ".thunderbird",
    ".netrc",
    ".git-credentials",
    ".docker/config.json",
    ".kube",
    ".npmrc",
    ".yarnrc.yml",
    ".pypirc",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".gem/credentials",
    ".m2/settings.xml",
    ".gradle/gradle.properties",
    ".terraform.d",
    ".terraformrc",
    ".vault-token",
    ".password-store",
    ".local/share/keyrings",
    ".local/share/kwalletd",
    ".pgpass",
    ".my.cnf",
    ".s3cfg",
    ".boto",
    ".smbcredentials",
};

static int add_pattern(char ***list, const char *pattern)
{
    glob_t found;
    int err = 0;

    if (glob(pattern, 0, NULL, &found))
        return 0; /* nothing of that kind */
    for (size_t i = 0; !err && i < found.gl_pathc; i++)
        err = config_add_text(list, found.gl_pathv[i]);
    globfree(&found);
    return err;
}

static int add_system(char ***list)
{
    int err = 0;

    for (size_t i = 0; !err && i < sizeof(system_credentials) / sizeof(system_credentials[0]);
         i++) {
        const char *path = system_credentials[i];
        err = strchr(path, '*') ? add_pattern(list, path) : config_add_text(list, path);
    }
    return err;
}

static int add_home_credentials(char ***list, const char *home)
{
    int err = 0;

    for (size_t i = 0; home && !err && i < sizeof(home_credentials) / sizeof(home_credentials[0]);
         i++) {
        AUTO_FREE char *path = NULL;

        if (asprintf(&path, "%s/%s", home, home_credentials[i]) < 0) {
            path = NULL;
            return -ENOMEM;
        }
        err = config_add_text(list, path);
    }
    return err;
}

/* Those of other people: who is root could show them by accident. */
static int add_other_homes(char ***list)
{
    glob_t found;
    int err = add_home_credentials(list, "/root");

    if (err || glob("/home/*", 0, NULL, &found))
        return err;
    for (size_t i = 0; !err && i < found.gl_pathc && i < HOMES_MAX; i++)
        err = add_home_credentials(list, found.gl_pathv[i]);
    globfree(&found);
    return err;
}

static int add_homes(char ***list, const struct homes *homes)
{
    const char *const paths[] = { homes->named, homes->listed, "/root", "/home" };
    int err = 0;

    for (size_t i = 0; !err && i < sizeof(paths) / sizeof(paths[0]); i++)
        err = paths[i] ? config_add_text(list, paths[i]) : 0;
    return err;
}

static bool is_same_text(const char *a, const char *b)
{
    return a && b && !strcmp(a, b);
}

/* Who is wrong about a name should know, but not have to care: it is hidden as well when it is
 * made.
 */
int hidden_complete(struct config *config)
{
    AUTO_FREE char *folder = getcwd(NULL, 0);

    for (char **named = config->hidden; named && *named; named++) {
        char *path = path_normalise(folder ? folder : "/", *named);

        if (!path)
            return -ENOMEM;
        free(*named);
        *named = path;
        if (!path[1]) {
            log_error("--hide=/: nothing would be left; --root=FOLDER shows other files");
            return -EINVAL;
        }
        if (access(path, F_OK) && errno == ENOENT)
            log_warn("--hide=%s: there is no such file or folder now", path);
    }
    return 0;
}

int hidden_find(struct config *config, const struct homes *homes)
{
    int err = hidden_complete(config);

    if (!err)
        err = add_system(&config->hidden);
    if (!err)
        err = add_home_credentials(&config->hidden, homes->named);
    if (!err && !is_same_text(homes->named, homes->listed))
        err = add_home_credentials(&config->hidden, homes->listed);
    if (!err)
        err = config->home == HOME_HIDE ? add_homes(&config->hidden, homes)
                                        : add_other_homes(&config->hidden);
    return err;
}
