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
  // Whether what run() gave is the product of a and w, at places all over it: what is timed is then known to be the
  // same thing as ours.
  bool is_exact(std::span<const uint8_t> a, std::span<const int8_t> w) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace octobert::bench

#endif  // OCTOBERT_BENCH_ONEDNN_PRODUCT_H_
