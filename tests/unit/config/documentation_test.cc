// SPDX-License-Identifier: GPL-2.0-only
// docs/configuration.md and the schema list the same keys, with the same types and defaults.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "config/schema.h"

namespace shunt {
namespace {

struct Documented {
  std::string type;
  std::string fallback;
};

/// "` text `" without blanks and backticks.
std::string cell(std::string text) {
  std::erase(text, '`');
  const auto first = text.find_first_not_of(' ');
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

std::vector<std::string> cells(const std::string& line) {
  std::vector<std::string> out;
  std::size_t from = 1;
  for (std::size_t at = line.find('|', 1); at != std::string::npos; at = line.find('|', at + 1)) {
    out.push_back(cell(line.substr(from, at - from)));
    from = at + 1;
  }
  return out;
}

/// What the headings call a table: "## `[via.NAME]`".
std::string table_of(const std::string& heading) {
  std::string name = cell(heading.substr(heading.find('[') + 1));
  name.resize(name.find(']'));
  if (const auto at = name.find(".NAME"); at != std::string::npos) name.replace(at, 5, ".*");
  return name;
}

/// By "TABLE KEY".
std::map<std::string, Documented> documented() {
  std::map<std::string, Documented> keys;
  std::ifstream file(SHUNT_SOURCE_DIR "/docs/configuration.md");
  std::string table;
  bool in_keys = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("## ")) {
      const bool names_table = line.contains("`[");
      table = names_table ? table_of(line) : "";
      in_keys = names_table || line.contains("top of the file");
    }
    if (!in_keys || !line.starts_with("| `")) continue;
    const auto row = cells(line);
    EXPECT_EQ(row.size(), 5U) << line;
    if (row.size() == 5) keys[table + " " + row[0]] = {.type = row[1], .fallback = row[2]};
  }
  return keys;
}

TEST(Schema, every_key_is_documented_as_it_is) {
  const auto keys = documented();
  std::size_t expected = 0;
  for (const KeySpec& key : schema()) {
    if (key.type == KeyType::table || key.type == KeyType::tables) continue;  // have headings
    ++expected;
    const std::string name = std::string(key.table) + " " + std::string(key.name);
    const auto found = keys.find(name);
    ASSERT_NE(found, keys.end()) << name << " is not in docs/configuration.md";
    EXPECT_EQ(found->second.type, type_name(key.type)) << name;
    EXPECT_EQ(found->second.fallback, key.fallback) << name;
  }
  EXPECT_EQ(keys.size(), expected) << "docs/configuration.md has a key that does not exist";
}

TEST(Schema, has_no_key_twice) {
  for (const KeySpec& key : schema()) EXPECT_EQ(find_key(key.table, key.name), &key);
}

}  // namespace
}  // namespace shunt
