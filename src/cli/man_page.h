// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>

namespace shunt::cli {

/// shunt(1) in the language of man(7), made from the tables in options.h.
std::string man_page();

}  // namespace shunt::cli
