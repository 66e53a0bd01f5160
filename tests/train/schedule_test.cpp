#include "train/optim/schedule.h"

#include <gtest/gtest.h>

namespace umbra {
namespace {

constexpr int64_t kStepsPerEpoch = 10;

// DeiT's schedule: 300 epochs, five of warm-up, changed once per epoch.
ScheduleOptions deit_options() {
  ScheduleOptions options;
  options.per = "epoch";
  return options;
}

Schedule deit_schedule(const ScheduleOptions& options) {
  return Schedule(options, 1e-3, Duration::epochs(300), StepMath{kStepsPerEpoch, 1024});
}

// Golden values have seven digits.
void expect_lr(const Schedule& schedule, int64_t epoch, double golden) {
  EXPECT_NEAR(schedule.lr(epoch * kStepsPerEpoch), golden, 1e-6 * golden) << "epoch " << epoch;
}

TEST(Schedule, RunsEachEpochAtTimmsRate) {
  const Schedule schedule = deit_schedule(deit_options());
  expect_lr(schedule, 0, 1e-6);
  expect_lr(schedule, 1, 2.008e-4);
  expect_lr(schedule, 5, 9.993216e-4);
  expect_lr(schedule, 150, 5.05e-4);
  expect_lr(schedule, 299, 1.002714e-5);
}

TEST(Schedule, RunsEachEpochAtTheRateBeforeWithDeitsLag) {
  ScheduleOptions options = deit_options();
  options.deit_epoch_lag = true;
  const Schedule schedule = deit_schedule(options);
  expect_lr(schedule, 0, 1e-6);
  expect_lr(schedule, 1, 1e-6);
  expect_lr(schedule, 2, 2.008e-4);
  expect_lr(schedule, 3, 4.006e-4);
  expect_lr(schedule, 4, 6.004e-4);
  expect_lr(schedule, 5, 8.002e-4);
  expect_lr(schedule, 6, 9.993216e-4);
  expect_lr(schedule, 7, 9.990232e-4);
  expect_lr(schedule, 151, 5.05e-4);
  expect_lr(schedule, 299, 1.010856e-5);
}

TEST(Schedule, PerEpochHoldsTheRateWithinAnEpoch) {
  const Schedule schedule = deit_schedule(deit_options());
  for (const int64_t epoch : {0, 3, 100}) {
    const double first = schedule.lr(epoch * kStepsPerEpoch);
    EXPECT_EQ(schedule.lr(epoch * kStepsPerEpoch + kStepsPerEpoch - 1), first);
    EXPECT_NE(schedule.lr((epoch + 1) * kStepsPerEpoch), first);
  }
}

TEST(Schedule, PerStepWarmsUpLinearlyFromTheFirstUpdate) {
  ScheduleOptions options;
  const Schedule schedule = deit_schedule(options);
  const double slope = (1e-3 - 1e-6) / 50.0;
  for (const int64_t step : {0, 1, 25, 49}) {
    EXPECT_NEAR(schedule.lr(step), 1e-6 + static_cast<double>(step) * slope, 1e-15);
  }
  // The cosine has run under the warm-up: the peak is not quite reached.
  EXPECT_NEAR(schedule.lr(50), 9.993216e-4, 1e-9);
}

TEST(Schedule, PrefixStartsTheCosineAfterTheWarmup) {
  ScheduleOptions options;
  options.warmup_prefix = true;
  const Schedule schedule = deit_schedule(options);
  EXPECT_DOUBLE_EQ(schedule.lr(50), 1e-3);
  EXPECT_NEAR(schedule.lr(50 + 2950 / 2), 5.05e-4, 1e-12);
  EXPECT_DOUBLE_EQ(schedule.lr(3000), 1e-5);
}

TEST(Schedule, CosineStaysAtTheMinimumAfterTheEnd) {
  const Schedule schedule = deit_schedule(ScheduleOptions{});
  EXPECT_DOUBLE_EQ(schedule.lr(3000), 1e-5);
  EXPECT_DOUBLE_EQ(schedule.lr(12'345), 1e-5);
}

TEST(Schedule, MultistepDropsAtEachMilestone) {
  ScheduleOptions options;
  options.name = "multistep";
  options.per = "epoch";
  options.warmup = Duration::epochs(0);
  options.milestones = {Duration::epochs(150), Duration::epochs(180), Duration::epochs(210)};
  const Schedule schedule(options, 0.05, Duration::epochs(240), StepMath{kStepsPerEpoch, 64});
  EXPECT_DOUBLE_EQ(schedule.lr(0), 0.05);
  EXPECT_DOUBLE_EQ(schedule.lr(1499), 0.05);
  EXPECT_DOUBLE_EQ(schedule.lr(1500), 0.005);
  EXPECT_DOUBLE_EQ(schedule.lr(1799), 0.005);
  EXPECT_DOUBLE_EQ(schedule.lr(1800), 0.0005);
  EXPECT_DOUBLE_EQ(schedule.lr(2399), 0.00005);
}

TEST(Schedule, MultistepTakesMilestonesInStepsAndSamples) {
  ScheduleOptions options;
  options.name = "multistep";
  options.warmup = Duration::steps(0);
  options.milestones = {Duration::steps(7), {640.0, Duration::Unit::kSamples}};
  const Schedule schedule(options, 1.0, Duration::steps(100), StepMath{kStepsPerEpoch, 64});
  EXPECT_DOUBLE_EQ(schedule.lr(6), 1.0);
  EXPECT_DOUBLE_EQ(schedule.lr(7), 0.1);
  EXPECT_DOUBLE_EQ(schedule.lr(9), 0.1);
  EXPECT_DOUBLE_EQ(schedule.lr(10), 0.01);
}

TEST(Schedule, ConstantWarmsUpAndStays) {
  ScheduleOptions options;
  options.name = "constant";
  options.warmup = Duration::steps(4);
  options.warmup_lr = 0.0;
  const Schedule schedule(options, 0.8, Duration::steps(100), StepMath{kStepsPerEpoch, 64});
  EXPECT_DOUBLE_EQ(schedule.lr(0), 0.0);
  EXPECT_DOUBLE_EQ(schedule.lr(2), 0.4);
  EXPECT_DOUBLE_EQ(schedule.lr(4), 0.8);
  EXPECT_DOUBLE_EQ(schedule.lr(99), 0.8);
}

}  // namespace
}  // namespace umbra
