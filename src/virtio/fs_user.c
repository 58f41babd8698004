// SPDX-License-Identifier: Apache-2.0
/* Who we are while we do what the guest asks for.
 *
 * How this works: as an ordinary user the host checks everything against that user, and what the
 * guest makes belongs to him. As root, which the guest would otherwise create files as, a thread
 * takes the guest's user and group (setfsuid(), the thread's own) while it creates one, which is
 * never for an instant somebody else's. It may do so wherever root may: whether the user may as
 * well was checked by the guest's kernel, as all else is, which knows its users and all of their
 * groups. */
#include <errno.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs_tree.h"

/* With the user go root's rights over files (capabilities(7), "Effect of user ID changes"), and
 * come back with him; those to reach any folder are taken back at once. */
static void keep_reach(const struct fs_share *share)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
    const uint32_t files = 1U << CAP_CHOWN | 1U << CAP_FOWNER | 1U << CAP_FSETID |
                           1U << CAP_LINUX_IMMUTABLE | 1U << CAP_MKNOD;

    memcpy(caps, share->caps, sizeof(caps));
    caps[0].effective &= ~files;
    caps[1].effective &= ~(uint32_t)CAP_TO_MASK(CAP_MAC_OVERRIDE);
    (void)syscall(SYS_capset, &header, caps); /* without, what the host lets the user do is done */
}

int fs_act_as(const struct fs_share *share, uid_t uid, gid_t gid)
{
    if (!share->applies_ids)
        return 0;
    (void)setfsgid(gid);
    (void)setfsuid(uid);
    /* They say who we were: asked again with nonsense, who we are. */
    if ((gid_t)setfsgid((gid_t)-1) == gid && (uid_t)setfsuid((uid_t)-1) == uid) {
        if (uid != 0)
            keep_reach(share);
        return 0;
    }
    fs_act_as_ourselves(share);
    return -EPERM;
}

void fs_act_as_ourselves(const struct fs_share *share)
{
    if (!share->applies_ids)
        return;
    (void)setfsuid(geteuid());
    (void)setfsgid(getegid());
}
