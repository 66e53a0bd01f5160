// Learning rates against timm's CosineLRScheduler and PyTorch's MultiStepLR.
#include "tests/parity/truth.h"
#include "train/optim/schedule.h"

namespace umbra::test {
namespace {

Schedule schedule_of(const nlohmann::json& item) {
  ScheduleOptions options;
  options.name = item.at("kind");
  options.per = item.at("per");
  options.warmup = Duration::epochs(item.value("warmup", 0.0));
  options.warmup_lr = item.value("warmup_lr", 0.0);
  options.min_lr = item.value("min_lr", 0.0);
  options.warmup_prefix = item.value("prefix", false);
  options.decay_rate = item.value("decay_rate", 0.1);
  for (const double milestone : item.value("milestones", std::vector<double>{})) {
    options.milestones.push_back(Duration::epochs(milestone));
  }
  const StepMath math{item.at("steps_per_epoch"), 64};
  return Schedule(options, item.at("base"), Duration::epochs(item.at("total")), math);
}

TEST(ScheduleParity, EveryRateIsTheReferences) {
  for (const nlohmann::json& item : facts("schedules")) {
    SCOPED_TRACE(fmt::format("{} per {}", item.at("kind").get<std::string>(),
                             item.at("per").get<std::string>()));
    const Schedule schedule = schedule_of(item);
    const int64_t stride =
        item.at("per") == "epoch" ? item.at("steps_per_epoch").get<int64_t>() : 1;
    const auto values = item.at("values").get<std::vector<double>>();
    for (size_t i = 0; i < values.size(); ++i) {
      const auto first = static_cast<int64_t>(i) * stride;
      ASSERT_NEAR(schedule.lr(first), values[i], 1e-12) << "at " << i;
      ASSERT_EQ(schedule.lr(first + stride - 1), schedule.lr(first)) << "at " << i;
    }
  }
}

}  // namespace
}  // namespace umbra::test
