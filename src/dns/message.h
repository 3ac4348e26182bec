// SPDX-License-Identifier: GPL-2.0-only
// Messages of DNS (RFC 1035, with EDNS0 of RFC 6891) as plain structs, and answers to queries. Pure
// and bounded: no recursion, a pointer only ever leads back, no allocation from a length or count
// that a peer sent.
//
// Names are text: labels in lower case with dots between them, "" for the root. What is no
// printable ASCII in a label, and a dot or backslash in it, is escaped as in master files
// (RFC 1035 section 5.1: \. \\ \DDD), so that a name reads the same as nothing else does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/endpoint.h"

namespace shunt::dns {

inline constexpr std::size_t kHeaderBytes = 12;
inline constexpr std::size_t kLongestName = 255;  ///< on the wire, RFC 1035 section 2.3.4
inline constexpr std::size_t kLongestLabel = 63;
inline constexpr std::size_t kLongestMessage = 65'535;
inline constexpr std::size_t kPlainUdpBytes = 512;  ///< over UDP, without EDNS
inline constexpr std::size_t kOwnUdpBytes = 1232;   ///< that we advertise (DNS Flag Day 2020)
inline constexpr std::size_t kMostPointers = 32;    ///< followed in one name, or aliases in a row
inline constexpr std::size_t kMostRecords = 256;    ///< kept of one message's answers
inline constexpr std::uint16_t kPort = 53;
inline constexpr std::uint16_t kTlsPort = 853;  ///< RFC 7858

namespace type {
inline constexpr std::uint16_t kA = 1;
inline constexpr std::uint16_t kCname = 5;
inline constexpr std::uint16_t kSoa = 6;
inline constexpr std::uint16_t kPtr = 12;
inline constexpr std::uint16_t kAaaa = 28;
inline constexpr std::uint16_t kOpt = 41;
inline constexpr std::uint16_t kSvcb = 64;   ///< RFC 9460
inline constexpr std::uint16_t kHttps = 65;  ///< RFC 9460
inline constexpr std::uint16_t kAny = 255;
}  // namespace type

inline constexpr std::uint16_t kInternet = 1;  ///< the class IN

/// The codes that shunt itself gives; a peer may send others.
enum class Rcode : std::uint8_t {
  no_error = 0,
  format_error = 1,
  server_failure = 2,
  name_error = 3,  ///< NXDOMAIN
  not_implemented = 4,
  refused = 5,
};

struct Question {
  std::string name;
  std::uint16_t type = 0;
  std::uint16_t dns_class = kInternet;
  bool operator==(const Question&) const = default;
};

/// An answer of the class IN: A, AAAA, CNAME or PTR; others are passed over.
struct Record {
  std::string owner;
  std::uint16_t type = 0;
  std::uint32_t ttl_s = 0;
  Address address = {};     ///< of A and AAAA
  std::string target = {};  ///< of CNAME and PTR
};

struct Edns {
  std::uint16_t udp_bytes = 0;  ///< that the sender takes
  std::uint8_t version = 0;
  bool dnssec_ok = false;
  std::uint8_t high_rcode = 0;  ///< of an answer: the bits above Message::rcode
};

struct Message {
  std::uint16_t id = 0;
  bool response = false;
  std::uint8_t opcode = 0;  ///< 0: a query as most are
  bool truncated = false;
  bool recursion_desired = false;
  bool checking_disabled = false;
  bool authentic_data = false;
  std::uint8_t rcode = 0;  ///< the lower four bits
  Question question;
  std::size_t question_end = 0;  ///< where it ends in the message
  std::vector<Record> answers;   ///< the first kMostRecords
  std::optional<Edns> edns;
  /// The smallest TTL of its records; of a negative answer what its SOA says (RFC 2308 section 5).
  /// Empty: nothing says how long it holds.
  std::optional<std::uint32_t> ttl_s;
};

/// Exactly one question, and every record whole; nothing otherwise. What follows the last record is
/// passed over.
[[nodiscard]] std::optional<Message> parse(std::string_view bytes);

/// An address of the question's name.
struct Resolved {
  Address address;
  std::uint32_t ttl_s = 0;  ///< the smallest on the way there
};
/// The A and AAAA records that the question's name leads to, directly or by CNAMEs. What an answer
/// holds for other names is not in it.
[[nodiscard]] std::vector<Resolved> resolved_addresses(const Message& answer);

/// The name on the wire; nothing where it is longer than DNS allows or is no name.
[[nodiscard]] std::optional<std::string> name_to_wire(std::string_view name);

/// A query, recursion desired. `udp_bytes` are advertised by EDNS, 0: without EDNS. Nothing for a
/// name that is none.
[[nodiscard]] std::optional<std::string> make_query(std::uint16_t id, const Question& question,
                                                    std::uint16_t udp_bytes);

/// An answer to `query`, whose bytes are `query_bytes`: its id, question (with the case of its
/// letters), RD, CD, opcode and, where it had EDNS, an OPT record. An EDNS version that we do not
/// know is answered by BADVERS. Records whose names are none are left out.
[[nodiscard]] std::string make_answer(std::string_view query_bytes, const Message& query,
                                      Rcode rcode, std::span<const Record> records = {});
/// The same without records, and with TC: the client asks again over TCP.
[[nodiscard]] std::string make_truncated(std::string_view query_bytes, const Message& query);
/// For what parse() refuses; nothing where it is no query at all, which is best not answered.
[[nodiscard]] std::optional<std::string> make_format_error(std::string_view query_bytes);

/// How many bytes an answer over UDP may have.
[[nodiscard]] std::size_t udp_capacity(const Message& query);
/// Of a message of at least kHeaderBytes.
[[nodiscard]] std::uint16_t id_of(std::string_view message);
void set_id(std::string& message, std::uint16_t id);
/// Takes `seconds` off every TTL of a message that parse() took, down to 0.
void age(std::string& message, std::uint32_t seconds);

/// The address that a PTR name asks for: d.c.b.a.in-addr.arpa, or 32 nibbles of ip6.arpa.
[[nodiscard]] std::optional<Address> reverse_address(std::string_view name);

/// Over a stream each message has two bytes of length before it (RFC 7766 section 8). `message` has
/// at most kLongestMessage bytes.
[[nodiscard]] std::string framed(std::string_view message);
/// The first message of a stream, without its length; nothing: it has not come whole.
[[nodiscard]] std::optional<std::string_view> first_framed(std::string_view stream);

}  // namespace shunt::dns
