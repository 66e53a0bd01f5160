// The index of tar archives against Python's tarfile, which wrote them.
#include "tests/parity/truth.h"
#include "train/data/tar.h"

namespace umbra::test {
namespace {

TEST(TarParity, IndexIsPythons) {
  const nlohmann::json archives = facts("tar");
  ASSERT_GE(archives.size(), 6u);
  for (const auto& [file, expected] : archives.items()) {
    SCOPED_TRACE(file);
    const std::vector<TarMember> members = TarFile(truth_folder() + "/" + file).list();
    ASSERT_EQ(members.size(), expected.size());
    EXPECT_FALSE(members.empty());
    for (size_t i = 0; i < members.size(); ++i) {
      EXPECT_EQ(members[i].name, expected[i][0].get<std::string>());
      EXPECT_EQ(members[i].offset, expected[i][1].get<int64_t>());
      EXPECT_EQ(members[i].size, expected[i][2].get<int64_t>());
    }
  }
}

}  // namespace
}  // namespace umbra::test
