// SPDX-License-Identifier: GPL-2.0-only
#if __has_include(<capture.skel.h>)  // bpf/CMakeLists.txt makes it where libbpf and bpftool are
#include "kernel/cgroup_programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <capture.abi.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "base/error_numbers.h"
#include "net/socket.h"
#include "net/unique_fd.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71  // asm-generic/socket.h, Linux 5.14
#endif

namespace shunt {
namespace {

constexpr ino_t kFirstPidNamespace = 0xeffffffc;  // PROC_PID_INIT_INO, linux/proc_ns.h

shunt_selector selector(SelectingProgram::SelectBy by, std::uint64_t value) {
  return {.kind = static_cast<unsigned>(by), .unused = 0, .value = value};
}

}  // namespace

Error cgroup_program_error(std::string_view what, int os_error) {
  Error error = errno_error(what, os_error);
  error.number = error_number::kNoCgroupBpf;
  const bool forbidden = os_error == EPERM || os_error == EACCES;
  error.kind = forbidden ? Kind::privilege : Kind::unsupported;
  error.help = forbidden ? "CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, as root has them"
                         : "Linux 5.15 or later with CONFIG_BPF_SYSCALL and CONFIG_CGROUP_BPF";
  return error;
}

Result<std::vector<bpf_link*>> attach_to_cgroup(const bpf_object* object,
                                                const std::string& cgroup) {
  const UniqueFd directory(::open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) {
    return Failure(cgroup_program_error(fmt::format("open {}", cgroup), errno));
  }
  std::vector<bpf_link*> links;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object) {
    if (bpf_program__type(program) == BPF_PROG_TYPE_TRACING) continue;
    bpf_link* const link = bpf_program__attach_cgroup(program, directory.get());
    if (link != nullptr) {
      links.push_back(link);
      continue;
    }
    const int os_error = errno;
    for (bpf_link* const made : links) bpf_link__destroy(made);
    return Failure(cgroup_program_error(
        fmt::format("attach {} to {}", bpf_program__name(program), cgroup), os_error));
  }
  return links;
}

Result<std::uint64_t> network_namespace_cookie() {
  const auto socket = SHUNT_TRY(make_socket(Family::ipv4, SocketType::datagram));
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) == 0) return cookie;
  return Failure(cgroup_program_error("read the network namespace's cookie", errno));
}

bool in_first_pid_namespace() {
  struct stat status{};
  return ::stat("/proc/self/ns/pid", &status) == 0 && status.st_ino == kFirstPidNamespace;
}

void put_address(const Address& address, unsigned char (&out)[16]) {
  const in6_addr mapped = address.v6();
  std::memcpy(out, &mapped, sizeof out);
}

void configure_selection(const SelectingProgram::Selection& selection, shunt_selection& out) {
  out.mode = static_cast<unsigned>(selection.whom);
  out.most_ancestors = selection.cgroup_levels;
  out.by_classid = selection.by_classid ? 1 : 0;
}

Result<void> write_selector(int map, SelectingProgram::SelectBy by, std::uint64_t value,
                            bool leave_alone) {
  const shunt_selector key = selector(by, value);
  const std::uint32_t what = leave_alone ? SHUNT_LEAVE : SHUNT_TAKE;
  if (bpf_map_update_elem(map, &key, &what, BPF_ANY) == 0) return {};
  return Failure(errno_error("store who is selected"));
}

void erase_selector(int map, SelectingProgram::SelectBy by, std::uint64_t value) {
  const shunt_selector key = selector(by, value);
  (void)bpf_map_delete_elem(map, &key);
}

}  // namespace shunt
#endif
