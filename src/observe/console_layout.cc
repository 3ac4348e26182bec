// SPDX-License-Identifier: GPL-2.0-only
#include "observe/console_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "base/limits.h"
#include "dns/message.h"
#include "observe/colour.h"
#include "observe/shown.h"
#include "observe/tokens.h"

namespace shunt {
namespace {

bool is_datagram_query(const Flow& flow) {
  return flow.protocol == Protocol::udp && flow.original_destination.port == dns::kPort;
}

constexpr std::chrono::seconds kSilence{1};
constexpr std::size_t kTimeColumns = 8;
constexpr std::size_t kSubjectColumns = 28;  // a longer subject shifts its own line only

std::string subject_of(const Flow& flow, const FlowMemos::Memo& memo) {
  if (!memo.process) return flow.source.address.text();
  return fmt::format("{}[{}]", shown(memo.process->name), memo.process->pid);
}

/// "tls www.example.com:443" by the name that it was decided by, else "tcp 198.51.100.7:443".
std::string default_name(const Flow& flow) {
  const std::string_view protocol = flow.protocol == Protocol::udp ? "udp" : "tcp";
  const FlowHost& host = flow.host;
  if (host.name.empty()) {
    return fmt::format("{} {}", protocol, flow.original_destination.text());
  }
  const bool said = host.source != NameSource::dns_memory && host.source != NameSource::fake_ip;
  const std::string how = host.ech ? " (ech: perhaps a cover name)"
                          : said   ? ""
                                   : fmt::format(" (name by {})", name_source_token(host.source));
  return fmt::format("{} {}:{}{}", said ? name_source_token(host.source) : protocol,
                     shown(host.name), flow.original_destination.port, how);
}

}  // namespace

void ConsoleLayout::append(LogLine line, std::string& out) {
  FlowMemos::Memo& memo = memos_.of(line.flow);
  if (!line.name.empty()) memo.name = std::move(line.name);
  if (!line.via.empty()) memo.via = line.via;
  switch (line.kind) {
    case LogLine::Kind::start:
      // One of DNS over UDP ends soon, and its closing line says all that there is to say.
      if (silent_.size() < limits::kLogFlows && !is_datagram_query(line.flow)) {
        silent_.push_back({.flow = line.flow, .due = line.flow.started + kSilence});
      }
      return;
    case LogLine::Kind::tls: return;  // its name is for the closing line
    default: break;
  }
  memo.announced = true;
  const bool below_request = line.flow.id == last_flow_ && line.request == last_request_;
  append_prefix(line.flow, line.time, memo, out);
  if (line.kind == LogLine::Kind::end) {
    append_end(line, memo, out);
    memos_.forget(line.flow.id);
  } else {
    out += line.text;
    if (line.kind == LogLine::Kind::request) out += dim(line.via);
    if (line.kind == LogLine::Kind::response && !below_request) out += dim(line.note);
  }
  out += '\n';
  last_request_ = line.kind == LogLine::Kind::request ? line.request : 0;
}

/// The worker left the place of the name, which only this thread knows, between text and note.
void ConsoleLayout::append_end(const LogLine& line, const FlowMemos::Memo& memo,
                               std::string& out) const {
  out += line.text;
  out += memo.name.empty() ? default_name(line.flow) : memo.name;
  out += line.note;
  out += dim(line.via);
}

void ConsoleLayout::append_dropped(std::uint64_t lines, std::string& out) {
  append_time(std::chrono::system_clock::now(), false, out);
  const auto text = fmt::format("{} lines left out: they came faster than they were read", lines);
  fmt::format_to(std::back_inserter(out), " {}\n", painted(colour_, sgr::kYellow, text));
  last_flow_.reset();
}

/// Flows that ended or were heard of meanwhile wake nobody.
std::optional<Clock::time_point> ConsoleLayout::due() {
  while (!silent_.empty()) {
    const FlowMemos::Memo* memo = memos_.find(silent_.front().flow.id);
    if (memo != nullptr && !memo->announced) return silent_.front().due;
    silent_.pop_front();
  }
  return {};
}

void ConsoleLayout::append_due(Clock::time_point now, std::string& out) {
  for (; !silent_.empty() && silent_.front().due <= now; silent_.pop_front()) {
    const Flow& flow = silent_.front().flow;
    FlowMemos::Memo* memo = memos_.find(flow.id);
    if (memo == nullptr || memo->announced) continue;
    memo->announced = true;
    append_prefix(flow, std::chrono::system_clock::now(), *memo, out);
    fmt::format_to(std::back_inserter(out), "⇄ {}  open{}\n",
                   memo->name.empty() ? default_name(flow) : memo->name, dim(memo->via));
    last_request_ = 0;
  }
}

void ConsoleLayout::append_prefix(const Flow& flow, std::chrono::system_clock::time_point time,
                                  const FlowMemos::Memo& memo, std::string& out) {
  const bool same = flow.id == last_flow_;
  append_time(time, same, out);
  append_subject(subject_of(flow, memo), same, out);
  last_flow_ = flow.id;
}

/// Below a line of the same flow and second the time is left blank.
void ConsoleLayout::append_time(std::chrono::system_clock::time_point time, bool same_flow,
                                std::string& out) {
  const std::time_t second = std::chrono::system_clock::to_time_t(time);
  if (second == last_second_ && same_flow) {
    out.append(kTimeColumns, ' ');
    return;
  }
  if (second != last_second_ || last_time_.empty()) {
    std::tm local{};
    ::localtime_r(&second, &local);
    last_time_ = fmt::format("{:02}:{:02}:{:02}", local.tm_hour, local.tm_min, local.tm_sec);
    last_second_ = second;
  }
  out += dim(last_time_);
}

void ConsoleLayout::append_subject(const std::string& subject, bool blank, std::string& out) {
  const std::size_t width = columns(subject);
  subject_columns_ = std::max(subject_columns_, std::min(width, kSubjectColumns));
  out += ' ';
  if (!blank) out += painted(colour_, sgr::kBold, subject);
  const std::size_t taken = blank ? 0 : width;
  out.append(std::max(subject_columns_, taken) - taken + 1, ' ');
}

std::string ConsoleLayout::dim(const std::string& text) const {
  return text.empty() ? text : painted(colour_, sgr::kDim, text);
}

}  // namespace shunt
