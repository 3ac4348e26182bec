// SPDX-License-Identifier: GPL-2.0-only
// `shunt run --method preload`: capture/preload_capture.h.
#include <fcntl.h>
#include <fmt/format.h>
#include <preload.abi.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "capture/preload_capture.h"
#include "capture/preload_probe.h"
#include "capture/preload_target.h"
#include "cli/options.h"
#include "cli/run_calls.h"
#include "cli/run_capture.h"
#include "cli/run_methods.h"
#include "flow/clock.h"

namespace shunt::cli {
namespace {

constexpr std::size_t kMostTold = 8192;
constexpr int kLoadWithinMs = 10'000;  // it is loaded before anything of the program runs

class RunPreload final : public RunCapture {
 public:
  RunPreload(std::shared_ptr<PreloadCapture> capture, UniqueFd told)
      : capture_(std::move(capture)), told_(std::move(told)) {}

  [[nodiscard]] RunMethod method() const override { return RunMethod::preload; }
  [[nodiscard]] std::vector<int> door() const override { return {told_.get()}; }

  void hand_over(ProxyOptions& proxy) override {
    hand_over_calls({.method = CaptureMethod::preload,
                     .source = capture_,
                     .datagrams = std::move(capture_->datagram_listener()),
                     .own_listeners = capture_->own_listeners(),
                     .owners = capture_->owners()},
                    proxy);
  }

  ProcessNames* names() override { return &capture_->owners(); }
  void command_started(pid_t command) override {
    command_ = command;
    look_at_ = Clock::now() + std::chrono::milliseconds(kLoadWithinMs);
  }
  [[nodiscard]] bool has_members() const override { return capture_->has_members(); }

  [[nodiscard]] int wait_ms() const override {
    return command_ == 0 ? -1 : static_cast<int>(ms_until(look_at_));
  }
  // The examination of its file should have told. What else may keep a loader from it, nobody
  // knows.
  void follow() override {
    if (command_ == 0 || Clock::now() < look_at_) return;
    if (!capture_->has_loaded(command_) && ::kill(command_, 0) == 0) {
      log(LogLevel::error,
          fmt::format("the command does not load {}: it is not captured", SHUNT_PRELOAD_LIBRARY));
    }
    command_ = 0;
  }

 private:
  std::shared_ptr<PreloadCapture> capture_;
  pid_t command_ = 0;  ///< that is still to be looked at
  Clock::time_point look_at_;
  UniqueFd told_;  ///< a file in memory: the path of the library, and the variable's value
};

Result<UniqueFd> tell(const std::string& library, const std::string& variable) {
  UniqueFd fd(::memfd_create("shunt.preload", MFD_CLOEXEC));
  if (!fd.valid()) return Failure(errno_error("memfd_create"));
  const std::string text = fmt::format("{}\n{}\n", library, variable);
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return Failure(errno_error("write to memory"));
  }
  return fd;
}

Result<void> set_variable(const char* name, const std::string& value) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the command's process has one thread
  if (::setenv(name, value.c_str(), 1) == 0) return {};
  return Failure(errno_error("set the command's environment"));
}

}  // namespace

Result<void> probe_run_preload() { return probe_preload(); }

Result<std::unique_ptr<RunCapture>> make_run_preload(const Options& options) {
  const std::string library = SHUNT_TRY(find_preload_library());
  SHUNT_CHECK(check_preload_target(options.words().front()));
  auto capture = SHUNT_TRY(PreloadCapture::create(call_capture_options(options)));
  auto told = SHUNT_TRY(tell(library, capture->variable()));
  return std::make_unique<RunPreload>(std::move(capture), std::move(told));
}

Result<void> enter_run_preload(const RunDoor& door) {
  std::array<char, kMostTold> buffer{};
  const auto got = ::pread(door.fds.front().get(), buffer.data(), buffer.size(), 0);
  const std::string_view text(buffer.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  const auto end = text.find('\n');
  const auto rest = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  if (rest.find('\n') == std::string_view::npos) return Failure(errno_error("enter", EPROTO));
  std::string preload(text.substr(0, end));
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the command's process has one thread
  const char* const theirs = ::getenv("LD_PRELOAD");
  if (theirs != nullptr && *theirs != '\0') preload += fmt::format(":{}", theirs);
  SHUNT_CHECK(set_variable("LD_PRELOAD", preload));
  return set_variable(SHUNT_PRELOAD_VARIABLE, std::string(rest.substr(0, rest.find('\n'))));
}

}  // namespace shunt::cli
