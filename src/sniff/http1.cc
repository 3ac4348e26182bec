// SPDX-License-Identifier: GPL-2.0-only
#include "sniff/http1.h"

#include <algorithm>

#include "base/counters.h"
#include "base/limits.h"

namespace shunt {
namespace {

constexpr std::uint32_t kChunkLineBytes = 4096;  // a chunk's size and its extensions

bool is_line_end(char byte) { return byte == '\r' || byte == '\n'; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

Http1Parser::Step Http1Parser::feed(std::string_view bytes, Answers answers) {
  if (state_ == State::stopped) return {.consumed = bytes.size()};
  if (state_ != State::head) std::string().swap(buffer_);  // the head reported last
  std::size_t consumed = 0;
  if (state_ > State::no_body && !ended_) consumed = feed_body(bytes);
  if (state_ == State::halting) {
    state_ = State::stopped;
    return {.consumed = bytes.size(), .event = HttpEvent::stopped};
  }
  if (ended_) {
    ended_ = false;
    state_ = State::head;
    in_first_line_ = true;
    return {.consumed = consumed, .event = HttpEvent::message_end};
  }
  return state_ == State::head ? feed_head(bytes, answers) : Step{.consumed = consumed};
}

void Http1Parser::skip(std::uint64_t count) {
  if (count == 0 || state_ == State::stopped) return;
  if (count > uninteresting()) {
    state_ = State::halting;  // something was missed
  } else {
    take_body(count);
  }
}

void Http1Parser::end() {
  if (state_ == State::until_close) ended_ = true;
}

std::uint64_t Http1Parser::uninteresting() const {
  if (ended_) return 0;
  switch (state_) {
    case State::stopped: return kEverything;
    case State::until_close: return kEverything - 1;  // the count still matters
    case State::length:
    case State::chunk_data: return remaining_;
    default: return 0;
  }
}

// The head.

Http1Parser::Step Http1Parser::feed_head(std::string_view bytes, Answers answers) {
  std::size_t start = 0;
  if (buffer_.empty()) {  // empty lines before a head are allowed (RFC 9112 section 2.2)
    while (start < bytes.size() && is_line_end(bytes[start])) ++start;
  }
  for (std::size_t at = start; at < bytes.size();) {
    const std::size_t line_end = bytes.find('\n', at);
    const std::string_view part = bytes.substr(at, line_end - at);
    if (!note_line_part(part, buffer_.size() + (at - start) + part.size())) {
      return halt(bytes.size());
    }
    if (line_end == std::string_view::npos) break;
    if (in_first_line_ && !first_line_fits(bytes.substr(start, line_end - start))) {
      return halt(bytes.size());
    }
    at = line_end + 1;
    if (end_line()) return parse(bytes, start, at, answers);
  }
  buffer_.append(bytes.substr(start));
  return {.consumed = bytes.size()};
}

/// False when the head is too long or holds what no head does.
bool Http1Parser::note_line_part(std::string_view part, std::size_t head_bytes) {
  if (head_bytes > limits::kHttpHeadBytes) {
    count(Counter::http_heads_too_long);
    return false;
  }
  line_bytes_ += static_cast<std::uint32_t>(part.size());
  if (!part.empty()) carriage_return_ = part.back() == '\r';
  return !in_first_line_ || (!part.contains('\0') && first_line_may_fit(part));
}

/// Tells most other protocols before their first LF, which some never send; so does a NUL. Other
/// control bytes do not: whoever sends them shall not get out of the log by it.
bool Http1Parser::first_line_may_fit(std::string_view part) const {
  if (buffer_.size() >= kHttpLineStartBytes) return true;
  const std::string start = buffer_ + std::string(part.substr(0, kHttpLineStartBytes));
  return start.empty() || may_start_http_line(kind_, start.substr(0, kHttpLineStartBytes));
}

/// True when the line was empty.
bool Http1Parser::end_line() {
  const bool was_empty = line_bytes_ == (carriage_return_ ? 1 : 0);
  line_bytes_ = 0;
  carriage_return_ = false;
  in_first_line_ = false;
  return was_empty;
}

bool Http1Parser::first_line_fits(std::string_view tail) const {
  std::string joined;
  if (!buffer_.empty()) {
    joined.append(buffer_).append(tail);
    tail = joined;
  }
  if (tail.ends_with('\r')) tail.remove_suffix(1);
  return is_http_first_line(kind_, tail);
}

Http1Parser::Step Http1Parser::parse(std::string_view bytes, std::size_t start, std::size_t end,
                                     Answers answers) {
  std::string_view text = bytes.substr(start, end - start);
  if (!buffer_.empty()) text = buffer_.append(text);
  const auto head = parse_http_head(kind_, text);
  if (!head) return halt(bytes.size());
  body_bytes_ = 0;
  if (kind_ == HttpKind::request) {
    frame_request(*head);
  } else {
    frame_response(*head, answers);
  }
  return {.consumed = end, .event = HttpEvent::head, .head = *head};
}

Http1Parser::Step Http1Parser::halt(std::size_t consumed) {
  state_ = State::stopped;
  std::string().swap(buffer_);
  return {.consumed = consumed, .event = HttpEvent::stopped};
}

// Where the body ends: RFC 9112 section 6.3, but contradictions stop the parsing.

void Http1Parser::frame_request(const HttpHead& head) {
  if (head.length_faulty || (head.transfer_encoding && !head.chunked)) {
    state_ = State::halting;
  } else if (head.chunked) {
    begin_body(State::chunk_size, 0);
  } else {
    begin_body(State::length, head.content_length.value_or(0));
  }
}

void Http1Parser::frame_response(const HttpHead& head, Answers answers) {
  const bool success = head.status / 100 == 2;
  if (head.status == 101 || (answers == Answers::connect && success)) {
    state_ = State::halting;  // another protocol from here on
  } else if (head.status / 100 == 1 || head.status == 204 || head.status == 304 ||
             answers == Answers::head) {
    begin_body(State::length, 0);
  } else if (head.length_faulty) {
    state_ = State::halting;
  } else if (head.chunked) {
    begin_body(State::chunk_size, 0);
  } else if (head.content_length && !head.transfer_encoding) {
    begin_body(State::length, *head.content_length);
  } else {
    state_ = State::until_close;
  }
}

void Http1Parser::begin_body(State state, std::uint64_t remaining) {
  state_ = state;
  remaining_ = remaining;
  overhead_ = 0;
  if (state == State::length && remaining == 0) {
    state_ = State::no_body;
    ended_ = true;
  }
}

// The body.

/// Returns how much belonged to this message.
std::size_t Http1Parser::feed_body(std::string_view bytes) {
  std::size_t at = 0;
  while (at < bytes.size() && !ended_ && state_ != State::halting) {
    const std::uint64_t plain = std::min<std::uint64_t>(uninteresting(), bytes.size() - at);
    if (plain != 0) {
      take_body(plain);
      at += plain;
    } else {
      take_chunk_byte(bytes[at++]);
    }
  }
  return at;
}

void Http1Parser::take_body(std::uint64_t count) {
  body_bytes_ += count;
  if (state_ == State::until_close) return;
  remaining_ -= count;
  if (remaining_ != 0) return;
  if (state_ == State::length) {
    ended_ = true;
  } else {
    state_ = State::chunk_data_end;
  }
}

// Servers differ on whether a bare LF ends a line here, and where an extension begins. A request
// that is read in two ways is how one is smuggled past an observer: it is followed no further. Of a
// response only the log is at stake.
void Http1Parser::take_chunk_byte(char byte) {
  const bool bare_line_feed = byte == '\n' && !carriage_return_ && kind_ == HttpKind::request;
  if (bare_line_feed || (carriage_return_ && byte != '\n')) {
    state_ = State::halting;
    return;
  }
  carriage_return_ = byte == '\r';
  if (state_ == State::trailer) {
    take_trailer_byte(byte);
  } else if (state_ != State::chunk_data_end) {
    take_size_byte(byte);
  } else if (byte == '\n') {
    begin_body(State::chunk_size, 0);
  } else if (byte != '\r') {
    state_ = State::halting;
  }
}

/// "1a" or "1a ;name=value".
void Http1Parser::take_size_byte(char byte) {
  const int digit = state_ == State::chunk_size ? hex_digit(byte) : -1;
  const bool first = overhead_++ == 0;
  if (overhead_ > kChunkLineBytes || (first && digit < 0) || (digit >= 0 && remaining_ >> 58)) {
    state_ = State::halting;
  } else if (digit >= 0) {
    remaining_ = remaining_ * 16 + static_cast<std::uint64_t>(digit);
  } else if (byte == '\n') {
    end_size_line();
  } else if (state_ != State::chunk_extension) {
    state_ = behind_size(byte);
  }
}

Http1Parser::State Http1Parser::behind_size(char byte) const {
  if (byte == ';') return State::chunk_extension;
  if (byte == '\r' || byte == ' ' || byte == '\t') return State::chunk_size_end;
  const bool lenient = kind_ == HttpKind::response && state_ == State::chunk_size_end;
  return lenient ? State::chunk_extension : State::halting;
}

void Http1Parser::end_size_line() {
  overhead_ = 0;
  line_bytes_ = 0;
  state_ = remaining_ == 0 ? State::trailer : State::chunk_data;
}

void Http1Parser::take_trailer_byte(char byte) {
  if (++overhead_ > limits::kHttpHeadBytes) {
    state_ = State::halting;
  } else if (byte == '\n') {
    ended_ = line_bytes_ == 0;
    line_bytes_ = 0;
  } else if (byte != '\r') {
    ++line_bytes_;
  }
}

}  // namespace shunt
