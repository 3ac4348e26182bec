// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "net/unique_fd.h"
#include "observe/traffic_log.h"

namespace shunt {

inline constexpr std::uint32_t kPatienceMs = 10'000;

/// What a log wrote into memory.
class MemoryFile {
 public:
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::string text() const {
    std::string all(static_cast<std::size_t>(::lseek(fd_.get(), 0, SEEK_END)), '\0');
    EXPECT_EQ(::pread(fd_.get(), all.data(), all.size(), 0), static_cast<ssize_t>(all.size()));
    return all;
  }

 private:
  UniqueFd fd_{::memfd_create("log", MFD_CLOEXEC)};
};

inline Flow make_flow(std::uint64_t id, const char* source = "192.0.2.10:51514",
                      const char* destination = "198.51.100.7:443") {
  Flow flow;
  flow.id = id;
  flow.source = *Endpoint::parse(source);
  flow.original_destination = *Endpoint::parse(destination);
  flow.started = Clock::now();
  flow.way_out = "direct";
  return flow;
}

inline HttpRequest get(std::uint32_t number, const char* host = "bing.com") {
  return {.number = number, .method = "GET", .target = "/", .host = host};
}

inline HttpResponse answer(std::uint32_t number, int status, const char* reason,
                           std::uint64_t body_bytes = 0) {
  HttpResponse response;
  response.request = get(number);
  response.status = status;
  response.reason = reason;
  response.body_bytes = body_bytes;
  response.elapsed_ms = 84;
  return response;
}

inline FlowEnd ended(std::uint64_t up, std::uint64_t down, std::uint32_t ms) {
  FlowEnd end;
  end.bytes_up = up;
  end.bytes_down = down;
  end.elapsed_ms = ms;
  return end;
}

inline FlowEnd refused(ConnectReason reason, int os_error, const char* detail) {
  FlowEnd end;
  end.reason = EndReason::refused;
  end.failure = ConnectFailure{.reason = reason, .os_error = os_error, .detail = detail};
  end.elapsed_ms = 3;
  return end;
}

/// Names flows by their port: 51514 is curl[4711].
class NamesByPort final : public ProcessNames {
 public:
  std::optional<ProcessInfo> lookup(const Flow& flow) override {
    ++lookups;
    if (flow.source.port == 51514) return ProcessInfo{.name = "curl", .pid = 4711};
    if (flow.source.port == 6666) return ProcessInfo{.name = "e\x1b[2Jvil\n", .pid = 13};
    return {};
  }
  int lookups = 0;
};

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end == std::string::npos ? text.size() : end + 1;
  }
  return lines;
}

/// Names, targets and phrases that attack terminals, parsers and readers.
std::vector<std::string> hostile_texts(std::size_t count);

}  // namespace shunt
