// SPDX-License-Identifier: Apache-2.0
/* What of a shared folder does not exist for the guest.
 *
 * How this works: a hidden path is a name, and the path of a folder. Where the guest comes upon
 * such a name, the host is asked which folder that path leads to now, links followed; if it is the
 * one that the guest is in, the name is not there. So it is all the same when the folder was made,
 * by whom, and how often it was replaced since; and as nothing is remembered, nothing has to be
 * kept right between threads. Names like that are rare: any other costs a search of a sorted list,
 * which never changes.
 *
 * A guest that may write must not lead the host's path elsewhere, or what was hidden would show in
 * a folder that has another place by then. So what stands on the way to a hidden path stays: the
 * guest can make folders there, and remove them when they are empty, but not move them or anything
 * into their place (EXDEV, upon which mv(1) copies), nor make or remove links there. That holds
 * also for the way that the links of the start lead. And if it takes away our right to search a
 * folder on the way, which we then cannot follow, the name is hidden in all folders.
 *
 * What was there at the start is hidden also under any other name, and so are the names in folders
 * of the start, wherever the host moves these. Other files in a hidden folder that have a second
 * name outside are not hidden. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs_tree.h"
#include "host/fd.h"

/* --- asking --- */

static uint64_t flat_dev(dev_t dev)
{
    return (uint64_t)major(dev) << 32 | minor(dev);
}

static bool is_that_file(const struct fs_hidden_file *file, const struct fs_inode *inode)
{
    return file->dev == inode->dev && file->ino == inode->ino && file->birth == inode->birth;
}

bool fs_is_hidden(const struct fs_share *share, const struct fs_inode *inode)
{
    for (size_t i = 0; i < share->hidden.file_count; i++)
        if (is_that_file(&share->hidden.files[i], inode))
            return true;
    return false;
}

bool fs_may_be_hidden(const struct fs_share *share, uint64_t ino)
{
    for (size_t i = 0; i < share->hidden.file_count; i++)
        if (share->hidden.files[i].ino == ino)
            return true;
    return false;
}

/* Whether the folder where the way to @path ends for us is our own: a guest may have seen to that.
 * Other users' homes end it as well, and it cannot get in there either. */
static bool is_barred_by_us(const char *path)
{
    AUTO_FREE char *above = strdup(path);
    struct stat st;

    for (char *end; above && (end = strrchr(above, '/')) && end != above;) {
        *end = '\0';
        if (!stat(above, &st))
            return st.st_uid == geteuid();
    }
    return !above;
}

static bool is_in(const struct fs_hidden_name *hidden, const struct fs_inode *folder)
{
    struct stat st;

    if (hidden->was_there && is_that_file(&hidden->folder_then, folder))
        return true;
    if (stat(hidden->folder, &st))
        return errno == EACCES && is_barred_by_us(hidden->folder);
    return flat_dev(st.st_dev) == folder->dev && st.st_ino == folder->ino;
}

/* The place of the first one that is called @name, or where it would be. */
static size_t find_first(const struct fs_hidden *hidden, const char *name)
{
    size_t low = 0, high = hidden->name_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(hidden->names[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool has_name(const struct fs_hidden *hidden, const struct fs_inode *folder,
                     const char *name, bool is_way)
{
    for (size_t i = find_first(hidden, name);
         i < hidden->name_count && !strcmp(hidden->names[i].name, name); i++)
        if (hidden->names[i].is_way == is_way && is_in(&hidden->names[i], folder))
            return true;
    return false;
}

bool fs_name_is_hidden(const struct fs_share *share, const struct fs_inode *folder,
                       const char *name)
{
    return has_name(&share->hidden, folder, name, false);
}

bool fs_name_is_way(const struct fs_share *share, const struct fs_inode *folder, const char *name)
{
    return has_name(&share->hidden, folder, name, true);
}

int fs_check_name(const struct fs_share *share, const struct fs_inode *folder, const char *name)
{
    struct statx stx;

    if (folder->is_opaque || fs_name_is_hidden(share, folder, name))
        return -EACCES;
    if (share->hidden.file_count == 0 || fs_stat(folder->fd, name, &stx))
        return 0; /* what is not there is not hidden; another failure shows again */
    const struct fs_inode inode = fs_inode_like(&stx, -1);
    return fs_is_hidden(share, &inode) ? -EACCES : 0;
}

/* --- making the lists --- */

/* Which file @path leads to now, and the path without links to it. Returns 0 or -errno. */
static int find_file(const char *path, struct fs_hidden_file *file, char real[PATH_MAX])
{
    AUTO_CLOSE int fd = open(path, O_PATH | O_CLOEXEC);
    struct statx stx;
    int err = fd < 0 ? -errno : fs_stat(fd, "", &stx);
    ssize_t len = err ? 0 : readlink(fs_proc_path(fd).text, real, PATH_MAX - 1);

    if (err || len < 0)
        return err ? err : -errno;
    real[len] = '\0';
    const struct fs_inode inode = fs_inode_like(&stx, -1);
    *file = (struct fs_hidden_file){ inode.dev, inode.ino, inode.birth };
    return 0;
}

static int add_file(struct fs_hidden *hidden, const struct fs_hidden_file *file)
{
    struct fs_hidden_file *files =
        realloc(hidden->files, (hidden->file_count + 1) * sizeof(*hidden->files));

    if (!files)
        return -ENOMEM;
    hidden->files = files;
    files[hidden->file_count++] = *file;
    return 0;
}

/* Of @path, the @len bytes at @name. */
static int add_name(struct fs_hidden *hidden, const char *path, const char *name, size_t len,
                    bool is_way)
{
    size_t folder_len = (size_t)(name - path);
    struct fs_hidden_name *names =
        realloc(hidden->names, (hidden->name_count + 1) * sizeof(*hidden->names));

    if (!names)
        return -ENOMEM;
    hidden->names = names;
    names += hidden->name_count++;
    *names = (struct fs_hidden_name){
        .folder = strndup(path, folder_len > 1 ? folder_len - 1 : 1),
        .name = strndup(name, len),
        .is_way = is_way,
    };
    return names->folder && names->name ? 0 : -ENOMEM;
}

/* The name that @path ends with, and those on the way there. */
static int add_names(struct fs_hidden *hidden, const char *path, bool is_way)
{
    const char *name = path + strspn(path, "/");
    int err = 0;

    while (!err && *name) {
        size_t len = strcspn(name, "/");
        const char *next = name + len + strspn(name + len, "/");

        err = add_name(hidden, path, name, len, is_way || *next);
        name = next;
    }
    return err;
}

static int add_path(struct fs_hidden *hidden, const char *path)
{
    struct fs_hidden_file file;
    char real[PATH_MAX];
    int err = add_names(hidden, path, false);

    if (err || find_file(path, &file, real))
        return err;
    err = add_file(hidden, &file);
    return err || !strcmp(path, real) ? err : add_names(hidden, real, false);
}

/* Notes which folder a name is in now, and adds the way there, if links lead another. */
static int find_folder(struct fs_hidden *hidden, struct fs_hidden_name *name)
{
    AUTO_FREE char *path = NULL;
    char real[PATH_MAX];

    name->was_there = !find_file(name->folder, &name->folder_then, real);
    if (!name->was_there || !strcmp(name->folder, real))
        return 0;
    if (asprintf(&path, "%s/%s", real[1] ? real : "", name->name) < 0)
        return -ENOMEM;
    return add_names(hidden, path, name->is_way);
}

static int compare_names(const void *left, const void *right)
{
    const struct fs_hidden_name *a = left, *b = right;
    int order = strcmp(a->name, b->name);

    if (order == 0)
        order = strcmp(a->folder, b->folder);
    return order ? order : (int)a->is_way - (int)b->is_way;
}

static void free_name(struct fs_hidden_name *name)
{
    free(name->folder);
    free(name->name);
}

/* And each is there once: most ways are those of several paths. */
static void sort_names(struct fs_hidden *hidden)
{
    size_t count = 0;

    if (hidden->name_count)
        qsort(hidden->names, hidden->name_count, sizeof(*hidden->names), compare_names);
    for (size_t i = 0; i < hidden->name_count; i++) {
        if (count > 0 && !compare_names(&hidden->names[count - 1], &hidden->names[i]))
            free_name(&hidden->names[i]);
        else
            hidden->names[count++] = hidden->names[i];
    }
    hidden->name_count = count;
}

int fs_hidden_init(struct fs_hidden *hidden, const char *const *paths)
{
    int err = 0;

    for (; paths && *paths && !err; paths++)
        err = add_path(hidden, *paths);
    if (err)
        return err;
    sort_names(hidden);
    size_t count = hidden->name_count;
    for (size_t i = 0; i < count && !err; i++)
        err = find_folder(hidden, &hidden->names[i]);
    if (!err && hidden->name_count > count)
        sort_names(hidden);
    return err;
}

void fs_hidden_fini(struct fs_hidden *hidden)
{
    for (size_t i = 0; i < hidden->name_count; i++)
        free_name(&hidden->names[i]);
    free(hidden->names);
    free(hidden->files);
}
