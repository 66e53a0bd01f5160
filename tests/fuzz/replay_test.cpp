// The fuzzers' corpus, and every input that once broke a target, again.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fuzz/targets.h"

namespace umbra::test {
namespace {

struct Target {
  const char* name;  // also its folder in tests/fuzz/corpus
  void (*run)(std::span<const uint8_t>);
};

// For the name of the test.
void PrintTo(const Target& target, std::ostream* out) { *out << target.name; }

std::vector<std::filesystem::path> corpus(const std::string& name) {
  const auto folder = std::filesystem::path(UMBRA_SOURCE_DIR) / "tests/fuzz/corpus" / name;
  std::vector<std::filesystem::path> files;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

class FuzzReplay : public testing::TestWithParam<Target> {};

TEST_P(FuzzReplay, SurvivesItsCorpus) {
  const std::vector<std::filesystem::path> files = corpus(GetParam().name);
  ASSERT_FALSE(files.empty()) << "no files in tests/fuzz/corpus/" << GetParam().name;
  for (const std::filesystem::path& path : files) {
    SCOPED_TRACE(path.filename());
    std::ifstream file(path, std::ios::binary);
    ASSERT_TRUE(file);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    EXPECT_NO_THROW(GetParam().run({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}));
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, FuzzReplay,
                         testing::Values(Target{"decode", fuzz_decode}, Target{"tar", fuzz_tar},
                                         Target{"idx", fuzz_idx}, Target{"cifar", fuzz_cifar},
                                         Target{"stl10", fuzz_stl10}, Target{"policy", fuzz_policy},
                                         Target{"pth", fuzz_pth},
                                         Target{"safetensors", fuzz_safetensors}),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace umbra::test
