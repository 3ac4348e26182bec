// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/route_program.h"

#if __has_include(<route.skel.h>)  // bpf/CMakeLists.txt makes it where libbpf and bpftool are
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <route.abi.h>
#include <route.skel.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <vector>

#include "kernel/cgroup_programs.h"
#include "net/unique_fd.h"
#else
#include "kernel/without_ebpf.h"
#endif

namespace shunt {

#if __has_include(<route.skel.h>)
namespace {

/// In network order.
void put_words(const Address& address, unsigned* out, std::size_t size) {
  const std::string_view bytes = address.bytes();
  std::memcpy(out, bytes.data(), std::min(size, bytes.size()));
}

class LoadedRoute final : public RouteProgram {
 public:
  LoadedRoute() = default;
  ~LoadedRoute() override {
    for (bpf_link* const link : links_) bpf_link__destroy(link);
    bpf_link__destroy(counting_);  // null is fine
    if (skeleton_ != nullptr) route_bpf::destroy(skeleton_);
  }
  LoadedRoute(const LoadedRoute&) = delete;
  LoadedRoute& operator=(const LoadedRoute&) = delete;

  Result<void> load_with(const RouteProgramOptions& options) {
    libbpf_set_print(nullptr);  // it would write to standard error by itself
    skeleton_ = route_bpf::open();
    if (skeleton_ == nullptr) return Failure(cgroup_program_error("open the eBPF programs", errno));
    SHUNT_CHECK(configure(options));
    const bool counts = ::access("/sys/kernel/btf/vmlinux", R_OK) == 0;
    bpf_program__set_autoload(skeleton_->progs.shunt_count, counts);
    if (const int failed = route_bpf::load(skeleton_); failed != 0) {
      return Failure(cgroup_program_error("load the eBPF programs for routes", -failed));
    }
    use_interface(options.interface_index);
    if (counts) prepare_counting();
    return {};
  }

  Result<void> attach(const std::string& cgroup) override {
    const auto made = SHUNT_TRY(attach_to_cgroup(skeleton_->obj, cgroup));
    links_.insert(links_.end(), made.begin(), made.end());
    return {};
  }

  Result<void> select(SelectBy by, std::uint64_t value, bool leave_alone) override {
    return write_selector(selectors(), by, value, leave_alone);
  }
  void unselect(SelectBy by, std::uint64_t value) override {
    erase_selector(selectors(), by, value);
  }
  [[nodiscard]] int selectors() const override { return bpf_map__fd(skeleton_->maps.selectors); }

  void use_interface(unsigned index) override {
    std::atomic_ref(skeleton_->bss->interface).store(index, std::memory_order_release);
  }

  [[nodiscard]] Counts counts() const override {
    auto& data = *skeleton_->bss;
    return {.routed = std::atomic_ref(data.routed).load(std::memory_order_relaxed),
            .live = count_live(),
            .refused = std::atomic_ref(data.refused).load(std::memory_order_relaxed)};
  }

 private:
  /// Ties the iterator to the map of sockets; the map exists once it is loaded. Where that fails,
  /// nobody is told how many are open.
  void prepare_counting() {
    bpf_iter_link_info over{};
    over.map.map_fd = static_cast<unsigned>(bpf_map__fd(skeleton_->maps.sockets));
    bpf_iter_attach_opts how{};
    how.sz = sizeof how;
    how.link_info = &over;
    how.link_info_len = sizeof over;
    counting_ = bpf_program__attach_iter(skeleton_->progs.shunt_count, &how);
  }

  /// Reading it runs the program once for each socket; what is read is empty.
  [[nodiscard]] std::optional<std::uint64_t> count_live() const {
    if (counting_ == nullptr) return std::nullopt;
    const UniqueFd pass(::bpf_iter_create(bpf_link__fd(counting_)));
    if (!pass.valid()) return std::nullopt;
    std::atomic_ref live(skeleton_->bss->live);
    live.store(0, std::memory_order_relaxed);
    char nothing = 0;
    ssize_t got = 0;
    do {
      got = ::read(pass.get(), &nothing, sizeof nothing);
    } while (got < 0 && (errno == EAGAIN || errno == EINTR));
    if (got != 0) return std::nullopt;
    return live.load(std::memory_order_relaxed);
  }

  Result<void> configure(const RouteProgramOptions& options) {
    auto& config = skeleton_->rodata->config;
    config.netns = SHUNT_TRY(network_namespace_cookie());
    configure_selection(options.selection, config.selection);
    config.own_tgid = in_first_pid_namespace() ? static_cast<unsigned>(options.own_pid) : 0;
    config.mark = options.mark;
    config.by_interface = options.interface_index != 0 ? 1 : 0;
    config.has_source_v4 = options.source_v4 ? 1 : 0;
    config.has_source_v6 = options.source_v6 ? 1 : 0;
    config.has_source = options.source_v4 || options.source_v6 ? 1 : 0;
    if (options.source_v4)
      put_words(*options.source_v4, &config.source_v4, sizeof config.source_v4);
    if (options.source_v6) put_words(*options.source_v6, config.source_v6, sizeof config.source_v6);
    return {};
  }

  route_bpf* skeleton_ = nullptr;
  std::vector<bpf_link*> links_;
  bpf_link* counting_ = nullptr;
};

}  // namespace

Result<void> RouteProgram::probe() { return LoadedRoute().load_with({}); }

Result<std::unique_ptr<RouteProgram>> RouteProgram::load(const RouteProgramOptions& options) {
  auto made = std::make_unique<LoadedRoute>();
  SHUNT_CHECK(made->load_with(options));
  return made;
}

#else

Result<void> RouteProgram::probe() { return without_ebpf(); }

Result<std::unique_ptr<RouteProgram>> RouteProgram::load(const RouteProgramOptions& /*options*/) {
  return without_ebpf();
}

#endif

}  // namespace shunt
