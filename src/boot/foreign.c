// SPDX-License-Identifier: Apache-2.0
/* Files that people give as a kernel by mistake: told by how they start, refused with what they
 * are and what to do. */
#include "image.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "host/log.h"

/* The first that matches counts: the special before the general. */
static const struct foreign_signature signatures[] = {
    { 0, 2, "\x1f\x8b", "compressed with gzip; unpack it with gunzip first" },
    { 0, 6,
      "\xfd"
      "7zXZ\0",
      "compressed with xz; unpack it with unxz first" },
    { 0, 4, "\x28\xb5\x2f\xfd", "compressed with zstd; unpack it with unzstd first" },
    { 0, 3, "BZh", "compressed with bzip2; unpack it with bunzip2 first" },
    { 0, 4, "\x02\x21\x4c\x18", "compressed with lz4; unpack it with unlz4 first" },
    { 0, 4, "\x04\x22\x4d\x18", "compressed with lz4; unpack it with unlz4 first" },
    { 0, 3, "\x5d\0\0", "compressed with lzma; unpack it with unlzma first" },
    { 0, 4, "\x89LZO", "compressed with lzop; unpack it with lzop -d first" },
    { 0, 5, "07070", "a cpio archive, so probably an initrd; give it with --initrd" },
    { 0, 4, "QFI\xfb", "a qcow2 disk image; give it with --disk" },
    { 0, 4, "KDMV", "a VMDK disk image, not a kernel" },
    { 0, 7, "!<arch>", "a Debian package or an archive; take the kernel out of it first" },
    { 257, 5, "ustar", "a tar archive; take the kernel out of it first" },
    { 0, 2, "#!", "a script, not a kernel" },
    { 0, 2, "MZ", "an EFI program and no Linux kernel, or one that is cut off" },
    { 510, 2, "\x55\xaa", "a disk image or a boot sector; give a disk with --disk" },
    { 0 },
};

static const char *find(const struct foreign_signature *at, const struct boot_file *file)
{
    for (; at->len; at++) {
        if (memcmp(file->head + at->offset, at->bytes, at->len) == 0)
            return at->what;
    }
    return NULL;
}

static bool is_text(const struct boot_file *file)
{
    size_t len = file->size < BOOT_HEAD_SIZE ? (size_t)file->size : BOOT_HEAD_SIZE;

    for (size_t i = 0; i < len; i++)
        if (!isprint(file->head[i]) && !isspace(file->head[i]))
            return false;
    return true;
}

int foreign_refuse(const struct boot_file *kernel)
{
    const char *what = find(boot_foreign_signatures, kernel);

    if (!what)
        what = find(signatures, kernel);
    if (!what && is_text(kernel))
        what = "a text file, not a kernel";
    if (what)
        log_error("kernel '%s': %s", kernel->path, what);
    else
        log_error("kernel '%s': nothing that can be booted; %s can", kernel->path,
                  boot_bootable_files);
    return -ENOEXEC;
}
