// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/watch_program.h"

#include "base/error_numbers.h"

#if __has_include(<watch.skel.h>)  // bpf/CMakeLists.txt makes it where libbpf and bpftool are
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <watch.abi.h>
#include <watch.skel.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#else
#include "kernel/without_ebpf.h"
#endif

namespace shunt {

#if __has_include(<watch.skel.h>)
namespace {

Error watch_error(std::string_view what, int os_error) {
  Error error = errno_error(what, os_error);
  error.number = error_number::kNoCgroupBpf;
  const bool forbidden = os_error == EPERM || os_error == EACCES;
  error.kind = forbidden ? Kind::privilege : Kind::unsupported;
  error.help = forbidden ? "CAP_BPF and CAP_PERFMON, as root has them"
                         : "a kernel with CONFIG_DEBUG_INFO_BTF (/sys/kernel/btf/vmlinux)";
  return error;
}

class LoadedWatch final : public WatchProgram {
 public:
  LoadedWatch() = default;
  ~LoadedWatch() override {
    if (skeleton_ != nullptr) watch_bpf::destroy(skeleton_);
  }
  LoadedWatch(const LoadedWatch&) = delete;
  LoadedWatch& operator=(const LoadedWatch&) = delete;

  /// `selectors` is the map that it keeps; -1: one of its own.
  Result<void> load(int selectors) {
    libbpf_set_print(nullptr);  // it would write to standard error by itself
    skeleton_ = watch_bpf::open();
    if (skeleton_ == nullptr) return Failure(watch_error("open the watching programs", errno));
    if (selectors >= 0 && bpf_map__reuse_fd(skeleton_->maps.selectors, selectors) != 0) {
      return Failure(watch_error("share the list of who is captured", errno));
    }
    if (const int failed = watch_bpf::load(skeleton_); failed != 0) {
      return Failure(watch_error("load the watching programs", -failed));
    }
    return {};
  }

  Result<void> attach() {
    if (const int failed = watch_bpf::attach(skeleton_); failed != 0) {
      return Failure(watch_error("attach the watching programs", -failed));
    }
    return {};
  }

  Result<void> follow_process_name(std::string_view name, bool leave_alone) override {
    shunt_process_name key{};
    name = name.substr(0, sizeof key.bytes - 1);
    std::ranges::copy(name, key.bytes);
    return store(skeleton_->maps.process_names, &key, leave_alone);
  }

  Result<void> follow_cgroup_name(std::string_view name, bool leave_alone) override {
    shunt_cgroup_name key{};
    if (name.size() >= sizeof key.bytes) {
      return Failure(make_error(Kind::unsupported, error_number::kNoCgroupBpf,
                                fmt::format("the name of a unit is too long: {} bytes, at most {}",
                                            name.size(), sizeof key.bytes - 1),
                                "cgroup:PATH takes one of any length"));
    }
    std::ranges::copy(name, key.bytes);
    return store(skeleton_->maps.cgroup_names, &key, leave_alone);
  }

 private:
  static Result<void> store(const bpf_map* map, const void* key, bool leave_alone) {
    const std::uint32_t what = leave_alone ? SHUNT_LEAVE : SHUNT_TAKE;
    if (bpf_map_update_elem(bpf_map__fd(map), key, &what, BPF_ANY) == 0) return {};
    return Failure(errno_error("store whom to follow"));
  }

  watch_bpf* skeleton_ = nullptr;
};

}  // namespace

Result<void> WatchProgram::probe() {
  LoadedWatch tried;
  SHUNT_CHECK(tried.load(-1));
  return tried.attach();
}

Result<std::unique_ptr<WatchProgram>> WatchProgram::start(const SelectingProgram& program) {
  auto made = std::make_unique<LoadedWatch>();
  SHUNT_CHECK(made->load(program.selectors()));
  SHUNT_CHECK(made->attach());
  return made;
}

#else

Result<void> WatchProgram::probe() { return without_ebpf(); }

Result<std::unique_ptr<WatchProgram>> WatchProgram::start(const SelectingProgram& /*program*/) {
  return without_ebpf();
}

#endif

}  // namespace shunt
