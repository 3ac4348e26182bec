// SPDX-License-Identifier: GPL-2.0-only
// Follows one direction of an HTTP/1.x connection: head, body, head, body (RFC 9112).
//
// Feed it the bytes in pieces of any size; the answers do not depend on how they were cut. Only an
// incomplete head is kept (at most limits::kHttpHeadBytes); a head that arrives whole is parsed
// where it lies. Of a body nothing is kept, and uninteresting() says how much of it may pass
// unseen. Whatever is odd ends the parsing for good: an observer that guesses would report
// messages that neither side sent.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sniff/http1_head.h"

namespace shunt {

enum class HttpEvent : std::uint8_t {
  none,         ///< all bytes are consumed
  head,         ///< Step::head is valid until the next call
  message_end,  ///< the body is complete
  stopped,      ///< not HTTP, or not to be followed: nothing more will come
};

/// The kind of request that a response answers; it decides whether a body follows.
enum class Answers : std::uint8_t { other, head, connect };

class Http1Parser {
 public:
  /// uninteresting() of a parser that has stopped.
  static constexpr std::uint64_t kEverything = UINT64_MAX;

  struct Step {
    std::size_t consumed = 0;
    HttpEvent event = HttpEvent::none;
    HttpHead head = {};
  };

  explicit Http1Parser(HttpKind kind) : kind_(kind) {}

  /// Consumes up to the next event. Call again with the rest until the event is none; an end may
  /// need no more bytes. `answers` matters when a response's head is complete.
  Step feed(std::string_view bytes, Answers answers = Answers::other);
  /// `count` bytes passed unseen. Follow it by feed({}), which reports an end that was reached.
  void skip(std::uint64_t count);
  /// The side sent its FIN: the end of a body without a length. Follow it by feed({}).
  void end();

  [[nodiscard]] std::uint64_t uninteresting() const;
  /// Payload of the current or just ended message, without the framing of chunks.
  [[nodiscard]] std::uint64_t body_bytes() const { return body_bytes_; }

 private:
  enum class State : std::uint8_t {
    stopped,
    halting,  // `stopped` is to be reported
    head,
    no_body,
    length,          // remaining_ bytes of body
    until_close,     // body until the FIN
    chunk_size,      // remaining_ gathers the size
    chunk_size_end,  // blanks behind the size
    chunk_extension,
    chunk_data,  // remaining_ bytes of it
    chunk_data_end,
    trailer,
  };

  Step feed_head(std::string_view bytes, Answers answers);
  bool note_line_part(std::string_view part, std::size_t head_bytes);
  bool end_line();
  [[nodiscard]] bool first_line_may_fit(std::string_view part) const;
  [[nodiscard]] bool first_line_fits(std::string_view tail) const;
  Step parse(std::string_view bytes, std::size_t start, std::size_t end, Answers answers);
  Step halt(std::size_t consumed);
  void frame_request(const HttpHead& head);
  void frame_response(const HttpHead& head, Answers answers);
  void begin_body(State state, std::uint64_t remaining);
  std::size_t feed_body(std::string_view bytes);
  void take_body(std::uint64_t count);
  void take_chunk_byte(char byte);
  void take_size_byte(char byte);
  [[nodiscard]] State behind_size(char byte) const;
  void end_size_line();
  void take_trailer_byte(char byte);

  std::string buffer_;  // the head so far
  std::uint64_t remaining_ = 0;
  std::uint64_t body_bytes_ = 0;
  std::uint32_t line_bytes_ = 0;  // of the current line of a head or trailer, its CR included
  std::uint32_t overhead_ = 0;    // bytes of a chunk's size line, or of the trailers
  HttpKind kind_;
  State state_ = State::head;
  bool ended_ = false;            // message_end is to be reported
  bool in_first_line_ = true;     // of the head
  bool carriage_return_ = false;  // the line's last byte so far is a CR
};

}  // namespace shunt
