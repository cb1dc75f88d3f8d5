// Signal-to-quantization-noise ratios of the forward pass' intermediate results.
#ifndef OCTOBERT_CONVERTER_SQNR_H_
#define OCTOBERT_CONVERTER_SQNR_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "engine/bert.h"
#include "octobert/converter.h"

namespace octobert::converter {

// 10 log10(signal / noise); infinite if there is no noise. Both are finite and not negative. The same bits on every
// machine (it goes into files), which libm's logarithms do not promise; error below 1e-12 dB.
double decibel(double signal, double noise);

// Watches the float model and then the quantized one over the same tokens, part by part (an encoder layer, or the
// whole model), any number of times.
//
// Queries, keys, values and context are compared up to a factor a channel, the one that leaves the least noise, unless
// it is 1 within 1/64, which rounding may do: equalization and SmoothQuant move such factors from there into the next
// product, exactly.
class SqnrMeter {
 public:
  void expect(const Intermediate& reference);   // the float model's: kept until it is compared
  void compare(const Intermediate& quantized);  // the other's, in the same order; added to the sums of its name
  std::vector<LayerSqnr> result() const;        // in the order of computation

 private:
  // Of one column: of the reference x and the other's y.
  struct Column {
    double xx = 0, xy = 0, yy = 0, noise = 0;
  };
  struct Sums {
    std::string name;
    double signal = 0, noise = 0;
    std::vector<Column> columns;  // of what is compared up to a factor a channel; else empty
  };
  struct Expected {
    std::string name;
    std::vector<float> values;  // [rows][columns]
  };
  Sums& sums_of(std::string_view name);
  static void add_row(const float* expected, const float* found, size_t columns, Sums& sums);
  static void add_to_columns(const float* expected, const float* found, std::vector<Column>& columns);

  std::vector<Sums> sums_;
  std::vector<Expected> expected_;
  size_t compared_ = 0;  // of expected_
};

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_SQNR_H_
