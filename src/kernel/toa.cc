// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/toa.h"

#include <utility>

#include "base/error_numbers.h"

#if __has_include(<toa.skel.h>)  // bpf/CMakeLists.txt makes it where libbpf and bpftool are
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <toa.abi.h>
#include <toa.skel.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "base/log.h"
#include "net/unique_fd.h"
#endif

namespace shunt {

#if __has_include(<toa.skel.h>)
namespace {

Error toa_error(std::string_view what, int os_error) {
  Error error = errno_error(what, os_error);
  error.number = error_number::kNoToa;
  const bool forbidden = os_error == EPERM || os_error == EACCES;
  error.kind = forbidden ? Kind::privilege : Kind::unsupported;
  error.help = forbidden ? "CAP_BPF and CAP_NET_ADMIN, as root has them"
                         : "Linux 5.10 or later with CONFIG_BPF_SYSCALL and CONFIG_CGROUP_BPF";
  return error;
}

shunt_toa_option option_for(const Endpoint& client) {
  shunt_toa_option option{};
  const std::string_view address = client.address.bytes();
  const bool v4 = client.address.is_v4();
  option.bytes[0] = SHUNT_TOA_KIND;
  option.bytes[1] = v4 ? SHUNT_TOA_V4_BYTES : SHUNT_TOA_V6_BYTES;
  option.bytes[2] = static_cast<unsigned char>(client.port >> 8);
  option.bytes[3] = static_cast<unsigned char>(client.port & 0xff);
  std::memcpy(option.bytes + 4, address.data(), address.size());
  return option;
}

class LoadedToa final : public ToaProgram {
 public:
  LoadedToa() = default;
  ~LoadedToa() override {
    if (skeleton_ == nullptr) return;
    if (const auto without = left_out(); without > 0) {
      log(LogLevel::warning,
          fmt::format("{} SYNs had no room for their TOA option and went without", without));
    }
    toa_bpf::destroy(skeleton_);
  }
  LoadedToa(const LoadedToa&) = delete;
  LoadedToa& operator=(const LoadedToa&) = delete;

  Result<void> load() {
    libbpf_set_print(nullptr);  // it would write to standard error by itself
    skeleton_ = toa_bpf::open_and_load();
    if (skeleton_ == nullptr) return Failure(toa_error("load the eBPF program for TOA", errno));
    return {};
  }

  Result<void> attach(const std::string& cgroup) {
    const UniqueFd directory(::open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid()) return Failure(toa_error(fmt::format("open {}", cgroup), errno));
    skeleton_->links.shunt_toa =
        bpf_program__attach_cgroup(skeleton_->progs.shunt_toa, directory.get());
    if (skeleton_->links.shunt_toa != nullptr) return {};
    return Failure(toa_error(fmt::format("attach the eBPF program for TOA to {}", cgroup), errno));
  }

  [[nodiscard]] Result<void> tag(int fd, const Endpoint& client) const override {
    const shunt_toa_option option = option_for(client);
    if (bpf_map_update_elem(bpf_map__fd(skeleton_->maps.options), &fd, &option, BPF_ANY) == 0) {
      return {};
    }
    return Failure(errno_error("store a TOA option"));
  }

  [[nodiscard]] std::uint64_t left_out() const override {
    return std::atomic_ref(skeleton_->bss->left_out).load(std::memory_order_relaxed);
  }

 private:
  toa_bpf* skeleton_ = nullptr;
};

}  // namespace

bool ToaProgram::built_in() { return true; }

Result<void> ToaProgram::probe() { return LoadedToa().load(); }

Result<std::shared_ptr<const ToaProgram>> ToaProgram::get() {
  static std::mutex mutex;
  static std::weak_ptr<const ToaProgram> attached;
  const std::scoped_lock lock(mutex);
  if (auto there = attached.lock()) return there;
  const std::string cgroup = SHUNT_TRY(own_cgroup_directory());
  auto made = std::make_shared<LoadedToa>();
  SHUNT_CHECK(made->load());
  SHUNT_CHECK(made->attach(cgroup));
  attached = made;
  return made;
}

#else

namespace {

Failure not_built() {
  return Failure(make_error(Kind::unsupported, error_number::kNoToa,
                            "this shunt was built without eBPF, which TOA needs",
                            "build it with libbpf-dev and bpftool installed"));
}

}  // namespace

bool ToaProgram::built_in() { return false; }

Result<void> ToaProgram::probe() { return not_built(); }

Result<std::shared_ptr<const ToaProgram>> ToaProgram::get() { return not_built(); }

#endif

}  // namespace shunt
