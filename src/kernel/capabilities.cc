// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/capabilities.h"

#include <cap-ng.h>
#include <fmt/format.h>
#include <sys/prctl.h>

#include <cctype>

namespace shunt {

// libcap-ng keeps its state per thread since 0.8; reading it afresh each time keeps that invisible.
bool has_capability(int capability) {
  ::capng_clear(CAPNG_SELECT_ALL);
  if (::capng_get_caps_process() != 0) return false;
  return ::capng_have_capability(CAPNG_EFFECTIVE, static_cast<unsigned>(capability)) == 1;
}

std::string capability_name(int capability) {
  const char* name = ::capng_capability_to_name(static_cast<unsigned>(capability));
  if (name == nullptr) return fmt::format("capability {}", capability);
  std::string text = fmt::format("cap_{}", name);
  for (char& letter : text) letter = static_cast<char>(std::toupper(letter));
  return text;
}

Result<void> require_capability(int capability, std::string_view purpose) {
  if (has_capability(capability)) return {};
  return Failure(make_error(Kind::privilege,
                            fmt::format("{} needs {}", purpose, capability_name(capability)),
                            "run it with sudo"));
}

Result<void> drop_from_bounding_set(std::initializer_list<int> capabilities) {
  ::capng_clear(CAPNG_SELECT_ALL);
  if (::capng_get_caps_process() != 0) return Failure(errno_error("read the capabilities"));
  for (const int capability : capabilities) {
    const auto types = static_cast<capng_type_t>(CAPNG_BOUNDING_SET | CAPNG_INHERITABLE);
    ::capng_update(CAPNG_DROP, types, static_cast<unsigned>(capability));
    ::capng_update(CAPNG_DROP, CAPNG_AMBIENT, static_cast<unsigned>(capability));
  }
  if (::capng_apply(CAPNG_SELECT_ALL) != 0) {
    return Failure(errno_error("reduce the capability bounding set", EPERM));
  }
  return {};
}

Result<void> keep_only(std::span<const int> capabilities) {
  const bool may_bound = has_capability(CAP_SETPCAP);
  ::capng_clear(CAPNG_SELECT_ALL);
  for (const int capability : capabilities) {
    const auto types = static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED);
    ::capng_update(CAPNG_ADD, types, static_cast<unsigned>(capability));
  }
  if (::capng_apply(may_bound ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS) != 0) {
    return Failure(errno_error("drop capabilities", EPERM));
  }
  return {};
}

Result<void> gain_no_privileges() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) return {};
  return Failure(errno_error("prctl(PR_SET_NO_NEW_PRIVS)"));
}

Result<void> forbid_dumps() {
  if (::prctl(PR_SET_DUMPABLE, 0) == 0) return {};
  return Failure(errno_error("prctl(PR_SET_DUMPABLE)"));
}

}  // namespace shunt
