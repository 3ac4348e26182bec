// SPDX-License-Identifier: GPL-2.0-only
#include "flow/proxy_protocol.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>

#include "base/crc32c.h"

namespace shunt::proxy_protocol {
namespace {

using Status = Decoded<Header>::Status;
using namespace std::string_view_literals;

constexpr std::string_view kPrefixV1 = "PROXY ";
constexpr std::string_view kSignature = "\r\n\r\n\0\r\nQUIT\n"sv;
constexpr std::size_t kFixedBytes = 16;  // signature, version and command, family, length
constexpr std::size_t kTlvHeadBytes = 3;
constexpr std::size_t kChecksumBytes = 4;

enum Command : std::uint8_t { kLocal = 0x20, kProxy = 0x21 };  // the high half is the version
enum AddressFamily : std::uint8_t { kUnspecified = 0, kInet = 1, kInet6 = 2, kUnix = 3 };
enum Transport : std::uint8_t { kNoTransport = 0, kStream = 1, kDatagram = 2 };
enum TlvType : std::uint8_t {
  kAlpn = 0x01,
  kAuthority = 0x02,
  kChecksum = 0x03,
  kUniqueId = 0x05,
};

std::uint8_t byte_at(std::string_view bytes, std::size_t index) {
  return static_cast<std::uint8_t>(bytes[index]);
}

std::uint16_t u16_at(std::string_view bytes, std::size_t index) {
  return static_cast<std::uint16_t>(byte_at(bytes, index) << 8 | byte_at(bytes, index + 1));
}

std::uint32_t u32_at(std::string_view bytes, std::size_t index) {
  return std::uint32_t{u16_at(bytes, index)} << 16 | u16_at(bytes, index + 2);
}

void append_u16(std::string& out, std::size_t value) {
  out += static_cast<char>(value >> 8 & 0xff);
  out += static_cast<char>(value & 0xff);
}

Decoded<Header> malformed(std::string_view why) {
  return {.status = Status::malformed, .value = {}, .size = 0, .why = why};
}

Decoded<Header> complete(Header header, std::size_t size) {
  return {.status = Status::complete, .value = header, .size = size};
}

bool both_v4(const Header& header) {
  return header.source.address.is_v4() && header.destination.address.is_v4();
}

// As version 1 writes it: an IPv4 address beside an IPv6 one is mapped.
std::string address_text(const Address& address, bool v4) {
  return address.is_v4() && !v4 ? "::ffff:" + address.text() : address.text();
}

void append_address(std::string& out, const Address& address, bool v4) {
  if (v4) {
    out += address.bytes();
    return;
  }
  const in6_addr mapped = address.v6();
  out.append(reinterpret_cast<const char*>(&mapped), sizeof mapped);
}

void append_tlv(std::string& out, TlvType type, std::string_view value, std::size_t longest) {
  if (value.empty() || value.size() > longest) return;
  out += static_cast<char>(type);
  append_u16(out, value.size());
  out += value;
}

// --- version 1 ---

// The next word, up to a single space. Empty where there is none, or two spaces.
std::string_view take_word(std::string_view& line) {
  const auto end = line.find(' ');
  const auto word = line.substr(0, end);
  line.remove_prefix(end == std::string_view::npos ? line.size() : end + 1);
  return word;
}

std::optional<std::uint16_t> port_from(std::string_view word) {
  std::uint16_t port = 0;
  const auto* end = word.data() + word.size();
  const auto parsed = std::from_chars(word.data(), end, port);
  const bool padded = word.size() > 1 && word.front() == '0';
  if (parsed.ec != std::errc() || parsed.ptr != end || padded) return std::nullopt;
  return port;
}

// Address::parse() makes ::ffff:a.b.c.d plain IPv4, so the family is told from the text.
std::optional<Address> address_from(std::string_view word, bool v4) {
  if ((word.find(':') == std::string_view::npos) != v4) return std::nullopt;
  return Address::parse(word);
}

std::optional<Header> header_from_line(std::string_view line) {
  Header header{.version = Version::v1, .source = {}, .destination = {}};
  const auto family = take_word(line);
  if (family == "UNKNOWN") {  // the rest of the line is to be ignored
    header.local = true;
    return header;
  }
  if (family != "TCP4" && family != "TCP6") return std::nullopt;
  const bool v4 = family == "TCP4";
  const auto source = address_from(take_word(line), v4);
  const auto destination = address_from(take_word(line), v4);
  const auto source_port = port_from(take_word(line));
  const bool last = line.find(' ') == std::string_view::npos;
  const auto destination_port = port_from(line);
  if (!source || !destination || !source_port || !destination_port || !last) return std::nullopt;
  header.source = {*source, *source_port};
  header.destination = {*destination, *destination_port};
  return header;
}

Decoded<Header> decode_v1(std::string_view bytes) {
  const auto within = bytes.substr(0, kLongestV1);
  const auto end = within.find('\n');
  // A carriage return ends the line, whatever it is followed by.
  const auto carriage_return = within.find('\r');
  if (end == std::string_view::npos) {
    const bool broken =
        carriage_return != std::string_view::npos && carriage_return + 1 < within.size();
    if (broken) return malformed("a carriage return within the line");
    if (bytes.size() >= kLongestV1) return malformed("a line of more than 107 bytes");
    return {};
  }
  if (carriage_return == std::string_view::npos || carriage_return + 1 != end) {
    return malformed("a line that does not end in CR LF");
  }
  const auto line = within.substr(kPrefixV1.size(), carriage_return - kPrefixV1.size());
  const auto header = header_from_line(line);
  return header ? complete(*header, end + 1) : malformed("a line that is none of version 1");
}

// --- version 2 ---

// `bytes` are 4 or 16 of an address.
Address address_from_bytes(std::string_view bytes) {
  if (bytes.size() == sizeof(in_addr)) {
    in_addr v4;
    std::memcpy(&v4, bytes.data(), sizeof v4);
    return Address(v4);
  }
  in6_addr v6;
  std::memcpy(&v6, bytes.data(), sizeof v6);
  return Address(v6);
}

// What a family's block of addresses takes; empty for a family that does not exist.
std::optional<std::size_t> block_size(std::uint8_t family) {
  switch (family) {
    case kUnspecified: return 0;
    case kInet: return 2 * (sizeof(in_addr) + 2);
    case kInet6: return 2 * (sizeof(in6_addr) + 2);
    case kUnix: return 2 * 108;
    default: return std::nullopt;
  }
}

void read_endpoints(std::string_view block, Header& header) {
  const std::size_t size = block.size() / 2 - 2;
  header.source = {address_from_bytes(block.substr(0, size)), u16_at(block, 2 * size)};
  header.destination = {address_from_bytes(block.substr(size, size)), u16_at(block, 2 * size + 2)};
}

// Over the whole header, with the checksum's own bytes as zeros.
bool checksum_right(std::string_view whole, std::string_view checksum) {
  const auto at = static_cast<std::size_t>(checksum.data() - whole.data());
  std::uint32_t value = crc32c(whole.substr(0, at));
  value = crc32c("\0\0\0\0"sv, value);
  value = crc32c(whole.substr(at + kChecksumBytes), value);
  return value == u32_at(checksum, 0);
}

// Yields what contradicts the specification; "": nothing.
std::string_view take_tlv(std::uint8_t type, std::string_view value, std::string_view whole,
                          Header& header) {
  switch (type) {
    case kAlpn: header.alpn = value; return {};
    case kAuthority: header.authority = value; return {};
    case kUniqueId:
      header.unique_id = value;
      return value.size() <= kLongestUniqueId ? "" : "a unique id of more than 128 bytes";
    case kChecksum:
      if (header.has_checksum || value.size() != kChecksumBytes) return "a checksum that is none";
      header.has_checksum = true;
      return checksum_right(whole, value) ? "" : "a wrong checksum";
    default: return {};  // PP2_TYPE_NOOP, PP2_TYPE_SSL, private ones
  }
}

std::string_view take_tlvs(std::string_view tlvs, std::string_view whole, Header& header) {
  constexpr std::string_view kCut = "a TLV that is cut short";
  while (!tlvs.empty()) {
    if (tlvs.size() < kTlvHeadBytes) return kCut;
    const std::size_t size = u16_at(tlvs, 1);
    if (tlvs.size() - kTlvHeadBytes < size) return kCut;
    const auto wrong = take_tlv(byte_at(tlvs, 0), tlvs.substr(kTlvHeadBytes, size), whole, header);
    if (!wrong.empty()) return wrong;
    tlvs.remove_prefix(kTlvHeadBytes + size);
  }
  return {};
}

Decoded<Header> decode_v2(std::string_view bytes) {
  if (bytes.size() > 12 && byte_at(bytes, 12) != kLocal && byte_at(bytes, 12) != kProxy) {
    return malformed("a version or command that there is none of");
  }
  if (bytes.size() < kFixedBytes) return {};
  const std::size_t size = kFixedBytes + u16_at(bytes, 14);
  if (size > kLongestHeader) return malformed("more than 4,096 bytes");
  const std::uint8_t family = byte_at(bytes, 13) >> 4;
  const std::uint8_t transport = byte_at(bytes, 13) & 0x0f;
  const bool local = byte_at(bytes, 12) == kLocal;
  const auto block = block_size(family);
  const bool possible = block && *block <= size - kFixedBytes && transport <= kDatagram;
  if (!local && !possible) return malformed("a family that does not fit its addresses");
  if (bytes.size() < size) return {};
  Header header{.version = Version::v2, .source = {}, .destination = {}};
  header.protocol = transport == kDatagram ? Protocol::udp : Protocol::tcp;
  header.local = local || (family != kInet && family != kInet6) || transport == kNoTransport;
  if (local) return complete(header, size);  // everything else is to be skipped
  const auto whole = bytes.substr(0, size);
  if (!header.local) read_endpoints(whole.substr(kFixedBytes, *block), header);
  const auto wrong = take_tlvs(whole.substr(kFixedBytes + *block), whole, header);
  return wrong.empty() ? complete(header, size) : malformed(wrong);
}

bool may_begin(std::string_view bytes, std::string_view wanted) {
  const auto known = std::min(bytes.size(), wanted.size());
  return bytes.substr(0, known) == wanted.substr(0, known);
}

}  // namespace

std::string encode_v1(const Header& header) {
  if (header.local) return "PROXY UNKNOWN\r\n";
  const bool v4 = both_v4(header);
  return fmt::format(
      "PROXY {} {} {} {} {}\r\n", v4 ? "TCP4" : "TCP6", address_text(header.source.address, v4),
      address_text(header.destination.address, v4), header.source.port, header.destination.port);
}

std::string encode_v2(const Header& header) {
  std::string out(kSignature);
  out += static_cast<char>(header.local ? kLocal : kProxy);
  const bool v4 = both_v4(header);
  const int transport = header.protocol == Protocol::udp ? kDatagram : kStream;
  out += static_cast<char>(header.local ? 0 : (v4 ? kInet : kInet6) << 4 | transport);
  append_u16(out, 0);
  if (!header.local) {
    append_address(out, header.source.address, v4);
    append_address(out, header.destination.address, v4);
    append_u16(out, header.source.port);
    append_u16(out, header.destination.port);
    append_tlv(out, kAlpn, header.alpn, kLongestText);
    append_tlv(out, kAuthority, header.authority, kLongestText);
    append_tlv(out, kUniqueId, header.unique_id, kLongestUniqueId);
    append_tlv(out, kChecksum, "\0\0\0\0"sv, kChecksumBytes);
  }
  const std::size_t length = out.size() - kFixedBytes;
  out[14] = static_cast<char>(length >> 8);
  out[15] = static_cast<char>(length & 0xff);
  if (header.local) return out;
  std::string checksum;
  const std::uint32_t value = crc32c(out);
  append_u16(checksum, value >> 16);
  append_u16(checksum, value & 0xffff);
  return out.replace(out.size() - kChecksumBytes, kChecksumBytes, checksum);
}

Decoded<Header> decode(std::string_view bytes) {
  if (bytes.empty()) return {};
  const bool first = bytes.front() == kPrefixV1.front();
  const auto wanted = first ? kPrefixV1 : kSignature;
  if (!may_begin(bytes, wanted)) return malformed("no PROXY header");
  if (bytes.size() < wanted.size()) return {};
  return first ? decode_v1(bytes) : decode_v2(bytes);
}

}  // namespace shunt::proxy_protocol
