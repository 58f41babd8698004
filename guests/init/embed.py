# SPDX-License-Identifier: Apache-2.0
"""Writes a program as C: the array NAME_bytes and its length NAME_len.

    embed.py NAME PROGRAM OUTPUT"""
import sys

SIZE_MAX = 100 << 10

name, program, output = sys.argv[1:]
with open(program, "rb") as file:
    data = file.read()
if len(data) > SIZE_MAX:
    sys.exit(f"{program}: {len(data)} bytes, more than {SIZE_MAX}")
with open(output, "w", encoding="ascii") as file:
    file.write("// SPDX-License-Identifier: Apache-2.0\n#include <stddef.h>\n#include <stdint.h>\n\n")
    file.write('#include "boot/init_programs.h"\n\n')
    file.write(f"const uint8_t {name}_bytes[] = {{\n")
    for at in range(0, len(data), 16):
        file.write("    " + " ".join(f"{byte:#04x}," for byte in data[at:at + 16]) + "\n")
    file.write(f"}};\nconst size_t {name}_len = sizeof({name}_bytes);\n")
