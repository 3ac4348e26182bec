// SPDX-License-Identifier: GPL-2.0-only
#include "cli/demo_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <ctime>

namespace shunt::cli {
namespace {

constexpr int kPatienceMs = 5000;

std::string search_path() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing here has threads
  const char* path = std::getenv("PATH");
  return std::string(path != nullptr ? path : "/usr/bin:/bin") + ":/usr/sbin:/sbin";
}

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void nap() {
  const timespec few_ms{.tv_sec = 0, .tv_nsec = 5'000'000};
  ::nanosleep(&few_ms, nullptr);
}

// Standard input from memory: nothing to feed, nothing that could block.
int input_file(std::string_view input) {
  if (input.empty()) return ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int fd = ::memfd_create("input", MFD_CLOEXEC);
  if (fd < 0 || ::write(fd, input.data(), input.size()) < 0) return -1;
  ::lseek(fd, 0, SEEK_SET);
  return fd;
}

[[noreturn]] void become(Arguments arguments, const std::function<bool()>& prepare, int input,
                         int output) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (!prepare()) ::_exit(127);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a change of credentials clears it (prctl(2))
  ::dup2(input, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing here has threads
  ::setenv("PATH", search_path().c_str(), 1);
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

}  // namespace

bool program_exists(const std::string& name) {
  const std::string path = search_path();
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find(':', begin), path.size());
    const std::string file = path.substr(begin, end - begin) + "/" + name;
    if (::access(file.c_str(), X_OK) == 0) return true;
    begin = end + 1;
  }
  return false;
}

Result<DemoProcess> DemoProcess::start(const Arguments& arguments,
                                       const std::function<bool()>& prepare,
                                       std::string_view input) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return Failure(errno_error("pipe"));
  UniqueFd reading(ends[0]);
  const UniqueFd writing(ends[1]);
  const UniqueFd stdin_file(input_file(input));
  if (!stdin_file.valid()) return Failure(errno_error("cannot prepare standard input"));
  const pid_t pid = ::fork();
  if (pid < 0) return Failure(errno_error("fork"));
  if (pid == 0) become(arguments, prepare, stdin_file.get(), writing.get());
  return DemoProcess(pid, std::move(reading));
}

DemoProcess::DemoProcess(DemoProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      output_(std::move(other.output_)),
      text_(std::move(other.text_)),
      code_(other.code_) {}

DemoProcess& DemoProcess::operator=(DemoProcess&& other) noexcept {
  if (this != &other) {
    end(SIGKILL);
    pid_ = std::exchange(other.pid_, -1);
    output_ = std::move(other.output_);
    text_ = std::move(other.text_);
    code_ = other.code_;
  }
  return *this;
}

bool DemoProcess::read_more(int timeout_ms) {
  if (!output_.valid()) return false;
  pollfd poll{.fd = output_.get(), .events = POLLIN, .revents = 0};
  if (::poll(&poll, 1, std::max(timeout_ms, 0)) <= 0) return false;
  std::array<char, 4096> buffer{};
  const ssize_t got = ::read(output_.get(), buffer.data(), buffer.size());
  if (got <= 0) {
    output_.reset();
    return false;
  }
  text_.append(buffer.data(), static_cast<std::size_t>(got));
  return true;
}

bool DemoProcess::wait_for(std::string_view text, int timeout_ms) {
  const std::int64_t deadline = now_ms() + timeout_ms;
  while (text_.find(text) == std::string::npos) {
    const std::int64_t left = deadline - now_ms();
    if (left <= 0 || !read_more(static_cast<int>(left))) return false;
  }
  return true;
}

std::string DemoProcess::take() {
  while (read_more(0)) {
  }
  return std::exchange(text_, {});
}

bool DemoProcess::reap(int timeout_ms) {
  const std::int64_t deadline = now_ms() + timeout_ms;
  for (;;) {
    while (read_more(0)) {
    }
    int status = 0;
    const pid_t done = ::waitpid(pid_, &status, WNOHANG);
    if (done == pid_ || (done < 0 && errno == ECHILD)) {
      code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
      pid_ = -1;
      while (read_more(0)) {
      }
      return true;
    }
    if (now_ms() >= deadline) return false;
    nap();
  }
}

int DemoProcess::end(int signal) {
  if (pid_ < 0) return code_;
  ::kill(pid_, signal);
  return wait(kPatienceMs);
}

int DemoProcess::wait(int timeout_ms) {
  if (pid_ < 0 || reap(timeout_ms)) return code_;
  ::kill(pid_, SIGKILL);
  reap(kPatienceMs);
  return code_;
}

}  // namespace shunt::cli
