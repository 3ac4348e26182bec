// SPDX-License-Identifier: GPL-2.0-only
// main() of a fuzzer in a build without libFuzzer: runs it over every file of a folder, and over
// every beginning of each, so that the corpus guards against regressions in any build.
#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

std::vector<std::uint8_t> contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: {} FOLDER\n", argv[0]);
    return 2;
  }
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    const std::vector<std::uint8_t> input = contents(entry.path());
    for (std::size_t size = 0; size <= input.size(); ++size) {
      // A copy of just that size: reading behind the end is then found by AddressSanitizer.
      const std::vector<std::uint8_t> beginning(input.begin(),
                                                input.begin() + static_cast<std::ptrdiff_t>(size));
      LLVMFuzzerTestOneInput(beginning.data(), beginning.size());
    }
    ++files;
  }
  fmt::print("{} inputs and all their beginnings\n", files);
  return files == 0 ? 1 : 0;
}
