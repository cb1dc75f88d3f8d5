// oneDNN's integer product on one thread, the reference that ours is measured against.
#ifndef OCTOBERT_BENCH_ONEDNN_PRODUCT_H_
#define OCTOBERT_BENCH_ONEDNN_PRODUCT_H_

#include <cstdint>
#include <memory>
#include <span>

namespace octobert::bench {

// dst[M][N] = sum over k of a[M][K] * w[N][K], exact. Weights are reordered to oneDNN's own layout once, before.
class OneDnnProduct {
 public:
  OneDnnProduct(int m, int n, int k, std::span<const uint8_t> a, std::span<const int8_t> w);
  ~OneDnnProduct();
  OneDnnProduct(const OneDnnProduct&) = delete;
  OneDnnProduct& operator=(const OneDnnProduct&) = delete;

  void run();
  std::span<const int32_t> result() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace octobert::bench

#endif  // OCTOBERT_BENCH_ONEDNN_PRODUCT_H_
