// SPDX-License-Identifier: GPL-2.0-only
// A program that chooses the way of its connection itself (include/shunt/mark.h).
//
//   c++ -std=c++17 -I include examples/mark.cc -o mark
//   ./mark mark 0x10 192.0.2.1 80        packets with this mark; ip rule add fwmark 0x10 lookup 200
//   ./mark device eth1 192.0.2.1 80      by this interface
#include <arpa/inet.h>
#include <netinet/in.h>
#include <shunt/mark.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>

namespace {

int choose_way(int fd, const std::string& what, const char* value) {
  if (what == "device") return shunt_bind_to_device(fd, value);
  return shunt_mark(fd, static_cast<std::uint32_t>(std::strtoul(value, nullptr, 0)));
}

int fail(const char* what) {
  std::cerr << what << ": " << std::strerror(errno) << "\n";
  return 1;
}

}  // namespace

int main(int count, char** words) {
  if (count != 5) {
    std::cerr << "usage: mark mark|device VALUE ADDRESS PORT\n";
    return 2;
  }
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(std::atoi(words[4])));
  if (inet_pton(AF_INET, words[3], &to.sin_addr) != 1) {
    std::cerr << words[3] << " is no IPv4 address\n";
    return 2;
  }
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail("socket");
  if (choose_way(fd, words[1], words[2]) != 0) return fail(words[1]);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return fail("connect");
  ::close(fd);
  std::cout << "connected\n";
}
