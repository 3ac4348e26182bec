// SPDX-License-Identifier: GPL-2.0-only
// What `shunt doctor` looks at: features of the kernel, tried in a throwaway namespace, and the
// state of this host, which is only read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace shunt::cli {

struct Finding {
  enum class State : std::uint8_t {
    works,
    note,   ///< worth knowing; nothing that shunt does by default fails of it
    lacks,  ///< something that a capture needs does not work
  };
  State state = State::works;
  std::string name;
  std::string detail;
  std::string fix;
};

/// Forks: before any thread is started.
std::vector<Finding> examine_host();

}  // namespace shunt::cli
