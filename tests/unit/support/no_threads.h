// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <pthread.h>

#include <cstddef>

namespace shunt::test {

/// While it lives no thread can be started in this process: pthread_create(3) answers EAGAIN, as
/// where pids.max or RLIMIT_NPROC is reached, since no stack is as large as the one asked for.
class NoThreads {
 public:
  NoThreads() {
    pthread_getattr_default_np(&before_);
    pthread_attr_t huge;
    pthread_attr_init(&huge);
    pthread_attr_setstacksize(&huge, std::size_t{1} << 60);
    pthread_setattr_default_np(&huge);
    pthread_attr_destroy(&huge);
  }
  ~NoThreads() {
    pthread_setattr_default_np(&before_);
    pthread_attr_destroy(&before_);
  }
  NoThreads(const NoThreads&) = delete;
  NoThreads& operator=(const NoThreads&) = delete;

 private:
  pthread_attr_t before_{};
};

}  // namespace shunt::test
