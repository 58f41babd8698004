// SPDX-License-Identifier: Apache-2.0
/* A program for test guests: writes one byte to an I/O port, as `outb PORT VALUE`. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;

    unsigned short port = (unsigned short)strtoul(argv[1], NULL, 0);
    unsigned char value = (unsigned char)strtoul(argv[2], NULL, 0);

    if (ioperm(port, 1, 1) < 0) {
        perror("outb: ioperm");
        return 1;
    }
    outb(value, port);
    return 0;
}
