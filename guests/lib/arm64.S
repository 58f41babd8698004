// SPDX-License-Identifier: Apache-2.0
/* Where a guest starts, as an Image (Linux: Documentation/arm64/booting.rst): on all CPUs at EL1
 * without address translation. Each switches that on, with every address its own, as only then
 * RAM is cached memory, and loads need not be aligned. */

#define FIRST_STACK_SIZE 16384
#define RAM_GIBS 8

        .section .text.start, "ax"
        .globl  _start
_start:
        b       first_start             /* code0 */
        .long   0                       /* code1 */
        .quad   0                       /* text_offset */
        .quad   image_size
        .quad   2                       /* flags: little-endian, pages of 4 KiB */
        .quad   0, 0, 0
        .ascii  "ARM\x64"
        .long   0

first_start:                            /* x0: the device tree */
        bl      translate
        adr     x1, stack_top
        mov     sp, x1
        bl      guest_start
1:      wfi
        b       1b

        .globl  secondary_start
secondary_start:                        /* x0: its struct start */
        bl      translate
        ldp     x1, x2, [x0]
        mov     sp, x1
        ldr     x0, [x0, #16]
        blr     x2
1:      wfi
        b       1b

/* Changes x9 and x10 only. */
translate:
        adr     x9, page_table
        msr     ttbr0_el1, x9
        mov     x9, #0xff00             /* 0: device, 1: normal, write-back */
        msr     mair_el1, x9
        ldr     x9, tcr
        msr     tcr_el1, x9
        isb
        tlbi    vmalle1
        dsb     nsh
        isb
        mrs     x9, sctlr_el1
        mov     x10, #0x1005            /* I, C, M */
        orr     x9, x9, x10
        bic     x9, x9, #2              /* A: alignment checks */
        msr     sctlr_el1, x9
        isb
        ret

        .balign 8
        /* 39 bits of address, walked in cached memory, 40 bits come out; nothing in TTBR1. */
tcr:    .quad   (64 - 39) | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 2 << 32

        .section .rodata.page_table, "a"
        .balign 4096
page_table:                             /* 1 GiB each: devices up to 2 GiB, then RAM */
        .set    gib, 0
        .rept   2
        .quad   (gib << 30) | (3 << 53) | (1 << 10) | 1
        .set    gib, gib + 1
        .endr
        .rept   RAM_GIBS
        .quad   (gib << 30) | (1 << 10) | (3 << 8) | (1 << 2) | 1
        .set    gib, gib + 1
        .endr
        .fill   4096 - 8 * (2 + RAM_GIBS)

        .bss
        .balign 16
        .skip   FIRST_STACK_SIZE
stack_top:
