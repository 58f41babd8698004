// SPDX-License-Identifier: Apache-2.0
/* The null kernel: a valid Image (Linux: Documentation/arm64/booting.rst) whose first instructions
 * switch the machine off. What remains of the time from launch to exit is the VMM's own. */
        .globl  _start
_start:
        b       1f                      /* code0 */
        .long   0                       /* code1 */
        .quad   0                       /* text_offset */
        .quad   0x10000                 /* image_size */
        .quad   2                       /* flags: little-endian, pages of 4 KiB */
        .quad   0, 0, 0
        .ascii  "ARM\x64"
        .long   0

1:      mov     w0, #0x0008             /* PSCI SYSTEM_OFF */
        movk    w0, #0x8400, lsl #16
        hvc     #0
2:      wfi
        b       2b
