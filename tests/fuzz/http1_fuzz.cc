// SPDX-License-Identifier: GPL-2.0-only
// Bytes as a direction of HTTP/1: whole, byte by byte, and with bodies passed unseen, the parser
// must say the same. The first byte chooses the direction and what a response answers.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sniff/http1.h"
#include "sniff/identify.h"

namespace shunt {
namespace {

struct Story {
  std::string said;

  void feed(Http1Parser& parser, std::string_view bytes, Answers answers) {
    for (;;) {
      const auto step = parser.feed(bytes, answers);
      if (step.consumed > bytes.size()) std::abort();
      bytes.remove_prefix(step.consumed);
      if (step.event == HttpEvent::none) break;
      said += static_cast<char>('0' + static_cast<int>(step.event));
      if (step.event == HttpEvent::head) note(step.head);
      if (step.event == HttpEvent::message_end) said += std::to_string(parser.body_bytes());
    }
    if (!bytes.empty()) std::abort();
  }

  void note(const HttpHead& head) {
    for (const auto part : {head.method, head.target, head.host, head.reason}) {
      said += '|';
      said += part;
    }
    said += std::to_string(head.status);
  }
};

std::string in_pieces(HttpKind kind, Answers answers, std::string_view bytes, std::size_t size) {
  Http1Parser parser(kind);
  Story story;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(size, bytes.size()))) {
    story.feed(parser, bytes.substr(0, size), answers);
  }
  return story.said;
}

std::string partly_unseen(HttpKind kind, Answers answers, std::string_view bytes) {
  Http1Parser parser(kind);
  Story story;
  while (!bytes.empty()) {
    const auto unseen =
        static_cast<std::size_t>(std::min<std::uint64_t>(parser.uninteresting(), bytes.size()));
    if (unseen != 0) {
      parser.skip(unseen);
      story.feed(parser, {}, answers);
    } else {
      story.feed(parser, bytes.substr(0, 1), answers);
    }
    bytes.remove_prefix(std::max<std::size_t>(unseen, 1));
  }
  return story.said;
}

}  // namespace
}  // namespace shunt

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace shunt;  // NOLINT(google-build-using-namespace)
  if (size == 0) return 0;
  const auto kind = data[0] % 2 == 0 ? HttpKind::request : HttpKind::response;
  const auto answers = static_cast<Answers>(data[0] / 2 % 3);
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string whole = in_pieces(kind, answers, bytes, std::max<std::size_t>(bytes.size(), 1));
  if (in_pieces(kind, answers, bytes, 1) != whole) std::abort();
  if (in_pieces(kind, answers, bytes, 7) != whole) std::abort();
  if (partly_unseen(kind, answers, bytes) != whole) std::abort();
  (void)identify(bytes);
  (void)peek_name(bytes);
  return 0;
}
