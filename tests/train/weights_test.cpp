#include "train/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support.h"
#include "train/error.h"
#include "train/model.h"

namespace umbra {
namespace {

using test::TemporaryFolder;
using ::testing::Contains;
using ::testing::HasSubstr;

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

// The bytes of a safetensors file with that header and that many bytes of data.
std::string safetensors(const std::string& header, size_t data_bytes) {
  std::string bytes(8, '\0');
  const uint64_t size = header.size();
  std::memcpy(bytes.data(), &size, 8);
  return bytes + header + std::string(data_bytes, '\1');
}

ModelOptions small_vit(int64_t img_size, int64_t classes, bool distilled) {
  ModelOptions options;
  options.name = "vit";
  options.num_classes = classes;
  options.in_chans = 3;
  options.vit.img_size = img_size;
  options.vit.patch_size = 8;
  options.vit.embed_dim = 16;
  options.vit.depth = 1;
  options.vit.num_heads = 2;
  options.vit.distilled = distilled;
  return options;
}

TEST(Safetensors, RoundTripKeepsEveryBitOfEveryType) {
  const TemporaryFolder folder;
  const std::string path = (folder / "x.safetensors").string();
  const TensorMap written = {{"f32", torch::randn({3, 4})},
                             {"f64", torch::randn({2}, torch::kFloat64)},
                             {"bf16", torch::randn({5}).to(torch::kBFloat16)},
                             {"i64", torch::arange(7)},
                             {"bool", torch::tensor({true, false})},
                             {"u8", torch::arange(9).to(torch::kUInt8)},
                             {"scalar", torch::tensor(3.5f)},
                             {"empty", torch::empty({0, 4})},
                             {"strided", torch::randn({4, 6}).t()}};
  write_safetensors(path, written);
  const TensorMap read = read_safetensors(path);
  ASSERT_EQ(read.size(), written.size());
  for (const auto& [name, tensor] : written) {
    EXPECT_EQ(read.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(read.at(name).equal(tensor)) << name;
  }
}

TEST(Safetensors, HostileFilesAreRefused) {
  const TemporaryFolder folder;
  const std::string path = (folder / "x.safetensors").string();
  const auto refused = [&](const std::string& bytes) {
    test::write_bytes(path, bytes);
    return error_of([&] { read_safetensors(path); });
  };
  const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  test::write_bytes(path, safetensors(good, 8));
  EXPECT_EQ(read_safetensors(path).at("a").numel(), 2);

  EXPECT_THAT(refused(""), HasSubstr("only 0 bytes"));
  EXPECT_THAT(refused(std::string(8, '\xff')), HasSubstr("header of"));
  EXPECT_THAT(refused(safetensors("[1, 2]", 0)), HasSubstr("not a JSON object"));
  EXPECT_THAT(refused(safetensors("{\"a\":", 0)), HasSubstr("not a JSON object"));
  EXPECT_THAT(refused(safetensors(good, 4)), HasSubstr("'a' wants 8 bytes"));
  EXPECT_THAT(refused(safetensors(good, 12)), HasSubstr("belong to no tensor"));
  EXPECT_THAT(refused(safetensors(R"({"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}})", 8)),
              HasSubstr("unknown dtype"));
  EXPECT_THAT(refused(safetensors(R"({"a":{"dtype":"F32","shape":[2]}})", 8)), HasSubstr("lacks"));
  EXPECT_THAT(refused(safetensors(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8)),
              HasSubstr("impossible shape"));
  EXPECT_THAT(
      refused(safetensors(
          R"({"a":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,8]}})", 8)),
      HasSubstr("impossible shape"));
  EXPECT_THAT(refused(safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                                  R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                                  12)),
              HasSubstr("starts at 4 instead of 8"));
}

TEST(LoadState, NamesWhatDoesNotFit) {
  const auto model = create_model(small_vit(16, 4, false));
  TensorMap state;
  for (const auto& [name, tensor] : state_of(model->module()))
    state[name] = tensor.detach().clone();
  load_state(model->module(), state);  // all fits
  state.erase("norm.weight");
  state["head.weight"] = torch::zeros({5, 16});
  state["extra"] = torch::zeros({1});
  const std::string error = error_of([&] { load_state(model->module(), state); });
  EXPECT_THAT(error, HasSubstr("missing: norm.weight"));
  EXPECT_THAT(error, HasSubstr("shape of head.weight: file [5, 16], model [4, 16]"));
  EXPECT_THAT(error, HasSubstr("unexpected: extra"));
}

TEST(LoadPartial, TakesAPlainModelIntoALargerDistilledOne) {
  const auto plain = create_model(small_vit(16, 4, false));
  const auto distilled = create_model(small_vit(32, 6, true));
  const TensorMap source = state_of(plain->module());
  const torch::Tensor dist_row = state_of(distilled->module()).at("pos_embed").select(1, 1).clone();
  const PartialLoad load = load_partial(distilled->module(), source, vit::PosEmbedResize::kTimm);
  const TensorMap target = state_of(distilled->module());
  EXPECT_TRUE(target.at("cls_token").equal(source.at("cls_token")));
  EXPECT_TRUE(target.at("pos_embed").select(1, 0).equal(source.at("pos_embed").select(1, 0)));
  EXPECT_TRUE(target.at("pos_embed").select(1, 1).equal(dist_row));
  EXPECT_EQ(target.at("pos_embed").size(1), 16 + 2);
  EXPECT_THAT(load.resized, Contains("pos_embed"));
  for (const char* name : {"dist_token", "head.weight", "head_dist.weight"}) {
    EXPECT_THAT(load.fresh, Contains(name));
  }
}

TEST(LoadPartial, RefusesAnotherArchitecture) {
  const auto model = create_model(small_vit(16, 4, false));
  ModelOptions wider = small_vit(16, 4, false);
  wider.vit.embed_dim = 32;
  const auto other = create_model(wider);
  EXPECT_THAT(error_of([&] {
                load_partial(model->module(), state_of(other->module()),
                             vit::PosEmbedResize::kTimm);
              }),
              HasSubstr("another architecture"));
  EXPECT_THAT(error_of([&] {
                load_partial(model->module(), {{"conv.weight", torch::zeros({1})}},
                             vit::PosEmbedResize::kTimm);
              }),
              HasSubstr("no name in the file"));
}

}  // namespace
}  // namespace umbra
