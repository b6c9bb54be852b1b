// The Kalman regression of bt_framework.stats.kalman as one would write it in C++: the same arithmetic, the same rows.

#include <cmath>
#include <cstdint>
#include <limits>

namespace {

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
const double log_two_pi = std::log(2.0 * M_PI);

struct State {
    double intercept, hedge_ratio, p00, p01, p11, innovation_variance, log_likelihood;
    std::int64_t observations;
};

struct Step {
    double intercept, hedge_ratio, p00, p01, p11, innovation, innovation_variance;
};

inline double update(State& s, double x, double y, double q_intercept, double q_slope, double r) {
    const double p00 = s.p00 + q_intercept, p01 = s.p01, p11 = s.p11 + q_slope;
    const double ph0 = p00 + p01 * x, ph1 = p01 + p11 * x;
    const double variance = ph0 + ph1 * x + r;
    const double innovation = y - s.intercept - s.hedge_ratio * x;
    if (!(std::isfinite(innovation) && variance > 0.0 && std::isfinite(variance))) {
        s.p00 = p00;
        s.p11 = p11;
        s.innovation_variance = nan_value;
        return nan_value;
    }
    const double k0 = ph0 / variance, k1 = ph1 / variance;
    const double a00 = 1.0 - k0, a01 = -k0 * x, a10 = -k1, a11 = 1.0 - k1 * x;
    const double t00 = a00 * p00 + a01 * p01, t01 = a00 * p01 + a01 * p11;
    const double t10 = a10 * p00 + a11 * p01, t11 = a10 * p01 + a11 * p11;
    s.intercept += k0 * innovation;
    s.hedge_ratio += k1 * innovation;
    s.p00 = t00 * a00 + t01 * a01 + r * k0 * k0;
    s.p01 = t00 * a10 + t01 * a11 + r * k0 * k1;
    s.p11 = t10 * a10 + t11 * a11 + r * k1 * k1;
    s.innovation_variance = variance;
    s.log_likelihood -= 0.5 * (log_two_pi + std::log(variance) + innovation * innovation / variance);
    s.observations += 1;
    return innovation;
}

}  // namespace

extern "C" void kalman_filter(
    State* state, const double* noise, const double* x, const double* y, Step* out, std::int64_t n) {
    State s = *state;
    for (std::int64_t i = 0; i < n; ++i) {
        const double innovation = update(s, x[i], y[i], noise[0], noise[1], noise[2]);
        out[i] = {s.intercept, s.hedge_ratio, s.p00, s.p01, s.p11, innovation, s.innovation_variance};
    }
    *state = s;
}
