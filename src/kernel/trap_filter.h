// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <seccomp.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <vector>

#include "base/result.h"
#include "net/unique_fd.h"

namespace shunt {

/// What to do where a filter that hands calls over is refused.
inline constexpr const char* kOtherSupervisor =
    "where another supervisor answers its system calls already, start it outside of that";

/// A seccomp filter of the calling thread (libseccomp) that traps or refuses some calls and leaves
/// all others alone, those of other architectures too. The first mistake while it is put together
/// is the Error of load(). Without CAP_SYS_ADMIN, load() sets no_new_privs.
class TrapFilter {
 public:
  TrapFilter();

  /// Looks at calls of these architectures (SCMP_ARCH_…) in place of the native one.
  void only(std::initializer_list<std::uint32_t> architectures);
  /// `action` for each call of that name whose arguments match all comparisons. Several rules of
  /// one call mean "or". A name that the architecture has no call of does nothing.
  void rule(std::uint32_t action, const char* name,
            const std::vector<scmp_arg_cmp>& arguments = {});
  /// For good. Kind::unsupported where it cannot be had; EBUSY: another listener is set.
  Result<void> load();
  /// Of the calls that are trapped (SCMP_ACT_NOTIFY); after load().
  Result<UniqueFd> listener();

 private:
  struct Release {
    void operator()(void* filter) const { ::seccomp_release(filter); }
  };
  void attribute(scmp_filter_attr name, std::uint32_t value);
  void note(int result);

  std::unique_ptr<void, Release> filter_;
  int error_ = 0;
};

/// Of an argument that the kernel takes as an int: its upper half may hold anything.
[[nodiscard]] constexpr scmp_arg_cmp int_argument(unsigned argument, std::uint32_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, 0xffffffff, value};
}

}  // namespace shunt
