// SPDX-License-Identifier: GPL-2.0-only
#include "base/thread.h"

#include <csignal>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/descriptor_table.h"
#include "base/thread_signals.h"

namespace shunt {
namespace {

struct Begun {
  std::move_only_function<void()> body;
  std::uint32_t table;
};

void* run(void* argument) {
  const std::unique_ptr<Begun> begun(static_cast<Begun*>(argument));
  DescriptorTable::begin_with(begun->table);
  begun->body();
  return nullptr;
}

}  // namespace

Thread::Thread(Thread&& other) noexcept : thread_(std::exchange(other.thread_, std::nullopt)) {}

Thread& Thread::operator=(Thread&& other) noexcept {
  if (this != &other) {
    join();
    thread_ = std::exchange(other.thread_, std::nullopt);
  }
  return *this;
}

void Thread::join() {
  if (thread_) ::pthread_join(*thread_, nullptr);
  thread_.reset();
}

void Thread::detach() {
  if (thread_) ::pthread_detach(*thread_);
  thread_.reset();
}

Result<Thread> start_thread(std::move_only_function<void()> body) {
  auto held = std::make_unique<Begun>(std::move(body), DescriptorTable::current());
  const sigset_t all = signals_for_main_thread();  // a new thread inherits this mask
  sigset_t before;
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread{};
  const int error = ::pthread_create(&thread, nullptr, run, held.get());
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return Failure(errno_error("starting a thread", error));
  static_cast<void>(held.release());  // run() owns it
  return Thread(thread);
}

}  // namespace shunt
