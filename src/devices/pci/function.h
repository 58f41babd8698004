// SPDX-License-Identifier: Apache-2.0
/* What the host bridge alone asks of a function. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "devices/pci/pci.h"

/* Gives BAR @bar its home; before the function has a bus. */
void pci_function_place_bar(struct pci_function *fn, unsigned bar, uint64_t address);

/* Whether a write to configuration space at @offset can change what decodes where. */
bool pci_config_moves_bars(unsigned offset);

/* Makes the windows on the bus what command register and BARs say, as far as there is room; with
 * the function locked. To be called again when other windows went away. */
void pci_function_update_bars(struct pci_function *fn);
