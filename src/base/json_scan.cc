// SPDX-License-Identifier: GPL-2.0-only
#include "base/json_scan.h"

#include <vector>

namespace shunt {
namespace {

class Scanner {
 public:
  Scanner(std::string_view json, const std::function<void(const JsonScalar&)>& visit)
      : rest_(json), visit_(visit) {}

  bool scan() {
    while (!done_) {
      if (!value()) return false;
    }
    skip_blanks();
    return rest_.empty();
  }

 private:
  struct Open {
    bool object;
    bool counts;  ///< the outermost array
  };

  void skip_blanks() {
    const auto first = rest_.find_first_not_of(" \t\r\n");
    rest_.remove_prefix(first == std::string_view::npos ? rest_.size() : first);
  }

  bool take(char wanted) {
    skip_blanks();
    if (!rest_.starts_with(wanted)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  /// Behind the opening quote; up to and with the closing one.
  bool string(std::string_view& out) {
    for (std::size_t at = 0; at < rest_.size(); ++at) {
      if (static_cast<unsigned char>(rest_[at]) < 0x20) return false;
      if (rest_[at] == '\\') {
        ++at;
      } else if (rest_[at] == '"') {
        out = rest_.substr(0, at);
        rest_.remove_prefix(at + 1);
        return true;
      }
    }
    return false;
  }

  bool word(std::string_view& out) {
    const auto end = rest_.find_first_of(" \t\r\n,]}");
    out = rest_.substr(0, end);
    rest_.remove_prefix(out.size());
    if (out == "true" || out == "false" || out == "null") return true;
    return !out.empty() && out.find_first_not_of("+-.0123456789eE") == std::string_view::npos;
  }

  /// The key before a value of an object.
  bool key() {
    std::string_view name;
    if (!take('"') || !string(name) || !take(':')) return false;
    keys_.emplace_back(name);
    return true;
  }

  bool enter(bool object) {
    if (open_.size() >= kMostJsonDepth) return false;
    const bool counts = !object && !counting_;
    counting_ = counting_ || counts;
    open_.push_back({.object = object, .counts = counts});
    if (take(object ? '}' : ']')) return leave();
    return !object || key();
  }

  /// Behind the closing bracket of the innermost array or object.
  bool leave() {
    if (open_.back().counts) element_ = 0;
    counting_ = counting_ && !open_.back().counts;
    open_.pop_back();
    return after_value();
  }

  /// What may follow a value: the next one of the same array or object, or the end of those that it
  /// was the last of.
  bool after_value() {
    while (!open_.empty()) {
      const Open inside = open_.back();
      if (inside.object) keys_.pop_back();
      if (take(',')) {
        if (inside.counts) ++element_;
        return !inside.object || key();
      }
      if (!take(inside.object ? '}' : ']')) return false;
      if (inside.counts) element_ = 0;
      counting_ = counting_ && !inside.counts;
      open_.pop_back();
    }
    done_ = true;
    return true;
  }

  bool value() {
    if (take('{')) return enter(true);
    if (take('[')) return enter(false);
    JsonScalar scalar{.keys = keys_, .text = {}, .is_string = take('"'), .element = element_};
    if (!(scalar.is_string ? string(scalar.text) : word(scalar.text))) return false;
    visit_(scalar);
    return after_value();
  }

  std::string_view rest_;
  const std::function<void(const JsonScalar&)>& visit_;
  std::vector<Open> open_;
  std::vector<std::string> keys_;
  std::size_t element_ = 0;
  bool counting_ = false;
  bool done_ = false;
};

}  // namespace

bool scan_json(std::string_view json, const std::function<void(const JsonScalar&)>& visit) {
  return Scanner(json, visit).scan();
}

}  // namespace shunt
