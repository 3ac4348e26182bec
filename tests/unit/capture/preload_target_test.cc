// SPDX-License-Identifier: GPL-2.0-only
#include "capture/preload_target.h"

#include <elf.h>
#include <examine.h>
#include <gtest/gtest.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace shunt {
namespace {

long read_text(const void* context, void* into, std::size_t size, std::uint64_t offset) {
  const auto& text = *static_cast<const std::string*>(context);
  if (offset >= text.size()) return 0;
  const std::size_t got = std::min<std::size_t>(size, text.size() - offset);
  std::memcpy(into, text.data() + offset, got);
  return static_cast<long>(got);
}

shunt_target examine(const std::string& file) {
  const shunt_reader reader{.read_at = read_text, .context = &file};
  return shunt_examine_elf(&reader);
}

/// An ELF file of this machine, put together from its parts.
class Elf {
 public:
  Elf() {
    // This very program is for this machine.
    std::ifstream own("/proc/self/exe", std::ios::binary);
    own.read(reinterpret_cast<char*>(&header), sizeof header);
    header.e_type = ET_DYN;
    header.e_phoff = sizeof header;
    header.e_phnum = 0;
    header.e_shoff = 0;
    header.e_shnum = 0;
    header.e_shstrndx = 0;
  }
  Elf& segment(std::uint32_t type, std::string content) {
    segments_.push_back({type, std::move(content)});
    return *this;
  }
  Elf& loader(const std::string& path) { return segment(PT_INTERP, path + '\0'); }
  Elf& section(const std::string& name) {
    sections_.push_back(name);
    return *this;
  }
  [[nodiscard]] std::string text() const {
    auto head = header;
    std::string table;
    std::string contents;
    head.e_phnum = static_cast<ElfW(Half)>(segments_.size());
    const std::size_t begin = sizeof head + segments_.size() * sizeof(ElfW(Phdr));
    for (const Segment& segment : segments_) {
      ElfW(Phdr) entry{};
      entry.p_type = segment.type;
      entry.p_offset = begin + contents.size();
      entry.p_filesz = segment.content.size();
      append(table, entry);
      contents += segment.content;
    }
    if (!sections_.empty()) add_sections(head, begin, contents);
    std::string whole;
    append(whole, head);
    return whole + table + contents;
  }

  ElfW(Ehdr) header {};

 private:
  struct Segment {
    std::uint32_t type;
    std::string content;
  };
  template <class T>
  static void append(std::string& to, const T& value) {
    to.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void add_sections(ElfW(Ehdr) & head, std::size_t begin, std::string& contents) const {
    std::string names(1, '\0');
    std::string table;
    const std::size_t names_at = begin + contents.size();
    for (const std::string& name : sections_) {
      ElfW(Shdr) entry{};
      entry.sh_name = static_cast<ElfW(Word)>(names.size());
      append(table, entry);
      names += name + '\0';
    }
    ElfW(Shdr) strings{};
    strings.sh_offset = names_at;
    append(table, strings);
    contents += names;
    head.e_shoff = begin + contents.size();
    head.e_shentsize = sizeof(ElfW(Shdr));
    head.e_shnum = static_cast<ElfW(Half)>(sections_.size() + 1);
    head.e_shstrndx = static_cast<ElfW(Half)>(sections_.size());
    contents += table;
  }

  std::vector<Segment> segments_;
  std::vector<std::string> sections_;
};

constexpr char kLoader[] = "/lib64/ld-linux-x86-64.so.2";

/// A note's sizes, its type and its name, padded; then the description.
std::string note(std::string_view owner, std::string_view description) {
  std::string text;
  const auto number = [&](std::uint32_t value) {
    text.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  const auto padded = [&](std::string_view bytes) {
    text += bytes;
    text.resize((text.size() + 3) / 4 * 4);
  };
  number(static_cast<std::uint32_t>(owner.size() + 1));
  number(static_cast<std::uint32_t>(description.size()));
  number(4);
  padded(std::string(owner) + '\0');
  padded(description);
  return text;
}

TEST(PreloadTarget, DynamicProgramLoadsTheLibrary) {
  EXPECT_EQ(examine(Elf().loader(kLoader).text()), SHUNT_TARGET_LOADS);
  EXPECT_EQ(examine(Elf().loader("/lib/ld-linux-aarch64.so.1").text()), SHUNT_TARGET_LOADS);
}

TEST(PreloadTarget, WithoutALoaderItIsStatic) {
  EXPECT_EQ(examine(Elf().segment(PT_LOAD, "code").text()), SHUNT_TARGET_STATIC);
}

TEST(PreloadTarget, OtherLoadersAreNotTrusted) {
  EXPECT_EQ(examine(Elf().loader("/lib/ld-musl-x86_64.so.1").text()), SHUNT_TARGET_OTHER_LOADER);
  EXPECT_EQ(examine(Elf().loader("/ld-linux/other.so").text()), SHUNT_TARGET_OTHER_LOADER);
}

TEST(PreloadTarget, GoIsKnownByItsNote) {
  const std::string both = note("GNU", "id") + note("Go", "build id");
  EXPECT_EQ(examine(Elf().segment(PT_LOAD, "").segment(PT_NOTE, both).text()), SHUNT_TARGET_GO);
  EXPECT_EQ(examine(Elf().loader(kLoader).segment(PT_NOTE, both).text()), SHUNT_TARGET_GO);
  EXPECT_EQ(examine(Elf().loader(kLoader).segment(PT_NOTE, note("GNU", "id")).text()),
            SHUNT_TARGET_LOADS);
}

TEST(PreloadTarget, GoIsKnownByItsSections) {
  for (const char* name : {".note.go.buildid", ".go.buildinfo", ".gopclntab"}) {
    EXPECT_EQ(examine(Elf().loader(kLoader).section(".text").section(name).text()), SHUNT_TARGET_GO)
        << name;
  }
  EXPECT_EQ(examine(Elf().loader(kLoader).section(".text").section(".go").text()),
            SHUNT_TARGET_LOADS);
}

TEST(PreloadTarget, OtherMachinesAreRefused) {
  Elf elf;
  elf.loader(kLoader);
  elf.header.e_machine = EM_386;
  EXPECT_EQ(examine(elf.text()), SHUNT_TARGET_FOREIGN);
  elf = Elf().loader(kLoader);
  elf.header.e_ident[EI_CLASS] = ELFCLASS32;
  EXPECT_EQ(examine(elf.text()), SHUNT_TARGET_FOREIGN);
}

TEST(PreloadTarget, WhatIsNoElfIsNoProgram) {
  EXPECT_EQ(examine(""), SHUNT_TARGET_NO_PROGRAM);
  EXPECT_EQ(examine("echo hello\n"), SHUNT_TARGET_NO_PROGRAM);
}

TEST(PreloadTarget, BrokenFilesAreRefused) {
  const std::string whole = Elf().loader(kLoader).text();
  for (std::size_t size = 4; size < whole.size(); ++size) {
    const auto found = examine(whole.substr(0, size));
    EXPECT_FALSE(shunt_may_run(found)) << size << " bytes: " << found;
  }
  Elf elf;
  elf.loader(kLoader);
  elf.header.e_phentsize = 1;
  EXPECT_EQ(examine(elf.text()), SHUNT_TARGET_BROKEN);
  elf.header.e_phentsize = sizeof(ElfW(Phdr));
  elf.header.e_type = ET_REL;
  EXPECT_EQ(examine(elf.text()), SHUNT_TARGET_BROKEN);
  EXPECT_EQ(examine(Elf().segment(PT_INTERP, kLoader).text()), SHUNT_TARGET_BROKEN)
      << "no zero at the end of the loader's path";
}

std::string interpreter(std::string_view head) {
  std::string found(SHUNT_MOST_PATH, '?');
  shunt_script_interpreter(head.data(), head.size(), found.data());
  return found.c_str();
}

TEST(PreloadTarget, InterpreterOfAScript) {
  EXPECT_EQ(interpreter("#!/bin/sh\n"), "/bin/sh");
  EXPECT_EQ(interpreter("#! \t/usr/bin/env python3\n"), "/usr/bin/env");
  EXPECT_EQ(interpreter("#!/bin/sh"), "/bin/sh");
  EXPECT_EQ(interpreter("#!\n/bin/sh"), "");
  EXPECT_EQ(interpreter("echo"), "");
  EXPECT_EQ(interpreter("#!" + std::string(300, 'x')).size(), 254u);
}

class PreloadFiles : public testing::Test {
 protected:
  PreloadFiles() {
    char name[] = "/tmp/shunt-target-XXXXXX";
    directory_ = ::mkdtemp(name);
  }
  ~PreloadFiles() override { std::filesystem::remove_all(directory_); }

  std::string file(const std::string& name, const std::string& text, unsigned mode = 0755) {
    const std::string path = directory_ + "/" + name;
    std::ofstream(path, std::ios::binary) << text;
    ::chmod(path.c_str(), mode);
    return path;
  }

  std::string directory_;
};

std::string complaint(const std::string& path) {
  const auto checked = check_preload_target(path);
  return checked ? "" : checked.error().text();
}

TEST_F(PreloadFiles, ProgramsOfThisMachineMayRun) {
  EXPECT_EQ(complaint("/bin/sh"), "");
  EXPECT_EQ(complaint("sh"), "");
}

TEST_F(PreloadFiles, WhatIsAbsentIsForOthersToSay) {
  EXPECT_EQ(complaint(directory_ + "/nothing"), "");
  EXPECT_EQ(complaint("shunt-has-no-such-program"), "");
}

TEST_F(PreloadFiles, AStaticProgramIsRefusedByName) {
  const auto path = file("static", Elf().segment(PT_LOAD, "code").text());
  EXPECT_EQ(complaint(path), path + " is statically linked: it would not load libshunt-preload.so");
}

TEST_F(PreloadFiles, AScriptIsAsGoodAsItsInterpreter) {
  const auto program = file("static", Elf().segment(PT_LOAD, "code").text());
  const auto script = file("script", "#!" + program + "\n");
  EXPECT_TRUE(complaint(script).starts_with(program + " is statically linked"));
  EXPECT_EQ(complaint(file("good", "#!/bin/sh\n")), "");
  EXPECT_EQ(complaint(file("old", "echo hello\n")), "");
}

TEST_F(PreloadFiles, ScriptsOfScriptsComeToAnEnd) {
  const auto path = file("self", "");
  file("self", "#!" + path + "\n");
  EXPECT_NE(complaint(path).find("nested too deep"), std::string::npos);
}

TEST_F(PreloadFiles, SetuidProgramsOfOthersAreRefused) {
  const auto path = file("setuid", Elf().loader(kLoader).text(), 04755);
  EXPECT_EQ(complaint(path), "") << "one's own gives no privilege";
  if (::chown(path.c_str(), 12345, ::getgid()) != 0) GTEST_SKIP() << "needs root: chown";
  ::chmod(path.c_str(), 04755);
  EXPECT_NE(complaint(path).find("is a setuid or setgid program"), std::string::npos);
}

}  // namespace
}  // namespace shunt
