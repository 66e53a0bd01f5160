#include "train/loop/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support.h"
#include "train/error.h"

namespace umbra {
namespace {

using test::TemporaryFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Checkpoint with_value(float value, int64_t best_step) {
  Checkpoint checkpoint;
  checkpoint.tensors["model"]["w"] = torch::full({3}, value);
  checkpoint.state = {{"best_step", best_step}};
  return checkpoint;
}

float value_of(const std::filesystem::path& folder) {
  return read_checkpoint(folder).tensors.at("model").at("w")[0].item<float>();
}

TEST(CheckpointStore, KeepsTheNewestAndTheBest) {
  const TemporaryFolder folder;
  CheckpointStore store(folder / "checkpoints");
  for (const int64_t step : {10, 20, 30, 40, 50}) {
    store.save(step, with_value(static_cast<float>(step), 20), /*keep=*/2, /*best=*/20);
  }
  EXPECT_THAT(store.steps(), ElementsAre(50, 40, 20));
  EXPECT_EQ(value_of(store.resolve("last")), 50.0f);
  EXPECT_EQ(value_of(store.resolve("best")), 20.0f);
  EXPECT_EQ(value_of(store.resolve("step-00000040")), 40.0f);
}

TEST(CheckpointStore, SkipsTheLeftoversOfAnInterruptedSave) {
  const TemporaryFolder folder;
  CheckpointStore store(folder / "checkpoints");
  store.save(10, with_value(1, 10), 2, 10);
  test::write_bytes(folder / "checkpoints/.partial/model.safetensors", "half a file");
  test::write_bytes(folder / "checkpoints/notes.txt", "mine");
  EXPECT_THAT(store.steps(), ElementsAre(10));
  store.save(20, with_value(2, 10), 2, 10);
  EXPECT_EQ(value_of(store.resolve("last")), 2.0f);
}

TEST(CheckpointStore, UnknownNamesListWhatThereIs) {
  const TemporaryFolder folder;
  CheckpointStore store(folder / "checkpoints");
  const auto error = [&](const std::string& name) -> std::string {
    try {
      store.resolve(name);
    } catch (const Error& e) {
      return e.what();
    }
    return "(no error)";
  };
  EXPECT_THAT(error("last"), HasSubstr("no checkpoint there yet"));
  store.save(10, with_value(1, 10), 2, 10);
  EXPECT_THAT(error("step-00000011"), HasSubstr("best, last, step-00000010"));
}

TEST(ReadCheckpoint, RefusesWhatIsNotOurs) {
  const TemporaryFolder folder;
  const auto error = [&]() -> std::string {
    try {
      read_checkpoint(folder.path());
    } catch (const Error& e) {
      return e.what();
    }
    return "(no error)";
  };
  EXPECT_THAT(error(), HasSubstr("it has no state.json"));
  test::write_bytes(folder / "state.json", "{\"hello\": 1}");
  EXPECT_THAT(error(), HasSubstr("none of umbra's"));
  test::write_bytes(folder / "state.json", R"({"format": 99, "step": 1, "files": {}})");
  EXPECT_THAT(error(), HasSubstr("format 99"));
  test::write_bytes(
      folder / "state.json",
      R"({"format": 1, "step": 1, "files": {"model.safetensors": {"bytes": 4, "crc32": 5}}})");
  EXPECT_THAT(error(), HasSubstr("model.safetensors is missing"));
  for (const char* damaged :
       {R"({"format": "1", "step": 1, "files": {}})", R"({"format": 1, "step": [], "files": {}})",
        R"({"format": 1, "step": 1, "files": 7})",
        R"({"format": 1, "step": 1, "files": {"model.safetensors": {"bytes": "4", "crc32": 5}}})",
        R"({"format": 1, "step": 1, "files": {"model.safetensors": []}})"}) {
    test::write_bytes(folder / "state.json", damaged);
    EXPECT_THAT(error(), HasSubstr("state.json is damaged")) << damaged;
  }
}

}  // namespace
}  // namespace umbra
