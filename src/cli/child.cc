// SPDX-License-Identifier: GPL-2.0-only
#include "cli/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "base/error_numbers.h"
#include "base/error_record.h"
#include "net/unique_fd.h"

namespace shunt::cli {
namespace {

constexpr int kNotExecutable = 126;
constexpr int kNotFound = 127;
constexpr int kShuntFailed = 125;

// Forgotten by the kernel when credentials change, so after the namespaces were entered.
void die_with(pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kShuntFailed);  // it died before the line above
}

[[noreturn]] void give_up(int report, const StartFailure& failure) {
  std::string record(1, static_cast<char>(failure.exit_code));
  record += error_record(failure.error);
  [[maybe_unused]] const auto ignored = ::write(report, record.data(), record.size());
  ::_exit(failure.exit_code);
}

// execvp(3) fails with EACCES also when a directory of PATH cannot be searched.
bool exists_on_path(const std::string& program) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): a child of one thread
  const char* variable = ::getenv("PATH");
  std::string_view path = variable != nullptr ? variable : "/bin:/usr/bin";
  while (true) {
    const auto directory = path.substr(0, path.find(':'));
    const auto file = fmt::format("{}/{}", directory.empty() ? "." : directory, program);
    if (::access(file.c_str(), F_OK) == 0) return true;
    if (directory.size() == path.size()) return false;
    path.remove_prefix(directory.size() + 1);
  }
}

StartFailure exec_failure(const std::string& program, int os_error) {
  const bool searched = program.find('/') == std::string::npos;
  if (searched && (os_error == ENOENT || os_error == EACCES) && !exists_on_path(program)) {
    return {make_error(Kind::runtime, error_number::kCommandNotFound,
                       fmt::format("{}: command not found", program)),
            kNotFound};
  }
  const bool absent = os_error == ENOENT;
  Error error = errno_error(fmt::format("cannot run {}", program), os_error);
  error.number = absent ? error_number::kCommandNotFound : error_number::kCommandNotExecutable;
  return {std::move(error), absent ? kNotFound : kNotExecutable};
}

[[noreturn]] void become(std::vector<std::string> command, const RunDoor& door,
                         const SignalState& signals, pid_t parent, int report) {
  if (const auto entered = row_of(door.method).enter(door); !entered) {
    give_up(report, {entered.error(), kShuntFailed});
  }
  die_with(parent);
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (auto& word : command) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  signals.restore();
  ::execvp(arguments[0], arguments.data());
  give_up(report, exec_failure(command[0], errno));
}

std::string read_to_end(int fd) {
  std::string text;
  std::array<char, kErrorRecordBytes + 1> buffer{};
  while (true) {
    const auto got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

}  // namespace

SignalState SignalState::take_over() {
  SignalState state;
  sigset_t blocked;
  sigfillset(&blocked);
  for (const int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS}) {
    sigdelset(&blocked, fault);
  }
  ::pthread_sigmask(SIG_BLOCK, &blocked, &state.mask_);
  // An ignored SIGCHLD is inherited, and children could not be waited for.
  struct sigaction usual{};
  usual.sa_handler = SIG_DFL;
  ::sigaction(SIGCHLD, &usual, &state.child_);
  return state;
}

void SignalState::restore() const {
  ::sigaction(SIGCHLD, &child_, nullptr);
  ::pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
}

std::expected<pid_t, StartFailure> start_command(const std::vector<std::string>& command,
                                                 const RunDoor& door, const SignalState& signals) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::unexpected(StartFailure{errno_error("pipe")});
  const UniqueFd reports(ends[0]);
  UniqueFd report(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return std::unexpected(StartFailure{errno_error("fork")});
  if (child == 0) become(command, door, signals, parent, report.get());
  report.reset();
  const std::string failure = read_to_end(reports.get());
  if (failure.empty()) return child;  // exec closed the pipe
  ::waitpid(child, nullptr, 0);
  return std::unexpected(StartFailure{error_from_record(std::string_view(failure).substr(1)),
                                      static_cast<unsigned char>(failure.front())});
}

}  // namespace shunt::cli
