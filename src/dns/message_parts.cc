// SPDX-License-Identifier: GPL-2.0-only
#include "dns/message_parts.h"

namespace shunt::dns {

void append_word(std::string& out, std::size_t value) {
  out += static_cast<char>(value >> 8 & 0xff);
  out += static_cast<char>(value & 0xff);
}

void append_long(std::string& out, std::uint32_t value) {
  append_word(out, value >> 16);
  append_word(out, value & 0xffff);
}

void append_edns(std::string& out, std::size_t udp_bytes, bool dnssec_ok, std::uint8_t high_rcode) {
  out += '\0';
  append_word(out, type::kOpt);
  append_word(out, udp_bytes);
  append_long(out, static_cast<std::uint32_t>(high_rcode) << 24 | (dnssec_ok ? 0x8000U : 0U));
  append_word(out, 0);
}

void set_count(std::string& message, std::size_t offset, std::size_t count) {
  message[offset] = static_cast<char>(count >> 8 & 0xff);
  message[offset + 1] = static_cast<char>(count & 0xff);
}

std::optional<std::string> begin_query(std::uint16_t id, std::uint16_t flags,
                                       const Question& question) {
  const auto name = name_to_wire(question.name);
  if (!name) return std::nullopt;
  std::string out;
  append_word(out, id);
  append_word(out, flags);
  append_word(out, 1);
  out.append(6, '\0');
  out += *name;
  append_word(out, question.type);
  append_word(out, question.dns_class);
  return out;
}

}  // namespace shunt::dns
