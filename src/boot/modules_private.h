// SPDX-License-Identifier: Apache-2.0
/* The parts of boot/modules.h among themselves: modules_index.c reads the indexes, modules_plan.c
 * decides what is loaded, modules_file.c reads that. */
#pragma once

#include "boot/modules.h"

enum mark {
    MARK_NEW,      /* nobody asked for it yet */
    MARK_PLANNING, /* what it needs is being planned: to meet it again is a circle */
    MARK_PLANNED,
    MARK_BROKEN, /* something that it needs is missing */
};

struct module {
    const char *path;  /* its last part begins with the name */
    const char *needs; /* paths with blanks between, up to the line's end */
    bool is_built_in;
    enum mark mark;
};

struct modules {
    int folder;   /* -1: not open yet */
    bool is_tree; /* of sources: only modules.order and modules.builtin are there */
    char *dep, *builtin, *alias, *softdep;
    struct module *table;
    size_t count, capacity;
    const char **plan;
    size_t plan_count;
    unsigned look_ups; /* each may take as long as modules.alias is */
};

/* --- modules_index.c --- */

/* The last part of a path, which begins with the module's name. */
const char *module_base_name(const char *path);
/* One character of a module's name; 0 at its end, where a file's name goes on with ".ko". */
int module_name_char(char c);
/* As strcmp(), of names or base names. */
int module_compare_names(const char *a, const char *b);
/* The first entry of that name, or NULL. */
struct module *modules_find(const struct modules *modules, const char *name);
