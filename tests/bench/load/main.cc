// SPDX-License-Identifier: GPL-2.0-only
// shunt_load server ADDRESS:PORT COUNT
// shunt_load (exchange|connect|download|upload|idle) ADDRESS:PORT [ports=N] [connections=N]
//            [bytes=N] [http=0|1] [seconds=S] [warmup=S] [pause=MICROSECONDS]
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "client.h"
#include "protocol.h"
#include "server.h"

namespace {

using namespace shunt::load;

int usage() {
  std::fputs(
      "usage: shunt_load server ADDRESS:PORT COUNT\n"
      "       shunt_load exchange|connect|download|upload|idle ADDRESS:PORT [ports=N]\n"
      "                  [connections=N] [bytes=N] [http=0|1] [seconds=S] [warmup=S]\n"
      "                  [pause=MICROSECONDS]\n",
      stderr);
  return 2;
}

bool set_load(std::string_view word, LoadOptions& options) {
  constexpr std::pair<std::string_view, Load> kLoads[] = {{"exchange", Load::exchange},
                                                          {"connect", Load::connect},
                                                          {"download", Load::download},
                                                          {"upload", Load::upload},
                                                          {"idle", Load::idle}};
  for (const auto& [name, load] : kLoads) {
    if (name == word) {
      options.load = load;
      return true;
    }
  }
  return false;
}

bool set_value(const std::string& word, LoadOptions& options) {
  const auto equals = word.find('=');
  if (equals == std::string::npos) return false;
  const std::string key = word.substr(0, equals);
  const double value = std::strtod(word.c_str() + equals + 1, nullptr);
  if (key == "ports")
    options.ports = static_cast<int>(value);
  else if (key == "connections")
    options.connections = static_cast<int>(value);
  else if (key == "bytes")
    options.message_bytes = static_cast<std::uint32_t>(value);
  else if (key == "http")
    options.http = value != 0;
  else if (key == "seconds")
    options.seconds = value;
  else if (key == "warmup")
    options.warm_up_seconds = value;
  else if (key == "pause")
    options.pause_us = value;
  else
    return false;
  return options.ports > 0 && options.connections > 0 && options.seconds > 0 &&
         options.message_bytes >= sizeof(Header) && options.message_bytes <= kLargestMessage / 2;
}

}  // namespace

int main(int argc, char** argv) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  if (argc < 3) return usage();
  const auto target = shunt::Endpoint::parse(argv[2]);
  if (!target) return usage();
  if (std::string_view(argv[1]) == "server") {
    if (argc != 4 || std::atoi(argv[3]) < 1) return usage();
    serve(*target, std::atoi(argv[3]));
  }
  LoadOptions options;
  options.target = *target;
  if (!set_load(argv[1], options)) return usage();
  for (int i = 3; i < argc; ++i) {
    if (!set_value(argv[i], options)) return usage();
  }
  return run_load(options);
}
