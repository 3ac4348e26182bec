// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/trap_filter.h"

#include <cerrno>
#include <utility>

#include "base/error_numbers.h"
#include "kernel/capabilities.h"

namespace shunt {

TrapFilter::TrapFilter() : filter_(::seccomp_init(SCMP_ACT_ALLOW)) {
  attribute(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW);
  attribute(SCMP_FLTATR_CTL_NNP, has_capability(CAP_SYS_ADMIN) ? 0 : 1);
  // Before Linux 5.16 a filter slows down every branch of its process (spec_store_bypass) unless it
  // says otherwise; this one is no sandbox, and runs what would run without it. Where seccomp(2) is
  // forbidden there is only prctl(2), which cannot say that: the filter does its work all the same.
  (void)::seccomp_attr_set(filter_.get(), SCMP_FLTATR_CTL_SSB, 1);
}

void TrapFilter::attribute(scmp_filter_attr name, std::uint32_t value) {
  note(::seccomp_attr_set(filter_.get(), name, value));
}

void TrapFilter::only(std::initializer_list<std::uint32_t> architectures) {
  for (const std::uint32_t architecture : architectures) {
    note(::seccomp_arch_add(filter_.get(), architecture));
  }
  note(::seccomp_arch_remove(filter_.get(), SCMP_ARCH_NATIVE));
}

void TrapFilter::rule(std::uint32_t action, const char* name,
                      const std::vector<scmp_arg_cmp>& arguments) {
  const int number = ::seccomp_syscall_resolve_name(name);
  if (number == __NR_SCMP_ERROR) return;
  note(::seccomp_rule_add_array(filter_.get(), action, number,
                                static_cast<unsigned>(arguments.size()), arguments.data()));
}

Result<void> TrapFilter::load() {
  if (error_ == 0) note(::seccomp_load(filter_.get()));
  if (error_ == 0) return {};
  Error error = errno_error("filter the command's system calls", -error_);
  error.kind = Kind::unsupported;
  error.number = error_number::kNoCallTrap;
  if (-error_ == EBUSY || -error_ == ECANCELED) {  // libseccomp's word for what the kernel refuses
    error.help = kOtherSupervisor;
  }
  return Failure(std::move(error));
}

Result<UniqueFd> TrapFilter::listener() {
  const int fd = ::seccomp_notify_fd(filter_.get());
  if (fd < 0) return Failure(errno_error("listen to the command's system calls", -fd));
  return UniqueFd(fd);
}

void TrapFilter::note(int result) {
  if (error_ == 0 && result < 0) error_ = result;
}

}  // namespace shunt
