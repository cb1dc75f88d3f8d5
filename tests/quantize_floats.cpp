// Not a test: the scalar kernels' integers for given floats, for training/tests/test_quantizers.py.
//
//   quantize_floats rows M K            < x [M][K]                 > q [M][K], scale [M]
//   quantize_floats weights N K         < w [N][K]                 > q [N][K], scale [N]   (the converter's rule)
//   quantize_floats static M K ZERO     < inv [K], x [M][K]        > q [M][K]
//   quantize_floats attention S D       < q, k, v, each [S][D]     > context [S][D]
//
// Floats are little-endian binary32 and integers int8, on standard input and output.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "converter/quantize.h"
#include "engine/aligned_buffer.h"
#include "engine/fp_guard.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "octobert/thread_pool.h"

namespace {

using namespace octobert;

std::vector<float> read_floats(size_t count) {
  std::vector<float> values(count);
  if (std::fread(values.data(), sizeof(float), count, stdin) != count) {
    std::fprintf(stderr, "expected %zu floats\n", count);
    std::exit(2);
  }
  return values;
}

template <typename T>
void write(const std::vector<T>& values) {
  std::fwrite(values.data(), sizeof(T), values.size(), stdout);
}

// Activation bytes as the table lays them out -> q [m][k].
std::vector<int8_t> integers(const std::vector<uint8_t>& bytes, size_t stride, int m, int k) {
  std::vector<int8_t> q;
  for (int row = 0; row < m; ++row) {
    for (int column = 0; column < k; ++column) {
      const int byte = bytes[static_cast<size_t>(row) * stride + static_cast<size_t>(column)];
      q.push_back(static_cast<int8_t>(byte - kScalarTable.activation_offset));
    }
  }
  return q;
}

void rows(int m, int k) {
  const auto width = static_cast<size_t>(k);
  const std::vector<float> x = read_floats(static_cast<size_t>(m) * width);
  const size_t stride = activation_stride(width);
  std::vector<uint8_t> bytes(static_cast<size_t>(m) * stride);
  std::vector<float> scale(static_cast<size_t>(m));
  kScalarTable.quantize_rows({.src = x.data(),
                              .lds = width,
                              .row_max_bits = nullptr,
                              .dst = bytes.data(),
                              .ldd = stride,
                              .scale = scale.data(),
                              .m = m,
                              .k = k});
  write(integers(bytes, stride, m, k));
  write(scale);
}

void weights(int n, int k) {
  const auto rows = static_cast<size_t>(n), width = static_cast<size_t>(k);
  const std::vector<float> w = read_floats(rows * width);
  std::vector<int8_t> q(rows * width);
  std::vector<float> scale(rows);
  ThreadPool pool(1);
  converter::quantize_rows(pool, w.data(), rows, width, q.data(), scale.data());
  write(q);
  write(scale);
}

void fixed(int m, int k, int zero) {
  const auto width = static_cast<size_t>(k);
  const std::vector<float> inv = read_floats(width), x = read_floats(static_cast<size_t>(m) * width);
  const size_t stride = activation_stride(width);
  std::vector<uint8_t> bytes(static_cast<size_t>(m) * stride);
  kScalarTable.quantize_static({.src = x.data(),
                                .lds = width,
                                .inv = inv.data(),
                                .zero_point = zero,
                                .dst = bytes.data(),
                                .ldd = stride,
                                .m = m,
                                .k = k});
  write(integers(bytes, stride, m, k));
}

void attention(int s, int d) {
  const auto width = static_cast<size_t>(d), count = static_cast<size_t>(s) * width;
  const std::vector<float> q = read_floats(count), k = read_floats(count), v = read_floats(count);
  std::vector<float> context(count);
  AlignedBuffer scratch(attention_scratch_bytes(static_cast<size_t>(s), width));
  kScalarTable.attention_s8({.q = q.data(),
                             .k = k.data(),
                             .v = v.data(),
                             .ld = width,
                             .dst = context.data(),
                             .ldd = width,
                             .scratch = scratch.data(),
                             .s = s,
                             .head_dim = d,
                             .row_begin = 0,
                             .row_end = s});
  write(context);
}

}  // namespace

int main(int argc, char** argv) {
  const FpGuard guard;
  const std::string what = argc > 1 ? argv[1] : "";
  const int first = argc > 3 ? std::atoi(argv[2]) : 0, second = argc > 3 ? std::atoi(argv[3]) : 0;
  if (first < 1 || second < 1) {
    std::fprintf(stderr, "usage: quantize_floats rows|weights|static|attention SIZE SIZE [ZERO]\n");
    return 2;
  }
  if (what == "rows") {
    rows(first, second);
  } else if (what == "weights") {
    weights(first, second);
  } else if (what == "static" && argc == 5) {
    fixed(first, second, std::atoi(argv[4]));
  } else if (what == "attention") {
    attention(first, second);
  } else {
    return 2;
  }
  return 0;
}
