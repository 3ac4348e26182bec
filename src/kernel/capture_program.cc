// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/capture_program.h"

#include <utility>

#if __has_include(<capture.skel.h>)  // bpf/CMakeLists.txt makes it where libbpf and bpftool are
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <capture.abi.h>
#include <capture.skel.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/log.h"
#include "kernel/cgroup_programs.h"
#else
#include "kernel/without_ebpf.h"
#endif

namespace shunt {

#if __has_include(<capture.skel.h>)
namespace {

Address address_of(const unsigned char (&bytes)[16]) {
  in6_addr address{};
  std::memcpy(&address, bytes, sizeof address);
  return Address(address);
}

shunt_prefix prefix_of(const Network& network) {
  shunt_prefix prefix{};
  prefix.bits = network.prefix_length + (network.address.is_v4() ? 96 : 0);
  put_address(network.address, prefix.address);
  return prefix;
}

class LoadedProgram final : public CaptureProgram {
 public:
  LoadedProgram() : names_processes_(in_first_pid_namespace()) {}
  ~LoadedProgram() override {
    for (const Attached& one : links_) bpf_link__destroy(one.link);
    if (skeleton_ == nullptr) return;
    if (const auto without = refused(); without > 0) {
      log(LogLevel::warning, fmt::format("{} calls failed for want of room for them", without));
    }
    capture_bpf::destroy(skeleton_);
  }
  LoadedProgram(const LoadedProgram&) = delete;
  LoadedProgram& operator=(const LoadedProgram&) = delete;

  Result<void> load_with(const CaptureProgramOptions& options) {
    libbpf_set_print(nullptr);  // it would write to standard error by itself
    skeleton_ = capture_bpf::open();
    if (skeleton_ == nullptr) return Failure(cgroup_program_error("open the eBPF programs", errno));
    SHUNT_CHECK(configure(options));
    if (const int failed = capture_bpf::load(skeleton_); failed != 0) {
      return Failure(cgroup_program_error("load the eBPF programs", -failed));
    }
    for (const LetGo& one : options.let_go) {
      const shunt_prefix key = prefix_of(one.network);
      const std::uint32_t what = one.but_dns ? SHUNT_ONLY_DNS : SHUNT_LET_GO;
      if (bpf_map_update_elem(bpf_map__fd(skeleton_->maps.let_go), &key, &what, BPF_ANY) != 0) {
        return Failure(cgroup_program_error("store what is not captured", errno));
      }
    }
    return {};
  }

  Result<void> attach(const std::string& cgroup) override {
    const auto made = SHUNT_TRY(attach_to_cgroup(skeleton_->obj, cgroup));
    auto link = made.begin();
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, skeleton_->obj) {
      links_.push_back({.link = *link++, .takes = takes(bpf_program__name(program))});
    }
    return {};
  }

  void show_sources(const ShownSources& sources) override {
    auto& host = skeleton_->bss->host;
    if (sources.ipv4) put_address(*sources.ipv4, host.source_v4);
    if (sources.ipv6) put_address(*sources.ipv6, host.source_v6);
    std::atomic_ref(host.reaches_v4).store(sources.ipv4 ? 1 : 0, std::memory_order_release);
    std::atomic_ref(host.reaches_v6).store(sources.ipv6 ? 1 : 0, std::memory_order_release);
  }

  [[nodiscard]] std::vector<int> links() const override {
    std::vector<int> fds;
    fds.reserve(links_.size());
    for (const Attached& one : links_) fds.push_back(bpf_link__fd(one.link));
    return fds;
  }

  std::optional<Remembered> take_connection(const Endpoint& client) override {
    shunt_client key{};
    put_address(client.address, key.address);
    key.port = client.port;
    shunt_origin origin{};
    const int map = bpf_map__fd(skeleton_->maps.connections);
    if (bpf_map_lookup_and_delete_elem(map, &key, &origin) != 0) return std::nullopt;
    return remembered(origin);
  }

  std::optional<Remembered> datagram_to(const Address& address) override {
    const in6_addr bytes = address.v6();
    std::uint32_t number = 0;
    std::memcpy(&number, bytes.s6_addr + 12, sizeof number);
    number = ntohl(number);
    if (address.is_v4()) {
      if ((number & SHUNT_PEERS_V4_MASK) != SHUNT_PEERS_V4) return std::nullopt;
      number &= ~SHUNT_PEERS_V4_MASK;
    } else if (!datagram_prefix_ || !datagram_prefix_->contains(address)) {
      return std::nullopt;
    }
    shunt_origin origin{};
    for (const bpf_map* map :
         {skeleton_->maps.connected_peers, skeleton_->maps.peers, skeleton_->maps.closed_peers}) {
      if (bpf_map_lookup_elem(bpf_map__fd(map), &number, &origin) == 0) return remembered(origin);
    }
    return std::nullopt;
  }

  Result<void> select(SelectBy by, std::uint64_t value, bool leave_alone) override {
    return write_selector(selectors(), by, value, leave_alone);
  }
  void unselect(SelectBy by, std::uint64_t value) override {
    erase_selector(selectors(), by, value);
  }

  [[nodiscard]] std::vector<int> maps() const override {
    return {bpf_map__fd(skeleton_->maps.connections), bpf_map__fd(skeleton_->maps.connected_peers),
            bpf_map__fd(skeleton_->maps.peers), bpf_map__fd(skeleton_->maps.closed_peers)};
  }

  [[nodiscard]] int selectors() const override { return bpf_map__fd(skeleton_->maps.selectors); }

  void capture_no_more() override {
    std::erase_if(links_, [](const Attached& one) {
      if (one.takes) bpf_link__destroy(one.link);
      return one.takes;
    });
  }

  [[nodiscard]] std::uint64_t refused() const override {
    return std::atomic_ref(skeleton_->bss->refused).load(std::memory_order_relaxed);
  }

  [[nodiscard]] std::size_t entries() const override {
    return count<shunt_client>(skeleton_->maps.connections) +
           count<std::uint32_t>(skeleton_->maps.connected_peers) +
           count<std::uint32_t>(skeleton_->maps.peers);
  }

 private:
  struct Attached {
    bpf_link* link;
    bool takes;  ///< its program begins flows; the others only know those that there are
  };

  static bool takes(std::string_view program) {
    return program.starts_with("shunt_connect") || program.starts_with("shunt_sendmsg");
  }

  Result<void> configure(const CaptureProgramOptions& options) {
    auto& config = skeleton_->rodata->config;
    config.netns = SHUNT_TRY(network_namespace_cookie());
    config.own_cgroup = options.own_cgroup;
    config.own_tgid = names_processes_ ? static_cast<unsigned>(options.own_pid) : 0;
    config.own_mark = options.own_mark;
    config.own_mark_mask = options.own_mark_mask;
    config.port = options.port;
    configure_selection(options.selection, config.selection);
    if (options.datagram_prefix) {
      config.peers_v6_valid = 1;
      const in6_addr prefix = options.datagram_prefix->v6();
      std::memcpy(config.peers_v6, &prefix, sizeof config.peers_v6);
      datagram_prefix_ = Network::of(*options.datagram_prefix, 96);
    }
    bpf_map__set_max_entries(skeleton_->maps.peers, options.most_pairs);
    bpf_map__set_max_entries(skeleton_->maps.numbers, options.most_pairs);
    return {};
  }

  [[nodiscard]] Remembered remembered(const shunt_origin& origin) const {
    const std::string_view name(origin.comm, sizeof origin.comm);
    return {.destination = {.address = address_of(origin.address), .port = origin.port},
            .process = {.pid = names_processes_ ? static_cast<pid_t>(origin.tgid) : 0,
                        .thread = names_processes_ ? static_cast<pid_t>(origin.tid) : 0,
                        .uid = origin.uid,
                        .gid = origin.gid,
                        .cgroup = origin.cgroup,
                        .name = std::string(name.substr(0, name.find('\0')))}};
  }

  template <class Key>
  static std::size_t count(const bpf_map* map) {
    Key key{};
    std::size_t found = 0;
    const int fd = bpf_map__fd(map);
    for (int more = bpf_map_get_next_key(fd, nullptr, &key); more == 0;
         more = bpf_map_get_next_key(fd, &key, &key)) {
      ++found;
    }
    return found;
  }

  bool names_processes_;
  capture_bpf* skeleton_ = nullptr;
  std::vector<Attached> links_;
  std::optional<Network> datagram_prefix_;
};

}  // namespace

bool CaptureProgram::built_in() { return true; }

Result<void> CaptureProgram::probe() { return LoadedProgram().load_with({}); }

Result<std::unique_ptr<CaptureProgram>> CaptureProgram::load(const CaptureProgramOptions& options) {
  auto made = std::make_unique<LoadedProgram>();
  SHUNT_CHECK(made->load_with(options));
  return made;
}

#else

bool CaptureProgram::built_in() { return false; }

Result<void> CaptureProgram::probe() { return without_ebpf(); }

Result<std::unique_ptr<CaptureProgram>> CaptureProgram::load(
    const CaptureProgramOptions& /*options*/) {
  return without_ebpf();
}

#endif

}  // namespace shunt
