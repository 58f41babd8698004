// SPDX-License-Identifier: Apache-2.0
/* Which kernels an arm64 machine boots, and what people give it instead. */
#include "image.h"

const bool boot_needs_fdt = true;

const struct boot_loader *const boot_loaders[] = { &arm64_image_loader, NULL };

const char boot_bootable_files[] = "an arm64 Image, plain, compressed or as EFI zboot,";

const struct foreign_signature boot_foreign_signatures[] = {
    { 0x202, 4, "HdrS", "an x86 kernel; this machine is arm64, take an Image" },
    { 0, 4,
      "\x7f"
      "ELF",
      "an ELF file; take the Image that is made from a vmlinux" },
    { 0 },
};
