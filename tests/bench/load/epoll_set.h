// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <sys/epoll.h>

#include <cstdio>
#include <cstdlib>

#include "net/unique_fd.h"

namespace shunt::load {

[[noreturn]] inline void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

/// Level-triggered epoll with a pointer for each descriptor. Failures end the program.
class EpollSet {
 public:
  EpollSet() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (!fd_.valid()) die("epoll_create1");
  }
  void add(int fd, void* data, std::uint32_t events) { control(EPOLL_CTL_ADD, fd, data, events); }
  void change(int fd, void* data, std::uint32_t events) {
    control(EPOLL_CTL_MOD, fd, data, events);
  }
  /// Calls handle(data, events) for each; returns after at most `timeout_ms`.
  template <class Handle>
  void wait(int timeout_ms, Handle handle) {
    epoll_event events[256];
    const int count = ::epoll_wait(fd_.get(), events, 256, timeout_ms);
    for (int i = 0; i < count; ++i) handle(events[i].data.ptr, events[i].events);
  }

 private:
  void control(int operation, int fd, void* data, std::uint32_t events) {
    epoll_event event{.events = events, .data = {.ptr = data}};
    if (::epoll_ctl(fd_.get(), operation, fd, &event) != 0) die("epoll_ctl");
  }
  UniqueFd fd_;
};

}  // namespace shunt::load
