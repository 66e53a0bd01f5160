#include "train/report/compare.h"

#include <gtest/gtest.h>

#include "tests/support.h"
#include "train/distill/losses.h"

namespace umbra {
namespace {

TEST(CorrelationDifference, IsWhatTheFormulaGives) {
  const torch::Tensor student = test::golden_student({10, 7}),
                      teacher = test::golden_teacher({10, 6});
  const torch::Tensor difference = correlation_difference(student, teacher);
  EXPECT_NEAR(difference.mean().item<double>(), 0.83810569, 1e-8);
  EXPECT_NEAR(difference.max().item<double>(), 1.81600993, 1e-8);
  EXPECT_LT(correlation_difference(teacher, 3 * teacher).max().item<double>(), 1e-14);
}

TEST(LogitComparison, CountsAgreementAndDivergence) {
  const torch::Tensor teacher = torch::tensor({{2.0, 0.0}, {0.0, 1.0}, {3.0, 0.0}}),
                      student = torch::tensor({{1.0, 0.0}, {1.0, 0.0}, {0.0, 1.0}}),
                      labels = torch::tensor({0, 1, 0});
  LogitComparison whole, parts;
  whole.add(student, teacher, labels);
  parts.add(student.slice(0, 0, 2), teacher.slice(0, 0, 2), labels.slice(0, 0, 2));
  parts.add(student.slice(0, 2), teacher.slice(0, 2), labels.slice(0, 2));
  for (const LogitComparison& c : {whole, parts}) {
    EXPECT_EQ(c.images(), 3);
    EXPECT_NEAR(c.agreement(), 1.0 / 3.0, 1e-12);
    EXPECT_EQ(c.agreement_by_class()[0].item<double>(), 0.5);
    EXPECT_EQ(c.agreement_by_class()[1].item<double>(), 0.0);
    EXPECT_NEAR(c.kl(1.0), kl_divergence(student, teacher, 1.0).item<double>(), 1e-6);
    EXPECT_NEAR(16.0 * c.kl(4.0), kl_divergence(student, teacher, 4.0).item<double>(), 1e-6);
    // Class 0: teacher's mean (2.5, 0), student's (0.5, 0.5); class 1: (0, 1) and (1, 0).
    test::expect_close(c.class_mean_difference(),
                       torch::tensor({{0.0, 0.5}, {1.0, 0.0}}, torch::kFloat64), 1e-12);
  }
}

}  // namespace
}  // namespace umbra
