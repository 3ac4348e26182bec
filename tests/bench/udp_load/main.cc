// SPDX-License-Identifier: GPL-2.0-only
// shunt_udp_load server ADDRESS:PORT COUNT
//     Takes datagrams at COUNT ports; those that begin with 'e' are sent back. "ready", and then
//     for each line of stdin how many others came so far, as JSON.
// shunt_udp_load flood ADDRESS:PORT [sources=ADDRESS,…] [sockets=N] [ports=N] [bytes=N]
//                [seconds=S] [rate=N]
//     Each of the sockets sends to each of the ports: that many flows. Says how many were sent.
// shunt_udp_load ping ADDRESS:PORT [bytes=N] [seconds=S] [rate=N]
//     One flow that is echoed, 60 a second unless said otherwise. Says what came back, and when.
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "udp_client.h"
#include "udp_server.h"

namespace {

using namespace shunt::load;

int usage() {
  std::fputs(
      "usage: shunt_udp_load server ADDRESS:PORT COUNT\n"
      "       shunt_udp_load flood ADDRESS:PORT [sources=ADDRESS,…] [sockets=N] [ports=N]\n"
      "                      [bytes=N] [seconds=S] [rate=N]\n"
      "       shunt_udp_load ping ADDRESS:PORT [bytes=N] [seconds=S] [rate=N]\n",
      stderr);
  return 2;
}

bool set_sources(std::string_view list, UdpLoad& load) {
  while (!list.empty()) {
    const auto comma = list.find(',');
    const auto address = shunt::Address::parse(std::string(list.substr(0, comma)));
    if (!address) return false;
    load.sources.push_back(*address);
    list = comma == std::string_view::npos ? "" : list.substr(comma + 1);
  }
  return !load.sources.empty();
}

bool set_value(const std::string& word, UdpLoad& load) {
  const auto equals = word.find('=');
  if (equals == std::string::npos) return false;
  const std::string key = word.substr(0, equals);
  if (key == "sources") return set_sources(std::string_view(word).substr(equals + 1), load);
  const double value = std::strtod(word.c_str() + equals + 1, nullptr);
  if (value <= 0) return false;
  if (key == "sockets")
    load.sockets = static_cast<int>(value);
  else if (key == "ports")
    load.ports = static_cast<int>(value);
  else if (key == "bytes")
    load.bytes = static_cast<std::size_t>(value);
  else if (key == "seconds")
    load.seconds = value;
  else if (key == "rate")
    load.rate = value;
  else
    return false;
  return load.bytes >= kLeastBytes && load.bytes <= kMostBytes;
}

}  // namespace

int main(int argc, char** argv) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  if (argc < 3) return usage();
  const std::string_view what = argv[1];
  const auto target = shunt::Endpoint::parse(argv[2]);
  if (!target) return usage();
  if (what == "server") {
    if (argc != 4 || std::atoi(argv[3]) < 1) return usage();
    return serve_datagrams(*target, std::atoi(argv[3]));
  }
  UdpLoad load{.target = *target};
  for (int i = 3; i < argc; ++i) {
    if (!set_value(argv[i], load)) return usage();
  }
  if (what == "flood") return flood(load);
  return what == "ping" ? ping(load) : usage();
}
