// SPDX-License-Identifier: GPL-2.0-only
#include "observe/log_queue.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/counters.h"
#include "base/limits.h"
#include "unit/observe/log_fixture.h"
#include "unit/support/pseudo_terminal.h"

namespace shunt {
namespace {

class PlainLayout final : public LineLayout {
 public:
  void append(LogLine line, std::string& out) override { out += line.text + '\n'; }
  void append_dropped(std::uint64_t lines, std::string& out) override {
    out += fmt::format("dropped {}\n", lines);
  }
};

LogLine line(std::string text) {
  LogLine out;
  out.text = std::move(text);
  return out;
}

struct Pipe {
  Pipe() {
    int fds[2];
    EXPECT_EQ(::pipe2(fds, O_CLOEXEC), 0);
    reader = UniqueFd(fds[0]);
    writer = UniqueFd(fds[1]);
  }
  /// All that comes until the writer is closed.
  std::string drain() {
    std::string all;
    char buffer[65536];
    for (ssize_t got = 0; (got = ::read(reader.get(), buffer, sizeof buffer)) > 0;) {
      all.append(buffer, static_cast<std::size_t>(got));
    }
    return all;
  }
  UniqueFd reader;
  UniqueFd writer;
};

TEST(LogQueue, writes_every_line_of_every_thread) {
  MemoryFile file;
  LogQueue queue(file.fd(), std::make_unique<PlainLayout>(), true);
  constexpr int kThreads = 4;
  constexpr int kLines = 1000;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&queue] {
      for (int i = 0; i < kLines; ++i) queue.push(line("x"));
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(queue.flush(kPatienceMs));
  EXPECT_EQ(file.text().size(), 2U * kThreads * kLines);
  EXPECT_TRUE(queue.stop(kPatienceMs));
}

TEST(LogQueue, raw_terminal_gets_whole_line_ends_and_any_other_the_kernels) {
  const test::PseudoTerminal terminal;
  if (!terminal.valid()) GTEST_SKIP() << "needs pseudo-terminals";
  LogQueue queue(terminal.fd(), std::make_unique<PlainLayout>(), false);
  queue.push(line("before the editor"));
  EXPECT_EQ(terminal.shown_until("\n"), "before the editor\r\n");
  terminal.make_raw();
  queue.push(line("inside"));
  EXPECT_EQ(terminal.shown_until("\n"), "inside\r\n");
  EXPECT_TRUE(queue.stop(kPatienceMs));
}

/// Of the lines that came out: how many are text, and how many others were said to be missing. The
/// queue may be full more than once, and says each time how many it dropped.
struct Delivered {
  std::size_t lines = 0;
  std::uint64_t missing = 0;
};

Delivered delivered(const std::string& all) {
  constexpr std::string_view kDropped = "dropped ";
  Delivered out;
  for (const std::string& one : lines_of(all)) {
    if (one.starts_with(kDropped)) {
      out.missing += std::stoull(one.substr(kDropped.size()));
    } else {
      ++out.lines;
    }
  }
  return out;
}

TEST(LogQueue, reader_that_stalls_blocks_nobody_and_is_told_what_it_missed) {
  Pipe pipe;
  LogQueue queue(pipe.writer.get(), std::make_unique<PlainLayout>(), false);
  const auto before = counted(Counter::log_lines_dropped);
  const auto start = Clock::now();
  constexpr std::size_t kLines = 5 * limits::kLogQueueLines;
  for (std::size_t i = 0; i < kLines; ++i) queue.push(line(std::string(99, 'x')));
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(5));
  const auto dropped = counted(Counter::log_lines_dropped) - before;
  EXPECT_GT(dropped, 0U);
  EXPECT_FALSE(queue.flush(20));

  std::string all;
  std::thread reader([&] { all = pipe.drain(); });
  EXPECT_TRUE(queue.stop(kPatienceMs));
  pipe.writer.reset();
  reader.join();
  EXPECT_EQ(delivered(all).lines, kLines - dropped);
  EXPECT_EQ(delivered(all).missing, dropped);
}

TEST(LogQueue, waiting_bytes_are_bounded_too) {
  Pipe pipe;
  LogQueue queue(pipe.writer.get(), std::make_unique<PlainLayout>(), false);
  const auto before = counted(Counter::log_lines_dropped);
  for (int i = 0; i < 64; ++i) queue.push(line(std::string(limits::kLogQueueBytes / 16, 'x')));
  EXPECT_GT(counted(Counter::log_lines_dropped), before);
  EXPECT_FALSE(queue.stop(20)) << "nobody reads";
  while (::fcntl(pipe.reader.get(), F_SETFL, O_NONBLOCK) == 0 && !pipe.drain().empty()) {
  }
}

TEST(LogQueue, stop_keeps_its_deadline_when_nobody_reads) {
  Pipe pipe;
  LogQueue queue(pipe.writer.get(), std::make_unique<PlainLayout>(), true);
  for (int i = 0; i < 2000; ++i) queue.push(line(std::string(100, 'x')));
  const auto start = Clock::now();
  EXPECT_FALSE(queue.stop(50));
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(5));
  pipe.reader.reset();  // lets the thread that was left behind come back
}

TEST(LogQueue, reader_that_went_away_is_survived) {
  Pipe pipe;
  pipe.reader.reset();
  LogQueue queue(pipe.writer.get(), std::make_unique<PlainLayout>(), false);
  const auto before = counted(Counter::log_lines_dropped);
  for (int i = 0; i < 10; ++i) queue.push(line("x"));
  EXPECT_TRUE(queue.flush(kPatienceMs));
  EXPECT_TRUE(queue.stop(kPatienceMs));
  EXPECT_EQ(counted(Counter::log_lines_dropped), before + 10);
}

TEST(LogQueue, description_that_somebody_made_non_blocking_loses_nothing) {
  Pipe pipe;
  ASSERT_EQ(::fcntl(pipe.writer.get(), F_SETFL, O_NONBLOCK), 0);
  std::string all;
  std::thread reader([&] { all = pipe.drain(); });
  LogQueue queue(pipe.writer.get(), std::make_unique<PlainLayout>(), false);
  for (int i = 0; i < 4000; ++i) queue.push(line(std::string(99, 'x')));
  EXPECT_TRUE(queue.stop(kPatienceMs));
  pipe.writer.reset();
  reader.join();
  EXPECT_EQ(all.size(), 400'000U);
}

TEST(LogQueue, lines_pushed_after_the_stop_are_dropped) {
  MemoryFile file;
  LogQueue queue(file.fd(), std::make_unique<PlainLayout>(), false);
  queue.push(line("before"));
  EXPECT_TRUE(queue.stop(kPatienceMs));
  EXPECT_TRUE(queue.stop(kPatienceMs));
  queue.push(line("after"));
  EXPECT_EQ(file.text(), "before\n");
}

}  // namespace
}  // namespace shunt
