// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/open_connections.h"

#include <fmt/format.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "kernel/directory.h"
#include "kernel/local_destination.h"
#include "kernel/namespace_members.h"
#include "kernel/sock_diag.h"
#include "net/unique_fd.h"

namespace shunt {
namespace {

using Inodes = std::set<unsigned long>;

constexpr std::string_view kEstablished = "01";  // TCP_ESTABLISHED; UDP uses it, too (connected)
constexpr std::string_view kListening = "0A";    // TCP_LISTEN

/// "0100007F:0050", "0000000000000000FFFF00000100007F:0050": words of the address in the machine's
/// own order. Only little-endian machines read so; elsewhere nothing is taken for loopback.
bool leads_to_loopback(std::string_view remote) {
  const std::string_view address = remote.substr(0, remote.find(':'));
  if (address == "00000000000000000000000001000000") return true;
  return address.size() >= 8 && address.ends_with("7F") &&
         (address.size() == 8 || address.starts_with("0000000000000000FFFF0000"));
}

Inodes inodes_of_namespace(pid_t process, CountedSockets which) {
  Inodes found;
  for (const char* file : {"tcp", "tcp6", "udp", "udp6"}) {
    std::ifstream opened(fmt::format("/proc/{}/net/{}", process, file));
    const std::string text{std::istreambuf_iterator<char>(opened), {}};
    for (const unsigned long inode : counted_inodes(text, which)) found.insert(inode);
  }
  return found;
}

template <class Visit>
void for_each_socket(pid_t process, const Visit& visit) {
  constexpr std::string_view kPrefix = "socket:[";
  Directory fds(fmt::format("/proc/{}/fd", process));
  while (const char* name = fds.next()) {
    std::array<char, 64> link{};
    const auto size = ::readlinkat(fds.fd(), name, link.data(), link.size());
    if (size <= 0) continue;
    std::string_view text(link.data(), static_cast<std::size_t>(size));
    if (!text.starts_with(kPrefix)) continue;
    text.remove_prefix(kPrefix.size());
    unsigned long inode = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), inode).ec == std::errc()) {
      visit(inode);
    }
  }
}

}  // namespace

// Fields: number, local, remote, state, queues, timer, retransmissions, uid, timeout, inode
// (proc_net_tcp, Documentation/networking/proc_net_tcp.rst).
std::vector<unsigned long> counted_inodes(std::string_view proc_net, CountedSockets which) {
  const auto counts = [which](std::string_view state) {
    return which == CountedSockets::connected ? state == kEstablished : state != kListening;
  };
  std::vector<unsigned long> found;
  std::istringstream lines{std::string(proc_net)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    const std::vector<std::string> fields{std::istream_iterator<std::string>(words), {}};
    if (fields.size() < 10 || !counts(fields[3]) || leads_to_loopback(fields[2])) continue;
    unsigned long inode = 0;
    const std::string& text = fields[9];
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), inode);
    if (parsed.ec == std::errc() && inode != 0) found.push_back(inode);
  }
  return found;
}

std::size_t count_sockets(const std::vector<pid_t>& processes, CountedSockets which) {
  std::map<std::pair<dev_t, ino_t>, Inodes> namespaces;
  Inodes counted;
  for (const pid_t process : processes) {
    struct stat netns{};
    if (::stat(fmt::format("/proc/{}/ns/net", process).c_str(), &netns) != 0) continue;
    const auto [known, is_new] = namespaces.try_emplace({netns.st_dev, netns.st_ino});
    if (is_new) known->second = inodes_of_namespace(process, which);
    for_each_socket(process, [&](unsigned long inode) {
      if (known->second.contains(inode)) counted.insert(inode);
    });
  }
  return counted.size();
}

std::vector<pid_t> listeners_at(const Endpoint& address) {
  std::vector<pid_t> found;
  if (!ends_on_this_machine(address.address)) return found;
  SockDiag diag(UniqueFd(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)));
  const Endpoint anybody{.address = Address::any(address.address.family())};
  const auto socket = diag.find(Protocol::tcp, address, anybody);
  if (!socket) return found;
  for_each_process([&](pid_t pid) {
    bool holds = false;
    for_each_socket(pid, [&](unsigned long inode) { holds = holds || inode == socket->inode; });
    if (holds) found.push_back(pid);
  });
  return found;
}

bool shares_network(pid_t process, int netns) {
  struct stat own{};
  struct stat other{};
  const bool known =
      (netns >= 0 ? ::fstat(netns, &own) : ::stat("/proc/thread-self/ns/net", &own)) == 0;
  if (!known) return true;
  if (::stat(fmt::format("/proc/{}/ns/net", process).c_str(), &other) != 0) return true;
  return own.st_dev == other.st_dev && own.st_ino == other.st_ino;
}

}  // namespace shunt
